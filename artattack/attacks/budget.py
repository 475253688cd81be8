"""Budgets: how far an image may move, and moving it exactly so far."""

from __future__ import annotations

import numpy as np

from artattack.distances import DISTANCES
from artattack.errors import unknown
from artattack.images import quantize

_SIMILARITIES = frozenset({"ssim", "psnr"})  # fall as images move apart
_HALVINGS = 24  # of an interval of factors: finer than the 8-bit grid can show
_DOUBLINGS = 16


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
    sign = -1.0 if distance in _SIMILARITIES else 1.0
    limit = sign * np.broadcast_to(np.asarray(target, np.float64), len(x))

    def at(factor: np.ndarray) -> np.ndarray:
        return quantize(np.clip(x + factor[:, None, None, None].astype(np.float32) * direction, 0.0, 1.0))

    def within(factor: np.ndarray) -> np.ndarray:
        return sign * DISTANCES[distance](x, at(factor)) <= limit

    low, high = np.zeros(len(x)), np.ones(len(x))
    for _ in range(_DOUBLINGS if beyond else 0):
        high = np.where(within(high), 2.0 * high, high)
    low = np.where(within(high), high, low)  # the whole line lies within: nothing to search
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        ok = within(middle)
        low, high = np.where(ok, middle, low), np.where(ok, high, middle)
    return at(low)
