"""A small binarized network, images, a style, and the style attack on them; each attack is compiled once only."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import larq as lq
import numpy as np
import pytest
import tf_keras
from PIL import Image

from artattack.attacks.style import StyleTransferAttack
from artattack.models.estimator import ArtEstimator, to_estimator
from artattack.models.model import Model, Preprocessing

SIZE = 24
# Pixel by pixel, without chance, and content as heavy as style: what one option does shows at once.
PLAIN: dict[str, Any] = {
    "parametrization": "pixel",
    "jitter": 0,
    "style_weight": 1.0,
    "content_weight": 1.0,
    "tv_weight": 0.3,
    "budget": None,
}


@pytest.fixture(scope="session")
def model() -> Model:
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((SIZE, SIZE, 3))
    x = tf_keras.layers.Conv2D(8, 3, padding="same", name="stem")(image)
    x = tf_keras.layers.BatchNormalization(name="norm")(x)
    x = tf_keras.layers.MaxPooling2D(2, name="pool")(x)
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
def estimator(model: Model) -> ArtEstimator:
    return to_estimator(model)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return _constant(np.random.default_rng(0).uniform(0.2, 0.8, (3, SIZE, SIZE, 3)).astype(np.float32))


@pytest.fixture(scope="session")
def stripes() -> np.ndarray:
    columns = (np.arange(SIZE) // 3 % 2).astype(np.float32)
    return _constant(np.broadcast_to(columns[None, :, None], (SIZE, SIZE, 3)).copy())


@pytest.fixture(scope="session")
def half_mask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image, white on the left half."""
    white = np.zeros((SIZE, SIZE), np.uint8)
    white[:, : SIZE // 2] = 255
    path = tmp_path_factory.mktemp("masks") / "half.png"
    Image.fromarray(white).save(path)
    return path


@pytest.fixture(scope="session")
def plain() -> dict[str, Any]:
    """Return options with which nothing is left to chance."""
    return PLAIN


@pytest.fixture(scope="session")
def attack(estimator: ArtEstimator, stripes: np.ndarray) -> Callable[..., StyleTransferAttack]:
    """Return the plain attack but for some options, 8 steps unless told; the same one for the same options."""

    @cache
    def attack(**options: Any) -> StyleTransferAttack:
        return StyleTransferAttack(estimator, **(PLAIN | {"styles": stripes, "steps": 8} | options))

    return attack


@pytest.fixture(scope="session")
def paint(attack: Callable[..., StyleTransferAttack], images: np.ndarray) -> Callable[..., np.ndarray]:
    """Return the images as the attack with some options paints them."""

    @cache
    def paint(**options: Any) -> np.ndarray:
        return _constant(attack(**options).generate(images))

    return paint


def _constant(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
