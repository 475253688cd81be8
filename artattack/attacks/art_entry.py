"""Base of entries for attacks with ART's contract: source, parameters, labels, queries."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field, PositiveInt

from artattack.attacks.aims import TARGET, check_class, find_aims
from artattack.attacks.entries import Batch, Entry, Perturbed, Variant
from artattack.attacks.failing import settled
from artattack.attacks.rounding import round_within
from artattack.bound import Bound, parse_number
from artattack.errors import ArtattackError
from artattack.validation import ClassWord, Names

# Parameters that count repetitions.
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

Files = tuple[np.ndarray, Bound | None]  # images on the 8-bit grid, and the ball they are held to


class ArtEntry(Entry):
    """An attack that is constructed with an estimator and keyword parameters, and has `generate(x, y=None)`.

    It has one variant for each source. Keys other than the entry's own are parameters of the attack.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    source: Names = Field(description="models whose gradients or outputs the attack reads")
    max_queries: PositiveInt | None = Field(
        None, description="maximum number of queries to the source per image, for attacks without gradients"
    )
    target: ClassWord | None = Field(None, description=TARGET)

    @property
    def given(self) -> dict[str, Any]:
        """The given parameters of the attack's class, with fractions such as `8/255` as numbers."""
        return {key: _number_or_word(key, value) for key, value in (self.__pydantic_extra__ or {}).items()}

    def passes(self) -> float:
        """Return the product of all given parameters that count repetitions, at most `max_queries`."""
        given = [value for key, value in self.given.items() if key in _REPEATS]
        product = math.prod(min(value, 1e30) for value in given if isinstance(value, int | float) and value > 1)
        return product if self.max_queries is None else min(product, self.max_queries)

    def variants(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield a variant for each source."""
        yield from (Variant(self, source=source) for source in self.source)

    def columns(self, attack: Any, batch: Batch, files: np.ndarray) -> Mapping[str, Sequence[Any]]:
        """Return the target classes of a targeted attack."""
        return {"target_class": find_aims(batch, attack.estimator, self.target).classes} if attack.targeted else {}

    def check_target(self, names: Sequence[str]) -> None:
        """Raise ArtattackError for a target that a source does not have."""
        check_class(self.target, names)

    def labels(self, seen: np.ndarray) -> np.ndarray | None:
        """Return the labels (N,) of an untargeted attack, or None for an attack that queries its source itself.

        Args:
            seen: the source's predictions (N,), as outputs.
        """
        return None

    def rounded(self, batch: Batch, made: np.ndarray, seen: np.ndarray, goals: np.ndarray | None, attack: Any) -> Files:
        """Return images (N, H, W, 3) as files, and the ball they are held to.

        Args:
            batch: the originals.
            made: the attack's float images.
            seen: the source's predictions (N,) for the originals, as outputs.
            goals: the targets (N,), as outputs, or None.
            attack: the result of `make`.
        """
        return round_within(batch.x, made, None), None

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Attack images; the labels are the source's predictions or, for a targeted attack, the targets."""
        logits = attack.estimator.predict(batch.x)
        seen = logits.argmax(1)
        goals: np.ndarray | None = None
        unfit: dict[int, str] = {}
        if attack.targeted:
            goals, _, unfit = find_aims(batch, attack.estimator, self.target, seen)
        labels = self.labels(seen) if goals is None else goals
        made, failed = settled(
            batch.x,
            lambda: attack.generate(batch.x, labels, seeds=batch.seeds, seen=seen),
            batch.variant.source,
            logits,
            unfit,
        )
        files, held_to = self.rounded(batch, made, seen, goals, attack)
        return Perturbed(made, files, held_to, attack.generate.queries, failed)


def _number_or_word(key: str, value: Any) -> Any:
    if isinstance(value, str) and value[:1].isdigit():
        return parse_number(value)
    if key != "norm" and isinstance(value, float) and not math.isfinite(value):
        raise ArtattackError(f"{key}: {value} is not a finite number")
    return value
