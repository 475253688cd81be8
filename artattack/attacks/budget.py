"""Budgets: how far an image may move, held to at every step or met afterwards."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from artattack.distances import DISTANCES
from artattack.errors import ArtattackError, unknown
from artattack.inputs.images import quantize

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

    def at(factor: np.ndarray) -> np.ndarray:
        return quantize(np.clip(x + factor[:, None, None, None].astype(np.float32) * direction, 0.0, 1.0))

    def ok(factor: np.ndarray) -> np.ndarray:
        return within(x, at(factor), target, distance)

    low, high = np.zeros(len(x)), np.ones(len(x))
    for _ in range(_DOUBLINGS if beyond else 0):
        high = np.where(ok(high), 2.0 * high, high)
    low = np.where(ok(high), high, low)  # the whole line lies within: nothing to search
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        near = ok(middle)
        low, high = np.where(near, middle, low), np.where(near, high, middle)
    return at(low)


def within(x: np.ndarray, moved: np.ndarray, target: np.ndarray | float, distance: str) -> np.ndarray:
    """Return whether images (N, H, W, 3) are no farther from originals than a target, one for all or (N,); (N,) bool.

    For a similarity, such as `ssim`, no less alike.
    """
    sign = -1.0 if DISTANCES[distance].is_similarity else 1.0
    return np.asarray(sign * DISTANCES[distance](x, moved) <= sign * np.asarray(target, np.float64))


BALLS = ("linf", "l2")  # what a budget can hold images to at every step


def project(x: tf.Tensor, original: tf.Tensor, budget: tuple[str, float] | None) -> tf.Tensor:
    """Return images near x, (N, H, W, 3), within [0, 1] and, if there is a budget, its ball; for linf the nearest.

    Args:
        x: images, any values.
        original: centres of the balls, in [0, 1].
        budget: `linf` or `l2` and its radius, or None. Differentiable.
    """
    if budget is None:
        return tf.clip_by_value(x, 0.0, 1.0)
    norm, radius = budget
    if norm == "linf":
        return tf.clip_by_value(original + tf.clip_by_value(x - original, -radius, radius), 0.0, 1.0)
    # Clipping to [0, 1] first never moves away from the original, so the ball still holds after it.
    change = tf.clip_by_value(x, 0.0, 1.0) - original
    length = tf.sqrt(tf.reduce_sum(tf.square(change), (1, 2, 3), keepdims=True) + 1e-12)
    return original + change * tf.minimum(1.0, radius / length)


def check_budget(budget: tuple[str, float] | None) -> None:
    """Raise ArtattackError unless `project` can hold images to the budget."""
    if budget is not None and (budget[0] not in BALLS or not budget[1] > 0):
        raise ArtattackError(
            f"budget {budget[0]}={budget[1]:g}: one of linf and l2 with a radius above 0; match meets others"
        )
