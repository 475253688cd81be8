"""A network in another library's file, opened: how it is run, and what its file says of itself."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from numpy.typing import NDArray

from artattack.errors import ArtattackError
from artattack.inputs.labels import IMAGENET, LabelSpace, class_index


class Opened(NamedTuple):
    """A network in a file.

    Attributes:
        run: from preprocessed images float32, in the layout and batch of `shape`, to values (N, K) float32.
        shape: of its input: four sides, None where any will do.
        names: of the classes, in the order of the outputs, as the file has them; empty if it has none.
        step: between neighbouring values where outputs are quantized; 0 where they are not.
        preprocessing: what the network expects of images, as the file says it; empty if it does not.
    """

    run: Callable[[NDArray[Any]], NDArray[Any]]
    shape: tuple[int | None, ...]
    names: tuple[str, ...] = ()
    step: float = 0.0
    preprocessing: str = ""


def imagenet_classes_of(names: Iterable[str]) -> LabelSpace | None:
    """Return the ImageNet classes that a file's class names stand for, or None where one stands for none.

    A `background` in front, which is no class of ImageNet, is passed over.
    """
    names = list(names)
    if len(names) == len(IMAGENET) + 1 and names[0] == "background":
        del names[0]
    try:
        found = tuple(class_index(name) for name in names)
    except ArtattackError:
        return None
    return found if len(found) > 1 and len(set(found)) == len(found) else None


def names_in(text: str) -> tuple[str, ...]:
    """Read class names as exporters write them, a list or `{0: 'tench', ...}`; empty where it is neither."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ()
    if isinstance(value, dict) and sorted(value, key=str) == sorted(range(len(value)), key=str):
        value = [value[k] for k in range(len(value))]
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()
