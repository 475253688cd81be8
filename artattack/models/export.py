"""A network as a file for other runtimes: TensorFlow Lite, or Larq Compute Engine with binarized weights packed."""

from __future__ import annotations

import io
import warnings
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from artattack.errors import ArtattackError, unknown
from artattack.files import write_file
from artattack.inputs.labels import imagenet_classes
from artattack.models.model import Model
from artattack.models.network import keras_of, reason
from artattack.runtime import quietly

Format = Literal["tflite", "lce"]


def export_model(model: Model, to: str, path: Path) -> int:
    """Write a network to a file: from one preprocessed image (1, h, w, 3) float32 to logits (1, K) float32.

    Preprocessing is not part of the file. The wnids of its classes, where they are ImageNet's, are packed behind it,
    so that `load_model(f"{to}:{path}", preprocessing=...)` knows them.

    Args:
        model: of Keras 2, as those of the registry are.
        to: `tflite`, or `lce` (extra `lce`), in which a binarized convolution works on bits.
        path: the file to write.

    Returns:
        Its size in bytes.

    Raises:
        ArtattackError: no such format, its converter is not installed or does not take the network, or the disk does
            not take the file.
    """
    content = convert(model, to)
    if model.label_space is not None and model.outputs is None:
        content += _packed_labels([imagenet_classes()[index].wnid for index in model.label_space], len(content))
    write_file(path, content)
    return len(content)


def convert(model: Model, to: str) -> bytes:
    """Return a network in a format, without labels; arguments and errors as in `export_model`."""
    if to not in get_args(Format):
        raise unknown("format", to, get_args(Format))
    if to == "lce" and find_spec("larq_compute_engine") is None:
        raise ArtattackError("the format lce needs the package larq-compute-engine: pip install 'artattack[lce]'")
    if keras_of(model.network).__name__ != "tf_keras":
        raise ArtattackError(f"model '{model.name}' is of Keras 3, which these converters do not take")
    try:
        with quietly(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _convert(model, to)
    except Exception as error:  # whatever the converters raise on networks they do not take
        raise ArtattackError(f"model '{model.name}' cannot be converted to {to}: {reason(error)}") from error


def _convert(model: Model, to: str) -> bytes:
    if to == "lce":
        import larq_compute_engine

        return bytes(larq_compute_engine.convert_keras_model(model.network))
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model.network)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]  # others are refused when it is read
    return bytes(converter.convert())


def _packed_labels(wnids: list[str], start: int) -> bytes:
    """Return class names as TFLite's metadata has them: a ZIP archive that stands behind `start` bytes."""
    packed = io.BytesIO(b"\0" * start)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("labels.txt", (1980, 1, 1, 0, 0, 0))  # the same bytes whenever it is written
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, "\n".join(wnids))
    return packed.getvalue()[start:]
