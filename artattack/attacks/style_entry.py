"""The style attack in a benchmark file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from artattack.attacks.aims import check_class, target_class
from artattack.attacks.entries import Batch, Entry, Models, Perturbed, Reading, Variant
from artattack.attacks.failing import settled
from artattack.attacks.options import StyleOptions
from artattack.attacks.rounding import round_within
from artattack.bound import Bound
from artattack.distances import BALLS
from artattack.inputs.styles import load_styles, near_style, words_of_style
from artattack.validation import Names


class StyleEntry(Entry, StyleOptions):
    """Style transfer: one variant for each backbone and style. `a+b` blends two styles."""

    kind: ClassVar[str] = "style"
    reads_in_words: ClassVar[str] = "features, gradients"
    one_seed: ClassVar[bool] = True  # images of a batch share the random choices of one program

    backbone: Names = Field(("quicknet_distilled",), description="models whose features measure style")
    style: Names = Field(("stained-glass", "waves"), description="styles: names or files")
    at_budgets: Literal["inside", "shrunk"] = Field(
        "inside",
        description="images at the benchmark's budgets: inside, painted inside the ball instead of `budget`, if it is "
        "one of l2, linf and psnr; shrunk, the images without a budget, moved along a line",
    )
    guide: Names | None = Field(None, description="classifiers to fool together during style transfer")

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return its name."""
        return ("style",)

    @property
    def options(self) -> StyleOptions:
        """The options of the attack, without the entry's other keys."""
        return StyleOptions(**{name: getattr(self, name) for name in StyleOptions.model_fields})

    @property
    def parameters(self) -> dict[str, Any]:
        """The guides and the options."""
        return {"guide": self.guide, "at_budgets": self.at_budgets, **self.options.model_dump(mode="json")}

    def reads(self, variant: Variant) -> tuple[Reading, ...]:
        """Return the backbone, for its features, and the guides, for gradients."""
        return Reading(variant.source, "features"), *(Reading(name, "gradients") for name in self.guide or ())

    def styles(self) -> tuple[str, ...]:
        """Return the styles."""
        return self.style

    def paths(self) -> Iterator[str | Path]:
        """Yield styles, masks and the initial image."""
        for style in self.style:
            yield from words_of_style(style)
        yield from (path for path in (self.init, self.mask, self.style_mask) if isinstance(path, Path))

    def near(self, resolve: Callable[..., Any]) -> Self:
        """Return the entry with absolute paths; a known name takes precedence over a file of the same name."""
        styles = tuple(near_style(style, resolve) for style in self.style)
        ours = ("style", "content", "noise")
        paths = {name: resolve(getattr(self, name), *ours) for name in ("init", "mask", "style_mask")}
        return self.model_copy(update={"style": styles} | paths)

    @property
    def own_ball(self) -> Bound | None:
        """The ball of the final images."""
        return self.match or self.budget

    def distances(self) -> Iterator[tuple[str, Bound]]:
        """Yield the ball, the final distance and the step size, where given."""
        if self.budget:
            yield "budget", self.budget
        if self.match:
            yield "match", self.match
        if self.learning_rate is not None:
            yield "learning_rate", Bound("linf", self.learning_rate)

    def passes(self) -> float:
        """Return the number of steps."""
        return self.steps

    def check_target(self, names: Sequence[str]) -> None:
        """Raise ArtattackError for a target that a guide does not have."""
        check_class(self.target, names)

    def check(self) -> None:
        """Raise ArtattackError for styles that do not exist."""
        for style in self.style:
            load_styles(style, (8, 8))

    def doubts(self) -> Iterator[str]:
        """Yield a warning about doubtful options."""
        if doubt := self.options.doubt():
            yield f"attack '{self.name}': {doubt}"

    def variants(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield a variant for each backbone and style, backbone by backbone, so that styles share compiled code."""
        yield from (Variant(self, style, backbone) for backbone in self.backbone for style in self.style)

    def make(self, variant: Variant, models: Models) -> Any:
        """Make the attack."""
        return self.attack_through(models.estimator(variant.source), variant, models)

    def attack_through(
        self, backbone: Any, variant: Variant, models: Models, keep: Literal["best", "last"] = "best"
    ) -> Any:
        """Make the attack through a backbone's estimator; `keep` is not a user option."""
        from artattack.attacks.style import StyleTransferAttack

        return StyleTransferAttack(
            backbone,
            styles=variant.style,
            keep=keep,
            guides=[models.estimator(name) for name in self.guide or ()],
            **self.options.model_dump(),
        )

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Paint images."""
        return self._paint(attack, batch, self.budget, self.match)

    def perturb_within(self, attack: Any, batch: Batch, ball: Bound) -> Perturbed:
        """Paint images inside a ball."""
        return self._paint(attack, batch, ball, None)

    def made_within(self, distance: str) -> bool:
        """Whether images are painted inside the ball of a budget of that distance."""
        return self.at_budgets == "inside" and distance in BALLS and not self.match

    def _paint(self, attack: Any, batch: Batch, budget: Bound | None, match: Bound | None) -> Perturbed:
        attack.set_params(styles=batch.variant.style, seed=batch.seeds[0], budget=budget, match=match)
        made, failed = settled(batch.x, lambda: attack.generate(batch.x))
        return Perturbed(made, round_within(batch.x, made, match or budget), match or budget, failed=failed)

    def columns(self, attack: Any, batch: Batch, files: np.ndarray) -> Mapping[str, Sequence[Any]]:
        """Return the style distances before and after, in the backbone's features, and the guides' target class."""
        attack.set_params(styles=batch.variant.style)
        guides = [batch.models.estimator(name).artattack_model for name in self.guide or ()] if self.target else []
        aim = target_class(self.target, guides, batch.classes) if self.target else None
        return {
            "style_distance_before": attack.style_distance(batch.x),
            "style_distance_after": attack.style_distance(files),
            **({} if aim is None else {"target_class": [aim] * len(files)}),
        }
