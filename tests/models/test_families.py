"""Every network of the registry: a few by default, all with ARTATTACK_ALL_MODELS=1 (several minutes)."""

import os
import urllib.error
from importlib import import_module
from pathlib import Path
from typing import Any

import larq_zoo
import numpy as np
import pytest
import tensorflow as tf
from larq_zoo.training.data import _normalize

from artattack.errors import ArtattackError
from artattack.models import ModelInfo, load_model, model_infos
from artattack.models.model import PREPROCESSING
from artattack.models.network import is_binary_convolution, layer_names, rebuild

pytestmark = pytest.mark.slow

INFOS = {info.name: info for info in model_infos()}
ALL = "ARTATTACK_ALL_MODELS" in os.environ
# Networks of each kind: binarized, with everything pooled for one size, depthwise, fully connected.
NAMES = list(INFOS) if ALL else ["quicknet_tiny", "quicknet_small", "r2b", "mobilenet_v2"]

# The module of keras.applications that defines each network.
MODULES = {
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "resnet50": "resnet50",
    "resnet101": "resnet",
    "resnet50_v2": "resnet_v2",
    "densenet121": "densenet",
    "inception_v3": "inception_v3",
    "inception_resnet_v2": "inception_resnet_v2",
    "xception": "xception",
    "mobilenet": "mobilenet",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3_small": "mobilenet_v3",
    "mobilenet_v3_large": "mobilenet_v3",
    "efficientnet_b0": "efficientnet",
    "efficientnet_v2_b0": "efficientnet_v2",
    "nasnet_mobile": "nasnet",
    "convnext_tiny": "convnext",
}


def of_family(family: str) -> list[ModelInfo]:
    return [info for info in INFOS.values() if info.family == family]


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.float32)


def test_every_network_of_larq_zoo_is_there() -> None:
    published = {f"literature.{name}" for name in larq_zoo.literature.__all__}
    published |= {f"sota.{name}" for name in larq_zoo.sota.__all__}
    assert published <= {info.source for info in of_family("larq_zoo")}


@pytest.mark.parametrize("info", of_family("keras_applications"), ids=lambda info: info.name)
def test_preprocessing_is_that_of_keras(info: ModelInfo) -> None:
    keras_own = import_module(f"tf_keras.applications.{MODULES[info.name]}").preprocess_input
    x = pixels()
    expected = keras_own(x.copy())
    np.testing.assert_allclose(PREPROCESSING[info.preprocessing](tf.constant(x / 255)), expected, rtol=1e-5, atol=1e-4)


def test_preprocessing_is_that_of_larq_zoo() -> None:
    x = pixels()
    for info in (*of_family("larq_zoo"), *of_family("bundled")):
        ours = PREPROCESSING[info.preprocessing](tf.constant(x / 255))
        np.testing.assert_allclose(ours, _normalize(tf.constant(x)), atol=1e-5)


def test_preprocessing_is_that_of_efficientnet_lite() -> None:
    from artattack.models import efficientnet_lite

    for info in of_family("efficientnet_lite"):
        preprocessing = PREPROCESSING[info.preprocessing]
        assert preprocessing.mean == efficientnet_lite.MEAN
        assert preprocessing.std == efficientnet_lite.STD
        assert info.input_size == efficientnet_lite.VARIANTS[info.source].input_size


@pytest.mark.parametrize("name", NAMES)
def test_network(name: str) -> None:
    """It classifies, its default layers exist, and its features can be computed at another size."""
    info = INFOS[name]
    model = load_model(name, "random")
    try:
        assert model.network.input_shape == (None, *info.input_size, 3)
        logits = model.predict(np.random.default_rng(0).uniform(size=(1, 40, 40, 3)).astype(np.float32))
        assert logits.shape == (1, len(model.label_space or ()))
        assert np.isfinite(logits).all()
        assert not np.allclose(logits.sum(), 1) or (logits < 0).any()
        assert model.binary == any(map(is_binary_convolution, model.network.layers))
        layers = layer_names(model.network, [*model.style_layers, *model.content_layers])
        if name == "strong_baseline":  # its scales have the size of the feature maps
            with pytest.raises(ArtattackError, match="cannot be rebuilt for input"):
                rebuild(model.network, layers, input_shape=(64, 64, 3))
            return
        features = rebuild(model.network, layers, input_shape=(64, 64, 3))(tf.zeros((1, 64, 64, 3)))
        assert all(feature.shape.rank == 4 for feature in features)
    finally:
        tf.keras.backend.clear_session()


@pytest.mark.parametrize("name", [name for name in NAMES if INFOS[name].download])
def test_downloads_are_looked_for_where_the_library_keeps_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tf_keras.src.utils import data_utils

    tried: list[Path] = []

    def refuse(url: str, path: str, progress: object) -> None:
        tried.append(Path(path))
        raise urllib.error.URLError("no network")

    (tmp_path / ".keras").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(data_utils, "urlretrieve", refuse)
    with pytest.raises(ArtattackError, match="no network"):
        load_model(name, "imagenet")
    assert tried == [INFOS[name].download_path]


@pytest.mark.skipif(not ALL, reason="builds EfficientNetB0 twice; ARTATTACK_ALL_MODELS=1 runs it")
def test_efficientnet_b0_from_its_published_file_is_the_downloaded_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras builds a rescaling for weights="imagenet" alone, which weights from a file need just as much."""
    from tf_keras.src.utils import data_utils

    def published(network: Any) -> None:
        normalization = network.get_layer(index=2)
        values = [np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), np.array(1)]
        normalization.set_weights(values)

    network = tf.keras.applications.EfficientNetB0(weights=None)
    published(network)
    network.save_weights(tmp_path / "weights.h5")
    monkeypatch.setattr(data_utils, "get_file", lambda *args, **kwargs: str(tmp_path / "weights.h5"))
    x = np.random.default_rng(0).uniform(size=(1, 224, 224, 3)).astype(np.float32)
    downloaded, loaded = (load_model("efficientnet_b0", weights) for weights in ("imagenet", tmp_path / "weights.h5"))
    first, second = (
        rebuild(model.network, ["stem_conv"])(model.preprocessing(tf.constant(x))) for model in (downloaded, loaded)
    )
    np.testing.assert_allclose(first, second, atol=1e-4)
    normal = (x - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    inner = rebuild(loaded.network, [loaded.network.layers[2].name])(loaded.preprocessing(tf.constant(x)))
    np.testing.assert_allclose(np.squeeze(inner), np.squeeze(normal), atol=1e-4)
