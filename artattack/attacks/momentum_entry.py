"""The momentum attack in a benchmark file: `mi-fgsm`, and with Nesterov's look-ahead `ni-fgsm`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from pydantic import Field, model_validator

from artattack.attacks.baseline_entry import other_classes
from artattack.attacks.entries import Batch, Entry, Models, Perturbed, Variant
from artattack.attacks.failing import settled
from artattack.attacks.options import MomentumOptions
from artattack.attacks.rounding import round_within
from artattack.models.classifier import Gives
from artattack.validation import Names

_BALLS = ("linf", "l2")
_NESTEROV = "ni-fgsm"


class MomentumEntry(Entry, MomentumOptions):
    """The momentum attack, which other classifiers are to fall for as well: one variant for each source."""

    kind: ClassVar[str] = "baseline"
    reads: ClassVar[str] = "gradients"

    source: Names = Field(description="models whose gradients the attack reads")

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return its words."""
        return "mi-fgsm", _NESTEROV

    @model_validator(mode="before")
    @classmethod
    def _as_the_word_says(cls, values: Any) -> Any:
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
        """The options."""
        return self.options.model_dump(mode="json")

    def models(self) -> tuple[str, ...]:
        """Return the sources."""
        return self.source

    def models_asked(self) -> tuple[str, ...]:
        """Return the sources."""
        return self.source

    def needs(self, model: str) -> Gives:
        """Return gradients."""
        return "gradients"

    def passes(self) -> float:
        """Return the steps, with the copies that each looks at."""
        return min(self.max_iter, 1e30) * min(self.views, 1e30)

    def variants(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield one for each source."""
        yield from (Variant(self, source=source) for source in self.source)

    def starts_from(self, variant: Variant) -> Variant | None:
        """Return its own images without a budget, unless the budget is a ball that the attack keeps to."""
        return variant.free if variant.budget and variant.budget[0] not in _BALLS else None

    def make(self, variant: Variant, models: Models) -> Any:
        """Make the attack."""
        from artattack.attacks.momentum import MomentumAttack

        return MomentumAttack(models.estimator(variant.source), **self.options.model_dump())

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Attack images within the ball that the options say."""
        return self._attacked(attack, batch, self.options)

    def perturb_to_budget(self, attack: Any, batch: Batch, distance: str, budget: float) -> Perturbed:
        """Attack images within the budget's ball, or move them back along a line where it is none."""
        if distance not in _BALLS:
            return super().perturb_to_budget(attack, batch, distance, budget)
        return self._attacked(attack, batch, self.options.within((distance, budget)))

    def _attacked(self, attack: Any, batch: Batch, options: MomentumOptions) -> Perturbed:
        """Attack images; the labels are the classes that the source sees in them, or others where it is targeted."""
        attack.set_params(**options.model_dump())
        logits = attack.estimator.predict(batch.x)
        labels = logits.argmax(1)
        if options.targeted:
            labels = other_classes(labels, attack.estimator.nb_classes, batch.seeds)
        made, failed = settled(
            batch.x, lambda: attack.generate(batch.x, labels, seeds=batch.seeds), batch.variant.source, logits
        )
        return Perturbed(made, round_within(batch.x, made, options.ball), options.ball, failed=failed)
