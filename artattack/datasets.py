"""Image sets: labelled images by name, from a folder, or from a CSV manifest."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import platformdirs
from rich.console import Console

from artattack.data import data_dir
from artattack.errors import ArtattackError, unknown
from artattack.images import fit, read_image, to_float
from artattack.labels import class_index

_SOURCE = "https://raw.githubusercontent.com/EliSchwartz/imagenet-sample-images/master/"
_TEXT = frozenset({".csv", ".txt", ".md", ".json"})
_PATIENCE = 5  # downloads that fail in a row before the rest is given up
_NAMED = {
    "samples": ("20 labelled ImageNet images, 512 x 512", "nothing: they come with foolbox"),
    "imagenet-sample": (
        "1000 public images, one of each ImageNet class",
        "artattack datasets fetch imagenet-sample",
    ),
}


@dataclass(frozen=True)
class Sample:
    """One image of a set.

    Attributes:
        id: unique in its set, fit for a file name.
        path: where the file lies.
        label: ImageNet class, or None if unlabelled.
        sha256: what the file's hash must be, or None if nobody has said.
    """

    id: str
    path: Path
    label: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class ImageSet:
    """Images in a fixed order, and what a reader of results should know of them."""

    name: str
    samples: tuple[Sample, ...]
    note: str = ""


class ImageSetInfo(NamedTuple):
    """What a list of image sets says of one."""

    name: str
    description: str
    needs: str
    available: bool


class Images(NamedTuple):
    """Images in memory: `x` (N, H, W, 3) float32 in [0, 1], `y` (N,) classes or -1, ids, and what failed."""

    x: np.ndarray
    y: np.ndarray
    ids: tuple[str, ...]
    errors: dict[str, str]


def image_set_infos() -> tuple[ImageSetInfo, ...]:
    """Return the image sets known by name."""
    return tuple(
        ImageSetInfo(name, description, needs, any(path.is_file() for path in _paths(name)))
        for name, (description, needs) in _NAMED.items()
    )


def open_image_set(name: str | Path) -> ImageSet:
    """Open an image set. Files are looked at when they are read, so a bad one does not spoil the set.

    Args:
        name: `samples`, `imagenet-sample`, a CSV manifest or a folder. A manifest has a column `file`, relative
            to it, and may have `class_index`, `wnid` or `name`, and `sha256`. In a folder, sub-folders are
            classes by wnid, index or name; without any, files named `WNID_*` are labelled so and others not.

    Raises:
        ArtattackError: there is no such set, or a manifest or a folder's names make no sense.
    """
    if str(name) in _NAMED:
        return _named(str(name))
    path = Path(name)
    if path.is_dir():
        return _folder(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return ImageSet(path.stem, _distinct(_manifest(path, path.parent)))
    if path.is_file():
        raise ArtattackError(f"image set '{name}': neither a folder nor a .csv manifest")
    if path.suffix or len(path.parts) > 1:
        raise ArtattackError(f"image set '{name}': no such folder or manifest")
    raise unknown("image set", str(name), [*_NAMED, "a folder", "a manifest.csv"])


def read_sample(sample: Sample, size: int | tuple[int, int], crop: float = 0.875) -> np.ndarray:
    """Return a sample's image, cut and resized, uint8 (height, width, 3).

    Raises:
        ArtattackError: the file is missing, is no image, or is not the one the manifest means.
    """
    image = read_image(sample.path)
    if sample.sha256 and _sha256(sample.path) != sample.sha256:
        raise ArtattackError(f"{sample.path}: not the file its manifest means (sha256 differs)")
    return fit(image, size, crop)


def load_images(
    name: str | Path = "samples",
    *,
    size: int | tuple[int, int] = 224,
    crop: float = 0.875,
    limit: int | None = None,
) -> Images:
    """Load an image set into memory.

    Args:
        name: as in `open_image_set`.
        size: side, or (height, width), in pixels.
        crop: share of the largest central rectangle of that shape that is kept.
        limit: at most so many, evenly spread over the set.

    Returns:
        Images that could be read, and messages for those that could not, by id.

    Raises:
        ArtattackError: the set cannot be opened.
    """
    read, errors = [], {}
    for sample in spread(open_image_set(name).samples, limit):
        try:
            read.append((sample, read_sample(sample, size, crop)))
        except ArtattackError as error:
            errors[sample.id] = str(error)
    height, width = (size, size) if isinstance(size, int) else size
    x = np.stack([image for _, image in read]) if read else np.zeros((0, height, width, 3), np.uint8)
    y = np.array([-1 if sample.label is None else sample.label for sample, _ in read], np.int64)
    return Images(to_float(x), y, tuple(sample.id for sample, _ in read), errors)


def spread(samples: Sequence[Sample], limit: int | None) -> tuple[Sample, ...]:
    """Return at most `limit` samples, evenly spread over the whole."""
    if limit is None or limit >= len(samples):
        return tuple(samples)
    return tuple(samples[i * len(samples) // limit] for i in range(limit))


def _named(name: str) -> ImageSet:
    samples = _distinct(_manifest(data_dir() / f"{name}.csv", _home(name)))
    present = tuple(sample for sample in samples if sample.path.is_file())
    if not present:
        raise ArtattackError(f"image set '{name}' is not on this machine: {_NAMED[name][1]}")
    missing = len(samples) - len(present)
    return ImageSet(name, present, f"{len(present)} of {len(samples)} images present" if missing else "")


def _home(name: str) -> Path:
    """Return the folder where the files of a named set lie, whether or not they are there."""
    if name == "samples":  # found without importing foolbox, which takes seconds
        spec = find_spec("foolbox")
        return Path(spec.origin).parent / "data" if spec and spec.origin else Path("foolbox-is-not-installed")
    return Path(os.environ.get("ARTATTACK_DATA") or platformdirs.user_data_path("artattack")) / name


def _paths(name: str) -> Iterator[Path]:
    return (sample.path for sample in _manifest(data_dir() / f"{name}.csv", _home(name)))


def _manifest(path: Path, home: Path) -> list[Sample]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ArtattackError(f"{path}: cannot be read as CSV: {error}") from error
    if "file" not in (reader.fieldnames or ()):
        raise ArtattackError(f"{path}: a manifest has a column 'file'; this has {', '.join(reader.fieldnames or ())}")
    if not rows:
        raise ArtattackError(f"{path}: no images are listed")
    samples = []
    for line, row in rows:
        given = {key: row[key].strip() for key in ("class_index", "wnid", "name") if (row.get(key) or "").strip()}
        if not row["file"]:
            raise ArtattackError(f"{path}, line {line}: no file is named")
        try:
            # A name serves only where nothing surer is given: some classes share one.
            labels = {class_index(text) for key, text in given.items() if key != "name" or len(given) == 1}
        except ArtattackError as error:
            raise ArtattackError(f"{path}, line {line}: {error}") from error
        if len(labels) > 1:
            raise ArtattackError(f"{path}, line {line}: class_index {given['class_index']} is not {given['wnid']}")
        file = home / row["file"]
        samples.append(Sample(_safe(file.stem), file, *labels or (None,), (row.get("sha256") or "").lower() or None))
    return samples


def _folder(path: Path) -> ImageSet:
    classes = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if classes:
        try:
            samples = [Sample(_safe(f.stem), f, class_index(c.name)) for c in classes for f in _files(c)]
        except ArtattackError as error:
            raise ArtattackError(f"image set '{path}': sub-folders are classes, but {error}") from error
    else:
        samples = [Sample(_safe(file.stem), file, _wnid_of(file)) for file in _files(path)]
    if not samples:
        raise ArtattackError(f"image set '{path}': no files")
    return ImageSet(path.resolve().name, _distinct(samples))


def _files(folder: Path) -> list[Path]:
    """Return every file of a folder but hidden ones and tables: one that is no image is for the records to tell."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.is_file()
        and not file.name.startswith(".")
        and file.suffix.lower() not in {".csv", ".txt", ".md", ".json"}
    )


def _wnid_of(file: Path) -> int | None:
    match = re.match(r"(n\d{8})_", file.name)
    return class_index(match[1]) if match else None


def _safe(stem: str) -> str:
    return re.sub(r"[^\w.-]+", "_", stem) or "_"


def _distinct(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """Give samples that share an id, on a file system that ignores case too, one of their own."""
    samples = list(samples)
    count = Counter(sample.id.lower() for sample in samples)
    taken = {sample.id.lower() for sample in samples if count[sample.id.lower()] == 1}
    distinct = []
    for sample in samples:
        name = sample.id
        if count[name.lower()] > 1:
            stem = _safe(f"{sample.path.parent.name}_{name}")
            options = (stem, *(f"{stem}_{number}" for number in range(2, len(samples) + 2)))
            name = next(option for option in options if option.lower() not in taken)
            taken.add(name.lower())
        distinct.append(replace(sample, id=name))
    return tuple(distinct)


def fetch_imagenet_sample(source: Path | None = None, *, base_url: str = _SOURCE) -> str:
    """Download the image set `imagenet-sample`, or copy it, each file checked; what is there already stays.

    Args:
        source: a local copy to take the files from, instead of the network.
        base_url: where the files are downloaded from.

    Returns:
        One line that says what was done.

    Raises:
        ArtattackError: some files could not be had; those that could are kept, and running again resumes.
    """
    from rich.progress import track

    home = _home("imagenet-sample")
    home.mkdir(parents=True, exist_ok=True)
    samples = _manifest(data_dir() / "imagenet-sample.csv", home)
    absent = [sample for sample in samples if not _is_right(sample, sample.path)]
    failed: list[str] = []
    in_a_row = 0
    for sample in track(absent, description="imagenet-sample", console=Console(stderr=True)):
        try:
            _copy(source / sample.path.name, sample) if source else _download(base_url, sample)
            in_a_row = 0
        except (OSError, ValueError) as error:
            failed.append(f"{sample.path.name}: {' '.join(str(error).split())}")
            in_a_row += 1
        if in_a_row == _PATIENCE and not source:
            break
    done = len(samples) - sum(not sample.path.is_file() for sample in samples)
    here = f"{done} of {len(samples)} images in {home}, {len(samples) - len(absent)} of them from before"
    if failed:
        again = "take them from a fuller copy" if source else "run again to resume, or take a local copy with --from"
        raise ArtattackError(f"{here}; {len(samples) - done} could not be had: {again}. The first: {failed[0]}")
    return here


def _download(base_url: str, sample: Sample) -> None:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    name = sample.path.name
    sample.path.unlink(missing_ok=True)  # a wrong file, which pooch would fetch again only by another name
    pooch.retrieve(base_url + name, f"sha256:{sample.sha256}", fname=name, path=sample.path.parent)


def _copy(file: Path, sample: Sample) -> None:
    if not file.is_file():
        raise ArtattackError(f"not in {file.parent}")
    if not _is_right(sample, file):
        raise ArtattackError(f"{file} is another file (sha256 differs)")
    part = sample.path.with_suffix(".part")
    shutil.copyfile(file, part)
    part.replace(sample.path)


def _is_right(sample: Sample, file: Path) -> bool:
    return file.is_file() and _sha256(file) == sample.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
