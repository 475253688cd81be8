"""Classes: ImageNet's 1000 or the user's own list, their names, and the label space of a model."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from artattack.errors import ArtattackError, nearest
from artattack.inputs.paths import data_dir

_SHOWN = 5  # maximum number of classes in a message
_NUMBER = re.compile(r"(\d+)(?:\.0*)?")  # pandas writes whole numbers as 65.0 in a column with missing values
_NUMERIC = re.compile(r"[-+.\d]*")
_WNID_FIRST = re.compile(
    r"(n\d{8})[ .,:-]+\S.*"
)  # `n01440764-tench`, `n01440764_tench`, `n01440764 tench, Tinca tinca`
_UNLABELLED = frozenset({"", "-1", "-1.0", "nan", "none", "null", "na", "n/a", "<na>", "?", "unlabelled", "unlabeled"})


class LabelSpace(tuple[int, ...]):
    """The class of each output of a model, in the order of its outputs.

    A class is a number: an index into `names`, the user's own class list, or without such a list an ImageNet index.

    Attributes:
        names: the user's own class list; empty for ImageNet's.
    """

    names: tuple[str, ...]

    def __new__(cls, classes: Iterable[int] = (), names: Iterable[str] = ()) -> LabelSpace:
        """Make a label space from class numbers and the class list that they index."""
        space = super().__new__(cls, classes)
        space.names = tuple(names)
        return space

    def __eq__(self, other: object) -> bool:
        """Whether both have the same classes in the same order; a plain tuple holds ImageNet's."""
        return tuple.__eq__(self, other) is True and self.names == names_of(other)

    def __ne__(self, other: object) -> bool:
        """Whether they differ."""
        return not self == other

    def __hash__(self) -> int:
        """Return a hash, equal for equal label spaces."""
        return tuple.__hash__(self)

    def keeping(self, classes: Collection[int]) -> LabelSpace:
        """Return the label space of the classes that are in `classes`, in the order of this label space."""
        return LabelSpace((index for index in self if index in classes), self.names)

    def counted_in(self, names: tuple[str, ...]) -> LabelSpace:
        """Return the same classes as indices into another class list; unchanged if the list lacks one of them."""
        places = _places(names)
        if not self.names or any(plain(name) not in places for name in self.names):
            return self
        return LabelSpace((places[plain(self.names[index])] for index in self), names)


IMAGENET = LabelSpace(range(1000))


def names_of(space: Any) -> tuple[str, ...]:
    """Return the user's own class list of a label space; empty for ImageNet's classes and for None."""
    return space.names if isinstance(space, LabelSpace) else ()


def own_classes(names: Sequence[Any]) -> LabelSpace:
    """Return the label space of a model with its own classes, by their names in the order of the outputs.

    Raises:
        ArtattackError: a name is empty or no text, or two names differ only in case, spaces and underscores.
    """
    seen: dict[str, str] = {}
    for name in names:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise ArtattackError(f"classes: {name!r} is no name; write names such as yes or 7 in quotes")
        word = plain(str(name))
        if not word:
            raise ArtattackError("classes: a name is empty; give one for each output, in order")
        if word in seen:
            raise ArtattackError(f"classes: '{name}' is there twice")
        seen[word] = str(name).strip()
    return LabelSpace(range(len(seen)), seen.values())


def united(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Return the union of several class lists, in order of appearance."""
    first: dict[str, str] = {}
    for names in lists:
        for name in names:
            first.setdefault(plain(name), name)
    return tuple(first.values())


def check_outputs(space: LabelSpace | None, outputs: int, model: str) -> None:
    """Check that a label space has as many classes as a network has outputs.

    Raises:
        ArtattackError: the numbers differ.
    """
    if space is not None and len(space) != outputs:
        said = "classes: a list" if space.names else "a label space"
        raise ArtattackError(f"model '{model}': {said} of {len(space)} classes for {outputs} outputs")


class ImageNetClass(NamedTuple):
    """One of ImageNet's 1000 classes.

    Attributes:
        index: index in the order of wnids, from 0.
        wnid: WordNet id, such as `n01440764`.
        name: name in English.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which is not used
    wnid: str
    name: str


@cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """Return the 1000 classes in wnid order."""
    with (data_dir() / "imagenet_classes.csv").open(encoding="utf-8", newline="") as file:
        return tuple(ImageNetClass(int(row["index"]), row["wnid"], row["name"]) for row in csv.DictReader(file))


def class_name(index: int, names: Sequence[str] = ()) -> str:
    """Return the name of a class by its number.

    Args:
        index: ImageNet index, or index into `names`.
        names: the user's own class list; empty for ImageNet's.

    Raises:
        ArtattackError: there is no such class.
    """
    known = len(names) or len(IMAGENET)
    if not 0 <= index < known:
        raise ArtattackError(f"no {'' if names else 'ImageNet '}class {index} (0 to {known - 1})")
    return names[index] if names else imagenet_classes()[index].name


def class_index(text: str, names: Sequence[str] = ()) -> int:
    """Return the number of a class; case, spaces and underscores do not matter.

    Args:
        text: ImageNet index, wnid or name, also `n01440764-tench`, `007`, `7.0` and `tench, Tinca tinca`; for the
            user's own classes the name or, if no name is a number, the index in the list.
        names: the user's own class list; empty for ImageNet's.

    Raises:
        ArtattackError: there is no such class, or two classes have this name.
    """
    return _own_index(text, tuple(names)) if names else _imagenet_index(text)


def _own_index(text: str, names: tuple[str, ...]) -> int:
    if found := _meant(text, names):
        return found[0]
    hint = "" if _NUMERIC.fullmatch(text.strip()) else nearest(plain(text), _places(names))
    raise ArtattackError(f"no class '{text}'{hint} (the classes are {listed(names)})")


@cache
def _places(names: tuple[str, ...]) -> dict[str, int]:
    return {plain(name): place for place, name in enumerate(names)}


def _imagenet_index(text: str) -> int:
    found = _meant(text)
    if len(found) == 1:
        return found[0]
    if found:
        both = " and ".join(f"{index} ({imagenet_classes()[index].wnid})" for index in found)
        raise ArtattackError(f"'{text}' is the name of ImageNet classes {both}: give the index or the wnid")
    number = _NUMBER.fullmatch(text.strip())
    if number and int(number[1]) == len(IMAGENET):
        raise ArtattackError(
            f"no ImageNet class '{text}': here they count from 0 to 999. Numbers from 1 to 1000 are in the order of "
            "wnids in some lists (then subtract 1) and in the development kit's own in others: give wnids"
        )
    hint = "" if _NUMERIC.fullmatch(text.strip()) else nearest(plain(text), _indices())
    raise ArtattackError(f"no ImageNet class '{text}'{hint} (give an index 0 to 999, a wnid or a name)")


def _meant(text: str, names: tuple[str, ...] = ()) -> tuple[int, ...]:
    """Return the classes that match a text: none, one or, for a few ImageNet names, two."""
    word = plain(text)
    number = _NUMBER.fullmatch(word)
    if names:
        places = _places(names)
        if word in places:
            return (places[word],)
        counts = number and int(number[1]) < len(names) and not any(map(str.isdecimal, places))
        return (int(number[1]),) if number and counts else ()
    led = _WNID_FIRST.fullmatch(word)
    forms = (word, str(int(number[1])) if number else "", led[1] if led else "", word.partition(",")[0].strip())
    return next((_indices()[form] for form in forms if form in _indices()), ())


@cache
def _indices() -> dict[str, tuple[int, ...]]:
    """Return the classes of each index, wnid and name: two for the few names that two classes share."""
    table: dict[str, tuple[int, ...]] = {}
    for c in imagenet_classes():
        for key in (str(c.index), c.wnid, plain(c.name)):
            table[key] = (*table.get(key, ()), c.index)
    return table


def is_class(text: str, names: Sequence[str] = ()) -> bool:
    """Whether a text matches one or two classes, as in `class_index`."""
    return bool(_meant(text, tuple(names)))


def says_none(text: str) -> bool:
    """Whether a table's cell marks an unlabelled image: empty, -1, or a missing value as pandas writes it."""
    return text.strip().lower() in _UNLABELLED


def listed(names: Sequence[str]) -> str:
    """Return the first few classes of a list, for a message."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def plain(text: str) -> str:
    """Return a class name in lower case, with runs of spaces and underscores as one space, for comparisons."""
    return " ".join(text.replace("_", " ").lower().split())
