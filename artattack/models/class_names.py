"""Class names in ONNX and TFLite files, other than ImageNet's, read without loading the network."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from zipfile import is_zipfile

from artattack.inputs.labels import names_of
from artattack.models.kinds import kind_of
from artattack.models.opened import imagenet_classes_of, names_in, own_classes_of
from artattack.runtime import load_tensorflow


def own_names_in(model: str) -> tuple[str, ...] | None:
    """Return the class names in a model's file, in the order of the outputs, if they are not ImageNet's.

    Args:
        model: a model as `artattack.load_model` takes it.

    Returns:
        The names; () for ImageNet's; None if the file holds no names or cannot be read. Loading an unreadable file
        raises the error.
    """
    kind, path = kind_of(model)
    names: Sequence[str] = ()
    with suppress(Exception):  # readers may raise anything on damaged and foreign files
        if kind and kind.word == "onnx":
            from artattack.models.onnx_file import open_session

            names = names_in(open_session(Path(path)).get_modelmeta().custom_metadata_map.get("names", ""))
        elif kind and kind.word in ("tflite", "lce") and is_zipfile(path):  # a ZIP archive with labels is appended
            load_tensorflow()
            from artattack.models.notes import labels_behind

            names = labels_behind(Path(path))
    if imagenet_classes_of(names):
        return ()
    return names_of(own_classes_of(names, len(names))) or None
