"""Export of networks to other runtimes: TensorFlow Lite, or Larq Compute Engine with packed binarized weights."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from artattack.errors import ArtattackError, unknown
from artattack.files import write_file
from artattack.inputs.labels import imagenet_classes, names_of
from artattack.models.model import Model
from artattack.models.network import keras_of, reason
from artattack.models.notes import packed
from artattack.runtime import load_tensorflow, quietly
from artattack.tracing import compiled

Format = Literal["tflite", "lce"]


def export_model(model: Model, to: str, path: Path) -> int:
    """Write a network to a file: from one preprocessed image (1, h, w, 3) float32 to logits (1, K) float32.

    The network does not include preprocessing. Notes at the end of the file hold the preprocessing and, if known, the
    classes by wnid or name; `load_model(f"{to}:{path}")` reads them.

    Args:
        model: a Keras 2 model, such as those of the registry.
        to: `tflite`, or `lce` (extra `lce`), which runs binarized convolutions on bits.
        path: the file to write.

    Returns:
        The file's size in bytes.

    Raises:
        ArtattackError: the format is unknown, its converter is not installed or rejects the network, or the file
            cannot be written.
    """
    content = convert(model, to)
    known = model.label_space if model.outputs is None else None
    names = names_of(known)
    labels = [names[index] if names else imagenet_classes()[index].wnid for index in known or ()]
    content += packed(labels, model.preprocessing, len(content))
    write_file(path, content)
    return len(content)


def export_registered(name: str, to: str, path: Path, weights: str | None = None) -> int:
    """Load a network by its registry name and write it to a file.

    Args:
        name: registry name.
        to: as in `export_model`.
        path: as in `export_model`.
        weights: `imagenet`, `bundled`, `random` or a path; by default the network's default weights.

    Returns:
        The file's size in bytes.

    Raises:
        ArtattackError: the network or weights do not exist, or as in `export_model`.
    """
    from artattack.models.registry import load_registered, model_info

    model_info(name)  # checks the name before TensorFlow's slow import
    load_tensorflow()
    return export_model(load_registered(name, weights), to, path)


def convert(model: Model, to: str) -> bytes:
    """Return a network in an export format, without notes; arguments and errors as in `export_model`."""
    check_format(to)
    network = model.network
    if keras_of(network).__name__ != "tf_keras":
        raise ArtattackError(f"model '{model.name}' is a Keras 3 model, which these converters do not support")
    import tensorflow as tf

    inputs, outputs = network.input_names[0], network.output_names[0]
    run = compiled(
        lambda image: {outputs: network(image, training=False)},
        input_signature=[tf.TensorSpec(network.input_shape, tf.float32, name=inputs)],
    )
    return convert_function(run, network.variables, to, f"model '{model.name}'")


def check_format(to: str) -> None:
    """Raise ArtattackError for a format that is unknown, or whose converter is not installed."""
    if to not in get_args(Format):
        raise unknown("format", to, get_args(Format))
    if to == "lce" and find_spec("larq_compute_engine") is None:
        raise ArtattackError("the format lce needs the package larq-compute-engine: pip install 'artattack[lce]'")


def convert_function(run: Any, variables: Sequence[Any], to: str, title: str) -> bytes:
    """Return a function in an export format.

    Args:
        run: a `compiled` function with an input signature.
        variables: the variables that it reads. Given a network instead, the converters trace each of its layers again,
            which takes four times as long.
        to: `tflite` or `lce`.
        title: name of the function's network for an error.

    Raises:
        ArtattackError: the function cannot be traced, or the converter rejects it.
    """
    try:
        with quietly(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _converted(run.get_concrete_function(), variables, to)
    except Exception as error:  # converters may raise anything on unsupported networks
        raise ArtattackError(f"{title} cannot be converted to {to}: {reason(error)}") from error


def _converted(function: Any, variables: Sequence[Any], to: str) -> bytes:
    import tensorflow as tf

    module = tf.Module()
    module.variables_read = list(variables)
    if to == "tflite":
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]  # artattack refuses files with others
        return bytes(converter.convert())
    import larq_compute_engine

    with TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=function)
        return bytes(larq_compute_engine.convert_saved_model(folder))
