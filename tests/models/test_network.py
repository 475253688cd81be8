from typing import Any

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from artattack.errors import ArtattackError
from artattack.models.network import is_binary_convolution, keras_of, layer_names, rebuild, with_logits

layers = tf.keras.layers


def binary_convolution(filters: int, name: str) -> Any:
    return lq.layers.QuantConv2D(
        filters, 3, padding="same", input_quantizer="ste_sign", kernel_quantizer="ste_sign", name=name
    )


@pytest.fixture(scope="module")
def network() -> Any:
    """A network with every kind of layer that surgery has to mind."""
    tf.keras.utils.set_random_seed(1)
    inputs = tf.keras.Input((16, 16, 3))
    x = layers.Normalization(mean=(0.1, 0.2, 0.3), variance=(0.5, 1.0, 2.0))(inputs)
    x = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = x + binary_convolution(4, "first")(x)
    x = tf.keras.Sequential([layers.Conv2D(6, 2, strides=2)], name="downsampling")(x)
    x = binary_convolution(6, "second")(x)
    x = layers.AveragePooling2D(8, name="pool")(x)
    x = layers.Dense(5, activation="softmax", name="classes")(layers.Flatten()(x))
    network = tf.keras.Model(inputs, x, name="small")
    network.get_layer("norm").set_weights([np.random.default_rng(0).uniform(0.5, 2, 4) for _ in range(4)])
    return network


@pytest.fixture(scope="module")
def x() -> tf.Tensor:
    return tf.random.stateless_uniform((3, 16, 16, 3), (1, 2))


def test_rebuild_gives_the_same_outputs_with_weights_of_its_own(network: Any, x: tf.Tensor) -> None:
    copy = rebuild(network)
    np.testing.assert_allclose(copy(x), network(x), atol=1e-6)
    assert not copy.trainable
    copy.get_layer("stem").set_weights([w * 0 for w in copy.get_layer("stem").get_weights()])
    assert np.abs(network.get_layer("stem").get_weights()[0]).max() > 0


def test_rebuild_cuts_at_layers(network: Any, x: tf.Tensor) -> None:
    first, second = rebuild(network, ["stem", "second"])(x)
    normalized = (x - (0.1, 0.2, 0.3)) / np.sqrt((0.5, 1.0, 2.0))
    np.testing.assert_allclose(first, network.get_layer("stem")(normalized), atol=1e-5)
    assert second.shape == (3, 8, 8, 6)


@pytest.mark.parametrize("shape", [(16, 16, 3), (24, 40, 3), (None, None, 3)])
def test_rebuild_for_another_size_is_the_same_function(network: Any, shape: Any) -> None:
    wide = tf.random.stateless_uniform((1, shape[0] or 30, shape[1] or 22, 3), (3, 4))
    copy = rebuild(network, ["second"], input_shape=shape)
    (features,) = copy(wide) if isinstance(copy(wide), list) else (copy(wide),)
    assert features.shape == (1, wide.shape[1] // 2, wide.shape[2] // 2, 6)
    # Far from the border, what is cut out of the image gives what is cut out of the features.
    inner = rebuild(network, ["second"])(wide[:, :16, :16])
    inner = inner[0] if isinstance(inner, list) else inner
    np.testing.assert_allclose(features[:, :5, :5], inner[:, :5, :5], atol=1e-4)


def test_rebuild_keeps_a_global_pool_global(network: Any) -> None:
    large = rebuild(network, input_shape=(32, 32, 3))
    one_value = tf.fill((1, 32, 32, 3), 0.5)
    features = rebuild(network, ["second"], input_shape=(32, 32, 3))(one_value)
    features = features[0] if isinstance(features, list) else features
    kernel, bias = network.get_layer("classes").get_weights()
    expected = tf.nn.softmax(tf.reduce_mean(features, (1, 2)) @ kernel + bias)
    np.testing.assert_allclose(large(one_value), expected, atol=1e-5)


def test_rebuild_keeps_the_state_of_normalization() -> None:
    inputs = tf.keras.Input((2, 2, 3))
    network = tf.keras.Model(inputs, layers.Normalization()(inputs))
    network.layers[-1].set_weights([np.array([1.0, 2.0, 3.0]), np.array([4.0, 4.0, 4.0]), np.array(7)])
    network.layers[-1].finalize_state()
    x = tf.ones((1, 2, 2, 3))
    np.testing.assert_allclose(network(x)[0, 0, 0], [0, -0.5, -1], atol=1e-6)
    np.testing.assert_allclose(rebuild(network)(x), network(x), atol=1e-6)


def test_rebuild_replaces_layers_with_their_weights_or_others(network: Any, x: tf.Tensor) -> None:
    kernel, bias = network.get_layer("stem").get_weights()

    def no_padding(layer: Any) -> Any:
        config = {**layer.get_config(), "activation": "relu"}
        return type(layer).from_config(config) if layer.name == "stem" else None

    def doubled(layer: Any) -> Any:
        if layer.name == "stem":
            return type(layer).from_config(layer.get_config()), [2 * kernel, 2 * bias]
        return None

    original = rebuild(network, ["stem"])(x)
    np.testing.assert_allclose(rebuild(network, ["stem"], replace=no_padding)(x), np.maximum(original, 0), atol=1e-6)
    np.testing.assert_allclose(rebuild(network, ["stem"], replace=doubled)(x), 2 * np.array(original), atol=1e-5)


def test_rebuild_names_the_layer_that_fixes_the_size_in_one_line() -> None:
    inputs = tf.keras.Input((8, 8, 3))
    network = tf.keras.Model(inputs, layers.Dense(2)(layers.Flatten()(inputs)), name="fixed")
    with pytest.raises(ArtattackError, match=r"network 'fixed' cannot be rebuilt for input \(4, 4, 3\)") as caught:
        rebuild(network, input_shape=(4, 4, 3))
    assert "\n" not in str(caught.value)


def ends(kind: str) -> Any:
    inputs = tf.keras.Input((4, 4, 3))
    x = layers.Flatten()(inputs)
    if kind == "activation of the last layer":
        return tf.keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    x = layers.Dense(3)(x)
    last = {
        "activation layer": layers.Activation("softmax"),
        "softmax layer": layers.Softmax(),
        "operation": tf.nn.softmax,
    }
    return tf.keras.Model(inputs, last[kind](x))


@pytest.mark.parametrize("kind", ["activation of the last layer", "activation layer", "softmax layer", "operation"])
def test_softmax_of_the_logits_is_the_original(kind: str) -> None:
    network, x = ends(kind), tf.random.stateless_uniform((4, 4, 4, 3), (5, 6))
    logits = with_logits(network)(x)
    np.testing.assert_allclose(tf.nn.softmax(logits), network(x), atol=1e-6)
    assert np.abs(logits).max() > 0
    assert (np.array(logits) < 0).any()


def test_with_logits_leaves_logits_alone() -> None:
    inputs = tf.keras.Input((4, 4, 3))
    network = tf.keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs)))
    assert with_logits(network) is network


def test_layer_specifications(network: Any) -> None:
    assert layer_names(network, ["binary:0", "binary:1", "binary:-1", "conv:0", "norm"]) == (
        "first",
        "second",
        "second",
        "stem",
        "norm",
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("secnd", "did you mean 'second'"),
        ("binary:2", "2 binarized convolutions, binary:0 to binary:1"),
        ("binary:x", "2 binarized convolutions"),
        ("layer:1", "one of binary:0, conv:0"),
    ],
)
def test_wrong_layer_specifications_list_the_valid_ones(network: Any, spec: str, message: str) -> None:
    with pytest.raises(ArtattackError, match=message):
        layer_names(network, [spec])


def test_no_binarized_convolutions_hints_at_others() -> None:
    inputs = tf.keras.Input((4, 4, 3))
    float_network = tf.keras.Model(inputs, lq.layers.QuantConv2D(2, 1, kernel_quantizer="ste_sign")(inputs))
    assert not is_binary_convolution(float_network.layers[-1])
    with pytest.raises(ArtattackError, match="0 binarized convolutions; use conv:K"):
        layer_names(float_network, ["binary:0"])


def test_surgery_works_on_keras_3() -> None:
    import keras

    inputs = keras.Input((16, 16, 3))
    a = keras.layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    b = keras.layers.Conv2D(4, 3, padding="same", name="b")(a) + a
    pooled = keras.layers.GlobalAveragePooling2D()(b)
    network = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(pooled))
    assert keras_of(network) is keras
    x = tf.random.stateless_uniform((2, 16, 16, 3), (7, 8))
    logits = with_logits(network)
    np.testing.assert_allclose(tf.nn.softmax(logits(x)), network(x), atol=1e-6)
    features = rebuild(network, ["b"], input_shape=(None, None, 3))(x)
    features = features[0] if isinstance(features, list) else features
    np.testing.assert_allclose(features, network.get_layer("b")(network.get_layer("a")(x)), atol=1e-5)
    assert layer_names(network, ["conv:1"]) == ("b",)


def test_sums_and_activations_are_counted() -> None:
    inputs = tf.keras.Input((8, 8, 3))
    a = tf.keras.layers.Conv2D(3, 1, name="a")(inputs)
    first = tf.keras.layers.Activation("relu", name="first")(a)
    other = tf.keras.layers.ReLU(name="other")(1.0 + (first + inputs))  # 1.0 is no branch
    last = tf.keras.layers.Add(name="last")([other, a])
    network = tf.keras.Model(inputs, last)
    assert layer_names(network, ["activation:*"]) == ("first", "other")
    _, at_the_end = layer_names(network, ["sum:*"])
    assert at_the_end == "last"
    assert layer_names(network, ["sum:-1", "activation:0"]) == ("last", "first")
    with pytest.raises(ArtattackError, match="2 activations, activation:0 to activation:1"):
        layer_names(network, ["activation:2"])
