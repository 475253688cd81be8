"""ART's attacks in a benchmark file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import ConfigDict, Field, PositiveInt, field_validator

from artattack.attacks.art_attacks import baseline_info, baseline_infos
from artattack.attacks.budget import within
from artattack.attacks.entries import Batch, Entry, Models, Perturbed, Variant
from artattack.attacks.failing import settled
from artattack.attacks.rounding import round_within, walk_to_flip
from artattack.errors import ArtattackError
from artattack.models.classifier import Gives
from artattack.validation import Names, parse_number

# ART's parameters that say how often something is done.
_REPEATS = (
    "max_iter",
    "max_eval",
    "init_eval",
    "num_random_init",
    "binary_search_steps",
    "num_trial",
    "nb_restarts",
    "nb_parallel",
    "query_limit",
    "num_translations",
    "num_rotations",
)


class BaselineEntry(Entry):
    """One of ART's evasion attacks, with ART's own parameter names: one variant for each source."""

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: ClassVar[str] = "baseline"

    source: Names = Field(description="models whose gradients or outputs the attack reads")
    max_queries: PositiveInt | None = Field(
        None, description="images that an attack without gradients may ask a source about, for each that it attacks"
    )

    @field_validator("attack")
    @classmethod
    def _known(cls, attack: str) -> str:
        baseline_info(attack)  # says why, where it cannot be used here
        return attack

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return the short names of ART's attacks."""
        return tuple(info.name for info in baseline_infos())

    @property
    def parameters(self) -> dict[str, Any]:
        """ART's parameters, and the limit of queries if there is one."""
        limit = {} if self.max_queries is None else {"max_queries": self.max_queries}
        return self._of_art | limit

    @property
    def _of_art(self) -> dict[str, Any]:
        """ART's parameters, with numbers such as `8/255` read."""
        return {key: _number_or_word(key, value) for key, value in (self.__pydantic_extra__ or {}).items()}

    def models(self) -> tuple[str, ...]:
        """Return the sources."""
        return self.source

    def models_asked(self) -> tuple[str, ...]:
        """Return the sources."""
        return self.source

    def needs(self, model: str) -> Gives:
        """Return what the attack reads; decisions follow from logits."""
        return "gradients" if baseline_info(self.attack).reads == "gradients" else "logits"

    def passes(self) -> float:
        """Return the product of all parameters that say how often something is done; one not given counts as 1."""
        given = [value for key, value in self._of_art.items() if key in _REPEATS]
        product = math.prod(min(value, 1e30) for value in given if isinstance(value, int | float) and value > 1)
        return product if self.max_queries is None else min(product, self.max_queries)

    def check(self) -> None:
        """Find numbers that are none, and packages that are missing."""
        from artattack.attacks.baselines import check_max_queries

        check_max_queries(self.attack, self.max_queries)
        _ = self.parameters

    def variants(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield one for each source."""
        yield from (Variant(self, source=source) for source in self.source)

    def starts_from(self, variant: Variant) -> Variant | None:
        """Return its own images without a budget, unless the attack can be held to the budget's ball."""
        return variant.free if variant.budget and not self._can_be_held_to(variant.budget[0]) else None

    def make(self, variant: Variant, models: Models) -> Any:
        """Make the attack."""
        from artattack.attacks.baselines import make_baseline

        estimator = models.estimator(variant.source)
        return make_baseline(self.attack, estimator, self._of_art, max_queries=self.max_queries)

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Attack images; the labels are the classes that the source sees in them."""
        from artattack.attacks.baselines import bounded_by

        logits = attack.estimator.predict(batch.x)
        seen = logits.argmax(1)
        targets = other_classes(seen, attack.estimator.nb_classes, batch.seeds) if attack.targeted else None
        made, failed = settled(
            batch.x,
            lambda: attack.generate(batch.x, targets, seeds=batch.seeds, seen=seen),
            batch.variant.source,
            logits,
        )
        queries = attack.generate.queries
        if baseline_info(self.attack).minimum_norm:

            def flips(images: np.ndarray) -> np.ndarray:
                answers = attack.estimator.predict(images)
                now = answers.argmax(1)
                there = now != seen if targets is None else now == targets
                return np.asarray(there & np.isfinite(answers).all(1))

            return Perturbed(made, walk_to_flip(batch.x, made, flips), queries=queries, failed=failed)
        held_to = bounded_by(attack)
        return Perturbed(made, round_within(batch.x, made, held_to), held_to, queries, failed)

    def perturb_to_budget(self, attack: Any, batch: Batch, distance: str, budget: float) -> Perturbed:
        """Attack images within the budget's ball, or take those that the attack has left within it."""
        from artattack.attacks.baselines import make_baseline, with_budget

        if self._can_be_held_to(distance):
            parameters = with_budget(self.attack, self._of_art, distance, budget)
            made = make_baseline(self.attack, attack.estimator, parameters, max_queries=self.max_queries)
            return self.perturb_freely(made, batch)
        if not baseline_info(self.attack).minimum_norm:
            return super().perturb_to_budget(attack, batch, distance, budget)
        # It is an attack of its own distance, and none at a smaller one.
        found = batch.images_of(batch.variant.free)
        near = within(batch.x, found, budget, distance)[:, None, None, None]
        files = np.where(near, found, batch.x)
        return Perturbed(files, files, (distance, budget))

    def _can_be_held_to(self, distance: str) -> bool:
        return distance in baseline_info(self.attack).norms


def _number_or_word(key: str, value: Any) -> Any:
    if isinstance(value, str) and value[:1].isdigit():
        return parse_number(value)
    if key != "norm" and isinstance(value, float) and not math.isfinite(value):
        raise ArtattackError(f"{key}: {value} is not a finite number")
    return value


def other_classes(seen: np.ndarray, classes: int, seeds: Sequence[int]) -> np.ndarray:
    """Draw for each image a class (N,) other than the one that is seen, each by its own seed."""
    draws = np.array([np.random.default_rng(seed).integers(1, classes) for seed in seeds])
    return np.asarray((seen + draws) % classes)
