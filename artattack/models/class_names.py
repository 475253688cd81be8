"""Class names of their own that ONNX and TFLite files hold, read without loading the network."""

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
    """Return the class names of its own that a model's file holds, in the order of the outputs.

    Args:
        model: as `artattack.load_model` takes it.

    Returns:
        Names; () where they are ImageNet's; None where the file holds none, or cannot be read: loading it says why.
    """
    kind, path = kind_of(model)
    names: Sequence[str] = ()
    with suppress(Exception):  # whatever the readers raise on damaged and foreign files
        if kind and kind.word == "onnx":
            from artattack.models.onnx_file import open_session

            names = names_in(open_session(Path(path)).get_modelmeta().custom_metadata_map.get("names", ""))
        elif kind and kind.word in ("tflite", "lce") and is_zipfile(path):  # a list of labels stands in a zip behind
            load_tensorflow()
            from artattack.models.notes import labels_behind

            names = labels_behind(Path(path))
    if imagenet_classes_of(names):
        return ()
    return names_of(own_classes_of(names, len(names))) or None
