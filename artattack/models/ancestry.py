"""Kinship of models: one family of architectures, teacher and student, or a shared teacher."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Relation = Literal["seen", "kin", "unrelated"]  # of a classifier to an attack

# Families of architectures, with the beginnings of their networks' names. MobileNet V2 and V3, EfficientNet and
# EfficientNet-Lite share one block, the inverted residual. A binary network belongs to the family of the float network
# whose architecture it has.
_FAMILIES = {
    "alexnet": ("alexnet", "binary_alexnet", "dorefanet", "xnornet"),
    "densenet": ("densenet",),
    "inception": ("inception", "xception", "googlenet"),
    "meliusnet": ("meliusnet",),
    "mobilenet": ("mobilenet", "efficientnet", "tf_efficientnet"),
    "quicknet": ("quicknet",),
    "resnet": ("resnet", "resnext", "wide_resnet", "birealnet", "r2b", "strong_baseline"),
    "vgg": ("vgg",),
}
_BEGINNINGS = {beginning: family for family, beginnings in _FAMILIES.items() for beginning in beginnings}


def family_of(architecture: str) -> str:
    """Return the family of an architecture by its name: `vgg` for `vgg16`, `mobilenet` for `efficientnet_lite0`.

    The family of an unlisted architecture is the run of letters at the beginning of its name.
    """
    name = architecture.strip().lower().replace("-", "_")
    known = next((family for beginning, family in _BEGINNINGS.items() if name.startswith(beginning)), None)
    letters = re.match(r"[a-z]+", name)
    return known or (letters[0] if letters else name)


def ancestry(names: Iterable[str], teachers: Mapping[str, str]) -> set[str]:
    """Return models with all their teachers, the teachers of those, and so on.

    Args:
        names: names of the models.
        teachers: map from the name of a distilled model to its teacher's.
    """
    found: set[str] = set()
    left = [*names]
    while left:
        name = left.pop()
        if name not in found:  # stops at a circle of teachers
            found.add(name)
            left += [teachers[name]] if name in teachers else []
    return found


@dataclass(frozen=True)
class Kinship:
    """The known teachers, families and weights of models, which tell relatives apart from unrelated models.

    Attributes:
        teachers: map from the name of a distilled model to its teacher's.
        families: map from a model's name to its family, for models of known family.
        weights: map from a model's name to the SHA-256 of its weights and defences, equal for two names of one model.
        networks: map from a model's name to the SHA-256 of its weights without its defences.
    """

    teachers: Mapping[str, str] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)

    def relation(self, model: str, read: Collection[str]) -> Relation:
        """Return the relation of a model to an attack.

        Args:
            model: name of the model.
            read: names of the models that the attack read.

        Returns:
            `seen` if the attack read the model, under this or another name. `kin` if the model and a model that the
            attack read share an ancestor (see `share_ancestor`), or if they or their teachers share a family.
            Otherwise `unrelated`, as far as is known.
        """
        if _of([model], self.weights) & _of(read, self.weights) or model in read:
            return "seen"
        related = self.share_ancestor([model], read) or self._families_of([model]) & self._families_of(read)
        return "kin" if related else "unrelated"

    def share_ancestor(self, some: Iterable[str], others: Iterable[str]) -> bool:
        """Whether two groups of models share a model, or descend from one model through any number of teachers.

        A distilled network behaves like its teacher, and so do two networks distilled from one teacher. A network
        behind defences counts as that network.
        """
        sides = [ancestry(names, self.teachers) for names in (some, others)]
        networks = {**self.weights, **self.networks}
        return bool(sides[0] & sides[1] or _of(sides[0], networks) & _of(sides[1], networks))

    def _families_of(self, names: Iterable[str]) -> set[str]:
        """Return the known families of models and of all their teachers."""
        ancestors = ancestry(names, self.teachers)
        return {self.families[name] for name in ancestors if self.families.get(name)}


def _of(names: Iterable[str], hashes: Mapping[str, str]) -> set[str]:
    return {hashes[name] for name in names if name in hashes}
