"""The pieces of the style attack, each against numbers worked out by hand or by NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from artattack.attacks.budget import check_budget, project
from artattack.attacks.guidance import margin, random_view
from artattack.attacks.objective import gram, histogram, mean_variance
from artattack.attacks.parametrization import Fourier
from artattack.errors import ArtattackError

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32)
WEIGHTS = RNG.random((1, 4, 5, 1)).astype(np.float32)


def test_weighted_gram_against_numpy() -> None:
    expected = np.einsum("hw,nhwc,nhwd->ncd", WEIGHTS[0, :, :, 0], FEATURES, FEATURES) / WEIGHTS.sum()
    np.testing.assert_allclose(gram(tf.constant(FEATURES), tf.constant(WEIGHTS)), expected, rtol=1e-4, atol=1e-5)


def test_mean_variance_against_numpy() -> None:
    expected = np.stack([FEATURES.mean((1, 2)), FEATURES.std((1, 2))], 1)
    np.testing.assert_allclose(mean_variance(tf.constant(FEATURES)), expected, rtol=1e-4, atol=1e-5)


def test_weighted_mean_variance_by_hand() -> None:
    # Values 1 and 5 with weights 3 and 1: mean 2, variance (3 * 1 + 1 * 9) / 4 = 3.
    x = tf.reshape(tf.constant([1.0, 5.0]), (1, 1, 2, 1))
    weights = tf.reshape(tf.constant([3.0, 1.0]), (1, 1, 2, 1))
    np.testing.assert_allclose(mean_variance(x, weights)[0, :, 0], [2.0, np.sqrt(3.0)], rtol=1e-5)


def test_histogram_is_each_channels_sorted_values() -> None:
    np.testing.assert_array_equal(histogram(tf.constant(FEATURES)), np.sort(FEATURES.reshape(2, 20, 3), axis=1))


def test_margin_by_hand() -> None:
    logits = tf.constant([[3.0, 1.0, -1.0], [0.0, 2.0, 5.0]])
    np.testing.assert_allclose(margin(logits, tf.constant([0, 1])), [2.0, -3.0])


def test_random_views_follow_from_their_seed() -> None:
    x = tf.constant(RNG.random((2, 16, 12, 3)), tf.float32)
    first, again, other = (random_view(x, tf.constant(seed)) for seed in ([1, 2], [1, 2], [1, 3]))
    assert first.shape == x.shape
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    assert 0 <= float(tf.reduce_min(first)) <= float(tf.reduce_max(first)) <= 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), norm=st.sampled_from(["linf", "l2"]), radius=st.floats(0.01, 3.0))
def test_projection_ends_within_the_ball_and_the_cube(seed: int, norm: str, radius: float) -> None:
    rng = np.random.default_rng(seed)
    original = rng.random((2, 3, 3, 3)).astype(np.float32)
    x = original + rng.normal(size=original.shape).astype(np.float32)
    out = project(tf.constant(x), tf.constant(original), (norm, radius)).numpy()
    change = (out - original).reshape(2, -1)
    distance = np.abs(change).max(1) if norm == "linf" else np.linalg.norm(change, axis=1)
    assert (distance <= radius + 1e-5).all()
    assert out.min() >= 0
    assert out.max() <= 1
    np.testing.assert_allclose(project(tf.constant(out), tf.constant(original), (norm, radius)), out, atol=1e-5)


def test_linf_projection_is_the_nearest_point() -> None:
    original = RNG.random((1, 4, 4, 3)).astype(np.float32)
    x = original + RNG.normal(size=original.shape).astype(np.float32)
    nearest = np.clip(np.clip(x, original - 0.1, original + 0.1), 0, 1)
    np.testing.assert_allclose(project(tf.constant(x), tf.constant(original), ("linf", 0.1)), nearest, atol=1e-6)


@pytest.mark.parametrize("budget", [("ssim", 0.8), ("linf", 0.0)])
def test_budgets_that_no_projection_keeps_are_refused(budget: tuple[str, float]) -> None:
    with pytest.raises(ArtattackError, match="linf and l2"):
        check_budget(budget)


def test_no_spectrum_is_no_change() -> None:
    form, first = Fourier(8, 6), tf.constant(RNG.random((2, 8, 6, 3)), tf.float32)
    np.testing.assert_array_equal(form.image(form.start(first), first), first)


def test_one_coefficient_makes_a_cosine_by_hand() -> None:
    form, first = Fourier(8, 8), tf.zeros((1, 8, 8, 3))
    parameters = form.start(first).numpy()
    parameters[0, 0, 0, 0, 2] = 1.0  # real part, first decorrelated colour, two periods from left to right
    change = form.image(tf.constant(parameters), first).numpy()[0]
    wave = np.cos(2 * np.pi * 2 * np.arange(8) / 8)
    expected = wave[None, :, None] * change[0, 0] * np.ones((8, 1, 1))
    np.testing.assert_allclose(change, expected, atol=1e-5)
    # The first decorrelated colour moves red, green and blue as the first column of Lucid's matrix says.
    np.testing.assert_allclose(change[0, 0] / change[0, 0, 0], [1.0, 0.27 / 0.26, 0.27 / 0.26], rtol=1e-4)


def test_amplitude_falls_as_one_over_frequency() -> None:
    form, first = Fourier(16, 16), tf.zeros((1, 16, 16, 3))

    def amplitude(column: int) -> float:
        parameters = form.start(first).numpy()
        parameters[0, 0, 0, 0, column] = 1.0
        return float(np.abs(form.image(tf.constant(parameters), first)).max())

    assert amplitude(1) / amplitude(4) == pytest.approx(4.0, rel=1e-3)


def test_a_step_in_every_parameter_moves_pixels_by_about_as_much() -> None:
    form, first = Fourier(32, 32), tf.zeros((8, 32, 32, 3))
    signs = np.random.default_rng(1).choice([-1.0, 1.0], form.start(first).shape).astype(np.float32)
    assert np.sqrt(np.mean(np.square(form.image(tf.constant(signs), first)))) == pytest.approx(1.0, rel=0.15)
