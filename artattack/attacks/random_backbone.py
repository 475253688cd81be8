"""Control for what a backbone has learnt: the same style attack through an untrained network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from artattack.attacks.budget import match
from artattack.attacks.controls import CopyEntry
from artattack.attacks.entries import Ball, Batch, Models, Perturbed, Variant
from artattack.attacks.style_entry import StyleEntry


class RandomBackboneEntry(CopyEntry):
    """A style attack through its backbone with random weights, scaled to the trained attack's distance."""

    untrained: ClassVar[bool] = True
    one_seed: ClassVar[bool] = True

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return its one word."""
        return ("random-backbone",)

    @property
    def of_style(self) -> bool:
        """It copies style attacks."""
        return True

    def variants(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield one for each style attack whose distance it copies."""
        yield from (Variant(self, other.style, other.source, other) for other in self.copied(attacks))

    def passes_of(self, variant: Variant) -> float:
        """Return the steps of the style attack; none where images that are there are moved to a budget."""
        return _style_entry(variant).passes_of(variant)

    def starts_from(self, variant: Variant) -> Variant | None:
        """Return the attack whose distance is copied or, at a budget, the like of what the style attack starts from."""
        if variant.budget is None:
            return variant.matched
        return variant.free if _style_entry(variant).starts_from(variant) else None

    def models_of(self, variant: Variant) -> tuple[str, ...]:
        """Return the guides; the backbone is read without what it has learnt."""
        return _style_entry(variant).guide or ()

    def make(self, variant: Variant, models: Models) -> Any:
        """Make the style attack; its loss may be least at the original, so the last iterate counts, not the best."""
        entry = _style_entry(variant)
        return entry.attack_through(models.untrained(variant.source), variant, models, keep="last")

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Paint images, and move them as far as those whose distance is copied."""
        target = self.wanted(batch)
        made = _style_entry(batch.variant).perturb_freely(attack, batch)
        still = np.flatnonzero((made.files == batch.x).all((1, 2, 3)) & (target > 0))
        failed = {int(i): "the untrained backbone did not move the image at all" for i in still} | dict(made.failed)
        files = match(batch.x, made.files, target, self.distance, beyond=True)
        return Perturbed(files, files, failed=failed)

    def perturb_to_budget(self, attack: Any, batch: Batch, budget: Ball) -> Perturbed:
        """Paint images as the style attack does at the budget, and move them as far as it goes."""
        failed: Mapping[int, str] = {}
        if self.starts_from(batch.variant):
            painted = batch.images_of(batch.variant.free)
        else:
            made = _style_entry(batch.variant).perturb_within(attack, batch, budget)
            painted, failed = made.files, made.failed
        files = match(batch.x, painted, budget[1], budget[0], beyond=True)
        return Perturbed(files, files, budget, failed=failed)


def _style_entry(variant: Variant) -> StyleEntry:
    assert variant.matched is not None
    assert isinstance(variant.matched.entry, StyleEntry)
    return variant.matched.entry
