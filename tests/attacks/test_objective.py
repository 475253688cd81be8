"""Losses against values worked out by hand and against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from artattack.attacks.objective import gram, relative_distance, total_variation


def test_gram_of_two_positions_by_hand() -> None:
    # Positions (1, 2) and (3, 4): G = ((1,2)^T(1,2) + (3,4)^T(3,4)) / 2.
    features = tf.constant([[[[1.0, 2.0], [3.0, 4.0]]]])
    np.testing.assert_allclose(gram(features)[0], [[5.0, 7.0], [7.0, 10.0]])


def test_gram_against_numpy() -> None:
    features = np.random.default_rng(0).normal(size=(3, 5, 7, 4)).astype(np.float32)
    expected = np.einsum("nhwc,nhwd->ncd", features, features) / 35
    np.testing.assert_allclose(gram(tf.constant(features)), expected, rtol=1e-5, atol=1e-5)


def test_relative_distance_by_hand() -> None:
    value = tf.constant([[[1.0, 2.0]], [[0.0, 0.0]]])
    target = tf.constant([[[3.0, 4.0]]])  # squared norm 25
    np.testing.assert_allclose(relative_distance(value, target), [8 / 25, 1.0], rtol=1e-6)


def test_relative_distance_does_not_depend_on_scale() -> None:
    rng = np.random.default_rng(1)
    value, target = (tf.constant(rng.normal(size=(2, 3, 3)), tf.float32) for _ in range(2))
    expected = relative_distance(value, target)
    np.testing.assert_allclose(relative_distance(100 * value, 100 * target), expected, rtol=1e-5)


def test_total_variation_by_hand() -> None:
    # Differences down: |1-0|, |0-1|; right: |1-0|, |0-1|; four values in all.
    x = tf.reshape(tf.constant([0.0, 1.0, 1.0, 0.0]), (1, 2, 2, 1))
    assert float(total_variation(x)[0]) == pytest.approx(1.0)


def test_total_variation_against_numpy() -> None:
    x = np.random.default_rng(2).random((2, 6, 5, 3)).astype(np.float32)
    expected = (np.abs(np.diff(x, axis=1)).sum((1, 2, 3)) + np.abs(np.diff(x, axis=2)).sum((1, 2, 3))) / 90
    np.testing.assert_allclose(total_variation(tf.constant(x)), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", [lambda x: relative_distance(gram(x), tf.ones((1, 3, 3))), lambda x: gram(x)[:, 0, 1]])
def test_gradients_against_finite_differences(loss: object) -> None:
    assert callable(loss)
    x = tf.constant(np.random.default_rng(3).normal(size=(1, 2, 2, 3)), tf.float64)
    x32 = tf.cast(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x32)
        value = loss(x32)
    gradient = tape.gradient(value, x32).numpy()
    step = 1e-2
    for index in np.ndindex(2, 2, 3):
        bump = np.zeros((1, 2, 2, 3), np.float32)
        bump[(0, *index)] = step
        slope = (float(loss(x32 + bump)[0]) - float(loss(x32 - bump)[0])) / (2 * step)
        assert gradient[(0, *index)] == pytest.approx(slope, rel=2e-2, abs=2e-3)
