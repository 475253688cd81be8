"""Losses against values worked out by hand and against NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from artattack.attacks.objective import (
    Objective,
    Targets,
    gram,
    histogram,
    mean_variance,
    relative_distance,
    total_variation,
)
from artattack.attacks.options import StyleOptions
from artattack.models.model import Model

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32)
WEIGHTS = RNG.random((1, 4, 5, 1)).astype(np.float32)


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


def test_total_variations_gradient_is_tensorflows() -> None:
    x = tf.constant(
        np.round(4 * np.random.default_rng(4).random((2, 6, 5, 3))) / 4, tf.float32
    )  # with equal neighbours
    weights = tf.constant([2.0, -0.5])

    def plainly(x: tf.Tensor) -> tf.Tensor:
        return tf.image.total_variation(x) / (6 * 5 * 3)

    slopes = []
    for function in (total_variation, plainly):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(weights * function(x))
        slopes.append(tape.gradient(value, x))
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-6, atol=1e-9)


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


# ---- the whole, against the network's own layers and NumPy


def numpy_gram(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.einsum("nhw,nhwc,nhwd->ncd", weights, features, features) / weights.sum()  # type: ignore[no-any-return]


def numpy_mean_variance(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    weights = weights[..., None] / weights.sum()
    mean = (weights * features).sum((1, 2))
    variance = (weights * (features - mean[:, None, None]) ** 2).sum((1, 2))
    return np.stack([mean, np.sqrt(variance)], 1)


def numpy_histogram(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.sort(features.reshape(len(features), -1, features.shape[-1]), 1)


NUMPY_STATISTICS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "gram": numpy_gram,
    "mean-variance": numpy_mean_variance,
    "histogram": numpy_histogram,
}


def outputs(model: Model, layers: list[str], x: np.ndarray) -> list[np.ndarray]:
    tensors = [model.network.get_layer(name).output for name in layers]
    return [value.numpy() for value in tf_keras.Model(model.network.input, tensors)(2 * x - 1)]


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, a.ndim))
    return np.square(a - b).sum(axes) / np.square(b).sum(axes)  # type: ignore[no-any-return]


@pytest.mark.parametrize("statistics", ["gram", "mean-variance", "histogram"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("blend", [False, True])
@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_losses_against_numpy(
    model: Model, images: np.ndarray, stripes: np.ndarray, statistics: Any, masked: bool, blend: bool, mean: Any
) -> None:
    if masked and statistics == "histogram":
        pytest.skip("a histogram has no mask")
    rng = np.random.default_rng(7)
    styles, original = np.stack([stripes, *rng.random((2, 24, 24, 3)).astype(np.float32)]), np.roll(images, 1, 0)
    mask, style_mask = rng.integers(0, 2, (2, 1, 24, 24, 1)).astype(np.float32)
    weighted = {"style_layer_weights": (1, 3), "content_layers": ("norm", "binary:0")}
    options = StyleOptions(statistics=statistics, style_mean=mean, content_weight=1.0, **weighted)  # type: ignore[arg-type]
    objective = Objective(model, options)
    targets = Targets(
        objective.style_targets(tf.constant(styles), tf.constant(style_mask) if masked else None, blend=blend),
        objective.content_targets(tf.constant(original)),
    )
    losses = objective(tf.constant(images), targets, tf.constant(mask) if masked else None)

    measure = NUMPY_STATISTICS[statistics]

    def weights(mask: np.ndarray, features: np.ndarray) -> np.ndarray:
        factor = 24 // features.shape[1]  # a mask is shrunk by averaging
        shrunk = mask.reshape(1, 24 // factor, factor, 24 // factor, factor).mean((2, 4))
        return shrunk if masked else np.ones_like(shrunk)  # type: ignore[no-any-return]

    layers, distances = ["stem", "binary"], []
    for f, s in zip(outputs(model, layers, images), outputs(model, layers, styles), strict=True):
        wanted = measure(s, weights(style_mask, s))
        wanted = wanted.mean(0, keepdims=True) if blend else wanted
        distances.append(apart(measure(f, weights(mask, f)), np.broadcast_to(wanted, (3, *wanted.shape[1:]))))
    stem, binary = distances
    arithmetic = (stem + 3 * binary) / 4
    geometric = ((stem + 1e-3) * (binary + 1e-3) ** 3) ** 0.25 - 1e-3
    style = {"arithmetic": arithmetic, "geometric": geometric}[mean]
    layers = ["norm", "binary"]
    content = [
        apart(*pair) for pair in zip(outputs(model, layers, images), outputs(model, layers, original), strict=True)
    ]
    np.testing.assert_allclose(losses.style, style, rtol=1e-3)
    assert np.abs(arithmetic / geometric - 1).max() > 0.01
    if not masked and blend:
        np.testing.assert_allclose(objective.style_distance(images, targets.styles), arithmetic, rtol=1e-3)
    np.testing.assert_allclose(losses.content, np.mean(content, 0), rtol=1e-4)
    assert losses.content.numpy().min() > 0.01


@pytest.mark.parametrize(
    ("specs", "same"),
    [
        (("binary:*",), ("binary",)),
        (("conv:*",), ("stem", "binary")),
        (("conv:-1",), ("binary",)),
        (("conv:0", "binary:-1"), ("stem", "binary")),
    ],
)
def test_layers_by_kind_and_count(model: Model, images: np.ndarray, stripes: np.ndarray, specs: Any, same: Any) -> None:
    losses = []
    for layers in (specs, same):
        objective = Objective(model, StyleOptions(style_layers=layers, content_layers=layers))
        targets = Targets(objective.style_targets(stripes[None]), objective.content_targets(np.roll(images, 1, 0)))
        losses.append(objective(tf.constant(images), targets))
    np.testing.assert_array_equal(losses[0], losses[1])


def test_average_pooling_against_numpy(model: Model, images: np.ndarray) -> None:
    (normed,) = outputs(model, ["norm", "stem"], images)[:1]
    expected = normed.reshape(3, 12, 2, 12, 2, 8).mean((2, 4))
    objective = Objective(model, StyleOptions(content_weight=1.0, content_layers=("pool",), pooling="average"))
    np.testing.assert_allclose(objective.content_targets(tf.constant(images))[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("term", ["style", "content"])
def test_a_weight_of_0_leaves_a_term_out(model: Model, images: np.ndarray, stripes: np.ndarray, term: str) -> None:
    objective = Objective(model, StyleOptions(**{"content_weight": 1.0, f"{term}_weight": 0.0}))  # type: ignore[arg-type]
    targets = Targets(objective.style_targets(stripes[None]), objective.content_targets(np.roll(images, 1, 0)))
    losses = objective(tf.constant(images), targets)._asdict()
    np.testing.assert_array_equal(losses.pop(term), np.zeros(3))
    assert (losses.popitem()[1].numpy() > 0).all()
