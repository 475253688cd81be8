"""Networks at few bits: rounding by hand, and the outputs of a small network."""

from typing import Any

import numpy as np
import pytest
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from artattack.errors import ArtattackError
from artattack.studies.quantized import at_precision, best_range, is_quantized, quantized, round_kernel
from artattack.training.networks import FLOAT, Precision

pytestmark = pytest.mark.slow

FLOATS = Precision(FLOAT, FLOAT)


def test_one_bit_is_the_sign_times_the_mean_size() -> None:
    kernel = np.array([[1.0, -2.0], [3.0, 0.0]], np.float32)  # channels are columns
    np.testing.assert_allclose(round_kernel(kernel, 1), [[2, -1], [2, 1]])
    np.testing.assert_allclose(round_kernel(kernel, 1, axis=0), [[1.5, -1.5], [1.5, 1.5]])


def test_two_bits_are_three_values_at_the_step_of_least_error() -> None:
    # By hand: the three large ones lose least at their mean size, 1.0, and the small ones are nearer to zero.
    kernel = np.array([[1.0], [-0.9], [-1.1], [0.1], [0.2]], np.float32)
    np.testing.assert_allclose(round_kernel(kernel, 2)[:, 0], [1, -1, -1, 0, 0], atol=0.02)
    # One that is far out is worth losing the others: at 4 the error is 1 + 0.81 + 1.21 + 0.01, at 1.75 it is 6.8.
    kernel = np.array([[1.0], [0.9], [-1.1], [0.1], [4.0]], np.float32)
    np.testing.assert_allclose(round_kernel(kernel, 2)[:, 0], [0, 0, 0, 0, 4], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_more_bits_are_whole_multiples_and_never_lose_more_than_half_a_step_of_the_widest(bits: int, seed: int) -> None:
    kernel = np.random.default_rng(seed).normal(size=(3, 3, 5, 4)).astype(np.float32)
    rounded, steps = round_kernel(kernel, bits), 2 ** (bits - 1) - 1
    for k in range(4):
        values = np.unique(np.abs(rounded[..., k]))
        multiples = values[values > 0] / values[values > 0].min()
        assert len(np.unique(rounded[..., k])) <= 2 * steps + 1
        if bits == 2:
            np.testing.assert_allclose(multiples, 1, rtol=1e-5)
        widest = np.abs(kernel[..., k]).max() / steps
        plain = widest * np.round(kernel[..., k] / widest)
        assert np.square(rounded[..., k] - kernel[..., k]).sum() <= np.square(plain - kernel[..., k]).sum() * 1.001
    assert np.array_equal(round_kernel(kernel, FLOAT), kernel)


def test_the_range_is_that_of_least_error() -> None:
    assert best_range(np.array([0, 0, 2, 2], np.float32), 1) == pytest.approx(2)
    many = np.array([1.0] * 999 + [3.0], np.float32)  # one bit: 999 * (1 - r)^2 + (3 - r)^2 is least near 1
    assert best_range(many, 1) == pytest.approx(1, abs=0.04)


def small() -> Any:
    """Convolution, normalization, ReLU, depthwise convolution, normalization, ReLU, sum, pooling, dense."""
    layers, rng = tf_keras.layers, np.random.default_rng(0)
    x = first = layers.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(x)
    x = layers.ReLU(6.0, name="relu0")(layers.BatchNormalization(name="bn0")(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.ReLU(6.0, name="relu1")(layers.BatchNormalization(name="bn1")(x))
    x = y = layers.BatchNormalization(name="bn2")(layers.Conv2D(8, 1, use_bias=False, name="project")(x))
    x = layers.BatchNormalization(name="bn3")(layers.Conv2D(8, 3, padding="same", use_bias=False, name="again")(x))
    x = layers.Add(name="add")([x, y])
    x = layers.ReLU(6.0, name="relu4")(layers.BatchNormalization(name="bn4")(layers.Conv2D(8, 1, name="top")(x)))
    network = tf_keras.Model(first, layers.Dense(5, name="dense")(layers.GlobalAveragePooling2D(name="pool")(x)))
    for layer in network.layers:
        weights = [rng.normal(0, 0.5, weight.shape) for weight in layer.weights]
        if isinstance(layer, layers.BatchNormalization):  # scale and variance are above zero
            weights[0], weights[3] = (rng.uniform(0.5, 1.5, 8) for _ in range(2))
        layer.set_weights(weights)
    return network


IMAGES = np.random.default_rng(1).normal(size=(6, 16, 16, 3)).astype(np.float32)


def test_with_all_its_bits_a_network_stays_as_it_is() -> None:
    network = small()
    copy = at_precision(network, FLOATS, IMAGES)
    np.testing.assert_allclose(copy(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-4)


def test_few_bits_are_few_values_and_many_bits_are_nearly_all() -> None:
    network = small()
    expected = network(IMAGES).numpy()
    errors = [
        np.abs(at_precision(network, Precision(bits, bits), IMAGES)(IMAGES).numpy() - expected).mean()
        for bits in (8, 4, 2)
    ]
    assert errors[0] < 0.02 * np.abs(expected).mean()
    assert errors[0] < errors[1] < errors[2]
    copy = at_precision(network, Precision(1, 2), IMAGES)
    for name in ("depthwise", "project", "again", "top"):
        kernel = copy.get_layer(name).get_weights()[0]
        channels = kernel[:, :, :, 0] if name == "depthwise" else kernel.reshape(-1, kernel.shape[-1])
        assert all(len(np.unique(np.abs(channels[..., k]))) == 1 for k in range(channels.shape[-1]))
    for name in ("relu0", "relu1", "relu4"):
        values = tf_keras.Model(copy.input, copy.get_layer(name).output)(IMAGES).numpy()
        np.testing.assert_allclose(np.unique(values), np.arange(4) / 3, atol=1e-6)


def test_mean_and_spread_of_each_channel_stay() -> None:
    network = small()
    copy = at_precision(network, Precision(2, FLOAT), IMAGES)
    for name in ("bn1", "bn2", "bn3"):
        one, other = (tf_keras.Model(n.input, n.get_layer(name).output)(IMAGES).numpy() for n in (network, copy))
        np.testing.assert_allclose(one.mean((0, 1, 2)), other.mean((0, 1, 2)), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(one.std((0, 1, 2)), other.std((0, 1, 2)), rtol=1e-3, atol=1e-3)
    assert not np.allclose(copy(IMAGES), network(IMAGES), atol=0.05)


def test_names_are_of_a_model_and_bits() -> None:
    assert is_quantized("efficientnet_lite0-w4a8")
    for name in (
        "efficientnet_lite0",
        "efficientnet_lite0-w9a9",
        "nets/w1a1.keras",
        "lite-w1a1",
        "quicknet_tiny-stem-1",
    ):
        assert not is_quantized(name)
    with pytest.raises(ArtattackError, match="write a model of the registry and bits"):
        quantized("nothing-w1a1")
