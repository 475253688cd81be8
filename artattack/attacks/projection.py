"""Projection of images onto a ball at every step of a descent."""

from __future__ import annotations

import tensorflow as tf

from artattack.attacks.gradients import clip_to_unit
from artattack.bound import Bound


def project(x: tf.Tensor, original: tf.Tensor, budget: Bound | None) -> tf.Tensor:
    """Return images near x, (N, H, W, 3), within [0, 1] and the ball of the budget, if any; for linf, the nearest.

    Differentiable.

    Args:
        x: images, any values.
        original: centres of the balls, in [0, 1].
        budget: `linf` or `l2` and its radius, or `psnr` and its lower bound in dB; a number, or a tensor that has a
            value for all images, (), or one for each, (N, 1, 1, 1). Or None.
    """
    if budget is None:
        return clip_to_unit(x)
    if budget[0] == "linf":
        return tf.clip_by_value(original + shortened(x - original, budget), 0.0, 1.0)
    # Clipping to [0, 1] first never moves away from the original, so the ball still holds after it.
    return original + shortened(clip_to_unit(x) - original, budget)


def shortened(change: tf.Tensor, budget: Bound, share: float = 1.0) -> tf.Tensor:
    """Return changes (N, H, W, 3) inside a ball around 0: clipped for linf, scaled for l2 and psnr. Differentiable.

    Args:
        change: changes, any values.
        budget: as for `project`.
        share: the ball's radius as a share of the budget's.
    """
    norm, radius = budget
    if norm == "linf":
        return tf.clip_by_value(change, -share * radius, share * radius)
    if norm == "psnr":  # D dB is a root mean square of 10^(-D / 20), and an L2 of that times the root of the values
        values = tf.cast(tf.reduce_prod(tf.shape(change)[1:]), tf.float32)
        radius = 10.0 ** (-radius / 20.0) * tf.sqrt(values)
    length = tf.sqrt(tf.reduce_sum(tf.square(change), (1, 2, 3), keepdims=True) + 1e-12)
    return change * tf.minimum(1.0, share * radius / length)
