"""All kinds of entries that a benchmark file can hold. A new attack adds its module, and a line here."""

from __future__ import annotations

from artattack.attacks.baseline_entry import BaselineEntry
from artattack.attacks.controls import ControlEntry
from artattack.attacks.entries import Entry
from artattack.attacks.momentum_entry import MomentumEntry
from artattack.attacks.random_backbone import RandomBackboneEntry
from artattack.attacks.style_entry import StyleEntry

ENTRIES: tuple[type[Entry], ...] = (StyleEntry, MomentumEntry, ControlEntry, RandomBackboneEntry, BaselineEntry)


def own_attacks() -> dict[str, type[Entry]]:
    """Return artattack's own attacks and controls: from each name to its kind of entry."""
    return {name: entry for entry in ENTRIES if entry is not BaselineEntry for name in entry.attacks()}


def entry_of(attack: str) -> type[Entry]:
    """Return the kind of entry for a value of `attack`: ART's, unless the value names one of artattack's own."""
    return next((entry for entry in ENTRIES if attack in entry.attacks()), BaselineEntry)
