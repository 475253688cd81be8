"""All kinds of entries that a benchmark file can hold. A new attack adds its class to `ENTRIES`.

Attacks from other packages need no line: `entry_of` finds them by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from artattack.attacks.art_attacks import attack_words
from artattack.attacks.baseline_entry import BaselineEntry
from artattack.attacks.controls import ControlEntry
from artattack.attacks.entries import Entry
from artattack.attacks.imported import find_attack, installed_attacks, is_importable
from artattack.attacks.imported_entry import ImportedEntry
from artattack.attacks.momentum_entry import MomentumEntry
from artattack.attacks.painter_entry import PainterEntry
from artattack.attacks.random_backbone import RandomBackboneEntry
from artattack.attacks.style_entry import StyleEntry
from artattack.errors import nearest

ENTRIES: tuple[type[Entry], ...] = (
    StyleEntry,
    PainterEntry,
    MomentumEntry,
    ControlEntry,
    RandomBackboneEntry,
    BaselineEntry,
)


def own_attacks() -> dict[str, type[Entry]]:
    """Return artattack's own attacks and controls: from each name to its kind of entry."""
    return {name: entry for entry in ENTRIES if entry is not BaselineEntry for name in entry.attacks()}


def is_known(attack: str) -> bool:
    """Return whether a word names one of our attacks or controls, or one of ART's attacks, in upper or lower case."""
    return attack.lower() in {word.lower() for word in (*own_attacks(), *attack_words())}


def entry_of(attack: str, given: Mapping[str, Any], beside: Path | None = None) -> type[Entry]:
    """Return the kind of entry for a value of `attack`; our own names and ART's come first.

    Args:
        attack: the value.
        given: classes of attacks given as Python objects, by name.
        beside: folder to search for modules, as in `artattack.attacks.imported.find_attack`.

    Raises:
        ValueError: the value names no attack, or its module cannot be imported.
    """
    if attack in given or (not is_known(attack) and is_importable(attack)):
        found = find_attack(attack, given, beside)
        return found if issubclass(found, Entry) else ImportedEntry
    if not is_known(attack):
        words = [*own_attacks(), *attack_words(), *installed_attacks(), *given]
        raise ValueError(f"unknown attack '{attack}'{nearest(attack, words)}; `artattack attacks` lists them")
    return next((entry for entry in ENTRIES if attack in entry.attacks()), BaselineEntry)
