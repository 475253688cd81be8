"""Models from files: `.keras`, `.h5` and SavedModel folders of Keras 2 and Keras 3.

A file is data and never gets to run code of its own. Its architecture is read as JSON and checked before
Keras sees it, since Keras' own safe mode does not cover every format; the graph in a SavedModel is not run.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import larq_zoo  # noqa: F401  registers larq's layers with Keras
import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.protobuf import saved_metadata_pb2
from tf_keras.src.saving.legacy.saved_model import json_utils
from tf_keras.src.saving.serialization_lib import SafeModeScope

from artattack.errors import ArtattackError
from artattack.inputs.labels import LabelSpace
from artattack.models.model import Model, Preprocessing, parse_preprocessing, weights_sha256
from artattack.models.network import is_binary_convolution, is_convolution, reason, rebuild, with_logits

# Layers that hold code, run arbitrary operations, or read files.
_REFUSED = {
    "Lambda",
    "__lambda__",
    "TensorFlowOpLayer",
    "ClassMethod",
    "InstanceMethod",
    "TFSMLayer",
    "TorchModuleWrapper",
    "JaxLayer",
    "FlaxLayer",
    "StringLookup",
    "IntegerLookup",
    "TextVectorization",
}
# Modules whose classes a file may name, with the modules below them. Registered classes name no module.
_MODULES = re.compile(
    r"(tf_)?keras(\.(layers|activations|initializers|regularizers|constraints|models|dtype_policies"
    r"|mixed_precision|ops|engine|src\.models|src\.engine|src\.ops)(\.\w+)*)?"
    r"|larq\.(layers|quantizers|constraints|activations)"
)
_OPERATION_LAYERS = {"TFOpLambda", "SlicingOpLambda"}
# Functions that a file may name: activations and initializers, and what TensorFlow computes between layers.
_FUNCTIONS = (tf_keras.activations, tf_keras.initializers)
_OPERATIONS = re.compile(
    r"(compat\.v1\.)?((math|nn|linalg|image|__operators__|keras\.activations)\.\w+|broadcast_to|cast|clip_by_value"
    r"|concat|expand_dims|gather|identity|ones_like|pad|reshape|reverse|roll|shape|slice|split|squeeze|stack"
    r"|strided_slice|tile|transpose|unstack|where|zeros_like)"
)


def load(
    path: Path,
    preprocessing: str | Mapping[str, Any] | Preprocessing | None,
    label_space: LabelSpace | None,
    input_size: tuple[int, int] | None,
) -> Model:
    """Load an image classifier from a file.

    Args:
        path: a `.keras` or `.h5` file, or a SavedModel folder written by Keras 2.
        preprocessing: what the network expects of its input; see `artattack.models.load_model`.
        label_space: ImageNet class of each output, or None for classes of its own.
        input_size: (H, W) in pixels; by default what the file says.

    Raises:
        ArtattackError: not such a file, one that could run code, or no network from one image to classes.
    """
    if preprocessing is None:
        raise ArtattackError(
            f"model '{path}': say what its network expects, preprocessing=imagenet, caffe, tf, unit or byte, "
            "or mean and std in 0..255"
        )
    network = _functional(path, _read(path))
    size = input_size or network.input_shape[1:3]
    if None in size:
        raise ArtattackError(f"model '{path}': the file fixes no input size; give input_size")
    if tuple(size) != tuple(network.input_shape[1:3]):
        network = rebuild(network, input_shape=(*size, 3))
    logits = with_logits(network)
    if logits is network and _gives_probabilities(network, size):
        raise ArtattackError(
            f"model '{path}' gives probabilities, but ends in no softmax; save it with logits as output"
        )
    outputs = logits.output_shape[-1]
    if label_space is not None and len(label_space) != outputs:
        raise ArtattackError(f"model '{path}': a label space of {len(label_space)} classes for {outputs} outputs")
    binary = sum(map(is_binary_convolution, logits.layers))
    kind, count = ("binary", binary) if binary else ("conv", sum(map(is_convolution, logits.layers)))
    return Model(
        name=path.stem,
        weights="file",
        weights_sha256=weights_sha256(logits),
        binary=binary > 0,
        network=logits,
        input_size=(int(size[0]), int(size[1])),
        preprocessing=parse_preprocessing(preprocessing),
        label_space=label_space,
        # One layer of each quarter of the depth.
        style_layers=tuple(dict.fromkeys(f"{kind}:{(2 * k + 1) * count // 8}" for k in range(4) if count)),
        content_layers=(f"{kind}:{count // 2}",) if count else (),
    )


def _read(path: Path) -> Any:
    """Load a network of Keras 2 or Keras 3 from a file, after checking that the file cannot run code."""
    try:
        if path.is_dir():
            return _read_saved_model(path)
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                architecture = archive.read("config.json")
                version = json.loads(archive.read("metadata.json"))["keras_version"]
        elif path.suffix in (".h5", ".hdf5"):
            with h5py.File(path, "r") as file:
                if "model_config" not in file.attrs:
                    raise ArtattackError(
                        f"model '{path}' holds weights without an architecture; load it by weights=PATH "
                        "with a registry name"
                    )
                architecture, version = file.attrs["model_config"], file.attrs.get("keras_version", "2")
        else:
            raise ArtattackError(f"model '{path}' is no .keras or .h5 file and no SavedModel folder")
        _check(path, json.loads(architecture))
        if str(version).startswith("2"):
            with SafeModeScope(True):
                return tf_keras.models.load_model(path, compile=False)
        return _keras3().models.load_model(path, compile=False, safe_mode=True)
    except ArtattackError:
        raise
    except Exception as error:  # whatever Keras and the readers raise on damaged and foreign files
        raise ArtattackError(f"model '{path}' cannot be loaded: {reason(error)}") from error


def _read_saved_model(path: Path) -> Any:
    """Build the network from a SavedModel's layer descriptions and give it the saved variables."""
    description = path / "keras_metadata.pb"
    if not description.is_file():
        raise ArtattackError(f"model '{path}' holds a graph but no Keras layers; save it as .keras")
    metadata = saved_metadata_pb2.SavedMetadata()
    metadata.ParseFromString(description.read_bytes())
    root = next(node.metadata for node in metadata.nodes if node.node_path == "root")
    _check(path, json.loads(root))
    architecture = json_utils.decode(root)
    if not architecture.get("is_graph_network") and architecture["class_name"] != "Sequential":
        raise _not_functional(path)
    with SafeModeScope(True):
        network = tf_keras.models.model_from_config(
            {"class_name": architecture["class_name"], "config": architecture["config"]}
        )
    network.load_weights(path / "variables" / "variables").assert_existing_objects_matched().expect_partial()
    return network


def _check(path: Path, architecture: Any) -> None:
    """Refuse an architecture with anything in it that could run code or touch files."""
    for part in _parts(architecture):
        if not _is_harmless(part):
            what = part["config"]["function"] if part["class_name"] in _OPERATION_LAYERS else part["class_name"]
            raise ArtattackError(
                f"model '{path}' contains '{what}', which could run code or touch files; save it without, or "
                "load its weights alone by weights=PATH with a registry name"
            )


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every description of a layer, object or function inside an architecture."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _parts(item)


def _is_harmless(part: dict[str, Any]) -> bool:
    name, module = part["class_name"], part.get("module")
    if name in _OPERATION_LAYERS:
        return _OPERATIONS.fullmatch(part["config"]["function"]) is not None
    if name == "function":
        return any(hasattr(functions, str(part["config"])) for functions in _FUNCTIONS)
    known = module is None or _MODULES.fullmatch(module) is not None
    return known and name.isidentifier() and name not in _REFUSED


def _keras3() -> Any:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ArtattackError(f"Keras 3 runs on {keras.backend.backend()}; set KERAS_BACKEND=tensorflow")
    return keras


def _not_functional(path: Path) -> ArtattackError:
    return ArtattackError(
        f"model '{path}' is subclassed, so its layers cannot be reached; save a functional or Sequential one"
    )


def _functional(path: Path, network: Any) -> Any:
    """Return a loaded network as a functional one from one image to one vector."""
    keras = tf_keras if isinstance(network, tf_keras.Model) else _keras3()
    if not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
        raise _not_functional(path)
    if isinstance(network, keras.Sequential):
        network = keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    shapes = [tuple(tensor.shape) for tensor in (*network.inputs, *network.outputs)]
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise ArtattackError(
            f"model '{path}' has {len(network.inputs)} inputs and {len(network.outputs)} outputs; one of each is needed"
        )
    if len(shapes[0]) != 4 or shapes[0][-1] != 3 or len(shapes[1]) != 2 or shapes[1][-1] is None:
        raise ArtattackError(
            f"model '{path}' maps {shapes[0]} to {shapes[1]}; a classifier maps (None, H, W, 3) to (None, classes)"
        )
    network.trainable = False
    return network


def _gives_probabilities(network: Any, size: tuple[int, int]) -> bool:
    x = np.random.default_rng(0).uniform(-1, 1, (4, *size, 3)).astype(np.float32)
    y = np.asarray(network(tf.constant(x), training=False))
    return bool(y.shape[1] > 1 and (y >= 0).all() and np.allclose(y.sum(axis=1), 1, atol=1e-3))
