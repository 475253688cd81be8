"""A small binarized network, images and a style for the style attack's tests."""

import larq as lq
import numpy as np
import pytest
import tf_keras

from artattack.models.model import Model, Preprocessing

SIZE = 24


@pytest.fixture(scope="session")
def model() -> Model:
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((SIZE, SIZE, 3))
    x = tf_keras.layers.Conv2D(8, 3, padding="same", name="stem")(image)
    x = tf_keras.layers.BatchNormalization(name="norm")(x)
    x = lq.layers.QuantConv2D(
        8,
        3,
        padding="same",
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        use_bias=False,
        name="binary",
    )(x)
    x = tf_keras.layers.GlobalAveragePooling2D()(x)
    network = tf_keras.Model(image, tf_keras.layers.Dense(5, name="logits")(x))
    preprocessing = Preprocessing((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
    return Model("toy", "random", "", True, network, (SIZE, SIZE), preprocessing, None, ("stem", "binary:0"), ("stem",))


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.2, 0.8, (3, SIZE, SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def stripes() -> np.ndarray:
    columns = (np.arange(SIZE) // 3 % 2).astype(np.float32)
    return np.broadcast_to(columns[None, :, None], (SIZE, SIZE, 3)).copy()
