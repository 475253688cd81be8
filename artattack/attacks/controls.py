"""Controls: perturbations without an adversary, at the distance of an attack, which the attack must beat.

A control moves an image to a given distance, along a path of growing strength or a straight line. A new control is a
function and an entry in `CONTROLS`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from pydantic import Field

from artattack.attacks.budget import match
from artattack.attacks.entries import Batch, Entry, Perturbed, Variant
from artattack.bound import Bound
from artattack.distances import DISTANCES
from artattack.errors import unknown
from artattack.inputs.images import as_measured, quantize, to_float, to_uint8
from artattack.inputs.styles import load_styles
from artattack.validation import DistanceName, Names

_HALVINGS = 10  # of a path; the remaining distance is met on a straight line
_WIDEST = 0.25  # standard deviation of the strongest blur, over the longer side

Line = Callable[[np.ndarray, np.random.Generator, np.ndarray | None], np.ndarray]
Path = Callable[[np.ndarray, float], np.ndarray]


def noise(x: np.ndarray, rng: np.random.Generator, style: np.ndarray | None = None) -> np.ndarray:
    """Add white Gaussian noise to one image (H, W, 3)."""
    return x + rng.standard_normal(x.shape).astype(np.float32)


def colour(x: np.ndarray, rng: np.random.Generator, style: np.ndarray | None = None) -> np.ndarray:
    """Shift each channel of one image (H, W, 3) by its own random amount, the same at every pixel."""
    return x + rng.standard_normal(3).astype(np.float32)


def blend(x: np.ndarray, rng: np.random.Generator, style: np.ndarray | None) -> np.ndarray:
    """Return the style image (H, W, 3), towards which one image moves on a straight line."""
    assert style is not None
    return style


def blur(x: np.ndarray, strength: float) -> np.ndarray:
    """Blur one image (H, W, 3) by a Gaussian; at strength 1, its standard deviation is a quarter of the longer side."""
    from scipy.ndimage import gaussian_filter

    sigma = strength * _WIDEST * max(x.shape[:2])
    return np.asarray(gaussian_filter(x, (sigma, sigma, 0.0)))


def jpeg(x: np.ndarray, strength: float) -> np.ndarray:
    """Compress one image (H, W, 3); strengths 0 to 1 are qualities 100 to 1."""
    file = io.BytesIO()
    Image.fromarray(to_uint8(x)).save(file, "jpeg", quality=round(100 - 99 * strength))
    return to_float(np.asarray(Image.open(file)))


@dataclass(frozen=True)
class Control:
    """One control.

    Attributes:
        line: function from an image, a random generator and a style image to another point of the straight line along
            which the image moves; or None.
        path: function from an image and a strength from 0 to 1 to a point of the image's path; or None.
        of_style: whether the control needs a style, and so copies style attacks only.
    """

    line: Line | None = None
    path: Path | None = None
    of_style: bool = False


CONTROLS: dict[str, Control] = {
    "noise": Control(line=noise),
    "blur": Control(path=blur),
    "jpeg": Control(path=jpeg),
    "colour": Control(line=colour),
    "blend": Control(line=blend, of_style=True),
}


def perturb(
    name: str,
    x: np.ndarray,
    target: np.ndarray,
    seeds: Sequence[int],
    distance: str = "l2",
    style: np.ndarray | None = None,
) -> np.ndarray:
    """Perturb each image by a control until it reaches its target distance.

    Between two strengths of a path, and beyond the strongest, images move on a straight line.

    Args:
        name: a name in `CONTROLS`.
        x: originals (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        target: target distances (N,), in the distance's unit.
        seeds: a seed for each image, so that an image's noise does not depend on its batch.
        distance: a name in `artattack.distances.DISTANCES`.
        style: style image for `blend`, (H, W, 3) in [0, 1].

    Returns:
        (N, H, W, 3) float32 on the 8-bit grid.

    Raises:
        ArtattackError: no such control or distance.
    """
    if name not in CONTROLS:
        raise unknown("control", name, CONTROLS)
    line, path = CONTROLS[name].line, CONTROLS[name].path
    if line is not None:
        moved = [line(image, np.random.default_rng(seed), style) for image, seed in zip(x, seeds, strict=True)]
    else:
        assert path is not None
        moved = [_just_beyond(path, x[i], target[i], distance) for i in range(len(x))]
    return match(x, np.stack(moved), target, distance, beyond=True)


def _just_beyond(path: Path, x: np.ndarray, target: float, distance: str) -> np.ndarray:
    """Return the weakest image of a path beyond the target, found by bisection; without one, the strongest."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if Bound(distance, target).contains(x[None], quantize(path(x, middle))[None])[0]:
            low = middle
        else:
            high = middle
    return path(x, high)


class CopyEntry(Entry):
    """Entry whose perturbations copy the distances of other entries, image by image."""

    kind: ClassVar[str] = "control"
    reads_in_words: ClassVar[str] = "only a distance"
    copies_others: ClassVar[bool] = True

    like: Names | None = Field(
        None, description="entries whose distance the control copies; default: every possible one"
    )
    distance: DistanceName = Field("l2", description="distance to copy")

    @property
    def of_style(self) -> bool:
        """Whether the entry needs a style, and so copies style attacks only."""
        return False

    @property
    def parameters(self) -> dict[str, Any]:
        """The copied distance."""
        return {"distance": self.distance}

    def check_beside(self, others: Sequence[Entry]) -> None:
        """Raise ValueError if the entry can copy the distance of no attack of the file, or not of one in `like`."""
        names = [entry.name for entry in others if not entry.copies_others and (not self.of_style or _styled(entry))]
        for name in self.like or ():
            if name not in names:
                raise ValueError(f"'{self.name}' is like '{name}', which is not one of {', '.join(names) or '(none)'}")
        if not names:
            raise ValueError(f"'{self.name}' needs an attack whose distance it copies, and the file has none")

    def copied(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield the attacks whose distance the entry copies."""
        for other in attacks:
            if other.entry.name in (self.like or [other.entry.name]) and (other.style or not self.of_style):
                yield other

    def wanted(self, batch: Batch) -> np.ndarray:
        """Return the distances (N,) to copy."""
        assert batch.variant.matched is not None
        return np.asarray(
            DISTANCES[self.distance](as_measured(batch.x), as_measured(batch.images_of(batch.variant.matched)))
        )


class ControlEntry(CopyEntry):
    """A perturbation without an adversary."""

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return the names of the controls."""
        return tuple(CONTROLS)

    @property
    def of_style(self) -> bool:
        """Whether the control needs a style."""
        return CONTROLS[self.attack].of_style

    def variants(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield a variant for each attack whose distance the control copies."""
        for other in self.copied(attacks):
            yield Variant(self, other.style if self.of_style else "", matched=other)

    def at_budget(self, variant: Variant, budget: Bound) -> Variant:
        """Return the variant at a budget, where it copies no attack's distance."""
        return replace(variant, matched=None, budget=budget)

    def starts_from(self, variant: Variant) -> Variant | None:
        """Return the attack whose distance the control copies."""
        return variant.matched

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Move images to the copied distances."""
        return self._moved(batch, self.wanted(batch), self.distance)

    def perturb_to_budget(self, attack: Any, batch: Batch, budget: Bound) -> Perturbed:
        """Move images to the budget."""
        return self._moved(batch, np.full(len(batch.x), budget.value), budget.distance)._replace(held_to=budget)

    def _moved(self, batch: Batch, target: np.ndarray, distance: str) -> Perturbed:
        height, width = batch.x.shape[1:3]
        style = load_styles(batch.variant.style, (height, width)).mean(0) if self.of_style else None
        files = perturb(self.attack, batch.x, target, batch.seeds, distance, style)
        return Perturbed(files, files)


def _styled(entry: Entry) -> bool:
    return bool(entry.styles())
