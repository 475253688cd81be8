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

    Its labels `y` are one-hot (N, K): the classes that the source sees or, where the attack's `targeted` is True, the
    classes that images are led to.
    """

    eps_norm: DistanceName | None = Field(
        None,
        description="distance whose radius the attack's parameter `eps` is: files keep it, and at budgets of that "
        "distance the attack is made anew",
    )
    batched: bool = Field(
        False,
        description="whether the attack gets a batch at once, not image by image: for attacks that draw nothing at "
        "random, and in which images do not touch one another",
    )
    _class: type = PrivateAttr()

    @model_validator(mode="after")
    def _found(self, info: ValidationInfo) -> Self:
        context = info.context or {}
        self._class = find_attack(self.attack, context.get("attacks", {}), context.get("base"))
        return self

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return no word: any class can be named."""
        return ()

    @property
    def code(self) -> type:
        """The attack's class."""
        return self._class

    @property
    def parameters(self) -> dict[str, Any]:
        """The attack's parameters as they are given, and the entry's own options."""
        ours = {"eps_norm": self.eps_norm, "max_queries": self.max_queries, "target": self.target}
        batched = {"batched": True} if self.batched else {}
        return self.given | batched | {key: value for key, value in ours.items() if value is not None}

    @property
    def given(self) -> dict[str, Any]:
        """The attack's parameters as the file gives them; `targeted` follows from a target."""
        return ({"targeted": True} if self.target is not None else {}) | super().given

    @property
    def own_ball(self) -> Bound | None:
        """The ball whose radius is `eps`, if the file says what `eps` measures."""
        eps = self.given.get("eps", parameters_of(self._class)[0].get("eps"))
        if self.eps_norm is None or isinstance(eps, bool) or not isinstance(eps, int | float):
            return None
        return Bound(self.eps_norm, float(eps))

    @property
    def aims(self) -> bool:
        """Whether it is targeted."""
        return bool(self.given.get("targeted"))

    @property
    def _info(self) -> BaselineInfo:
        """How the attack is run: it asks only for logits unless ART's contract says that it needs gradients."""
        reads: Literal["gradients", "logits"] = "gradients" if source_gives(self._class) == "gradients" else "logits"
        return BaselineInfo(self.name, self._class.__name__, reads, together="apart" if self.batched else "one by one")

    def reads(self, variant: Variant) -> tuple[Reading, ...]:
        """Return the source, for what the attack's class requires of an estimator."""
        return (Reading(variant.source, source_gives(self._class)),)

    def check(self) -> None:
        """Find parameters that the class does not have, and those that it lacks."""
        from artattack.attacks.baselines import check_max_queries

        check_max_queries(self._info, self.max_queries)
        named, others = parameters_of(self._class)
        own = set(type(self).model_fields)
        for key in self.given:
            if key not in named and not others:
                if key == "targeted" and self.target is not None:
                    raise ArtattackError(f"target: attack '{self.name}' leads to no chosen class; leave it out")
                raise unknown(f"parameter of attack '{self.name}'", key, (*named, *own))
        for key, default in named.items():
            if default is inspect.Parameter.empty and key not in self.given:
                why = f": but '{key}' is a key of benchmark files, so the class has to give it a default"
                raise ArtattackError(f"attack '{self.name}' needs its parameter '{key}'{why if key in own else ''}")
        if self.given.get("targeted", True) is not True and self.target is not None:
            raise ArtattackError("target: says where images are led to, but `targeted` is false")
        if self.eps_norm and self.own_ball is None:
            raise ArtattackError(f"eps_norm: attack '{self.name}' has no number `eps`, neither given nor by default")

    def distances(self) -> Iterator[tuple[str, Bound]]:
        """Yield the radius of the ball."""
        if self.own_ball:
            yield "eps", self.own_ball

    def made_within(self, distance: str) -> bool:
        """Whether `eps` is a radius in that distance."""
        return distance == self.eps_norm

    def make(self, variant: Variant, models: Models) -> Any:
        """Make the attack."""
        estimator = models.estimator(variant.source)
        check_target(self.target, estimator)
        return self._made(estimator, {})

    def labels(self, seen: np.ndarray) -> np.ndarray:
        """Return the classes that the source sees."""
        return seen

    def rounded(self, batch: Batch, made: np.ndarray, seen: np.ndarray, goals: np.ndarray | None, attack: Any) -> Files:
        """Return files inside the ball whose radius is the attack's `eps`."""
        return round_within(batch.x, made, attack.held_to), attack.held_to

    def perturb_within(self, attack: Any, batch: Batch, ball: Bound) -> Perturbed:
        """Attack images with the ball's radius as `eps`; a step given with an `eps` keeps its share of it."""
        eps, step = self.given.get("eps"), self.given.get("eps_step")
        scaled = {"eps_step": step / eps * ball.value} if step is not None and eps else {}
        return self.perturb_freely(self._made(attack.estimator, {"eps": ball.value} | scaled, ball), batch)

    def _made(self, estimator: Any, changed: dict[str, Any], ball: Bound | None = None) -> Any:
        from artattack.attacks.baselines import make_imported

        made = make_imported(self._class, self._info, estimator, self.given | changed, self.max_queries)
        made.held_to = ball or self.own_ball
        return made
