"""ART's attacks in a benchmark file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import ConfigDict, Field, PositiveInt, field_validator

from artattack.attacks.aims import TARGET, check_class, check_target, find_aims
from artattack.attacks.art_attacks import BaselineInfo, baseline_info, baseline_infos
from artattack.attacks.art_parameters import (
    ball,
    can_be_targeted,
    default_step,
    distances,
    read_parameters,
    with_budget,
)
from artattack.attacks.budget import within
from artattack.attacks.entries import Ball, Batch, Entry, Models, Perturbed, Variant
from artattack.attacks.failing import settled
from artattack.attacks.options import doubt_of_step
from artattack.attacks.rounding import round_within, walk_to_flip
from artattack.errors import ArtattackError
from artattack.models.classifier import Gives
from artattack.validation import ClassWord, Names, parse_number

# ART's parameters that count repetitions.
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
        None, description="maximum number of queries to the source per image, for attacks without gradients"
    )
    target: ClassWord | None = Field(None, description=TARGET)

    @field_validator("attack")
    @classmethod
    def _known(cls, attack: str) -> str:
        baseline_info(attack)  # raises an error with the reason if the attack does not run here
        return attack

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return the short names of ART's attacks."""
        return tuple(info.name for info in baseline_infos())

    @property
    def parameters(self) -> dict[str, Any]:
        """ART's parameters, including the default step, the query limit and the target."""
        ours = {"max_queries": self.max_queries, "target": self.target}
        step = default_step(self._info, self._of_art)
        steps = {} if step is None else {"eps_step": step}
        return steps | self._of_art | {key: value for key, value in ours.items() if value is not None}

    @property
    def _info(self) -> BaselineInfo:
        return baseline_info(self.attack)

    @property
    def _of_art(self) -> dict[str, Any]:
        """The given parameters of ART's class, with fractions such as `8/255` as numbers."""
        given = {key: _number_or_word(key, value) for key, value in (self.__pydantic_extra__ or {}).items()}
        aims = self.target is not None and not self._info.always_targeted
        return ({"targeted": True} if aims else {}) | given

    @property
    def own_ball(self) -> Ball | None:
        """The ball that ART's class stays in, if any."""
        return ball(self._info, self._of_art)

    @property
    def aims(self) -> bool:
        """Whether the attack is targeted."""
        return self._info.always_targeted or bool(self._of_art.get("targeted"))

    def models(self) -> tuple[str, ...]:
        """Return the sources."""
        return self.source

    def models_asked(self) -> tuple[str, ...]:
        """Return the sources."""
        return self.source

    def needs(self, model: str) -> Gives:
        """Return gradients, or logits, from which decisions follow."""
        return "gradients" if self._info.reads == "gradients" else "logits"

    def passes(self) -> float:
        """Return the product of all parameters that count repetitions; a missing one counts as 1."""
        given = [value for key, value in self._of_art.items() if key in _REPEATS]
        product = math.prod(min(value, 1e30) for value in given if isinstance(value, int | float) and value > 1)
        return product if self.max_queries is None else min(product, self.max_queries)

    def check(self) -> None:
        """Raise ArtattackError for invalid numbers, unknown parameters and missing packages."""
        from artattack.attacks.baselines import check_max_queries

        check_max_queries(self.attack, self.max_queries)
        given = self._of_art
        if self.target is not None:
            if not can_be_targeted(self._info):
                raise ArtattackError(f"target: attack '{self._info.name}' leads to no chosen class; leave it out")
            if given.get("targeted", True) is not True:
                raise ArtattackError("target: says where images are led to, but `targeted` is false")
        read_parameters(self._info, given, beside=type(self).model_fields)

    def check_target(self, names: Sequence[str]) -> None:
        """Raise ArtattackError for a target that a source does not have."""
        check_class(self.target, names)

    def distances(self) -> Iterator[tuple[str, Ball]]:
        """Yield the distances among ART's parameters."""
        yield from distances(self._info, read_parameters(self._info, self._of_art))

    def doubts(self) -> Iterator[str]:
        """Yield a warning if the step exceeds the radius."""
        given, step = self.own_ball, self._of_art.get("eps_step")
        default = default_step(self._info, self._of_art)
        if given and default is not None and isinstance(step, int | float):
            # In their papers, attacks that shorten their steps begin with twice the radius.
            radius = 2 * given[1] if self._info.shortens else given[1]
            if doubt := doubt_of_step(step, radius):
                yield f"attack '{self.name}': {doubt}"

    def variants(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield a variant for each source."""
        yield from (Variant(self, source=source) for source in self.source)

    def made_within(self, distance: str) -> bool:
        """Whether ART's class has a ball in that distance."""
        return distance in self._info.norms

    def make(self, variant: Variant, models: Models) -> Any:
        """Make the attack."""
        from artattack.attacks.baselines import make_baseline

        estimator = models.estimator(variant.source)
        check_target(self.target, estimator)
        return make_baseline(self.attack, estimator, self._of_art, max_queries=self.max_queries)

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Attack images; the labels are the source's predictions or, for a targeted attack, the targets."""
        from artattack.attacks.baselines import bounded_by

        logits = attack.estimator.predict(batch.x)
        seen = logits.argmax(1)
        targets: np.ndarray | None = None
        unfit: dict[int, str] = {}
        if attack.targeted:
            targets, _, unfit = find_aims(batch, attack.estimator, self.target, seen)
        made, failed = settled(
            batch.x,
            lambda: attack.generate(batch.x, targets, seeds=batch.seeds, seen=seen),
            batch.variant.source,
            logits,
            unfit,
        )
        queries = attack.generate.queries
        if self._info.minimum_norm:

            def flips(images: np.ndarray) -> np.ndarray:
                answers = attack.estimator.predict(images)
                now = answers.argmax(1)
                there = now != seen if targets is None else now == targets
                return np.asarray(there & np.isfinite(answers).all(1))

            return Perturbed(made, walk_to_flip(batch.x, made, flips), queries=queries, failed=failed)
        held_to = bounded_by(attack)
        return Perturbed(made, round_within(batch.x, made, held_to), held_to, queries, failed)

    def perturb_within(self, attack: Any, batch: Batch, ball: Ball) -> Perturbed:
        """Attack images within a ball."""
        from artattack.attacks.baselines import make_baseline

        parameters = with_budget(self._info, self._of_art, *ball)
        made = make_baseline(self.attack, attack.estimator, parameters, max_queries=self.max_queries)
        return self.perturb_freely(made, batch)

    def perturb_to_budget(self, attack: Any, batch: Batch, budget: Ball) -> Perturbed:
        """Return images at a budget; a minimum-norm attack keeps its images that lie within it."""
        if not self._info.minimum_norm:
            return super().perturb_to_budget(attack, batch, budget)
        # A minimum-norm attack has one distance for each image: below it the attack fails, beyond it nothing changes.
        found = batch.images_of(batch.variant.free)
        near = within(batch.x, found, budget[1], budget[0])[:, None, None, None]
        files = np.where(near, found, batch.x)
        return Perturbed(files, files, budget)

    def columns(self, attack: Any, batch: Batch, files: np.ndarray) -> Mapping[str, Sequence[Any]]:
        """Return the target classes of a targeted attack."""
        return {"target_class": find_aims(batch, attack.estimator, self.target).classes} if attack.targeted else {}


def _number_or_word(key: str, value: Any) -> Any:
    if isinstance(value, str) and value[:1].isdigit():
        return parse_number(value)
    if key != "norm" and isinstance(value, float) and not math.isfinite(value):
        raise ArtattackError(f"{key}: {value} is not a finite number")
    return value
