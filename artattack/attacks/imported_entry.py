"""Attacks from other packages in a benchmark file."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from artattack.attacks.aims import check_target
from artattack.attacks.art_attacks import BaselineInfo
from artattack.attacks.art_entry import ArtEntry, Files
from artattack.attacks.entries import Batch, Models, Perturbed, Reading, Variant
from artattack.attacks.imported import find_attack, parameters_of, source_gives
from artattack.attacks.rounding import round_within
from artattack.bound import Bound
from artattack.errors import ArtattackError, unknown
from artattack.validation import DistanceName


class ImportedEntry(ArtEntry):
    """An attack from another package, with its own parameter names: one variant for each source.

    The attack's labels `y` are one-hot (N, K): the classes that the source predicts or, if `targeted` is True, the
    target classes.
    """

    eps_norm: DistanceName | None = Field(
        None,
        description="distance that the attack's parameter `eps` bounds: files keep the bound, and at budgets of that "
        "distance the attack runs with the budget as `eps`",
    )
    batched: bool = Field(
        False,
        description="whether the attack gets a whole batch instead of single images: only for attacks without random "
        "draws, and whose images do not affect each other",
    )
    _class: type = PrivateAttr()

    @model_validator(mode="after")
    def _found(self, info: ValidationInfo) -> Self:
        context = info.context or {}
        self._class = find_attack(self.attack, context.get("attacks", {}), context.get("base"))
        return self

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return no names, since any class can be named."""
        return ()

    @property
    def code(self) -> type:
        """The attack's class."""
        return self._class

    @property
    def parameters(self) -> dict[str, Any]:
        """The given parameters of the attack, and the entry's own options."""
        ours = {"eps_norm": self.eps_norm, "max_queries": self.max_queries, "target": self.target}
        batched = {"batched": True} if self.batched else {}
        return self.given | batched | {key: value for key, value in ours.items() if value is not None}

    @property
    def given(self) -> dict[str, Any]:
        """The attack's parameters from the benchmark file; a target implies `targeted`."""
        return ({"targeted": True} if self.target is not None else {}) | super().given

    @property
    def own_ball(self) -> Bound | None:
        """The ball of radius `eps`, if the benchmark file gives `eps_norm`, or None."""
        eps = self.given.get("eps", parameters_of(self._class)[0].get("eps"))
        if self.eps_norm is None or isinstance(eps, bool) or not isinstance(eps, int | float):
            return None
        return Bound(self.eps_norm, float(eps))

    @property
    def aims(self) -> bool:
        """Whether the attack is targeted."""
        return bool(self.given.get("targeted"))

    @property
    def _info(self) -> BaselineInfo:
        """The attack's description; it needs gradients only if the class's `_estimator_requirements` say so."""
        reads: Literal["gradients", "logits"] = "gradients" if source_gives(self._class) == "gradients" else "logits"
        return BaselineInfo(self.name, self._class.__name__, reads, together="apart" if self.batched else "one by one")

    def reads(self, variant: Variant) -> tuple[Reading, ...]:
        """Return the source, with the outputs that the attack's class requires."""
        return (Reading(variant.source, source_gives(self._class)),)

    def check(self) -> None:
        """Raise ArtattackError for unknown, missing or contradictory parameters."""
        from artattack.attacks.baselines import check_max_queries

        check_max_queries(self._info, self.max_queries)
        named, others = parameters_of(self._class)
        own = set(type(self).model_fields)
        for key in self.given:
            if key not in named and not others:
                if key == "targeted" and self.target is not None:
                    raise ArtattackError(f"target: attack '{self.name}' cannot be targeted; leave it out")
                raise unknown(f"parameter of attack '{self.name}'", key, (*named, *own))
        for key, default in named.items():
            if default is inspect.Parameter.empty and key not in self.given:
                why = f": but '{key}' is a key of benchmark files, so the class must have a default for it"
                raise ArtattackError(f"attack '{self.name}' needs its parameter '{key}'{why if key in own else ''}")
        if self.given.get("targeted", True) is not True and self.target is not None:
            raise ArtattackError("target: `targeted` is false; set it to true, or leave out target")
        if self.eps_norm and self.own_ball is None:
            raise ArtattackError(f"eps_norm: attack '{self.name}' has no number `eps`; give eps, or leave out eps_norm")

    def distances(self) -> Iterator[tuple[str, Bound]]:
        """Yield the radius of the ball as `eps`, if the entry has one."""
        if self.own_ball:
            yield "eps", self.own_ball

    def made_within(self, distance: str) -> bool:
        """Whether `eps` bounds a distance."""
        return distance == self.eps_norm

    def make(self, variant: Variant, models: Models) -> Any:
        """Construct the attack on the estimator of the variant's source."""
        estimator = models.estimator(variant.source)
        check_target(self.target, estimator)
        return self._made(estimator, {})

    def labels(self, seen: np.ndarray) -> np.ndarray:
        """Return the classes that the source predicts."""
        return seen

    def rounded(self, batch: Batch, made: np.ndarray, seen: np.ndarray, goals: np.ndarray | None, attack: Any) -> Files:
        """Return files inside the ball of radius `eps`, and the ball."""
        return round_within(batch.x, made, attack.held_to), attack.held_to

    def perturb_within(self, attack: Any, batch: Batch, ball: Bound) -> Perturbed:
        """Attack images with the ball's radius as `eps`; a given `eps_step` keeps its ratio to a given `eps`."""
        eps, step = self.given.get("eps"), self.given.get("eps_step")
        scaled = {"eps_step": step / eps * ball.value} if step is not None and eps else {}
        return self.perturb_freely(self._made(attack.estimator, {"eps": ball.value} | scaled, ball), batch)

    def _made(self, estimator: Any, changed: dict[str, Any], ball: Bound | None = None) -> Any:
        from artattack.attacks.baselines import make_imported

        made = make_imported(self._class, self._info, estimator, self.given | changed, self.max_queries)
        made.held_to = ball or self.own_ball
        return made
