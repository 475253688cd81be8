"""Feature networks: the same outputs as the backbone's own layers, at any size, with what options change."""

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from artattack.attacks.features import Features
from artattack.errors import ArtattackError
from artattack.models.model import Model, Preprocessing
from artattack.models.network import rebuild


@pytest.fixture(scope="module")
def model() -> Model:
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((16, 16, 3))
    x = tf_keras.layers.Conv2D(8, 3, padding="same", name="stem")(image)
    x = tf_keras.layers.BatchNormalization(name="norm")(x)
    x = tf_keras.layers.MaxPooling2D(2, name="pool")(x)
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


def test_cut_at_the_deepest_layer_used(model: Model) -> None:
    assert [layer.name for layer in Features(model, ["pool", "stem"]).network.layers][-1] == "pool"


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
