"""Tables of images and their classes: manifests, and the lists distributed with ImageNet's images.

Cells with classes are returned as text; `artattack.inputs.image_sets` resolves them to classes.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from artattack.errors import ArtattackError
from artattack.inputs.labels import IMAGENET, is_class, says_none

SUFFIXES = frozenset({".csv", ".tsv"})
_DELIMITERS = ",;\t|"
# Columns by their names without case, spaces and signs: `Class_Index` is `classindex`.
_FILE = ("file", "filename", "filepath", "path", "image", "imagefile", "imagename", "imagepath", "img", "imageid")
_LABELS = frozenset(
    {
        *("class", "classid", "classidx", "classindex", "classname", "category"),
        *("label", "labels", "labelid", "labelidx", "labelindex", "labelname"),
        *("name", "synset", "synsetid", "wnid", "wordnetid"),
    }
)
_OF_LABELS = re.compile(r"label|class|categor|synset|wnid|wordnet|truth|^target$|^y$")  # in names of other columns
_TARGET = "targetclass"  # target of an attack, not a label
_COUNTERS = frozenset({"", "unnamed0", "index", "id", "width", "height", "bytes", "size"})  # columns of plain numbers
_KIT_NUMBERS = frozenset({"ilsvrc2012id", "ilsvrcid"})
_IMAGES = frozenset({".jpeg", ".jpg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".avif", ".jp2"})
_GROUND_TRUTH = re.compile(r"ILSVRC\d{4}_validation_ground_truth.*\.txt", re.IGNORECASE)
_NEAR = ("", "val", "images", "ILSVRC2012_img_val")  # folders of ImageNet's validation images, relative to their list
_KAGGLE = "ILSVRC/Data/CLS-LOC"  # their folder in the archive of Kaggle's competition


class Row(NamedTuple):
    """An image in a table.

    Attributes:
        line: number of its line in the table.
        image: path of its file, which may not exist.
        labels: non-empty cells with its class, by column name.
        sha256: expected hash of the file; empty if unknown.
        target: cell with the target of a targeted attack; empty for no target.
    """

    line: int
    image: Path
    labels: Mapping[str, str]
    sha256: str = ""
    target: str = ""


class Table(NamedTuple):
    """Contents of a table.

    Attributes:
        rows: the images, in order.
        note: note for readers of results, such as missing images; empty for none.
        doubts: probable mistakes in the table, a line each.
        of_imagenet: whether the classes are always ImageNet's, even if the models have classes of their own.
    """

    rows: list[Row]
    note: str = ""
    doubts: tuple[str, ...] = ()
    of_imagenet: bool = False


def read_table(path: Path, home: Path) -> Table:
    """Read a table whose columns are separated by commas, semicolons, tabs or bars, in UTF-8 or UTF-16.

    Args:
        path: a manifest; the table of the NIPS 2017 competition on adversarial attacks (columns `ImageId` and
            `TrueLabel`, counted from 1); or Kaggle's table of ImageNet (columns `ImageId` and `PredictionString`).
        home: the folder to which the image paths are relative.

    Raises:
        ArtattackError: the file is no such table, lists no images, or has an invalid line.
    """
    header, lines = _cells(path)
    if not lines and _file_column(path, header) is not None:
        raise ArtattackError(f"{path}: no images are listed")
    if _is(header, "imageid", "predictionstring"):
        return _kaggle(path, _by_line(path, header, lines), home)
    if _is(header, "imageid", "truelabel"):
        rows = [
            _at(path, line, lambda row: _of_competition(row, home), row) for line, row in _by_line(path, header, lines)
        ]
        return Table(rows, of_imagenet=True)
    return _manifest(path, header, lines, home)


def is_ground_truth(path: Path) -> bool:
    """Whether a file has the name of the class list in ImageNet's development kit."""
    return _GROUND_TRUTH.fullmatch(path.name) is not None


def read_ground_truth(path: Path) -> Table:
    """Read the development kit's list of ImageNet's validation images, a class number on each line.

    The numbers, 1 to 1000, follow the kit's own order. Its file meta.mat, which must be beside the list, maps them to
    wnids. The images are in the list's folder or one or two folders above, or there in `val`, `images` or
    `ILSVRC2012_img_val`.

    Raises:
        ArtattackError: meta.mat is missing or cannot be read, a line is no class number, or no image exists.
    """
    wnids = _wnids_of_kit(path)
    lines = _text(path).split()
    for line, word in enumerate(lines, 1):
        if not word.isdecimal() or int(word) not in wnids:
            raise ArtattackError(
                f"{path}, line {line}: '{word}' is not a class number of the kit, 1 to {len(IMAGENET)}"
            )
    above = (path.parent, path.parent.parent, path.parent.parent.parent)
    places = [folder / name for folder in above for name in _NEAR]
    names = [f"ILSVRC2012_val_{k:08d}.JPEG" for k in range(1, len(lines) + 1)]
    found = ((k, _first(places, name)) for k, name in enumerate(names))
    rows = [Row(k + 1, image, {"class": wnids[int(lines[k])]}) for k, image in found if image]
    return _present(path, rows, len(lines), "ILSVRC2012_val_00000001.JPEG and so on")


def is_competition(path: Path) -> bool:
    """Whether a file has the columns of the NIPS 2017 adversarial competition's table of images."""
    try:
        return _is(_cells(path)[0], "imageid", "truelabel")
    except ArtattackError:  # another CSV file may be unreadable
        return False


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArtattackError(f"{path}: cannot be read as CSV: it is not text in UTF-8: {error.reason}") from error
    except OSError as error:
        raise ArtattackError(f"{path}: cannot be read as CSV: {error.strerror or error}") from error


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header of a table, and its other lines with their numbers."""
    text = _text(path)
    first = text.lstrip().partition("\n")[0]
    headers = {sign: next(csv.reader([first], delimiter=sign), []) for sign in _DELIMITERS}
    known = [sign for sign, header in headers.items() if any(_plain(name) in _FILE for name in header)]
    sign = max(known, key=lambda sign: len(headers[sign]), default=",")
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign)
        lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader if line]
    except csv.Error as error:
        raise ArtattackError(f"{path}: cannot be read as CSV: {error}") from error
    return (lines[0][1], lines[1:]) if lines else ([], [])


def _plain(column: str) -> str:
    return re.sub(r"[\W_]+", "", column.lower())


def _is(header: Iterable[str], *columns: str) -> bool:
    """Whether a table has some columns, and no column of files other than `ImageId`."""
    names = {_plain(name) for name in header}
    return names >= {*columns} and not names & {*_FILE[:-1]}


def _file_column(path: Path, header: Sequence[str]) -> str | None:
    """Return the name of the column with the images' files, or None."""
    found = [name for known in _FILE for name in header if _plain(name) == known]
    if len(found) > 1 and _plain(found[0]) != "file" and _plain(found[1]) != "imageid":
        raise ArtattackError(
            f"{path}: both columns '{found[0]}' and '{found[1]}' may name the image: rename the right one to 'file'"
        )
    return found[0] if found else None


def _by_line(
    path: Path, header: Sequence[str], lines: Iterable[tuple[int, list[str]]]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the lines of a table: the number, and the cells by plain column names."""
    names = [_plain(name) for name in header]
    known = [name for name in names if name in _LABELS or name in _FILE or name == "sha256"]
    twice = next((name for k, name in enumerate(known) if name in known[:k]), None)
    if twice:
        both = " and ".join(f"'{name}'" for name in header if _plain(name) == twice)
        raise ArtattackError(f"{path}: columns {both} have the same name: delete one")
    for line, cells in lines:
        yield line, dict(zip(names, [*cells, *[""] * len(names)], strict=False))


def _at(path: Path, line: int, read: Callable[[dict[str, str]], Row], row: dict[str, str]) -> Row:
    """Read a line; an error names the file and the line."""
    try:
        return read(row)._replace(line=line)
    except ArtattackError as error:
        raise ArtattackError(f"{path}, line {line}: {error}") from error


def _manifest(path: Path, header: list[str], lines: list[tuple[int, list[str]]], home: Path) -> Table:
    column = _file_column(path, header)
    if column is None:
        raise ArtattackError(f"{path}: a manifest has a column 'file'; this file has: {', '.join(header) or 'none'}")
    written = {_plain(name): name.strip() for name in header}
    if number := next((written[name] for name in written if name in _KIT_NUMBERS), None):
        raise ArtattackError(f"{path}: column '{number}' has the development kit's own numbers; give wnids instead")
    names = [name for name in written if name in _LABELS]
    find = _Finder(home)
    rows = list(_by_line(path, header, lines))

    def read(row: dict[str, str]) -> Row:
        if not row[_plain(column)]:
            raise ArtattackError("no file is named")
        labels = {written[name]: row[name] for name in names if row[name]}
        return Row(0, find(row[_plain(column)]), labels, row.get("sha256", "").lower(), row.get(_TARGET, ""))

    found = [_at(path, line, read, row) for line, row in rows]
    labelled = any(not says_none(cell) for row in found for cell in row.labels.values())
    others = [name for name in written if name not in _LABELS and name not in _FILE and name != _TARGET]
    doubts = [
        f"{path}: column '{written[name]}' looks like labels but is not read: rename it to class_index, wnid or name"
        + (", or to target_class for targeted attacks" if name == "target" else "")
        for name in others
        if _look_like_labels(name, [row[name] for _, row in rows], labelled)
    ]
    return Table(found, doubts=tuple(doubts))


def _look_like_labels(name: str, cells: Iterable[str], labelled: bool) -> bool:
    """Whether an unknown column may hold labels, by its name or, in a table without labels, by its cells."""
    values = {cell for cell in cells if not says_none(cell)}
    if not values or name in _COUNTERS or name == "sha256":
        return False
    if _OF_LABELS.search(name):
        return True
    return not labelled and all(map(is_class, values))


class _Finder:
    """Finds the files of a table in a folder, with slashes or backslashes, with or without suffix."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folders: dict[Path, dict[str, list[str]]] = {}

    def __call__(self, name: str) -> Path:
        if "\\" in name and not _is_there(self._home / name):
            name = name.replace("\\", "/")
        path = self._home / _inside(name)
        if path.suffix.lower() in _IMAGES or _is_there(path):
            return path
        found = self._by_stem(path.parent).get(path.name, [])
        if len(found) > 1:
            raise ArtattackError(f"'{name}' may be {' or '.join(found)}: give the suffix, too")
        return path.with_name(found[0]) if found else path

    def _by_stem(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._folders:
            stems: dict[str, list[str]] = {}
            with suppress(OSError):
                for entry in sorted(folder.iterdir()):
                    if entry.suffix.lower() in _IMAGES:
                        stems.setdefault(entry.stem, []).append(entry.name)
            self._folders[folder] = stems
        return self._folders[folder]


def _inside(file: str) -> str:
    """Return a file's name in a table; raise an error for `..`, since a downloaded table is not trusted."""
    if ".." in Path(file).parts:
        raise ArtattackError(f"'{file}' leads out of the table's folder: give the absolute path")
    return file


def _is_there(path: Path) -> bool:
    """Whether a path is a file, a folder or a link, broken or not; False without access."""
    with suppress(OSError, ValueError):
        return path.is_symlink() or path.exists()
    return False


def _of_competition(row: Mapping[str, str], home: Path) -> Row:
    """Return the row of the image ImageId.png, beside the table or in images/; its classes count from 1."""
    if not row["imageid"]:
        raise ArtattackError("no ImageId")
    name = _inside(f"{row['imageid']}.png")
    image = _first((home, home / "images"), name) or home / name
    label = _from_0(row["truelabel"], "TrueLabel")
    target = _from_0(row[_TARGET], "TargetClass") if row.get(_TARGET) else ""
    return Row(0, image, {"TrueLabel - 1": label}, target=target)


def _from_0(number: str, column: str) -> str:
    """Convert a class number that counts from 1 to an index from 0."""
    if not (number.isdecimal() and 1 <= int(number) <= len(IMAGENET)):
        raise ArtattackError(f"{column} '{number}' is not a number from 1 to {len(IMAGENET)}")
    return str(int(number) - 1)


def _kaggle(path: Path, lines: Iterable[tuple[int, dict[str, str]]], home: Path) -> Table:
    """Read Kaggle's table of ImageNet's images: for each box, a wnid and the box's four coordinates."""
    rows, listed = [], 0
    for line, cells in lines:
        name, said = _inside(cells["imageid"]), cells["predictionstring"].split()
        wnids = {*said[::5]}
        if not name or len(wnids) != 1 or len(said) % 5:
            raise ArtattackError(f"{path}, line {line}: give a wnid and four numbers for each box, all of one class")
        wnid = wnids.pop()
        listed += 1
        places = [
            home / near
            for near in (*_NEAR, f"{_KAGGLE}/val", *(f"{up}{wnid}" for up in ("", "train/", f"{_KAGGLE}/train/")))
        ]
        if image := _first(places, f"{name}.JPEG"):
            rows.append(Row(line, image, {"PredictionString": wnid}))
    return _present(path, rows, listed, f"ImageId.JPEG, beside it or in {_KAGGLE}/")


def _present(path: Path, rows: list[Row], listed: int, names: str) -> Table:
    """Return the images of a public list that exist on this machine, which may hold only a part of ImageNet."""
    if not listed:
        raise ArtattackError(f"{path}: no images are listed")
    if not rows:
        raise ArtattackError(f"{path}: none of its {listed} images exists ({names})")
    note = f"{len(rows)} of {listed} images present" if len(rows) < listed else ""
    return Table(rows, note, of_imagenet=True)


def _first(places: Iterable[Path], name: str) -> Path | None:
    return next((place / name for place in places if _is_there(place / name)), None)


def _wnids_of_kit(path: Path) -> dict[int, str]:
    """Return the wnids of the kit's class numbers, from the file meta.mat beside its list."""
    meta = path.with_name("meta.mat")
    if not meta.is_file():
        raise ArtattackError(
            f"{path}: the development kit numbers classes in its own order, which its file meta.mat holds: put that "
            "file beside the list, or use Kaggle's LOC_val_solution.csv, which has wnids"
        )
    from scipy.io import loadmat

    try:
        synsets = loadmat(meta, squeeze_me=True)["synsets"]
        numbers, wnids = synsets["ILSVRC2012_ID"].tolist(), synsets["WNID"].tolist()
        found = {int(number): str(wnid) for number, wnid in zip(numbers, wnids, strict=True)}
    except Exception as error:  # SciPy may raise anything on damaged and foreign files
        raise ArtattackError(f"{meta}: not the development kit's list of synsets") from error
    return {number: wnid for number, wnid in found.items() if number <= len(IMAGENET)}
