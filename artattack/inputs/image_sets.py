"""Image sets: labelled images by name, from a folder, or from a CSV manifest."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import platformdirs
from rich.console import Console

from artattack.errors import ArtattackError, unknown, warn_caller
from artattack.files import sha256_file
from artattack.inputs.images import fit, read_image, to_float
from artattack.inputs.label_tables import (
    SUFFIXES,
    Row,
    Table,
    is_competition,
    is_ground_truth,
    read_ground_truth,
    read_table,
)
from artattack.inputs.labels import class_index, is_class, listed, own_classes, says_none
from artattack.inputs.paths import data_dir

_SOURCES = {  # URLs of the sets that can be fetched
    "imagenet-sample": "https://raw.githubusercontent.com/EliSchwartz/imagenet-sample-images/master/",
    "cue-conflict": "https://raw.githubusercontent.com/rgeirhos/texture-vs-shape/master/stimuli/"
    "style-transfer-preprocessed-512/",
}
FETCHED = tuple(_SOURCES)
_TEXT = frozenset({".csv", ".tsv", ".txt", ".md", ".json"})  # files beside images that are not images
_LONGEST = 60  # characters of an id: up to 4 bytes each, and file systems allow 255 bytes
_LEAST = 4  # pixels, least length of an image's shorter side
_PARTS = frozenset({"train", "val", "validation", "valid", "test"})  # parts of a data set, each with class folders
_SURE = re.compile(r"\d+(\.0*)?|n\d{8}([\W_].*)?", re.IGNORECASE)  # an index or a wnid, less ambiguous than a name
_PATIENCE = 5  # failed downloads in a row that end the fetch
_NAMED = {
    "samples": ("20 labelled ImageNet images", "foolbox, which is installed with artattack"),
    "imagenet-sample": (
        "1000 public images, one of each ImageNet class",
        "artattack datasets fetch imagenet-sample",
    ),
    "cue-conflict": (
        "1280 images of one class painted in the texture of another (Geirhos et al. 2019)",
        "artattack datasets fetch cue-conflict",
    ),
}


@dataclass(frozen=True)
class Sample:
    """One image of a set.

    Attributes:
        id: name of the image, unique in its set, usable as a file name.
        path: path of the file.
        label: class of the image, an index into the set's list of classes, or None if unlabelled.
        sha256: expected hash of the file, or None if unknown.
        target: class that a targeted attack aims at, an index likewise, or None for no target.
    """

    id: str
    path: Path
    label: int | None = None
    sha256: str | None = None
    target: int | None = None


@dataclass(frozen=True)
class ImageSet:
    """Images in a fixed order, with notes for readers of results.

    Attributes:
        name: name of the set.
        samples: the images.
        note: note for readers of results, such as missing images; empty for none.
        classes: the user's own class list, which labels index; empty for ImageNet's.
        doubts: probable mistakes in the set's table, a line each.
    """

    name: str
    samples: tuple[Sample, ...]
    note: str = ""
    classes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


class ImageSetInfo(NamedTuple):
    """An image set known by name.

    Attributes:
        name: name of the set.
        description: description in words.
        needs: requirement for opening the set, in words.
        available: whether the set is on this machine.
    """

    name: str
    description: str
    needs: str
    available: bool


class Images(NamedTuple):
    """Images in memory.

    Attributes:
        x: images (N, H, W, 3) float32 in [0, 1].
        y: classes (N,) int64, -1 for unlabelled images.
        ids: ids of the images.
        errors: error messages of the images that could not be read, by id.
    """

    x: np.ndarray
    y: np.ndarray
    ids: tuple[str, ...]
    errors: dict[str, str]


def image_set_names() -> tuple[str, ...]:
    """Return the names of the image sets known by name, without reading their manifests."""
    return tuple(_NAMED)


def image_set_infos() -> tuple[ImageSetInfo, ...]:
    """Return the image sets known by name."""
    return tuple(
        ImageSetInfo(name, description, needs, any(map(_is_file, _paths(name))))
        for name, (description, needs) in _NAMED.items()
    )


def open_image_set(name: str | Path, classes: Sequence[str] = ()) -> ImageSet:
    """Open an image set. Image files are read later, so a damaged file does not prevent the set from opening.

    Args:
        name: `samples`, `imagenet-sample`, `cue-conflict`, a table or a folder; datasets/README.md lists the columns of
            a table. A folder with the table of the NIPS 2017 adversarial competition (columns `ImageId`, `TrueLabel`)
            is read by that table. In any other folder, sub-folders are classes by wnid, index or name, one level deep.
            In a folder without sub-folders, the wnid in `WNID_*` labels a file (an unknown wnid is an error), and
            other files are unlabelled.
        classes: the user's own class list. Labels index this list if every label of the folder or table is in it,
            otherwise ImageNet's classes.

    Raises:
        ArtattackError: the set does not exist or cannot be read, or a table or folder names invalid classes.
    """
    try:
        return _opened(name, own_classes(classes).names)
    except OSError as error:
        raise ArtattackError(f"image set '{name}': {error.filename} cannot be read: {error.strerror}") from error


def _opened(name: str | Path, classes: tuple[str, ...]) -> ImageSet:
    if str(name) in _NAMED:
        return _named(str(name))
    path = Path(name).expanduser()
    if path.is_dir():
        table = _competition_table(path)
        return _from_table(table, path.resolve().name, classes) if table else _folder(path, classes)
    if path.is_file() and (path.suffix.lower() in SUFFIXES or is_ground_truth(path)):
        return _from_table(path, path.stem, classes)
    if path.is_file():
        raise ArtattackError(f"image set '{name}': neither a folder nor a .csv manifest")
    if path.suffix or len(path.parts) > 1:
        raise ArtattackError(f"image set '{name}': no such folder or manifest")
    raise unknown("image set", str(name), [*_NAMED, "a folder", "a manifest.csv"])


def read_sample(sample: Sample, size: int | tuple[int, int], crop: float = 0.875) -> np.ndarray:
    """Return a sample's image, cropped and resized as by `fit`, uint8 (height, width, 3).

    Raises:
        ArtattackError: the file is missing, is no image, is too small, or differs from the manifest's hash; or the size
            or the crop is out of range.
    """
    return fit(_read(sample), size, crop)


def _read(sample: Sample) -> np.ndarray:
    image = read_image(sample.path)
    if sample.sha256 and sha256_file(sample.path) != sample.sha256:
        raise ArtattackError(f"{sample.path}: not the file in the manifest (sha256 differs)")
    height, width = image.shape[:2]
    if min(height, width) < _LEAST:
        raise ArtattackError(f"{sample.path}: {width} x {height} pixels are too few; sides must have {_LEAST} or more")
    return image


def load_images(
    name: str | Path = "samples",
    *,
    size: int | tuple[int, int] = 224,
    crop: float = 0.875,
    limit: int | None = None,
    classes: Sequence[str] = (),
) -> Images:
    """Load an image set into memory.

    Args:
        name: as in `open_image_set`.
        size: side, or (height, width), in pixels.
        crop: share of the largest central rectangle of that shape to keep.
        limit: maximum number of images, evenly spread over the set.
        classes: the user's own class list, as in `open_image_set`; the labels `y` then index it.

    Returns:
        The images that could be read, and the error messages of the others by id.

    Raises:
        ArtattackError: the set cannot be opened, or the size, crop or limit is invalid.

    Warns:
        UserWarning: a column of a table looks like labels but is not read.
    """
    image_set = open_image_set(name, classes)
    for doubt in image_set.doubts:
        warn_caller(doubt)
    read, errors = [], {}
    for sample in spread(image_set.samples, limit):
        try:
            image = _read(sample)
        except ArtattackError as error:
            errors[sample.id] = str(error)
        else:
            read.append((sample, fit(image, size, crop)))
    height, width = (size, size) if isinstance(size, int) else size
    x = np.stack([image for _, image in read]) if read else np.zeros((0, height, width, 3), np.uint8)
    y = np.array([-1 if sample.label is None else sample.label for sample, _ in read], np.int64)
    return Images(to_float(x), y, tuple(sample.id for sample, _ in read), errors)


def spread(samples: Sequence[Sample], limit: int | None) -> tuple[Sample, ...]:
    """Return at most `limit` samples, evenly spread over the sequence; all for None.

    Raises:
        ArtattackError: the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise ArtattackError(f"a limit of {limit} images: give 1 or more")
    if limit is None or limit >= len(samples):
        return tuple(samples)
    return tuple(samples[i * len(samples) // limit] for i in range(limit))


def half_of(samples: Sequence[Sample], half: Literal["even", "odd"] | None) -> Sequence[Sample]:
    """Return the samples at even or at odd places of a set, counted from 0; None for all.

    Raises:
        ArtattackError: no sample is left.
    """
    if half is None:
        return samples
    part = samples[("even", "odd").index(half) :: 2]
    if not part:
        raise ArtattackError(f"images.half: a set of {len(samples)} images has none at {half} places")
    return part


def where_labels_come_from(samples: Sequence[Sample]) -> str:
    """Return advice on how to label images, in a sentence."""
    if any(sample.path.name.startswith("ILSVRC2012_val_") for sample in samples):
        return (
            "Kaggle's LOC_val_solution.csv and the development kit's ILSVRC2012_validation_ground_truth.txt hold the "
            "classes of ImageNet's validation images: give one of these files as the image set."
        )
    return "Labels are the names of class folders, or a column class_index, wnid or name of a manifest."


def hashes_of(name: str) -> frozenset[str]:
    """Return the SHA-256 hashes of the files of an image set known by name, which need not be on this machine."""
    return frozenset(sample.sha256 for sample in _manifest(data_dir() / f"{name}.csv", _home(name)) if sample.sha256)


def _from_table(path: Path, name: str, classes: tuple[str, ...]) -> ImageSet:
    table = read_ground_truth(path) if is_ground_truth(path) else read_table(path, path.parent)
    samples, counted = _labelled(path, table, classes)
    return ImageSet(name, _distinct(samples), table.note, counted, table.doubts)


def _named(name: str) -> ImageSet:
    samples = _distinct(_manifest(data_dir() / f"{name}.csv", _home(name)))
    present = tuple(sample for sample in samples if sample.path.is_file())
    if not present:
        raise ArtattackError(f"image set '{name}' is not on this machine; it needs: {_NAMED[name][1]}")
    missing = len(samples) - len(present)
    return ImageSet(name, present, f"{len(present)} of {len(samples)} images present" if missing else "")


def _home(name: str) -> Path:
    """Return the folder for the files of a named set, whether or not it exists."""
    if name == "samples":  # found without importing foolbox, which takes seconds
        spec = find_spec("foolbox")
        return Path(spec.origin).parent / "data" if spec and spec.origin else Path("foolbox-is-not-installed")
    return Path(os.environ.get("ARTATTACK_DATA") or platformdirs.user_data_path("artattack")) / name


def _paths(name: str) -> Iterator[Path]:
    return (sample.path for sample in _manifest(data_dir() / f"{name}.csv", _home(name)))


def _manifest(path: Path, home: Path) -> list[Sample]:
    """Return the images of a manifest of this package."""
    return _labelled(path, read_table(path, home), ())[0]


def _labelled(path: Path, table: Table, classes: tuple[str, ...]) -> tuple[list[Sample], tuple[str, ...]]:
    """Return the images of a table with their classes, and the user's own class list if the classes index it."""
    words = [cell for row in table.rows for cell in row.labels.values()]
    labelled = not all(map(says_none, words))
    said = words if labelled else [row.target for row in table.rows]
    counted = _counted(said, () if table.of_imagenet else classes)
    if not counted:
        _check_words(words, classes, f"{path}: its labels")
    samples: list[Sample] = []
    first: dict[Path, tuple[int, int]] = {}  # the first line of each labelled image, and its class there
    for row in table.rows:
        try:
            label = _label(row, counted)
            target = None if says_none(row.target) else class_index(row.target, counted)
            line, before = (row.line, label) if label is None else first.setdefault(row.image, (row.line, label))
            if before != label:
                raise ArtattackError(f"'{row.image.name}' has another class in line {line}: delete one of the lines")
        except ArtattackError as error:
            raise ArtattackError(f"{path}, line {row.line}: {error}") from error
        samples.append(Sample(_safe(row.image.stem), row.image, label, row.sha256 or None, target))
    return samples, counted


def _counted(words: Iterable[str], classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the class list of labels: `classes` if every label is one of them, else () for ImageNet."""
    said = {word for word in words if not says_none(word)}
    return classes if classes and said and all(is_class(word, classes) for word in said) else ()


def _check_words(words: Iterable[str], classes: Sequence[str], what: str) -> None:
    """Raise ArtattackError if most labels are unknown classes; a single wrong label is reported later, with its row."""
    said = dict.fromkeys(word for word in words if not says_none(word))
    foreign = [word for word in said if not _SURE.fullmatch(word) and not is_class(word)]
    if len(foreign) < 2 or 2 * len(foreign) <= len(said):
        return
    shown = ", ".join(f"'{word}'" for word in foreign[:3]) + (" and others" if len(foreign) > 3 else "")
    if classes:
        raise ArtattackError(f"{what}, {shown}, are neither classes of the models ({listed(classes)}) nor ImageNet's")
    raise ArtattackError(
        f"{what}, {shown}, are no ImageNet classes; if they are classes of your own, name all of them in the order of "
        "the model's outputs, as `classes: [...]` of the model (docs/models.md) or classes=[...] in Python"
    )


def _competition_table(folder: Path) -> Path | None:
    """Return the path of the NIPS 2017 competition's table in a folder, if there is one."""
    found = [path for path in sorted(folder.glob("*.csv")) if is_competition(path)]
    if len(found) > 1:
        raise ArtattackError(f"image set '{folder}': give one of {', '.join(path.name for path in found)}")
    return found[0] if found else None


def _label(row: Row, classes: tuple[str, ...]) -> int | None:
    """Return the class of a table's row, from an index or wnid if the row has one, otherwise from a name."""
    cells = {
        name: cell for name, cell in row.labels.items() if not says_none(cell) or (classes and is_class(cell, classes))
    }
    sure = {name: cell for name, cell in cells.items() if _SURE.fullmatch(cell)}
    chosen = cells if classes else sure or cells
    labels = {name: class_index(cell, classes) for name, cell in chosen.items()}
    for name, label in labels.items():
        if label != next(iter(labels.values())):
            first = next(iter(labels))
            raise ArtattackError(f"{first} {cells[first]} is not {cells[name]}")
    return next(iter(labels.values()), None)


def _folder(path: Path, own: tuple[str, ...]) -> ImageSet:
    folders = sorted(entry for entry in path.iterdir() if _is_folder(entry) and not entry.name.startswith("."))
    files = _files(path)
    note = ""
    counted: tuple[str, ...] = ()
    try:
        if folders:
            of_class = {folder: _files(folder) for folder in folders}
            words = [folder.name for folder, inside in of_class.items() if inside]
            counted = _counted(words, own)
            if not counted:
                _check_words(words, own, "these")
            samples = [
                Sample(_safe(f.stem), f, class_index(folder.name, counted))
                for folder in of_class
                for f in of_class[folder]
            ]
            broken = [file for file in files if file.is_symlink() and not _is_file(file)]
            samples += [Sample(_safe(link.name), link) for link in broken]  # perhaps links to class folders
            beside = len(files) - len(broken)
            note = f"{beside} files beside the class folders left out" if beside else ""
        else:
            samples = [Sample(_safe(file.stem), file, _wnid_of(file)) for file in files]
    except ArtattackError as error:
        names = "sub-folders are classes" if folders else "names WNID_* label files"
        raise ArtattackError(f"image set '{path}': {names}, but {error}") from error
    if not samples:
        parts = [folder.name for folder in folders if folder.name.lower() in _PARTS]
        where = " in its class folders" if folders else ""
        hint = f"; give one of its parts, {' or '.join(str(path / name) for name in parts)}" if parts else ""
        raise ArtattackError(f"image set '{path}': no images{where}{hint}")
    return ImageSet(path.resolve().name, _distinct(samples), note, counted)


def _files(folder: Path) -> list[Path]:
    """Return a folder's entries without sub-folders, tables, text files and hidden files.

    Other files that are no images, and broken links, are included, so that the records report them.
    """
    return sorted(
        entry
        for entry in folder.iterdir()
        if not _is_folder(entry) and not entry.name.startswith(".") and entry.suffix.lower() not in _TEXT
    )


def _is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; False without access, for which pathlib raises an error."""
    with suppress(OSError):
        return path.is_dir()
    return False


def _is_file(path: Path) -> bool:
    """Whether a path leads to a file; False without access."""
    with suppress(OSError):
        return path.is_file()
    return False


def _wnid_of(file: Path) -> int | None:
    match = re.match(r"(n\d{8})_", file.name)
    return class_index(match[1]) if match else None


def _safe(stem: str) -> str:
    safe = re.sub(r"[^\w.-]+", "_", stem).lstrip(".") or "_"
    return safe[:_LONGEST]


def _distinct(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """Give each sample a unique id, also for a file system that ignores case."""
    samples = list(samples)
    times = Counter(sample.id.casefold() for sample in samples)
    taken = {key for key, n in times.items() if n == 1}
    distinct = []
    for sample in samples:
        name = sample.id
        if times[name.casefold()] > 1:
            stem = _safe(f"{sample.path.parent.name}_{name}")
            options = (stem if n == 1 else f"{stem}_{n}" for n in count(1))
            name = next(option for option in options if option.casefold() not in taken)
            taken.add(name.casefold())
        distinct.append(replace(sample, id=name))
    return tuple(distinct)


def fetch_image_set(name: str, source: Path | None = None, *, base_url: str | None = None) -> str:
    """Download or copy an image set, and verify each file's hash; correct files already present are kept.

    Args:
        name: `imagenet-sample` or `cue-conflict`.
        source: folder of a local copy to use instead of a download.
        base_url: URL to download from; by default the publisher's.

    Returns:
        A summary in one line.

    Raises:
        ArtattackError: the set does not exist, or some files could not be fetched. The others are kept, and the next
            call resumes.
    """
    from rich.progress import track

    if name not in _SOURCES:
        raise unknown("image set to fetch", name, _SOURCES)
    address = base_url or _SOURCES[name]
    home = _home(name)
    if source and not source.is_dir():
        raise ArtattackError(f"{source}: no such folder to copy the images from")
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtattackError(
            f"{home}: cannot be created: {error.strerror}; set ARTATTACK_DATA to another folder"
        ) from error
    samples = _manifest(data_dir() / f"{name}.csv", home)
    absent = [sample for sample in samples if not _is_right(sample, sample.path)]
    before = done = len(samples) - len(absent)
    failed: list[str] = []
    in_a_row = 0
    for sample in track(absent, description=name, console=Console(stderr=True)):
        try:
            part = sample.path.relative_to(home).as_posix()
            _copy(source / part, sample) if source else _download(address + part, sample)
            done += 1
            in_a_row = 0
        except (OSError, ValueError) as error:
            failed.append(f"{sample.path.name}: {_reason(error)}")
            in_a_row += 1
        if in_a_row == _PATIENCE and not source:
            break
    here = f"{done} of {len(samples)} images in {home}, {before} of them already present"
    if failed:
        again = "use a complete copy" if source else "run again to resume, or copy a local folder with --from"
        raise ArtattackError(f"{here}; {len(samples) - done} could not be fetched: {again}. First failure: {failed[0]}")
    return here


def _reason(error: OSError | ValueError) -> str:
    """Return a short reason for a failed file; errors of requests and pooch contain URLs and object names."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server says {response.status_code} {response.reason}"
    if isinstance(error, ArtattackError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or f"the connection failed ({type(error).__name__})"
    return "the downloaded file is damaged (sha256 differs)"


def _download(address: str, sample: Sample) -> None:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    pooch.retrieve(address, f"sha256:{sample.sha256}", fname=sample.path.name, path=sample.path.parent)


def _copy(file: Path, sample: Sample) -> None:
    if not file.is_file():
        raise ArtattackError(f"not in {file.parent}")
    if not _is_right(sample, file):
        raise ArtattackError(f"{file} is another file (sha256 differs)")
    sample.path.parent.mkdir(exist_ok=True)
    part = sample.path.with_suffix(".part")
    shutil.copyfile(file, part)
    part.replace(sample.path)


def _is_right(sample: Sample, file: Path) -> bool:
    return _is_file(file) and sha256_file(file) == sample.sha256
