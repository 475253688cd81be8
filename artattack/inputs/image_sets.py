"""Image sets: labelled images by name, from a folder, or from a CSV manifest."""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import platformdirs
from rich.console import Console

from artattack.errors import ArtattackError, unknown
from artattack.files import sha256_file
from artattack.inputs.images import fit, read_image, to_float
from artattack.inputs.labels import IMAGENET, class_index
from artattack.inputs.paths import data_dir

_SOURCES = {  # of the sets that can be fetched
    "imagenet-sample": "https://raw.githubusercontent.com/EliSchwartz/imagenet-sample-images/master/",
    "cue-conflict": "https://raw.githubusercontent.com/rgeirhos/texture-vs-shape/master/stimuli/"
    "style-transfer-preprocessed-512/",
}
FETCHED = tuple(_SOURCES)
_TEXT = frozenset({".csv", ".txt", ".md", ".json"})  # what lies beside images and is none
_LONGEST = 60  # characters of an id: 4 bytes each at worst, and file systems stop at 255
_LEAST = 4  # pixels of an image's shorter side
_PATIENCE = 5  # downloads that fail in a row before the rest is given up
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
        id: unique in its set, fit for a file name.
        path: where the file lies.
        label: ImageNet class, or None if unlabelled.
        sha256: what the file's hash must be, or None if nobody has said.
        target: ImageNet class that a targeted attack leads it to, or None if the set names none.
    """

    id: str
    path: Path
    label: int | None = None
    sha256: str | None = None
    target: int | None = None


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
        ImageSetInfo(name, description, needs, any(map(_is_file, _paths(name))))
        for name, (description, needs) in _NAMED.items()
    )


def open_image_set(name: str | Path) -> ImageSet:
    """Open an image set. Files are looked at when they are read, so a bad one does not spoil the set.

    Args:
        name: `samples`, `imagenet-sample`, `cue-conflict`, a CSV manifest or a folder. A manifest has a column
            `file`, relative to it, and may have `class_index`, `wnid` or `name` (read only where the others are
            missing), and `sha256`. The table of the NIPS 2017 adversarial competition's images (columns `ImageId`,
            `TrueLabel`) is a manifest, too, and stands for its folder. In any other folder, sub-folders are classes
            by wnid, index or name, one level deep; without any, files named `WNID_*` are labelled so (a wnid that is
            no class is an error) and others not.

    Raises:
        ArtattackError: there is no such set, it cannot be read, or a manifest or a folder's names make no sense.
    """
    try:
        return _opened(name)
    except OSError as error:
        raise ArtattackError(f"image set '{name}': {error.filename} cannot be read: {error.strerror}") from error


def _opened(name: str | Path) -> ImageSet:
    if str(name) in _NAMED:
        return _named(str(name))
    path = Path(name).expanduser()
    if path.is_dir():
        table = _competition_table(path)
        return _listed(table, path.resolve().name) if table else _folder(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return _listed(path, path.stem)
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
    return fit(_read(sample), size, crop)


def _read(sample: Sample) -> np.ndarray:
    image = read_image(sample.path)
    if sample.sha256 and sha256_file(sample.path) != sample.sha256:
        raise ArtattackError(f"{sample.path}: not the file its manifest means (sha256 differs)")
    height, width = image.shape[:2]
    if min(height, width) < _LEAST:
        raise ArtattackError(f"{sample.path}: {width} x {height} pixels are no photo; sides are {_LEAST} or more")
    return image


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
        ArtattackError: the set cannot be opened, or a size, crop or limit makes no sense.
    """
    read, errors = [], {}
    for sample in spread(open_image_set(name).samples, limit):
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
    """Return at most `limit` samples (one or more; None: all), evenly spread over the whole."""
    if limit is not None and limit < 1:
        raise ArtattackError(f"a limit of {limit} images: it is 1 or more")
    if limit is None or limit >= len(samples):
        return tuple(samples)
    return tuple(samples[i * len(samples) // limit] for i in range(limit))


def _listed(path: Path, name: str) -> ImageSet:
    return ImageSet(name, _distinct(_manifest(path, path.parent)))


def _named(name: str) -> ImageSet:
    samples = _distinct(_manifest(data_dir() / f"{name}.csv", _home(name)))
    present = tuple(sample for sample in samples if sample.path.is_file())
    if not present:
        raise ArtattackError(f"image set '{name}' is not on this machine; it needs: {_NAMED[name][1]}")
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
            columns = reader.fieldnames or ()
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ArtattackError(f"{path}: cannot be read as CSV: {error}") from error
    of_competition = _of_competition(columns)
    if "file" not in columns and not of_competition:
        raise ArtattackError(f"{path}: a manifest has a column 'file'; this has: {', '.join(columns) or 'nothing'}")
    if not rows:
        raise ArtattackError(f"{path}: no images are listed")
    sample = _competition_sample if of_competition else _manifest_sample
    samples = []
    for line, row in rows:
        try:
            samples.append(sample({key: (cell or "").strip() for key, cell in row.items() if key in columns}, home))
        except ArtattackError as error:
            raise ArtattackError(f"{path}, line {line}: {error}") from error
    return samples


def _manifest_sample(row: Mapping[str, str], home: Path) -> Sample:
    if not row["file"]:
        raise ArtattackError("no file is named")
    label = _label(row.get("class_index", ""), row.get("wnid", ""), row.get("name", ""))
    image = home / _inside(row["file"])
    target = class_index(row["target_class"]) if row.get("target_class") else None
    return Sample(_safe(image.stem), image, label, row.get("sha256", "").lower() or None, target)


def _inside(file: str) -> str:
    """Return a file's name in a table, if it does not climb out of the table's folder: tables come from strangers."""
    if ".." in Path(file).parts:
        raise ArtattackError(f"'{file}' leads out of the table's folder: write the whole path")
    return file


def _of_competition(columns: Collection[str]) -> bool:
    """Tell the table of the images of the NIPS 2017 competition on adversarial attacks by its columns."""
    return "file" not in columns and {"ImageId", "TrueLabel"} <= set(columns)


def _competition_sample(row: Mapping[str, str], home: Path) -> Sample:
    """Return the image ImageId.png, which lies beside the table or in images/; its classes count from 1."""
    if not row["ImageId"]:
        raise ArtattackError("no ImageId")
    label = _of_one(row["TrueLabel"], "TrueLabel")
    target = _of_one(row["TargetClass"], "TargetClass") if row.get("TargetClass") else None
    name = _inside(f"{row['ImageId']}.png")
    places = (home / name, home / "images" / name)
    image = next((path for path in places if path.is_symlink() or path.is_file()), places[0])
    return Sample(_safe(image.stem), image, label, target=target)


def _of_one(number: str, column: str) -> int:
    """Return the class that a number counted from 1 stands for."""
    if not (number.isdecimal() and 1 <= int(number) <= len(IMAGENET)):
        raise ArtattackError(f"{column} '{number}' (they are 1 to {len(IMAGENET)}, class + 1)")
    return int(number) - 1


def _competition_table(folder: Path) -> Path | None:
    """Return the table of the competition's images in a folder, if there is one."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        with (  # other tables may be anything
            suppress(OSError, csv.Error),
            path.open(encoding="utf-8-sig", errors="replace", newline="") as file,
        ):
            if _of_competition(next(csv.reader(file), [])):
                found.append(path)
    if len(found) > 1:
        raise ArtattackError(f"image set '{folder}': name one of {', '.join(path.name for path in found)}")
    return found[0] if found else None


def _label(index: str, wnid: str, name: str) -> int | None:
    """Return the class that a manifest's row means; the name serves only where nothing surer is given."""
    labels = {class_index(text) for text in (index, wnid) if text}
    if len(labels) > 1:
        raise ArtattackError(f"class_index {index} is not {wnid}")
    if labels:
        return labels.pop()
    return class_index(name) if name else None


def _folder(path: Path) -> ImageSet:
    classes = sorted(entry for entry in path.iterdir() if _is_folder(entry) and not entry.name.startswith("."))
    files = _files(path)
    note = ""
    try:
        if classes:
            samples = [Sample(_safe(f.stem), f, class_index(c.name)) for c in classes for f in _files(c)]
            broken = [file for file in files if file.is_symlink() and not _is_file(file)]
            samples += [Sample(_safe(link.name), link) for link in broken]  # they may have been class folders
            beside = len(files) - len(broken)
            note = f"{beside} files beside the class folders left out" if beside else ""
        else:
            samples = [Sample(_safe(file.stem), file, _wnid_of(file)) for file in files]
    except ArtattackError as error:
        names = "sub-folders are classes" if classes else "files named WNID_* are labelled so"
        raise ArtattackError(f"image set '{path}': {names}, but {error}") from error
    if not samples:
        where = " in its class folders" if classes else ""
        raise ArtattackError(f"image set '{path}': no images{where}")
    return ImageSet(path.resolve().name, _distinct(samples), note)


def _files(folder: Path) -> list[Path]:
    """Return all that lies in a folder but folders, tables and what is hidden.

    What is no image, and a link that leads nowhere, is among them: it is for the records to tell.
    """
    return sorted(
        entry
        for entry in folder.iterdir()
        if not _is_folder(entry) and not entry.name.startswith(".") and entry.suffix.lower() not in _TEXT
    )


def _is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; not where that is out of reach, for which pathlib raises an error."""
    with suppress(OSError):
        return path.is_dir()
    return False


def _is_file(path: Path) -> bool:
    """Whether a path leads to a file; not where that is out of reach."""
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
    """Give samples that share an id, on a file system that ignores case too, one of their own."""
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
    """Download an image set, or copy it, each file checked; what is there already stays.

    Args:
        name: `imagenet-sample` or `cue-conflict`.
        source: a local copy to take the files from, instead of the network.
        base_url: where the files are downloaded from; by default where they are published.

    Returns:
        One line that says what was done.

    Raises:
        ArtattackError: no such set, or some files could not be had; those that could are kept, and running again
            resumes.
    """
    from rich.progress import track

    if name not in _SOURCES:
        raise unknown("image set to fetch", name, _SOURCES)
    address = base_url or _SOURCES[name]
    home = _home(name)
    if source and not source.is_dir():
        raise ArtattackError(f"{source}: no such folder to take the images from")
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtattackError(
            f"{home}: cannot be made: {error.strerror}; set ARTATTACK_DATA to another folder"
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
    here = f"{done} of {len(samples)} images in {home}, {before} of them from before"
    if failed:
        again = "take them from a fuller copy" if source else "run again to resume, or take a local copy with --from"
        raise ArtattackError(f"{here}; {len(samples) - done} could not be had: {again}. The first: {failed[0]}")
    return here


def _reason(error: OSError | ValueError) -> str:
    """Say in few words why a file did not come: what requests and pooch raise holds addresses and objects."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server says {response.status_code} {response.reason}"
    if isinstance(error, ArtattackError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or f"the connection failed ({type(error).__name__})"
    return "it came damaged (sha256 differs)"


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
