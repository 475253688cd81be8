"""Labelled training images, in memory: from a folder with a subfolder per class, an .npz file, or CIFAR-10's files."""

from __future__ import annotations

import pickle
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from artattack.errors import ArtattackError
from artattack.inputs.images import fit, read_image
from artattack.progress import Progress

Array = NDArray[Any]

_TRAIN, _TEST = ("train",), ("test", "val", "validation")
_BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
_CIFAR_SIDE = 32
_NO_IMAGES = {".csv", ".txt", ".md", ".json"}
_FEWEST = 3  # images per class: one each for training, validation and test


@dataclass(frozen=True)
class LabelledImages:
    """Disjoint training, validation and test images.

    Attributes:
        classes: name of each class.
        train: training images uint8 (N, S, S, 3), and their classes int64 (N,).
        validation: validation images and their classes, likewise.
        test: test images and their classes, likewise.
        own_test: whether the data define their own test images.
        unreadable: an error message for each unreadable file.
    """

    classes: tuple[str, ...]
    train: tuple[Array, Array]
    validation: tuple[Array, Array]
    test: tuple[Array, Array]
    own_test: bool
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    """Data at a path before images are read: class names, numbers of images, and the function that reads them."""

    classes: tuple[str, ...]
    counts: tuple[int, int]  # training and test images; the second is 0 if the data define no test images
    read: Callable[[int, Progress], tuple[tuple[Array, Array], tuple[Array, Array] | None, list[str]]] = field(
        repr=False
    )


def count_images(path: Path) -> tuple[tuple[str, ...], int, int]:
    """Return the classes of the data at a path, and its numbers of training and test images.

    Folder images are not decoded. The second number is 0 if the data define no test images.

    Raises:
        ArtattackError: as for `read_labelled`.
    """
    source = _open(path)
    return source.classes, *source.counts


def read_labelled(
    path: Path, size: int, *, held_out: float, validation: float, seed: int, on_progress: Progress
) -> LabelledImages:
    """Read labelled images, and split them into training, validation and test images.

    Args:
        path: a folder with a subfolder of images for each class, or with `train` and `test` (or `val`) that have them;
            an `.npz` file with `x_train`, `y_train` and perhaps `x_test`, `y_test`; a folder or `.tar.gz` archive
            with the Python batches of CIFAR-10, such as Keras keeps.
        size: side in pixels to which images are cropped and resized.
        held_out: share of each class held out as test images, if the data define none.
        validation: share of the rest of each class used as validation images for early stopping.
        seed: seed of the split.
        on_progress: called with the number of images read.

    Raises:
        ArtattackError: the data do not exist, or have too few images or classes.
    """
    source = _open(path)
    (x, y), own, unreadable = source.read(size, on_progress)
    rng = np.random.default_rng(seed)
    if own is None:
        (x, y), test = _part(x, y, held_out, rng)
    else:
        test = own
    train, stopping = _part(x, y, validation, rng)
    for images, what in ((train, "training"), (stopping, "early stopping"), (test, "measuring")):
        counts = np.bincount(images[1], minlength=len(source.classes))
        if what == "training" and not counts.all():
            poor = source.classes[int(counts.argmin())]
            raise ArtattackError(
                f"{path}: no readable image of class '{poor}' is left for {what}; give more images of it"
            )
        if not len(images[1]):
            raise ArtattackError(f"{path}: no image is left for {what}; give more images or larger shares")
    return LabelledImages(source.classes, train, stopping, test, own is not None, tuple(unreadable))


def _part(x: Array, y: Array, share: float, rng: np.random.Generator) -> tuple[tuple[Array, Array], ...]:
    """Split off a share of each class, at least one image of a class with two; return the rest and the share."""
    kept = np.zeros(len(y), bool)
    for label in np.unique(y):
        of_class = rng.permutation(np.flatnonzero(y == label))
        kept[of_class[: min(max(1, round(share * len(of_class))), len(of_class) - 1)]] = True
    return (x[~kept], y[~kept]), (x[kept], y[kept])


def _open(path: Path) -> _Source:
    path = path.expanduser()
    try:
        if path.is_dir():
            inner = path / "cifar-10-batches-py"
            for folder in (path, inner):
                if (folder / _BATCHES[0]).is_file():
                    return _cifar(path, lambda name, folder=folder: (folder / name).open("rb"))  # type: ignore[misc]
            return _folder(path)
        if path.is_file() and path.suffix == ".npz":
            return _npz(path)
        if path.is_file() and path.name.endswith((".tar.gz", ".tgz")):
            return _cifar(path, lambda name: _member(path, name))
    except OSError as error:
        raise ArtattackError(f"{path}: cannot be read: {error.strerror or error}") from error
    if path.exists():
        raise ArtattackError(f"{path}: no folder of class folders, no .npz file and no CIFAR-10 in Python batches")
    raise ArtattackError(f"{path}: no such folder or file")


# Folders


def _folder(path: Path) -> _Source:
    parts = {entry.name: entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    test_folder = next((parts[name] for name in _TEST if name in parts), None)
    parted = "train" in parts and test_folder is not None and len(parts) == 2
    train = _listed(parts["train"] if parted else path)
    test = _listed(test_folder) if parted and test_folder is not None else {}
    classes = tuple(train)
    if len(classes) < 2:
        raise ArtattackError(f"{path}: {len(classes)} class folders with images; at least two are needed")
    if parted and set(test) != set(train):
        odd = min(set(test) ^ set(train))
        raise ArtattackError(f"{path}: class '{odd}' is only in one of {parts['train'].name} and {test_folder.name}")  # type: ignore[union-attr]
    if not parted and (few := min(classes, key=lambda name: len(train[name]))) and len(train[few]) < _FEWEST:
        raise ArtattackError(f"{path}: class '{few}' has {len(train[few])} images; at least {_FEWEST} are needed")

    def read(size: int, on_progress: Progress) -> Any:
        total = sum(map(len, train.values())) + sum(map(len, test.values()))
        errors: list[str] = []
        first = _read(train, classes, size, on_progress, 0, total, errors)
        second = _read(test, classes, size, on_progress, total - sum(map(len, test.values())), total, errors)
        return first, second if parted else None, errors

    return _Source(classes, (sum(map(len, train.values())), sum(map(len, test.values()))), read)


def _listed(folder: Path) -> dict[str, list[Path]]:
    """Return the images of each non-empty class folder."""
    found = {
        entry.name: list(image_files(entry))
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
    }
    return {name: files for name, files in found.items() if files}


def image_files(folder: Path) -> Iterator[Path]:
    """Yield, in order, the files in a folder and its subfolders, except hidden files, tables and texts."""
    for entry in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in entry.relative_to(folder).parts)
        if entry.is_file() and not hidden and entry.suffix.lower() not in _NO_IMAGES:
            yield entry


def _read(
    files: Mapping[str, list[Path]],
    classes: tuple[str, ...],
    size: int,
    on_progress: Progress,
    done: int,
    total: int,
    errors: list[str],
) -> tuple[Array, Array]:
    images, labels = [], []
    for label, name in enumerate(classes):
        for file in files.get(name, ()):
            on_progress("reading images", done, total)
            done += 1
            try:
                images.append(fit(read_image(file), size, 1.0))
                labels.append(label)
            except ArtattackError as error:
                errors.append(str(error))
    return (np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8)), np.array(labels, np.int64)


# Arrays


def _npz(path: Path) -> _Source:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("x_train", "y_train", "x_test", "y_test") if name in file.files}
    except ValueError as error:  # object arrays, which need pickle, or no archive
        raise ArtattackError(f"{path}: cannot be read as arrays: {error}") from error
    except Exception as error:  # a damaged archive raises zipfile's and zlib's errors
        raise ArtattackError(f"{path}: damaged: {error}") from error
    if not {"x_train", "y_train"} <= set(arrays):
        raise ArtattackError(f"{path}: has no x_train and y_train (x_test and y_test are optional)")
    train = _checked(path, arrays["x_train"], arrays["y_train"])
    test = _checked(path, arrays["x_test"], arrays["y_test"]) if {"x_test", "y_test"} <= set(arrays) else None
    classes = tuple(map(str, range(int(train[1].max()) + 1)))
    return _in_memory(path, classes, train, test)


def _checked(path: Path, x: Array, y: Array) -> tuple[Array, Array]:
    y = y.reshape(-1)
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[-1] != 3 or not len(x):
        raise ArtattackError(f"{path}: images must be uint8 (N, H, W, 3), not {x.dtype} {x.shape}")
    if len(y) != len(x) or not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
        raise ArtattackError(f"{path}: labels must be one integer from 0 on for each of {len(x)} images")
    return x, y.astype(np.int64)


def _in_memory(
    path: Path, classes: tuple[str, ...], train: tuple[Array, Array], test: tuple[Array, Array] | None
) -> _Source:
    if len(classes) < 2:
        raise ArtattackError(f"{path}: labels of {len(classes)} class; at least two are needed")
    if test is not None and test[1].max() >= len(classes):
        raise ArtattackError(f"{path}: test label {test[1].max()} occurs in no training image")

    def read(size: int, on_progress: Progress) -> Any:
        def resized(part: tuple[Array, Array]) -> tuple[Array, Array]:
            x, y = part
            if x.shape[1:3] != (size, size):
                x = np.stack([fit(image, size, 1.0) for image in x])
            return x, y

        return resized(train), None if test is None else resized(test), []

    return _Source(classes, (len(train[1]), 0 if test is None else len(test[1])), read)


# CIFAR-10's Python batches


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and bytes only, so that a batch file cannot run code."""

    _NAMES: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy", "_reconstruct"): np.core.multiarray._reconstruct,  # type: ignore[attr-defined]
        ("_codecs", "encode"): lambda text, encoding: text.encode("latin-1"),  # how Python 3 writes bytes for Python 2
    }

    def find_class(self, module: str, name: str) -> Any:
        found = self._NAMES.get((module.split(".")[0], name))
        if found is None:
            raise pickle.UnpicklingError(f"it contains {module}.{name}, which no CIFAR-10 batch does")
        return found


def _cifar(path: Path, opened: Callable[[str], IO[bytes]]) -> _Source:
    def load(name: str) -> dict[bytes, Any]:
        try:
            with opened(name) as file:
                return dict(_ArraysOnly(file, encoding="bytes").load())
        except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise ArtattackError(f"{path}: {name} is not a CIFAR-10 batch: {error}") from error

    batches = [load(name) for name in _BATCHES]
    try:
        parts = [
            _checked(path, batch[b"data"].reshape(-1, 3, _CIFAR_SIDE, _CIFAR_SIDE).transpose(0, 2, 3, 1), labels)
            for batch, labels in ((batch, np.asarray(batch[b"labels"])) for batch in batches)
        ]
        classes = tuple(name.decode() for name in load("batches.meta")[b"label_names"])
    except (KeyError, ValueError, AttributeError) as error:
        raise ArtattackError(f"{path}: not in the format of CIFAR-10 batches: {error!r}") from error
    train = np.concatenate([x for x, _ in parts[:-1]]), np.concatenate([y for _, y in parts[:-1]])
    return _in_memory(path, classes, train, parts[-1])


def _member(path: Path, name: str) -> IO[bytes]:
    try:
        with tarfile.open(path) as archive:
            member = next(info for info in archive if PurePosixPath(info.name).name == name and info.isfile())
            return BytesIO(archive.extractfile(member).read())  # type: ignore[union-attr]
    except StopIteration:
        raise ArtattackError(f"{path}: has no {name}, which CIFAR-10 in Python batches contains") from None
    except tarfile.TarError as error:
        raise ArtattackError(f"{path}: cannot be read as an archive: {error}") from error
