"""Bounds: a distance with a value, such as `l2=5`, used as ball, budget or target; and parsing of users' numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

import numpy as np

from artattack.distances import BALLS, DISTANCES
from artattack.errors import ArtattackError, unknown
from artattack.inputs.images import as_measured

ROUNDING = 1e-9  # rounding error of float64 sums; an 8-bit step is four million times as large


class Bound(NamedTuple):
    """A bound on a distance: a ball around each image or, for a similarity such as `ssim`, a lower limit.

    Attributes:
        distance: a name in `artattack.distances.DISTANCES`.
        value: the bound, in the distance's unit.
    """

    distance: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `l2=5` or `linf=8/255`; raise ArtattackError for other text. `checked` rejects unknown distances."""
        name, equals, number = text.partition("=")
        if not equals:
            raise ArtattackError(f"'{text}' is no distance; write one such as linf=8/255 or ssim=0.8")
        return cls(name.strip(), parse_number(number.strip()))

    def __str__(self) -> str:
        """Return the bound as text for `parse`."""
        return f"{self.distance}={self.value:g}"

    def checked(self, size: tuple[int, int] | None = None) -> Self:
        """Return the bound after checking it.

        Args:
            size: height and width of the images in pixels, if known.

        Raises:
            ArtattackError: the distance does not exist, or the value is out of range or beyond the largest distance of
                two images of that size.
        """
        name, target = self
        if name not in DISTANCES:
            raise unknown("distance", name, DISTANCES)
        if DISTANCES[name].untouched == 1:
            if not 0 < target < 1:
                raise ArtattackError(f"{self}: a similarity lies between 0 and 1, and 1 is an untouched image")
        elif not 0 < target < math.inf:
            raise ArtattackError(f"{self}: a distance is a finite number above 0")
        elif name == "linf" and target > 1:
            raise ArtattackError(f"{self}: values lie in [0, 1], and so does a distance{_of_levels(target)}")
        farthest = DISTANCES[name].farthest
        if size and farthest and target > (most := farthest(3 * math.prod(size))):
            raise ArtattackError(
                f"{self}: two images of {size[0]} x {size[1]} px with values in [0, 1] are at most {most:.4g} "
                f"apart{_of_levels(target)}"
            )
        return self

    def as_ball(self, otherwise: str = "") -> Self:
        """Return the bound after checking that attacks can project images into it at every step.

        Args:
            otherwise: what else serves a distance without balls, for the error's end.

        Raises:
            ArtattackError: its distance has no balls, or as in `checked`.
        """
        if self.distance not in BALLS:
            raise ArtattackError(f"{self}: no ball; give one in {', '.join(BALLS)}{otherwise}")
        return self.checked()

    def equals(self, other: Bound | None) -> bool:
        """Return whether another bound is equal up to rounding."""
        return (
            other is not None
            and self.distance == other.distance
            and math.isclose(self.value, other.value, rel_tol=1e-9)
        )

    def as_psnr(self, values: int) -> float:
        """Return the PSNR in dB of images at the edge of an `l2` or `psnr` ball.

        Args:
            values: number of values of an image, H * W * 3.
        """
        return self.value if self.distance == "psnr" else -20.0 * math.log10(self.value / math.sqrt(values))

    def contains(self, x: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """Return whether 8-bit images (N, H, W, 3) are within the bound of their originals, (N,) bool.

        Distances are measured on the images that `as_measured` returns.
        """
        return meets(as_measured(x), as_measured(moved), self.value, self.distance)


def in_words(bounds: Iterable[Bound]) -> str:
    """Return bounds as text, such as `psnr=20, psnr=26`."""
    return ", ".join(map(str, bounds))


def meets(x: np.ndarray, moved: np.ndarray, target: Any, distance: str) -> np.ndarray:
    """Return whether images (N, H, W, 3) from `as_measured` are within a distance of their originals.

    Args:
        x: originals.
        moved: images of the same shape.
        target: maximum distance, one number or (N,); for a similarity, such as `ssim`, a lower bound.
        distance: a name in `artattack.distances.DISTANCES`.

    Returns:
        (N,) bool.
    """
    sign = -1.0 if DISTANCES[distance].is_similarity else 1.0
    found = sign * DISTANCES[distance](x, moved)
    return np.asarray(found <= sign * np.asarray(target, np.float64) + ROUNDING)


def parse_number(text: str) -> float:
    """Parse a finite number, or a quotient of two such as `8/255`.

    Raises:
        ArtattackError: the text is neither.
    """
    numerator, slash, denominator = text.partition("/")
    try:
        number = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if not math.isfinite(number):
        raise ArtattackError(f"'{text}' is not a number; write one such as 0.03, 1e-3 or 8/255")
    return number


def _of_levels(target: float) -> str:
    """Return a hint for a distance that suits values in 0..255."""
    return f"; did you mean {target:g}/255?"
