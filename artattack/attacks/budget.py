"""Budgets met after an attack, by moving along the line from each original to its perturbed image."""

from __future__ import annotations

import numpy as np

from artattack.bound import ROUNDING, Bound, meets
from artattack.distances import DISTANCES
from artattack.errors import unknown
from artattack.inputs.images import as_measured, to_float, to_uint8

_HALVINGS = 24  # of an interval of factors: finer than the 8-bit grid
_DOUBLINGS = 16  # of the factor, beyond the perturbed image
_STANDS = 0.99  # share of a distance from which on an image stands at it


def match(
    x: np.ndarray,
    moved: np.ndarray,
    target: np.ndarray | float,
    distance: str = "l2",
    *,
    beyond: bool = False,
) -> np.ndarray:
    """Move along the line from each original to its perturbed image until a distance is met, by bisection.

    Results lie on the 8-bit grid in [0, 1], and their distances are measured there, so that the PNG keeps the budget.

    Args:
        x: originals (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        moved: perturbed images of the same shape, any values: x + direction.
        target: target distance, one number or (N,), in the distance's unit; for a similarity, a lower bound.
        distance: a name in `artattack.distances.DISTANCES`.
        beyond: whether to go past `moved` if it is nearer than the target. Values stop at 0 and 1, so a line may end
            before the target; the result is then the end of the line.

    Returns:
        (N, H, W, 3) float32: the farthest images on the lines whose distance does not exceed the target.

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
        return meets(originals[rows], at(factor, rows) / 255.0, targets[rows], distance)

    every = np.arange(len(x))
    low, high = np.zeros(len(x)), np.ones(len(x))
    nearer = every[ok(high, every)]  # rows whose farthest image so far is within the target
    low[nearer] = 1.0
    for _ in range(_DOUBLINGS if beyond else 0):
        high[nearer] = 2.0 * low[nearer]
        nearer = nearer[ok(high, nearer)]
        low[nearer] = high[nearer]
        if not len(nearer):
            break
    rows = np.flatnonzero(low < high)  # for the other rows, the whole line is within the target
    for _ in range(_HALVINGS if len(rows) else 0):
        middle = (low + high) / 2.0
        near = ok(middle, rows)
        low[rows[near]] = middle[rows[near]]
        high[rows[~near]] = middle[rows[~near]]
    return to_float(at(low, every))


def bring_to(x: np.ndarray, files: np.ndarray, bound: Bound, *, made: np.ndarray | None = None) -> np.ndarray:
    """Bring images to a distance, unless they stand at it already.

    An image stands at a distance if its own is between 99 and 100 % of it; such an image stays unchanged, bit for bit.
    Other images move along their lines, as in `match` with `beyond`.

    Args:
        x: originals (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        files: perturbed images on the 8-bit grid, of the same shape.
        bound: the distance and its value, in its unit.
        made: perturbed images before rounding, (N, H, W, 3), which give the lines their direction.

    Returns:
        (N, H, W, 3) float32, on the 8-bit grid.
    """
    away = ~_stand(x, files, bound)
    if not away.any():
        return files
    brought = files.copy()
    brought[away] = match(x[away], (files if made is None else made)[away], bound.value, bound.distance, beyond=True)
    return brought


def _stand(x: np.ndarray, files: np.ndarray, bound: Bound) -> np.ndarray:
    """Return which images (N, H, W, 3) stand at a distance, (N,) bool."""
    distance, target = bound
    if distance == "linf":  # in whole 8-bit steps: no image lies between two
        target = np.floor(255.0 * target + 1e-6) / 255.0
    untouched = DISTANCES[distance].untouched
    least = _STANDS * target if untouched == 0 else untouched - _STANDS * (untouched - target)
    if np.isinf(untouched):  # PSNR, in dB
        least = target - 20.0 * np.log10(_STANDS)
    originals, images = as_measured(x), as_measured(files)
    sign = -1.0 if DISTANCES[distance].is_similarity else 1.0
    found = sign * DISTANCES[distance](originals, images)
    return np.asarray((found <= sign * target + ROUNDING) & (found >= sign * least - ROUNDING))


def within(x: np.ndarray, moved: np.ndarray, target: np.ndarray | float, distance: str) -> np.ndarray:
    """Return whether images are within a distance of their originals, measured on both `as_measured`.

    Args:
        x: originals (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        moved: perturbed images on the 8-bit grid, of the same shape.
        target: target distance, one number or (N,), in the distance's unit; for a similarity, such as `ssim`, a lower
            bound.
        distance: a name in `artattack.distances.DISTANCES`.

    Returns:
        (N,) bool.
    """
    return meets(as_measured(x), as_measured(moved), target, distance)
