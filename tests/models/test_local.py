import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import larq as lq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from artattack.errors import ArtattackError
from artattack.models import load_model
from artattack.models.network import layer_names, rebuild

FORMATS = ["model.keras", "model.h5", "saved_model"]
X = np.random.default_rng(0).uniform(size=(3, 16, 16, 3)).astype(np.float32)


def save(network: Any, path: Path) -> Path:
    network.save(path, **({"save_format": "tf"} if path.suffix == "" else {}))
    return path


def classifier(last: str = "softmax") -> Any:
    """A small binarized network with an operation between layers."""
    inputs = tf_keras.Input((16, 16, 3))
    x = tf_keras.layers.Conv2D(4, 3, padding="same")(inputs)
    binary = {"input_quantizer": "ste_sign", "kernel_quantizer": lq.quantizers.SteSign(1.25)}
    x = x + lq.layers.QuantConv2D(4, 3, padding="same", use_bias=False, **binary)(x)
    x = tf_keras.layers.GlobalAveragePooling2D()(tf.nn.relu(x))
    return tf_keras.Model(inputs, tf_keras.layers.Dense(5, activation=last)(x))


@pytest.mark.parametrize("name", FORMATS)
def test_files_of_keras_2(name: str, tmp_path: Path) -> None:
    network = classifier()
    path = save(network, tmp_path / name)
    model = load_model(path, preprocessing="unit", label_space=[10, "n01440764", "goldfish", 7, 8])
    np.testing.assert_allclose(tf.nn.softmax(model.predict(X)), network(X), atol=1e-5)
    assert (model.name, model.weights, model.binary, model.input_size) == (path.stem, "file", True, (16, 16))
    assert model.label_space == (10, 0, 1, 7, 8)
    assert layer_names(model.network, [*model.style_layers, *model.content_layers])
    assert rebuild(model.network, layer_names(model.network, ["binary:0"]), input_shape=(None, None, 3))


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_files_of_keras_3(name: str, tmp_path: Path) -> None:
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(2.0)(inputs))
    relu = keras.layers.ReLU()(x)
    total = keras.layers.Add()([relu, x]) if name == "model.h5" else relu + x  # Keras 3 reads no `+` from .h5
    x = keras.layers.GlobalAveragePooling2D()(total)
    network = keras.Model(inputs, keras.layers.Dense(5, activation="softmax")(x))
    path = save(network, tmp_path / name)
    model = load_model(str(path), preprocessing={"std": [255, 255, 255]})
    np.testing.assert_allclose(tf.nn.softmax(model.predict(X)), network(X), atol=1e-5)
    assert model.label_space is None
    assert not model.binary
    assert model.style_layers == ("conv:0",)
    features = rebuild(model.network, layer_names(model.network, model.style_layers), input_shape=(32, 24, 3))
    assert tf.nest.flatten(features(tf.zeros((1, 32, 24, 3))))[0].shape == (1, 30, 22, 4)


@pytest.mark.parametrize("name", FORMATS)
def test_sequential_becomes_functional_at_the_size_asked_for(name: str, tmp_path: Path) -> None:
    layers = [tf_keras.layers.Conv2D(4, 3, input_shape=(None, None, 3)), tf_keras.layers.GlobalMaxPool2D()]
    network = tf_keras.Sequential([*layers, tf_keras.layers.Dense(3), tf_keras.layers.Softmax()])
    path = save(network, tmp_path / name)
    with pytest.raises(ArtattackError, match="give input_size"):
        load_model(path, preprocessing="unit")
    model = load_model(path, preprocessing="unit", input_size=16)
    assert model.input_size == (16, 16)
    np.testing.assert_allclose(tf.nn.softmax(model.predict(X)), network(X), atol=1e-5)


def payload(target: Path) -> Any:
    """A lambda that writes a file. It holds the path, since a loaded lambda sees no variables of ours."""
    return eval(f"lambda x: (open({str(target)!r}, 'w').close(), x)[1]")


def lambda_layer(target: Path) -> Any:
    return tf_keras.layers.Lambda(payload(target), name="payload")


@pytest.mark.parametrize("name", FORMATS)
def test_code_in_a_file_does_not_run(name: str, tmp_path: Path) -> None:
    target = tmp_path / "written"
    inputs = tf_keras.Input((16, 16, 3))
    x = tf_keras.layers.GlobalAveragePooling2D()(lambda_layer(target)(inputs))
    path = save(tf_keras.Model(inputs, tf_keras.layers.Dense(3)(x)), tmp_path / name)
    target.unlink()
    if name == "model.h5":  # the payload is real: without the checks it runs
        tf_keras.models.load_model(path)
        target.unlink()
    with pytest.raises(ArtattackError, match="contains 'Lambda', which could run code"):
        load_model(path, preprocessing="unit")
    assert not target.exists()


@pytest.mark.parametrize("name", FORMATS)
def test_code_deep_in_a_file_does_not_run(name: str, tmp_path: Path) -> None:
    target = tmp_path / "written"
    inner = tf_keras.Sequential([tf_keras.layers.InputLayer((16, 16, 3)), lambda_layer(target)])
    inputs = tf_keras.Input((16, 16, 3))
    x = tf_keras.layers.GlobalAveragePooling2D()(inner(inputs))
    path = save(tf_keras.Model(inputs, tf_keras.layers.Dense(3)(x)), tmp_path / name)
    target.unlink()
    with pytest.raises(ArtattackError, match="contains 'Lambda', which could run code"):
        load_model(path, preprocessing="unit")
    assert not target.exists()


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_code_in_a_file_of_keras_3_does_not_run(name: str, tmp_path: Path) -> None:
    target = tmp_path / "written"
    network = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Lambda(payload(target), output_shape=(16, 16, 3)),
            keras.layers.Flatten(),
        ]
    )
    path = save(network, tmp_path / name)
    target.unlink(missing_ok=True)
    with pytest.raises(ArtattackError, match="contains 'Lambda', which could run code"):
        load_model(path, preprocessing="unit")
    assert not target.exists()


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Change the architecture in a .keras or .h5 file, as a text."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = change(file.attrs["model_config"])
        return
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = change(parts["config.json"].decode()).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.parametrize("operation", ["io.write_file", "numpy_function", "compat.v1.py_func", "io.read_file"])
def test_operations_that_touch_files_or_run_code_are_refused(name: str, operation: str, tmp_path: Path) -> None:
    path = save(classifier(), tmp_path / name)
    rewrite(path, lambda text: text.replace('"function": "nn.relu"', f'"function": "{operation}"'))
    with pytest.raises(ArtattackError, match=f"contains '{operation}'"):
        load_model(path, preprocessing="unit")


def test_classes_from_elsewhere_are_refused(tmp_path: Path) -> None:
    path = save(classifier(), tmp_path / "model.keras")
    dense = '"module": "keras.layers", "class_name": "Dense"'
    with zipfile.ZipFile(path) as archive:
        assert dense in archive.read("config.json").decode()
    rewrite(path, lambda text: text.replace(dense, '"module": "subprocess", "class_name": "Popen"'))
    with pytest.raises(ArtattackError, match="contains 'Popen'"):
        load_model(path, preprocessing="unit")


def test_probabilities_of_unknown_origin_are_refused(tmp_path: Path) -> None:
    inputs = tf_keras.Input((16, 16, 3))
    x = tf_keras.layers.Softmax()(tf_keras.layers.Dense(3)(tf_keras.layers.Flatten()(inputs)))
    network = tf_keras.Model(inputs, tf_keras.layers.Activation("linear")(x))
    with pytest.raises(ArtattackError, match="gives probabilities, but ends in no softmax"):
        load_model(save(network, tmp_path / "model.keras"), preprocessing="unit")


def head(units: int, activation: Any) -> Any:
    inputs = tf_keras.Input((16, 16, 3))
    return tf_keras.Model(inputs, activation(tf_keras.layers.Dense(units)(tf_keras.layers.Flatten()(inputs))))


@pytest.mark.parametrize(
    "activation",
    [tf.sigmoid, tf_keras.layers.Activation("sigmoid"), tf_keras.layers.Dense(3, activation="sigmoid")],
)
def test_sigmoids_are_refused(activation: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match="ends in a sigmoid"):
        load_model(save(head(3, activation), tmp_path / "model.keras"), preprocessing="unit")


@pytest.mark.parametrize("activation", [tf.identity, tf_keras.layers.Softmax()])
@pytest.mark.parametrize("label_space", [None, ["tench", "goldfish"]])
def test_a_network_of_one_output_is_no_classifier(activation: Any, label_space: Any, tmp_path: Path) -> None:
    path = save(head(1, activation), tmp_path / "model.keras")
    with pytest.raises(ArtattackError, match="has 1 output; a classifier has one for each of two or more"):
        load_model(path, preprocessing="unit", label_space=label_space)


def test_label_space_must_fit(tmp_path: Path) -> None:
    path = save(classifier("linear"), tmp_path / "model.keras")
    with pytest.raises(ArtattackError, match="1000 classes for 5 outputs"):
        load_model(path, preprocessing="unit", label_space="imagenet")
    (tmp_path / "classes.txt").write_text("4\n3\n2\n1\n0\n")
    model = load_model(path, preprocessing="unit", label_space=str(tmp_path / "classes.txt"))
    assert model.label_space == (4, 3, 2, 1, 0)


class Subclassed(tf_keras.Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.dense = tf_keras.layers.Dense(3)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.dense(tf.reshape(x, (-1, 768)))


def two_inputs() -> Any:
    inputs = [tf_keras.Input((16, 16, 3)), tf_keras.Input((16, 16, 3))]
    x = tf_keras.layers.Flatten()(tf_keras.layers.Add()(inputs))
    return tf_keras.Model(inputs, tf_keras.layers.Dense(3)(x))


def grey() -> Any:
    return tf_keras.Sequential([tf_keras.layers.Flatten(input_shape=(16, 16, 1)), tf_keras.layers.Dense(3)])


@pytest.mark.parametrize(
    ("network", "name", "message"),
    [
        (two_inputs, "model.keras", "has 2 inputs; a classifier takes one image"),
        (two_inputs, "saved_model", "has 2 inputs; a classifier takes one image"),
        (grey, "model.h5", r"a classifier maps \(None, H, W, 3\)"),
    ],
)
def test_networks_that_are_no_image_classifiers(
    network: Callable[[], Any], name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ArtattackError, match=message):
        load_model(save(network(), tmp_path / name), preprocessing="unit")


def test_subclassed_models_are_refused(tmp_path: Path) -> None:
    network = Subclassed()
    network(X)
    with pytest.raises(ArtattackError, match="subclassed"):
        load_model(save(network, tmp_path / "saved_model"), preprocessing="unit")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "damaged.keras").write_bytes(b"PK no zip")
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "model.caffe").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    classifier().save_weights(tmp_path / "weights.h5")
    module = tf.Module()
    tf.saved_model.save(module, str(tmp_path / "graph"))
    for name, message in {
        "damaged.keras": "cannot be loaded",
        "text.h5": "cannot be loaded",
        "model.caffe": r"no .keras or .h5 file and no SavedModel",
        "folder": "no SavedModel|no Keras layers",
        "graph": "holds a graph but no Keras layers",
        "weights.h5": "weights without an architecture",
    }.items():
        with pytest.raises(ArtattackError, match=message) as caught:
            load_model(tmp_path / name, preprocessing="unit")
        assert "\n" not in str(caught.value)


def test_arguments_that_a_file_needs(tmp_path: Path) -> None:
    path = save(classifier(), tmp_path / "model.keras")
    with pytest.raises(ArtattackError, match="give its preprocessing: imagenet, caffe, tf, lite, unit, byte, or mean"):
        load_model(path)
    with pytest.raises(ArtattackError, match="leave out weights"):
        load_model(path, "random", preprocessing="unit")


def test_an_unknown_class_in_a_file_is_one_line(tmp_path: Path) -> None:
    path = save(classifier(), tmp_path / "model.h5")
    rewrite(path, lambda text: text.replace('"GlobalAveragePooling2D"', '"MyPooling"'))
    with pytest.raises(ArtattackError, match=r"cannot be loaded: .*MyPooling") as caught:
        load_model(path, preprocessing="unit")
    assert "\n" not in str(caught.value)
