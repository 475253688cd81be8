"""ImageNet-1k classes and label spaces."""

from __future__ import annotations

import csv
from functools import cache
from typing import NamedTuple

from artattack.errors import ArtattackError, nearest
from artattack.inputs.paths import data_dir

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
    """Return the name of a class by its index.

    Raises:
        ArtattackError: the index is not in 0..999.
    """
    if not 0 <= index < len(IMAGENET):
        raise ArtattackError(f"no ImageNet class {index} (0 to 999)")
    return imagenet_classes()[index].name


def class_index(text: str) -> int:
    """Return the index of a class given as index, wnid or name (case, spaces and underscores do not matter).

    Raises:
        ArtattackError: there is no such class, or the name is that of two.
    """
    word = _plain(text)
    found = _indices().get(word, ())
    if len(found) == 1:
        return found[0]
    if found:
        both = " and ".join(f"{index} ({imagenet_classes()[index].wnid})" for index in found)
        raise ArtattackError(f"'{text}' is the name of ImageNet classes {both}: give the index or the wnid")
    hint = nearest(word, _indices())
    raise ArtattackError(f"no ImageNet class '{text}'{hint} (give an index 0 to 999, a wnid or a name)")


@cache
def _indices() -> dict[str, tuple[int, ...]]:
    """Return the classes that each index, wnid and name stands for: two for the few names given twice."""
    table: dict[str, tuple[int, ...]] = {}
    for c in imagenet_classes():
        for key in (str(c.index), c.wnid, _plain(c.name)):
            table[key] = (*table.get(key, ()), c.index)
    return table


def _plain(text: str) -> str:
    return " ".join(text.replace("_", " ").lower().split())
