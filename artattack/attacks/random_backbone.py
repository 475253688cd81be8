"""Control for the backbone's training: the same style attack through an untrained network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from artattack.attacks.budget import match
from artattack.attacks.controls import CopyEntry
from artattack.attacks.entries import Batch, Models, Perturbed, Reading, Variant
from artattack.attacks.style_entry import StyleEntry
from artattack.bound import Bound


class RandomBackboneEntry(CopyEntry):
    """A style attack through its backbone with random weights, scaled to the trained attack's distance."""

    one_seed: ClassVar[bool] = True

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return its name."""
        return ("random-backbone",)

    @property
    def of_style(self) -> bool:
        """True: the entry copies style attacks only."""
        return True

    def variants(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield a variant for each style attack whose distance the entry copies."""
        for other in self.copied(attacks):
            if isinstance(other.entry, StyleEntry):
                yield Variant(self, other.style, other.source, other)

    def passes_of(self, variant: Variant) -> float:
        """Return the number of steps of the style attack; 0 if it only moves finished images to a budget."""
        return _style_entry(variant).passes_of(variant)

    def starts_from(self, variant: Variant) -> Variant | None:
        """Return the attack whose distance is copied or, at a budget, the counterpart of the style attack's start."""
        if variant.budget is None:
            return variant.matched
        return variant.free if _style_entry(variant).starts_from(variant) else None

    def reads(self, variant: Variant) -> tuple[Reading, ...]:
        """Return the backbone, untrained, and the guides."""
        backbone, *guides = _style_entry(variant).reads(variant)
        return backbone._replace(untrained=True), *guides

    def make(self, variant: Variant, models: Models) -> Any:
        """Make the style attack, which returns its last iterate: the loss may be lowest at the original."""
        entry = _style_entry(variant)
        return entry.attack_through(models.untrained(variant.source), variant, models, keep="last")

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Paint images, and move them to the copied distances."""
        target = self.wanted(batch)
        made = _style_entry(batch.variant).perturb_freely(attack, batch)
        still = np.flatnonzero((made.files == batch.x).all((1, 2, 3)) & (target > 0))
        failed = {int(i): "the untrained backbone did not move the image at all" for i in still} | dict(made.failed)
        files = match(batch.x, made.files, target, self.distance, beyond=True)
        return Perturbed(files, files, failed=failed)

    def perturb_to_budget(self, attack: Any, batch: Batch, budget: Bound) -> Perturbed:
        """Paint images as the style attack does at the budget, and move them to the budget."""
        failed: Mapping[int, str] = {}
        if self.starts_from(batch.variant):
            painted = batch.images_of(batch.variant.free)
        else:
            made = _style_entry(batch.variant).perturb_within(attack, batch, budget)
            painted, failed = made.files, made.failed
        files = match(batch.x, painted, budget.value, budget.distance, beyond=True)
        return Perturbed(files, files, budget, failed=failed)


def _style_entry(variant: Variant) -> StyleEntry:
    assert variant.matched is not None
    assert isinstance(variant.matched.entry, StyleEntry)
    return variant.matched.entry
