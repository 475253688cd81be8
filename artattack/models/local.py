"""Models from files: `.keras`, `.h5` and SavedModel folders of Keras 2 and Keras 3.

A file never runs code of its own: `untrusted` checks its architecture as JSON before Keras reads it, and the graph in a
SavedModel is ignored.
"""

from __future__ import annotations

import json
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import larq_zoo  # noqa: F401  registers larq's layers with Keras
import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.protobuf import saved_metadata_pb2
from tf_keras.src.saving.legacy.saved_model import json_utils

from artattack.errors import ArtattackError
from artattack.inputs.labels import check_outputs
from artattack.models.card import read_card
from artattack.models.load_options import LoadOptions
from artattack.models.model import Model, parse_preprocessing, weights_sha256, without_preprocessing
from artattack.models.network import (
    default_layers,
    final_names,
    freeze,
    is_binary_convolution,
    keras_of,
    reason,
    rebuild,
    with_logits,
)
from artattack.models.output_choice import chosen_output
from artattack.models.untrusted import check_architecture, check_hdf5, read_member, weights_file
from artattack.tracing import forgetting_gradients

_SIGMOIDS = {"Sigmoid", "sigmoid", "math.sigmoid", "hard_sigmoid"}


def load(path: Path, options: LoadOptions) -> Model:
    """Load an image classifier from a file.

    Args:
        path: a `.keras` or `.h5` file, or a SavedModel folder written by Keras 2.
        options: options for loading. By default, preprocessing and classes are those of the card beside the file
            (`artattack.models.card`), and the input size is the file's.

    Raises:
        ArtattackError: the file has another format, could run code, or holds no network from one image to classes.
    """
    preprocessing, label_space = options.preprocessing, options.space
    card = read_card(path) if preprocessing is None else None
    if card is not None:
        preprocessing = card.preprocessing
        label_space = card.space if label_space is None else label_space
    if preprocessing is None:
        raise without_preprocessing(str(path))
    expected = parse_preprocessing(preprocessing)
    network = _functional(path, read_network(path), options.output)
    size = options.size or network.input_shape[1:3]
    if None in size:
        raise ArtattackError(f"model '{path}': the file fixes no input size; give input_size")
    if tuple(size) != tuple(network.input_shape[1:3]):
        network = rebuild(network, input_shape=(*size, 3))
    logits = with_logits(network)
    if logits is network and _gives_probabilities(network, size):
        raise ArtattackError(
            f"model '{path}' gives probabilities, but ends in no softmax; save it with logits as output"
        )
    if _SIGMOIDS & final_names(logits):
        raise ArtattackError(
            f"model '{path}' ends in a sigmoid, which scores each class by itself; save it with logits as output"
        )
    outputs = logits.output_shape[-1]
    if outputs < 2:
        raise ArtattackError(
            f"model '{path}' has {outputs} output; a classifier has one for each of two or more classes. If the output "
            "is the score z of one class against the other, save the model with outputs 0 and z"
        )
    check_outputs(label_space, outputs, str(path))
    style_layers, content_layers = default_layers(logits)
    if card is not None and card.style_layers:
        style_layers, content_layers = card.style_layers, card.content_layers
    return Model(
        name=path.stem,
        weights="file",
        weights_sha256=weights_sha256(logits),
        binary=any(map(is_binary_convolution, logits.layers)),
        network=logits,
        input_size=(int(size[0]), int(size[1])),
        preprocessing=expected,
        label_space=label_space,
        style_layers=style_layers,
        content_layers=content_layers,
    )


def read_network(path: Path) -> Any:
    """Load a network of Keras 2 or Keras 3 from a file, after checking that the file cannot run code.

    Raises:
        ArtattackError: the file is not a Keras model, is damaged, or could run code.
    """
    try:
        if path.is_dir():
            return _read_saved_model(path)
        if path.suffix == ".keras":
            return _read_archive(path)
        if path.suffix in (".h5", ".hdf5"):
            return _read_hdf5(path)
        raise ArtattackError(f"model '{path}' is no .keras or .h5 file and no SavedModel folder")
    except ArtattackError:
        raise
    except Exception as error:  # Keras and the readers may raise anything on damaged and foreign files
        raise ArtattackError(f"model '{path}' cannot be loaded: {reason(error)}") from error


def _read_archive(path: Path) -> Any:
    """Build the network that a .keras archive describes, and load the archive's weights; read nothing else."""
    with zipfile.ZipFile(path) as archive:
        architecture = _uncompiled(json.loads(read_member(archive, "config.json")))
        keras = _keras(json.loads(read_member(archive, "metadata.json"))["keras_version"])
    check_architecture(path, architecture, keras)
    library = _serialization(keras)
    with library.ObjectSharingScope(), library.SafeModeScope(True), forgetting_gradients():
        network = library.deserialize_keras_object(architecture)
    if not isinstance(network, keras.Model):
        raise _not_functional(path)
    with weights_file(path) as weights:
        network.load_weights(weights)
    return network


def _uncompiled(value: Any) -> Any:
    """Return an architecture without compile settings (optimizer, losses), which only training needs."""
    if isinstance(value, dict):
        return {key: _uncompiled(item) for key, item in value.items() if key != "compile_config"}
    return [_uncompiled(item) for item in value] if isinstance(value, list) else value


def _read_hdf5(path: Path) -> Any:
    """Load the network in an HDF5 file, after checking the architecture in its attribute `model_config`."""
    check_hdf5(path)
    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise ArtattackError(
                f"model '{path}' holds weights without an architecture; load them with a registry name and weights=PATH"
            )
        architecture, version = file.attrs["model_config"], file.attrs.get("keras_version", "2")
    keras = _keras(version)
    check_architecture(path, json.loads(_text(architecture)), keras)
    with _serialization(keras).SafeModeScope(True), forgetting_gradients():
        return keras.models.load_model(path, compile=False)


def _read_saved_model(path: Path) -> Any:
    """Build the network from a SavedModel's layer descriptions, and load the saved variables."""
    description = path / "keras_metadata.pb"
    if not description.is_file():
        raise ArtattackError(f"model '{path}' holds a graph but no Keras layers; save it as .keras")
    metadata = saved_metadata_pb2.SavedMetadata()
    metadata.ParseFromString(description.read_bytes())
    root = json.loads(next(node.metadata for node in metadata.nodes if node.node_path == "root"))
    if not root.get("is_graph_network") and root["class_name"] != "Sequential":
        raise _not_functional(path)
    architecture = {"class_name": root["class_name"], "config": root["config"]}
    check_architecture(path, architecture, tf_keras)
    with _serialization(tf_keras).SafeModeScope(True):
        network = tf_keras.models.model_from_config(json_utils.decode(json.dumps(architecture)))
    network.load_weights(path / "variables" / "variables").assert_existing_objects_matched().expect_partial()
    return network


def _text(value: Any) -> str:
    """Return a text attribute of an HDF5 file, which older writers stored as bytes."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, str):
        return value
    raise ValueError("an attribute is not text")


def _keras(version: Any) -> Any:
    """Return the Keras package that reads files of a Keras version."""
    if not _text(version).startswith("3"):
        return tf_keras
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ArtattackError(f"Keras 3 runs on {keras.backend.backend()}; set KERAS_BACKEND=tensorflow")
    return keras


def _serialization(keras: Any) -> Any:
    return import_module(f"{keras.__name__}.src.saving.serialization_lib")


def _not_functional(path: Path) -> ArtattackError:
    return ArtattackError(
        f"model '{path}' is subclassed, so its layers cannot be reached; save a functional or Sequential one"
    )


def _functional(path: Path, network: Any, output: int | str | None) -> Any:
    """Return a loaded network as a functional network from one image to one vector, the chosen output."""
    if not getattr(network, "inputs", None):
        raise _not_functional(path)
    keras = keras_of(network)
    if isinstance(network, keras.Sequential):
        network = keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    if len(network.inputs) != 1:
        raise ArtattackError(f"model '{path}' has {len(network.inputs)} inputs; a classifier takes one image")
    given = network.output
    outputs = given if isinstance(given, dict) else dict(zip(network.output_names, network.outputs, strict=True))
    tensor = list(outputs.values())[chosen_output(str(path), list(outputs), output)]
    if tensor is not given:
        network = keras.Model(network.inputs[0], tensor, name=network.name)
    shapes = [tuple(tensor.shape) for tensor in (network.inputs[0], tensor)]
    if len(shapes[0]) != 4 or shapes[0][-1] != 3 or len(shapes[1]) != 2 or shapes[1][-1] is None:
        raise ArtattackError(
            f"model '{path}' maps {shapes[0]} to {shapes[1]}; a classifier maps (None, H, W, 3) to (None, classes)"
        )
    freeze(network)
    return network


def _gives_probabilities(network: Any, size: tuple[int, int]) -> bool:
    x = np.random.default_rng(0).uniform(-1, 1, (4, *size, 3)).astype(np.float32)
    y = np.asarray(network(tf.constant(x), training=False))
    return bool(y.shape[1] > 1 and (y >= 0).all() and np.allclose(y.sum(axis=1), 1, atol=1e-3))
