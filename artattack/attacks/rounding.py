"""Rounding of an attack's images to 8 bits that preserves its budget or its flip."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from artattack.attacks.budget import match
from artattack.bound import Bound
from artattack.inputs.images import quantize, to_float, to_uint8

_STEP = 1.05  # ratio of two consecutive factors
_TRIES = 100  # number of factors; the last is 125 times the first
_ROOM = 0.99  # minimum share of the squared radius that is left after making room for rounding
_HALVINGS = 5  # of the last step, in search of the nearest flip

Flips = Callable[[np.ndarray], np.ndarray]


def round_within(x: np.ndarray, made: np.ndarray, held_to: Bound | None = None) -> np.ndarray:
    """Return images on the 8-bit grid within the budget of their attack.

    Rounding to the nearest grid point may leave the ball. In linf, each value then takes the next grid point inside; in
    other distances, the image moves back along the line to its original.

    Args:
        x: originals (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        made: the attack's output for these images.
        held_to: the distance and radius of the budget, or None.

    Returns:
        (N, H, W, 3) float32, on the 8-bit grid.
    """
    if held_to is None:
        return quantize(made)
    distance, budget = held_to
    if distance == "linf":
        levels = int(np.floor(255.0 * budget + 1e-6))
        original = to_uint8(x).astype(np.int16)
        nearest = to_uint8(made).astype(np.int16)
        return to_float(np.clip(nearest, original - levels, original + levels).astype(np.uint8))
    files = quantize(made)
    outside = ~held_to.contains(x, files)
    if outside.any():
        files[outside] = match(x[outside], made[outside], budget, distance)
    return files


def with_room(ball: Bound, values: int) -> Bound:
    """Return a slightly smaller ball, whose images seldom leave the given ball when they are rounded to 8 bits.

    Images at its edge need no search along their line in `round_within`. Rounding moves each value by a uniform error
    of up to half a step, of variance v = 1 / (12 * 255^2): the squared distance grows by n v on average, with a
    standard deviation of 2 r sqrt(v) for a radius r. The smaller ball leaves room for four of these.

    Args:
        ball: l2 or psnr and its radius; balls of other distances, and those too small for that, are returned as they
            are.
        values: number n of values of an image.
    """
    distance, bound = ball
    if distance not in ("l2", "psnr"):
        return ball
    square = bound**2 if distance == "l2" else values * 10.0 ** (-bound / 10.0)
    variance = 1.0 / (12.0 * 255.0**2)
    smaller = square - values * variance - 8.0 * np.sqrt(square * variance)
    if smaller < _ROOM * square:
        return ball
    return Bound(distance, float(np.sqrt(smaller) if distance == "l2" else -10.0 * np.log10(smaller / values)))


def walk_to_flip(x: np.ndarray, made: np.ndarray, flips: Flips) -> np.ndarray:
    """Return 8-bit images that flip wherever the attack's output does, farther along the line if rounding undoes it.

    Minimum-norm attacks stop just beyond a decision boundary, often less than an 8-bit step away. Such an image moves
    away from its original until its rounded version flips, to the nearest such point found.

    Args:
        x: originals (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        made: the attack's output for these images.
        flips: function from images (N, H, W, 3) of the batch to whether the attack succeeds on each, (N,) bool.

    Returns:
        (N, H, W, 3) float32, on the 8-bit grid; images whose line has no flip are simply rounded.
    """
    x, made = np.asarray(x, np.float32), np.asarray(made, np.float32)
    files = quantize(made)
    lost = flips(made) & ~flips(files)
    if not lost.any():
        return files
    direction = made - x

    def at(factors: np.ndarray) -> np.ndarray:
        return quantize(np.clip(x + factors[:, None, None, None].astype(np.float32) * direction, 0.0, 1.0))

    # Rounding has no effect before the largest change is half an 8-bit step.
    largest = np.abs(direction).max((1, 2, 3))
    factor = np.maximum(1.0, 0.5 / 255.0 / np.maximum(largest, 1e-12))
    low, high, searching = np.ones(len(x)), np.full(len(x), np.nan), lost & (largest > 0)
    for _ in range(_TRIES):
        found = flips(at(factor)) & searching
        high[found] = factor[found]
        searching &= ~found
        if not searching.any():
            break
        low[searching] = factor[searching]
        factor = np.where(searching, factor * _STEP, factor)
    walked = np.isfinite(high)
    for _ in range(_HALVINGS if walked.any() else 0):
        middle = np.where(walked, (low + high) / 2.0, 1.0)
        flipped = flips(at(middle))
        low, high = np.where(flipped, low, middle), np.where(flipped & walked, middle, high)
    return np.where(walked[:, None, None, None], at(np.where(walked, high, 1.0)), files)
