"""Budgets met after an attack: back or on along the line from an image to its moved version."""

from __future__ import annotations

import numpy as np

from artattack.distances import DISTANCES
from artattack.errors import unknown
from artattack.inputs.images import as_measured, to_float, to_uint8

_HALVINGS = 24  # of an interval of factors: finer than the 8-bit grid can show
_DOUBLINGS = 16
_ROUNDING = 1e-9  # of float64 sums; an 8-bit step is four million times as large


def match(
    x: np.ndarray,
    moved: np.ndarray,
    target: np.ndarray | float,
    distance: str = "l2",
    *,
    beyond: bool = False,
) -> np.ndarray:
    """Move along the line from each image to its moved version until a distance is met, by bisection.

    Results lie on the 8-bit grid, clipped to [0, 1], and their distances are measured there, so that the PNG
    a user receives keeps the budget.

    Args:
        x: originals (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        moved: the same shape, any values: x + direction.
        target: wanted distance, one for all or (N,), in the distance's own unit.
        distance: a name in `artattack.distances.DISTANCES`.
        beyond: whether to go past `moved` where it lies nearer than the target.

    Returns:
        (N, H, W, 3) float32: the farthest images found on the lines whose distance does not exceed the target.

    Raises:
        ArtattackError: no such distance.
    """
    if distance not in DISTANCES:
        raise unknown("distance", distance, DISTANCES)
    x = np.asarray(x, np.float32)
    direction = np.asarray(moved, np.float32) - x
    originals, targets = as_measured(x), np.broadcast_to(np.asarray(target, np.float64), len(x))

    def at(factor: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return to_uint8(x[rows] + factor[rows, None, None, None].astype(np.float32) * direction[rows])

    def ok(factor: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return _meets(originals[rows], at(factor, rows) / 255.0, targets[rows], distance)

    every = np.arange(len(x))
    low, high = np.zeros(len(x)), np.ones(len(x))
    for _ in range(_DOUBLINGS if beyond else 0):
        high = np.where(ok(high, every), 2.0 * high, high)
    low = np.where(ok(high, every), high, low)
    rows = np.flatnonzero(low < high)  # elsewhere the whole line lies within: nothing to search
    for _ in range(_HALVINGS if len(rows) else 0):
        middle = (low + high) / 2.0
        near = ok(middle, rows)
        low[rows[near]] = middle[rows[near]]
        high[rows[~near]] = middle[rows[~near]]
    return to_float(at(low, every))


def within(x: np.ndarray, moved: np.ndarray, target: np.ndarray | float, distance: str) -> np.ndarray:
    """Return whether 8-bit images (N, H, W, 3) are no farther from originals than a target, one for all or (N,).

    For a similarity, such as `ssim`, no less alike. Compared is what `as_measured` gives.

    Returns:
        (N,) bool.
    """
    return _meets(as_measured(x), as_measured(moved), target, distance)


def _meets(x: np.ndarray, moved: np.ndarray, target: np.ndarray | float, distance: str) -> np.ndarray:
    """Do the same with images `as_measured`."""
    sign = -1.0 if DISTANCES[distance].is_similarity else 1.0
    found = sign * DISTANCES[distance](x, moved)
    return np.asarray(found <= sign * np.asarray(target, np.float64) + _ROUNDING)
