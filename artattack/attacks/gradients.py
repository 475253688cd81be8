"""Hand-written gradients for the descent's hot loop: TensorFlow's values, in a fraction of the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


@tf.custom_gradient  # type: ignore[untyped-decorator]
def clip_to_unit(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Return x of any shape clipped to [0, 1]; the gradient passes where x is in [0, 1]."""
    clipped = tf.clip_by_value(x, 0.0, 1.0)
    return clipped, lambda upstream: upstream * tf.cast(tf.equal(x, clipped), upstream.dtype)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def max_pool_of_pairs(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Max pooling of (N, H, W, C), windows of 2 x 2 at every position: (N, H - 1, W - 1, C).

    Among equal values in a window, the first one, row by row, gets the gradient.
    """

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        left, right = x[:, :, :-1], x[:, :, 1:]
        larger = tf.maximum(left, right)
        return _to_larger(_to_larger(upstream, larger[:, :-1], larger[:, 1:], 1), left, right, 2)

    return tf.nn.max_pool2d(x, 2, 1, "VALID"), gradient


def _to_larger(upstream: tf.Tensor, first: tf.Tensor, second: tf.Tensor, axis: int) -> tf.Tensor:
    """Give the gradient of max(first, second), neighbours along an axis, to the larger; if equal, to the first."""
    to_first = upstream * tf.cast(first >= second, upstream.dtype)
    return padded(to_first, axis, 1) + padded(upstream - to_first, axis, 0)


def straight_through(clip_value: float) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the straight-through estimator's derivative (Hubara et al. 2016): 1 where |x| <= clip_value, else 0."""
    return lambda x: tf.cast(tf.abs(x) <= clip_value, x.dtype)


def padded(x: tf.Tensor, axis: int, end: int) -> tf.Tensor:
    """Add a 0 at the start (0) or the end (1) of an axis of (N, H, W, C)."""
    paddings: Any = np.zeros((4, 2), int)
    paddings[axis, end] = 1
    return tf.pad(x, paddings)
