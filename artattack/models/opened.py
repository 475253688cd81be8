"""An opened network file of another library: the function that runs it, and its metadata."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from artattack.errors import ArtattackError
from artattack.inputs.labels import IMAGENET, LabelSpace, class_index, own_classes


class InputRange(NamedTuple):
    """Range of values that the input of a network can hold.

    Attributes:
        low: smallest value.
        high: largest value.
        step: distance between neighbouring values.
    """

    low: float
    high: float
    step: float


class Opened(NamedTuple):
    """An opened network file.

    Attributes:
        run: function from preprocessed images float32, with the layout and batch size of `shape`, to values (N, K)
            float32.
        shape: the four sides of the input; None for a free side.
        names: class names from the file, in the order of the outputs; empty if the file has none.
        step: quantization step of the outputs; 0 if they are not quantized.
        preprocessing: preprocessing according to the file; empty if not given.
        input_range: range of the input's values; None if unlimited.
    """

    run: Callable[[NDArray[Any]], NDArray[Any]]
    shape: tuple[int | None, ...]
    names: tuple[str, ...] = ()
    step: float = 0.0
    preprocessing: str = ""
    input_range: InputRange | None = None


def imagenet_classes_of(names: Iterable[str]) -> LabelSpace | None:
    """Return the ImageNet classes with a file's class names, or None if a name matches no class.

    A leading `background`, which is not an ImageNet class, is skipped.
    """
    names = list(names)
    if len(names) == len(IMAGENET) + 1 and names[0] == "background":
        del names[0]
    try:
        found = tuple(class_index(name) for name in names)
    except ArtattackError:
        return None
    return LabelSpace(found) if len(found) > 1 and len(set(found)) == len(found) else None


def own_classes_of(names: Sequence[str], outputs: int) -> LabelSpace | None:
    """Return the label space of class names other than ImageNet's, or None unless each output has one name."""
    try:
        return own_classes(names) if len(names) == outputs else None
    except ArtattackError:
        return None


def names_in(text: str) -> tuple[str, ...]:
    """Parse class names as exporters write them: a list or `{0: 'tench', ...}`; empty for any other text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ()
    if isinstance(value, dict) and sorted(value, key=str) == sorted(range(len(value)), key=str):
        value = [value[k] for k in range(len(value))]
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()
