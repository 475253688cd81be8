"""A painter in a benchmark file: paintings in one pass, beside the style attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from artattack.attacks.entries import Batch, Entry, Models, Perturbed, Reading, Variant
from artattack.attacks.painter_card import BUNDLED, PainterFile
from artattack.attacks.rounding import round_within, with_room
from artattack.bound import Bound
from artattack.distances import BALLS
from artattack.errors import ArtattackError
from artattack.inputs.styles import load_styles, near_style, words_of_style
from artattack.validation import DistanceOrNone, Names


class PainterEntry(Entry):
    """A trained painter: one variant for each style. The attack counts as reading the models that its training read."""

    kind: ClassVar[str] = "style"
    reads_in_words: ClassVar[str] = "features, in training"

    painter: str = Field(BUNDLED, description="the painter's file, written by `artattack train-painter`, or bundled")
    style: Names = Field(
        ("stained-glass", "waves"), description="styles that the painter has learnt: names or files; a+b blends two"
    )
    budget: DistanceOrNone = Field(
        None,
        description="ball of the paintings: linf=8/255, l2=5 or psnr=20 (dB); default: the largest of the training",
    )

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return its name."""
        return ("painter",)

    @property
    def parameters(self) -> dict[str, Any]:
        """The painter by its file's name, and the ball."""
        return {"painter": Path(self.painter).name, "budget": self.budget}

    @property
    def own_ball(self) -> Bound | None:
        """The ball of the paintings."""
        return self.budget or self._file.card.budget

    @property
    def _file(self) -> PainterFile:
        return PainterFile(self.painter)

    def reads(self, variant: Variant) -> tuple[Reading, ...]:
        """Return the models that the training read: the backbone, for its features, and the guides, for gradients."""
        guides = self._file.guides
        return Reading(variant.source, "features"), *(Reading(name, "gradients") for name in guides)

    def styles(self) -> tuple[str, ...]:
        """Return the styles."""
        return self.style

    def paths(self) -> Iterator[str | Path]:
        """Yield styles and the painter's files."""
        for style in self.style:
            yield from words_of_style(style)
        yield from self._file.files

    def near(self, resolve: Callable[..., Any]) -> Self:
        """Return the entry with absolute paths; a known name takes precedence over a file of the same name."""
        styles = tuple(near_style(style, resolve) for style in self.style)
        painter = str(resolve(self.painter, BUNDLED))
        return self.model_copy(update={"style": styles, "painter": painter})

    def distances(self) -> Iterator[tuple[str, Bound]]:
        """Yield the ball, where given."""
        if self.budget:
            yield "budget", self.budget

    def check(self) -> None:
        """Raise ArtattackError for styles that are not learnt or have no image, and balls that cannot be kept."""
        file = self._file
        file.read_styles()
        for style in self.style:
            file.mix(style)
            try:
                load_styles(style, (8, 8))
            except ArtattackError as error:
                raise ArtattackError(f"{error}; judges of style need the style's image: name its file") from error
        if self.budget:
            self.budget.as_ball()

    def variants(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield a variant for each style; the source is the painter's backbone."""
        backbone = self._file.backbone
        yield from (Variant(self, style, backbone) for style in self.style)

    def make(self, variant: Variant, models: Models) -> Any:
        """Load the painter.

        Raises:
            ArtattackError: the run's backbone has other weights than that of the painter's training, so that the
                relation of classifiers to the attack would be wrong.
        """
        from artattack.attacks.painter import PainterAttack

        backbone, card = models.estimator(variant.source), self._file.card
        if card.backbone_sha256 not in ("", backbone.artattack_model.weights_sha256):
            raise ArtattackError(
                f"painter '{self.painter}' was trained through '{card.backbone}' with other weights than this run's: "
                "name that model otherwise in the benchmark"
            )
        return PainterAttack(backbone, painter=self.painter, style=variant.style, budget=self.budget)

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Paint images."""
        return self._paint(attack, batch, self.own_ball)

    def perturb_within(self, attack: Any, batch: Batch, ball: Bound) -> Perturbed:
        """Paint images inside a ball."""
        return self._paint(attack, batch, ball)

    def made_within(self, distance: str) -> bool:
        """Whether paintings can be made inside the ball of a budget of that distance."""
        return distance in BALLS

    def _paint(self, attack: Any, batch: Batch, ball: Bound | None) -> Perturbed:
        inner = ball and with_room(ball, batch.x[0].size)
        attack.set_params(style=batch.variant.style, budget=inner)
        files = round_within(batch.x, attack.generate(batch.x), ball)
        return Perturbed(files, files, ball)  # unrounded images would be scored separately

    def columns(self, attack: Any, batch: Batch, files: np.ndarray) -> Mapping[str, Sequence[Any]]:
        """Return the style distances before and after, in the backbone's features."""
        style = batch.variant.style
        attack.set_params(style=style)
        return {
            "style_distance_before": attack.distances_before(batch.x, self.style)[:, self.style.index(style)],
            "style_distance_after": attack.style_distance(files),
        }
