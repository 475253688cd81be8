"""ART's attacks in a benchmark file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydantic import field_validator

from artattack.attacks.aims import check_target
from artattack.attacks.art_attacks import BaselineInfo, baseline_info, baseline_infos
from artattack.attacks.art_entry import ArtEntry, Files
from artattack.attacks.art_parameters import (
    ball,
    can_be_targeted,
    default_step,
    distances,
    read_parameters,
    with_budget,
)
from artattack.attacks.entries import Batch, Models, Perturbed, Reading, Variant
from artattack.attacks.options import doubt_of_step
from artattack.attacks.rounding import round_within, walk_to_flip
from artattack.bound import Bound
from artattack.errors import ArtattackError


class BaselineEntry(ArtEntry):
    """One of ART's evasion attacks, with ART's own parameter names: one variant for each source."""

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
        step = default_step(self._info, self.given)
        steps = {} if step is None else {"eps_step": step}
        return steps | self.given | {key: value for key, value in ours.items() if value is not None}

    @property
    def _info(self) -> BaselineInfo:
        return baseline_info(self.attack)

    @property
    def given(self) -> dict[str, Any]:
        """The given parameters of ART's class; `targeted` follows from a target."""
        aims = self.target is not None and not self._info.always_targeted
        return ({"targeted": True} if aims else {}) | super().given

    @property
    def own_ball(self) -> Bound | None:
        """The ball that ART's class stays in, if any."""
        return ball(self._info, self.given)

    @property
    def aims(self) -> bool:
        """Whether the attack is targeted."""
        return self._info.always_targeted or bool(self.given.get("targeted"))

    def reads(self, variant: Variant) -> tuple[Reading, ...]:
        """Return the source, for its gradients or its logits; decisions follow from logits."""
        return (Reading(variant.source, "gradients" if self._info.reads == "gradients" else "logits"),)

    def check(self) -> None:
        """Raise ArtattackError for invalid numbers, unknown parameters and missing packages."""
        from artattack.attacks.baselines import check_max_queries

        check_max_queries(self._info, self.max_queries)
        given = self.given
        if self.target is not None:
            if not can_be_targeted(self._info):
                raise ArtattackError(f"target: attack '{self._info.name}' cannot be targeted; leave it out")
            if given.get("targeted", True) is not True:
                raise ArtattackError("target: `targeted` is false; set it to true, or leave out target")
        read_parameters(self._info, given, beside=type(self).model_fields)

    def distances(self) -> Iterator[tuple[str, Bound]]:
        """Yield the distances among ART's parameters."""
        yield from distances(self._info, read_parameters(self._info, self.given))

    def doubts(self) -> Iterator[str]:
        """Yield a warning if the step exceeds the radius."""
        ball, step = self.own_ball, self.given.get("eps_step")
        default = default_step(self._info, self.given)
        if ball and default is not None and isinstance(step, int | float):
            # In their papers, attacks that shorten their steps begin with twice the radius.
            radius = 2 * ball.value if self._info.shortens else ball.value
            if doubt := doubt_of_step(step, radius):
                yield f"attack '{self.name}': {doubt}"

    def made_within(self, distance: str) -> bool:
        """Whether ART's class has a ball in that distance."""
        return distance in self._info.norms

    def make(self, variant: Variant, models: Models) -> Any:
        """Make the attack."""
        from artattack.attacks.baselines import make_baseline

        estimator = models.estimator(variant.source)
        check_target(self.target, estimator)
        return make_baseline(self.attack, estimator, self.given, max_queries=self.max_queries)

    def rounded(self, batch: Batch, made: np.ndarray, seen: np.ndarray, goals: np.ndarray | None, attack: Any) -> Files:
        """Return files inside the attack's ball or, of a minimum-norm attack, files that flip as its images did."""
        from artattack.attacks.baselines import bounded_by

        if not self._info.minimum_norm:
            held_to = bounded_by(attack)
            return round_within(batch.x, made, held_to), held_to

        def flips(images: np.ndarray) -> np.ndarray:
            answers = attack.estimator.predict(images)
            now = answers.argmax(1)
            there = now != seen if goals is None else now == goals
            return np.asarray(there & np.isfinite(answers).all(1))

        return walk_to_flip(batch.x, made, flips), None

    def perturb_within(self, attack: Any, batch: Batch, ball: Bound) -> Perturbed:
        """Attack images within a ball."""
        from artattack.attacks.baselines import make_baseline

        parameters = with_budget(self._info, self.given, *ball)
        made = make_baseline(self.attack, attack.estimator, parameters, max_queries=self.max_queries)
        return self.perturb_freely(made, batch)

    def perturb_to_budget(self, attack: Any, batch: Batch, budget: Bound) -> Perturbed:
        """Return images at a budget; a minimum-norm attack keeps its images that lie within it."""
        if not self._info.minimum_norm:
            return super().perturb_to_budget(attack, batch, budget)
        # A minimum-norm attack has one distance for each image: below it the attack fails, beyond it nothing changes.
        found = batch.images_of(batch.variant.free)
        near = budget.contains(batch.x, found)[:, None, None, None]
        files = np.where(near, found, batch.x)
        return Perturbed(files, files, budget)
