"""ImageNet-1k classes and label spaces."""

from __future__ import annotations

import csv
from functools import cache
from typing import NamedTuple

from artattack.data import data_dir
from artattack.errors import ArtattackError, nearest

LabelSpace = tuple[int, ...]  # the ImageNet class of each output of a model, in the order of its outputs
IMAGENET: LabelSpace = tuple(range(1000))


class ImageNetClass(NamedTuple):
    """One of the 1000 classes: its index in wnid order, its WordNet id, its name."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls here
    wnid: str
    name: str


@cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """Return the 1000 classes in wnid order."""
    with (data_dir() / "imagenet_classes.csv").open(encoding="utf-8", newline="") as file:
        return tuple(ImageNetClass(int(row["index"]), row["wnid"], row["name"]) for row in csv.DictReader(file))


def class_name(index: int) -> str:
    """Return the name of a class by its index, 0 to 999."""
    return imagenet_classes()[index].name


def class_index(text: str) -> int:
    """Return the index of a class given as index, wnid or name (case, spaces and underscores do not matter).

    Of two classes with one name, the first is meant.

    Raises:
        ArtattackError: there is no such class.
    """
    word = _plain(text)
    if word in (table := _indices()):
        return table[word]
    raise ArtattackError(f"no ImageNet class '{text}'{nearest(word, table)} (give an index 0 to 999, a wnid or a name)")


@cache
def _indices() -> dict[str, int]:
    classes = reversed(imagenet_classes())
    return {key: c.index for c in classes for key in (str(c.index), c.wnid, _plain(c.name))}


def _plain(text: str) -> str:
    return " ".join(text.replace("_", " ").lower().split())
