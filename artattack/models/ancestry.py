"""Which models are relatives: those of one family, and those that taught one another or share a teacher."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Relation = Literal["seen", "kin", "unrelated"]  # of a classifier to an attack

# Families of architectures, and how the names of their networks begin. MobileNet V2 and V3, EfficientNet and
# EfficientNet-Lite are built of one block, the inverted residual; binary networks count to the float ones whose shape
# they have.
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
    """Return the family of an architecture by its name: `vgg` of `vgg16`, `mobilenet` of `efficientnet_lite0`.

    An architecture that is in no list is of the family that the letters at the beginning of its name say.
    """
    name = architecture.strip().lower().replace("-", "_")
    known = next((family for beginning, family in _BEGINNINGS.items() if name.startswith(beginning)), None)
    letters = re.match(r"[a-z]+", name)
    return known or (letters[0] if letters else name)


def ancestry(names: Iterable[str], teachers: Mapping[str, str]) -> set[str]:
    """Return models with all their teachers, the teachers of those, and so on.

    Args:
        names: models.
        teachers: from the name of a distilled model to that of its teacher.
    """
    found: set[str] = set()
    left = [*names]
    while left:
        name = left.pop()
        if name not in found:  # a circle of teachers ends here
            found.add(name)
            left += [teachers[name]] if name in teachers else []
    return found


@dataclass(frozen=True)
class Kinship:
    """What is known of the descent of models.

    Attributes:
        teachers: from the name of a distilled model to that of its teacher.
        families: from a model's name to that of its family, where it is known.
        weights: from a model's name to the SHA-256 of its weights, which aliases share.
    """

    teachers: Mapping[str, str] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)

    def relation(self, model: str, read: Collection[str]) -> Relation:
        """Return how a model is related to an attack.

        Args:
            model: its name.
            read: the models that the attack read.

        Returns:
            `seen` where the attack read the model, under whatever name; `kin` where the model, or one of its teachers,
            is of the family of a model that was read or of one of its teachers, or they share a teacher; else
            `unrelated`, as far as is known.
        """
        if self._weights_of([model]) & self._weights_of(read) or model in read:
            return "seen"
        related = self.share_ancestor([model], read) or self._families_of([model]) & self._families_of(read)
        return "kin" if related else "unrelated"

    def share_ancestor(self, some: Iterable[str], others: Iterable[str]) -> bool:
        """Whether any of some models is one of others, or both descend from one model through any number of teachers.

        A network that was distilled from another sees as that does, and so do two that were distilled from one.
        """
        sides = [ancestry(names, self.teachers) for names in (some, others)]
        return bool(sides[0] & sides[1] or self._weights_of(sides[0]) & self._weights_of(sides[1]))

    def _families_of(self, names: Iterable[str]) -> set[str]:
        """Return the families of models and of their teachers."""
        ancestors = ancestry(names, self.teachers)
        return {self.families[name] for name in ancestors if self.families.get(name)}

    def _weights_of(self, names: Iterable[str]) -> set[str]:
        return {self.weights[name] for name in names if name in self.weights}
