"""The momentum attack in a benchmark file: `mi-fgsm`, and with Nesterov's look-ahead `ni-fgsm`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from artattack.attacks.aims import TARGET, check_class, check_target, find_aims
from artattack.attacks.entries import Batch, Entry, Models, Perturbed, Variant
from artattack.attacks.failing import settled
from artattack.attacks.options import MomentumOptions, doubt_of_step
from artattack.attacks.rounding import round_within
from artattack.bound import Bound
from artattack.validation import ClassWord, Names

_BALLS = ("linf", "l2")  # norms of the attack's balls
_NESTEROV = "ni-fgsm"


class MomentumEntry(Entry, MomentumOptions):
    """The momentum attack, made to transfer to other classifiers: one variant for each source."""

    reads_in_words: ClassVar[str] = "gradients"

    source: Names = Field(description="models whose gradients the attack reads")
    target: ClassWord | None = Field(None, description=TARGET)

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return its names."""
        return "mi-fgsm", _NESTEROV

    @model_validator(mode="before")
    @classmethod
    def _as_the_word_says(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("target") is not None:
            if values.get("targeted", True) is not True:
                raise ValueError("target: `targeted` is false; set it to true, or leave out target")
            values = values | {"targeted": True}
        if not isinstance(values, dict) or values.get("attack") != _NESTEROV:
            return values
        if values.get("nesterov", True) is not True:
            raise ValueError(f"{_NESTEROV} is mi-fgsm with nesterov: true; without, say mi-fgsm")
        return values | {"nesterov": True}

    @property
    def options(self) -> MomentumOptions:
        """The options of the attack, without the entry's other keys."""
        return MomentumOptions(**{name: getattr(self, name) for name in MomentumOptions.model_fields})

    @property
    def parameters(self) -> dict[str, Any]:
        """The options, including the default step and the common target, if any."""
        target = {} if self.target is None else {"target": self.target}
        return self.options.model_dump(mode="json") | {"eps_step": self.step} | target

    @property
    def own_ball(self) -> Bound | None:
        """The ball of the options."""
        return self.ball

    @property
    def aims(self) -> bool:
        """Whether the attack is targeted."""
        return self.targeted

    def check_target(self, names: Sequence[str]) -> None:
        """Raise ArtattackError for a target that a source does not have."""
        check_class(self.target, names)

    def distances(self) -> Iterator[tuple[str, Bound]]:
        """Yield the radius and the step size."""
        yield "eps", self.ball
        yield "eps_step", Bound(self.ball.distance, self.step)

    def doubts(self) -> Iterator[str]:
        """Yield a warning if the step exceeds the radius."""
        if doubt := doubt_of_step(self.step, self.eps):
            yield f"attack '{self.name}': {doubt}"

    def passes(self) -> float:
        """Return the number of steps times the number of views."""
        return min(self.max_iter, 1e30) * min(self.views, 1e30)

    def variants(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield a variant for each source."""
        yield from (Variant(self, source=source) for source in self.source)

    def made_within(self, distance: str) -> bool:
        """Whether the attack has a ball in that distance."""
        return distance in _BALLS

    def make(self, variant: Variant, models: Models) -> Any:
        """Make the attack."""
        from artattack.attacks.momentum import MomentumAttack

        estimator = models.estimator(variant.source)
        check_target(self.target, estimator)
        return MomentumAttack(estimator, **self.options.model_dump())

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Attack images within the ball of the options."""
        return self._attacked(attack, batch, self.options)

    def perturb_within(self, attack: Any, batch: Batch, ball: Bound) -> Perturbed:
        """Attack images within a ball."""
        return self._attacked(attack, batch, self.options.within(ball))

    def columns(self, attack: Any, batch: Batch, files: np.ndarray) -> Mapping[str, Sequence[Any]]:
        """Return the target classes of a targeted attack."""
        return {"target_class": find_aims(batch, attack.estimator, self.target).classes} if self.targeted else {}

    def _attacked(self, attack: Any, batch: Batch, options: MomentumOptions) -> Perturbed:
        """Attack images; the labels are the source's predictions or, for a targeted attack, the targets."""
        attack.set_params(**options.model_dump())
        logits = attack.estimator.predict(batch.x)
        labels = logits.argmax(1)
        unfit: dict[int, str] = {}
        if options.targeted:
            labels, _, unfit = find_aims(batch, attack.estimator, self.target, labels)
        made, failed = settled(
            batch.x, lambda: attack.generate(batch.x, labels, seeds=batch.seeds), batch.variant.source, logits, unfit
        )
        return Perturbed(made, round_within(batch.x, made, options.ball), options.ball, failed=failed)
