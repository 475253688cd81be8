"""Gradients written out, against TensorFlow's and larq's own."""

from collections.abc import Callable
from typing import Any

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from artattack.attacks.gradients import clip_to_unit, max_pool_of_pairs, straight_through
from artattack.attacks.surrogate import with_gradient


def value_and_gradient(function: Callable[[tf.Tensor], tf.Tensor], x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return f(x), and the gradient of a sum in which each value of f(x) has a weight of its own."""
    x = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
        weights = tf.reshape(tf.range(1.0, 1.0 + tf.cast(tf.size(y), tf.float32)), y.shape)
        total = tf.reduce_sum(weights * y)
    return y.numpy(), tape.gradient(total, x).numpy()


def check_alike(ours: Callable[[tf.Tensor], tf.Tensor], own: Callable[[tf.Tensor], tf.Tensor], x: Any) -> None:
    for mine, theirs in zip(value_and_gradient(ours, x), value_and_gradient(own, x), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_clipping_passes_the_gradient_at_its_ends() -> None:
    x = [-1.0, -1e-7, 0.0, 0.5, 1.0, 1.0000001, 2.0]
    np.testing.assert_array_equal(value_and_gradient(clip_to_unit, x)[1], [0, 0, 3, 4, 5, 0, 0])
    check_alike(clip_to_unit, lambda x: tf.clip_by_value(x, 0.0, 1.0), x)


@pytest.mark.parametrize("shape", [(1, 2, 2, 1), (2, 5, 4, 3), (1, 6, 9, 2)])
@pytest.mark.parametrize("values", [3, 1000])  # three values alone make every window one of equals
def test_the_first_of_the_largest_in_a_window_takes_the_gradient(shape: tuple[int, ...], values: int) -> None:
    x = np.random.default_rng(0).integers(0, values, shape)
    check_alike(max_pool_of_pairs, lambda x: tf.nn.max_pool2d(x, 2, 1, "VALID"), x)


@pytest.mark.parametrize("clip_value", [1.0, 0.3])
def test_the_straight_through_estimator_is_larqs(clip_value: float) -> None:
    own = lq.quantizers.SteSign(clip_value=clip_value)
    x = np.float32([-2, -1, -0.3, -0.1, 0, 0.1, 0.3, np.nextafter(np.float32(0.3), 1), 1, 2])
    check_alike(with_gradient(own, straight_through(clip_value)), own, x)
