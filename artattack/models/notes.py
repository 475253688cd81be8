"""Metadata in model files: class names and preprocessing.

TFLite files have a ZIP archive appended, as written by TFLite's metadata tools, with a `.txt` file of class names, one
per line, and `preprocessing.json`. ONNX files have both in their metadata, under `names` and `preprocessing`. PyTorch
files have the extra file `preprocessing.json`.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

from artattack.errors import ArtattackError
from artattack.models.model import PREPROCESSING, Preprocessing, parse_preprocessing, without_preprocessing

PREPROCESSING_FILE = "preprocessing.json"
_LARGEST = 2**20  # bytes of a note


def labels_behind(path: Path) -> tuple[str, ...]:
    """Return the class names appended to a TFLite file; () unless it has exactly one list."""
    lines = _only_text(path, ".txt").splitlines()
    return tuple(line for line in lines if line.strip())


def preprocessing_in(path: Path) -> str:
    """Return the preprocessing note in a ZIP file or in a ZIP archive appended to a file; empty without a note."""
    return _only_text(path, PREPROCESSING_FILE)


def read_preprocessing(path: Path, text: str) -> Preprocessing:
    """Parse a file's preprocessing note: a name, or JSON of the mapping that `parse_preprocessing` takes.

    Args:
        path: the file, for the message.
        text: text of the note; empty if the file has none.

    Raises:
        ArtattackError: the note is missing or invalid.
    """
    if not text:
        raise without_preprocessing(str(path))
    try:
        return parse_preprocessing(text if text in PREPROCESSING else json.loads(text))
    except (ValueError, RecursionError) as error:  # ArtattackError is a ValueError
        why = str(error) if isinstance(error, ArtattackError) else "no JSON"
        raise ArtattackError(
            f"model '{path}': the preprocessing in the file is invalid ({why}): give preprocessing"
        ) from error


def written(preprocessing: Preprocessing) -> str:
    """Return the note of a preprocessing, for `read_preprocessing`."""
    return json.dumps({"mean": preprocessing.mean, "std": preprocessing.std, "bgr": preprocessing.bgr})


def packed(labels: Iterable[str], preprocessing: Preprocessing, start: int) -> bytes:
    """Return the ZIP archive to append to a TFLite file of `start` bytes; without labels, preprocessing alone."""
    notes = {"labels.txt": "\n".join(labels), PREPROCESSING_FILE: written(preprocessing)}
    archived = io.BytesIO(b"\0" * start)
    with zipfile.ZipFile(archived, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, text in notes.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # a fixed date, for the same bytes every time
            entry.compress_type = zipfile.ZIP_DEFLATED
            if text:
                archive.writestr(entry, text)
    return archived.getvalue()[start:]


def _only_text(path: Path, end: str) -> str:
    """Return the text of the archive's only member whose name ends in `end`; empty for none or several."""
    if not zipfile.is_zipfile(path):
        return ""
    with zipfile.ZipFile(path) as archive:
        found = [info for info in archive.infolist() if info.filename.endswith(end)]
        if len(found) != 1 or found[0].file_size > _LARGEST:
            return ""
        return archive.read(found[0]).decode("utf-8", "replace")
