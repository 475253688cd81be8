"""Feature networks: equal to the backbone's own layers, at any size, with the changes that options make."""

import gc
import weakref
from dataclasses import replace
from typing import Any

import keras
import larq as lq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from artattack.attacks.features import Features
from artattack.attacks.style import StyleTransferAttack
from artattack.errors import ArtattackError
from artattack.models.estimator import to_estimator
from artattack.models.model import Model, Preprocessing
from artattack.models.network import rebuild


@pytest.fixture(scope="module")
def model() -> Model:
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((16, 16, 3))
    x = tf_keras.layers.Conv2D(8, 3, padding="same", name="stem")(image)
    x = tf_keras.layers.BatchNormalization(name="norm")(x)
    x = tf_keras.layers.MaxPooling2D(2, name="pool")(x)
    x = tf_keras.layers.MaxPooling2D(2, 1, name="pool_of_pairs")(x)
    x = lq.layers.QuantConv2D(
        8, 3, padding="same", input_quantizer="ste_sign", kernel_quantizer="ste_sign", kernel_constraint="weight_clip",
        use_bias=False, name="binary",
    )(x)  # fmt: skip
    x = tf_keras.layers.BatchNormalization(name="norm2")(x)
    x = tf_keras.layers.GlobalAveragePooling2D()(x)
    network = tf_keras.Model(image, tf_keras.layers.Dense(5, name="logits")(x))
    rng = np.random.default_rng(0)
    for name in ("norm", "norm2"):
        network.get_layer(name).set_weights([rng.uniform(0.5, 1.5, 8) for _ in range(4)])
    return Model("toy", "random", "", True, network, (16, 16), Preprocessing(), None, ("binary:0",), ("stem",))


def _gradient(network: object, x: tf.Tensor) -> np.ndarray:
    assert callable(network)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(network(x)[-1] * tf.cos(tf.range(8.0)))
    return tape.gradient(y, x).numpy()  # type: ignore[no-any-return]


X = tf.constant(np.random.default_rng(1).normal(size=(2, 24, 20, 3)), tf.float32)


def test_outputs_are_the_backbones_own_to_the_last_bit(model: Model) -> None:
    own = rebuild(model.network, ["stem", "binary", "norm2"], input_shape=(None, None, 3))
    ours = Features(model, ["stem", "binary:0", "norm2"])
    for a, b in zip(ours(X), own(X), strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradient_is_the_backbones_own(model: Model) -> None:
    own = rebuild(model.network, ["norm2"], input_shape=(None, None, 3))
    ours = Features(model, ["norm2"])
    np.testing.assert_allclose(_gradient(ours, X), _gradient(lambda x: [own(x)], X), rtol=1e-4, atol=1e-6)


def test_kernels_are_binarized_once_and_the_backbone_keeps_its_own(model: Model) -> None:
    latent = model.network.get_layer("binary").get_weights()[0]
    ours = Features(model, ["binary:0"]).network.get_layer("binary")
    np.testing.assert_array_equal(ours.get_weights()[0], np.where(latent >= 0, 1.0, -1.0))
    assert ours.kernel_quantizer is None
    assert not np.isin(latent, (-1.0, 1.0)).all()


def test_equal_features_share_a_copy_while_it_is_in_use_and_weights_stay(model: Model) -> None:
    first = Features(model, ["stem", "norm2"])
    assert Features(model, ["stem", "norm2"]).network is first.network
    assert Features(replace(model, name="other"), ["stem", "norm2"]).network is first.network
    assert Features(model, ["norm2"]).network is not first.network
    assert Features(model, ["stem", "norm2"], gradient="tanh:0.3").network is not first.network
    layer = model.network.get_layer("stem")
    kernel, bias = layer.get_weights()
    layer.set_weights([2 * kernel, bias])
    try:
        changed = Features(model, ["stem", "norm2"])
        np.testing.assert_allclose(changed(X)[0], 2 * first(X)[0], rtol=1e-6)
    finally:
        layer.set_weights([kernel, bias])
    freed = weakref.ref(changed.network)
    del changed
    gc.collect()
    assert freed() is None


def test_cut_at_the_deepest_layer_used(model: Model) -> None:
    assert [layer.name for layer in Features(model, ["pool", "stem"]).network.layers][-1] == "pool"


def test_features_that_a_copy_in_use_holds_are_read_through_it(model: Model) -> None:
    deep = Features(model, ["norm2"])
    part = Features(model, ["binary:0", "stem"])
    for name in ("stem", "binary"):
        assert part.network.get_layer(name) is deep.network.get_layer(name)
    own = rebuild(model.network, ["binary", "stem"], input_shape=(None, None, 3))
    for a, b in zip(part(X), own(X), strict=True):
        np.testing.assert_array_equal(a, b)
    del deep
    gc.collect()
    assert Features(model, ["stem"]).network.get_layer("stem") is part.network.get_layer("stem")
    assert Features(model, ["norm2"]).network.get_layer("stem") is not part.network.get_layer("stem")
    smooth = Features(model, ["stem"], average_pooling=True).network
    assert smooth.get_layer("stem") is not part.network.get_layer("stem")


def test_some_of_the_layers_are_read_through_the_same_copy(model: Model) -> None:
    every = Features(model, ["stem", "binary:0", "norm2"])
    for places in ([2], [0, 1]):
        for own, expected in zip(every.only(places)(X), [every(X)[k] for k in places], strict=True):
            np.testing.assert_array_equal(own, expected)
    assert every.only([0]).network.get_layer("stem") is every.network.get_layer("stem")


def test_surrogate_changes_gradients_and_not_outputs(model: Model) -> None:
    own, other = Features(model, ["norm2"]), Features(model, ["norm2"], gradient="tanh:0.3")
    np.testing.assert_array_equal(own(X)[0], other(X)[0])
    assert np.abs(_gradient(own, X) - _gradient(other, X)).max() > 1e-3


def test_average_pooling_takes_the_place_of_max_pooling(model: Model) -> None:
    (before,) = Features(model, ["norm"])(X)
    (pooled,) = Features(model, ["pool"], average_pooling=True)(X)
    np.testing.assert_allclose(pooled, tf.nn.avg_pool2d(before, 2, 2, "VALID"), rtol=1e-6)


def test_unknown_layer_is_named(model: Model) -> None:
    with pytest.raises(ArtattackError, match="1 binarized convolutions"):
        Features(model, ["binary:3"])


def _network(package: Any) -> Any:
    """The same network in Keras 2 and Keras 3, with the same weights."""
    image = package.Input((16, 16, 3))
    x = package.layers.Conv2D(8, 3, padding="same", name="stem")(image)
    x = package.layers.BatchNormalization(name="norm")(x)
    x = package.layers.MaxPooling2D(3, 2, padding="same", name="pool")(x)
    inner = package.Input((None, None, 8))
    y = package.layers.MaxPooling2D(2, name="inner_pool")(package.layers.Conv2D(8, 3, name="inner_conv")(inner))
    x = package.Model(inner, y, name="inner")(x)
    x = package.layers.BatchNormalization(scale=False, name="norm2")(x)
    x = package.layers.Dense(5, name="logits")(package.layers.GlobalAveragePooling2D(name="global")(x))
    network = package.Model(image, x)
    rng = np.random.default_rng(0)
    for name in ("stem", "norm", "inner", "norm2", "logits"):
        layer = network.get_layer(name)
        low = 0.5 if name.startswith("norm") else -0.5  # of normalizations, also the variance
        layer.set_weights([rng.uniform(low, 1.5, weight.shape) for weight in layer.get_weights()])
    return network


@pytest.fixture(scope="module")
def models() -> list[Model]:
    """Of Keras 2 and of Keras 3."""
    return [
        Model("toy", "random", "", False, _network(package), (16, 16), Preprocessing(), None, ("norm2",), ("pool",))
        for package in (tf_keras, keras)
    ]


@pytest.mark.parametrize("average_pooling", [False, True])
def test_features_of_keras_3_are_those_of_keras_2(models: list[Model], average_pooling: bool) -> None:
    two, three = (Features(model, ["stem", "pool", "norm2"], average_pooling=average_pooling) for model in models)
    for ours, expected in zip(three(X), two(X), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
    expected_gradient = _gradient(two, X)
    np.testing.assert_allclose(_gradient(three, X), expected_gradient, atol=1e-5 * np.abs(expected_gradient).max())


def test_average_pooling_reaches_networks_within_the_network(models: list[Model]) -> None:
    for model in models:
        network = Features(model, ["norm2"], average_pooling=True).network
        assert type(network.get_layer("pool")).__name__ == "AveragePooling2D"
        assert type(network.get_layer("inner").get_layer("inner_pool")).__name__ == "AveragePooling2D"
        assert type(model.network.get_layer("inner").get_layer("inner_pool")).__name__ == "MaxPooling2D"


def test_the_style_attack_paints_alike_with_keras_2_and_keras_3(models: list[Model]) -> None:
    x = np.random.default_rng(2).uniform(0.2, 0.8, (1, 16, 16, 3)).astype(np.float32)
    style = np.random.default_rng(3).uniform(size=(16, 16, 3)).astype(np.float32)
    two, three = (
        StyleTransferAttack(to_estimator(model), styles=style, steps=3, pooling="average").generate(x)
        for model in models
    )
    assert np.abs(two - x).mean() > 0.01
    assert np.abs(two - three).mean() < 1e-4
