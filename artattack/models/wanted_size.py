"""The input size of a model, read without building its network. Only some kinds of files need TensorFlow for it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from artattack.models.kinds import kind_of
from artattack.models.registry import model_infos
from artattack.runtime import load_tensorflow

Size = tuple[int, int]


def agreed_size(sizes: Iterable[Size | None]) -> Size | None:
    """Return the height and width that all models share; None if they differ or one is unknown."""
    found = {*sizes}
    return found.pop() if len(found) == 1 else None


def wanted_size(model: str) -> Size | None:
    """Return a model's input height and width in pixels.

    Args:
        model: a registry name, a file or `timm:NAME`, as `artattack.load_model` takes them.

    Returns:
        (H, W); None for models that take any size, for servers, and for unreadable files. Loading an unreadable file
        raises the error.
    """
    known = {info.name: info.input_size for info in model_infos()}
    if model in known:
        return known[model]
    kind, path = kind_of(model)
    word = kind.word if kind else "keras"
    with suppress(Exception):  # readers may raise anything on damaged and foreign files
        shape = _READERS[word](path)
        if len(shape) == 4 and 3 in (shape[1], shape[3]):
            height, width = shape[1:3] if shape[3] == 3 else shape[2:]
            if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
                return height, width
    return None


def _of_keras(path: str) -> list[Any]:
    from artattack.models.untrusted import read_member

    file = Path(path)
    if file.suffix == ".keras":
        with zipfile.ZipFile(file) as archive:
            architecture = read_member(archive, "config.json")
    elif file.is_dir():
        load_tensorflow()
        from tf_keras.protobuf import saved_metadata_pb2

        metadata = saved_metadata_pb2.SavedMetadata()
        metadata.ParseFromString((file / "keras_metadata.pb").read_bytes())
        architecture = next(node.metadata for node in metadata.nodes if node.node_path == "root")
    else:
        import h5py

        with h5py.File(file, "r") as opened:
            architecture = opened.attrs["model_config"]
    return next(_batch_shapes(json.loads(architecture)["config"]))


def _batch_shapes(value: Any) -> Iterator[list[Any]]:
    """Yield the input shapes in an architecture's layers, in order; the first is the network's."""
    if isinstance(value, dict):
        for key in ("batch_shape", "batch_input_shape"):
            if isinstance(value.get(key), list | dict):
                shape = value[key]
                yield shape["items"] if isinstance(shape, dict) else shape
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _batch_shapes(item)


def _of_onnx(path: str) -> list[Any]:
    from artattack.models.onnx_file import open_session

    return list(open_session(Path(path)).get_inputs()[0].shape)


def _of_tflite(path: str) -> list[Any]:
    load_tensorflow()
    from tensorflow.lite.python import schema_py_generated as schema

    graph = schema.Model.GetRootAs(Path(path).read_bytes(), 0).Subgraphs(0)
    image = graph.Tensors(int(graph.Inputs(0)))
    sides = image.ShapeSignatureAsNumpy() if image.ShapeSignatureLength() else image.ShapeAsNumpy()
    return [int(side) for side in sides]


def _of_torch(path: str) -> list[Any]:
    load_tensorflow()
    from artattack.models.torch_file import read_torch

    size = read_torch(Path(path))[2]
    return [None, 3, *size] if size else []


def _of_timm(name: str) -> list[Any]:
    import timm

    return [None, *timm.data.resolve_data_config(timm.get_pretrained_cfg(name).to_dict())["input_size"]]


_READERS = {
    "keras": _of_keras,
    "onnx": _of_onnx,
    "tflite": _of_tflite,
    "lce": _of_tflite,
    "torch": _of_torch,
    "timm": _of_timm,
}
