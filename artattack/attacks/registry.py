"""All kinds of entries that a benchmark file can hold. A new attack has its module, and its line here."""

from __future__ import annotations

from artattack.attacks.baseline_entry import BaselineEntry
from artattack.attacks.controls import ControlEntry
from artattack.attacks.entries import Entry
from artattack.attacks.momentum_entry import MomentumEntry
from artattack.attacks.random_backbone import RandomBackboneEntry
from artattack.attacks.style_entry import StyleEntry

ENTRIES: tuple[type[Entry], ...] = (StyleEntry, MomentumEntry, ControlEntry, RandomBackboneEntry, BaselineEntry)


def own_attacks() -> dict[str, type[Entry]]:
    """Return the attacks and controls of our own, by name, with the kind of entry of each."""
    return {name: entry for entry in ENTRIES if entry is not BaselineEntry for name in entry.attacks()}


def entry_of(attack: str) -> type[Entry]:
    """Return the kind of entry that a word for `attack` stands for: ART's where it is none of our own."""
    return next((entry for entry in ENTRIES if attack in entry.attacks()), BaselineEntry)
