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
    """Return the class names that stand behind a TFLite file; none where there is not one list of them."""
    lines = _only_text(path, ".txt").splitlines()
    return tuple(line for line in lines if line.strip())


def preprocessing_in(path: Path) -> str:
    """Return what a file with a ZIP archive, or behind which one stands, says of preprocessing; empty for nothing."""
    return _only_text(path, PREPROCESSING_FILE)


def read_preprocessing(path: Path, text: str) -> Preprocessing:
    """Read what a file says of preprocessing: JSON of what `parse_preprocessing` takes, or one of its names.

    Args:
        path: the file, for the message.
        text: what it says; empty where it says nothing.

    Raises:
        ArtattackError: it says nothing, or nothing that can be used.
    """
    if not text:
        raise without_preprocessing(str(path))
    try:
        return parse_preprocessing(text if text in PREPROCESSING else json.loads(text))
    except (ValueError, RecursionError) as error:  # of which ArtattackError is one
        why = str(error) if isinstance(error, ArtattackError) else "no JSON"
        raise ArtattackError(
            f"model '{path}': what the file says of preprocessing cannot be used ({why}): say preprocessing"
        ) from error


def written(preprocessing: Preprocessing) -> str:
    """Return a preprocessing as `read_preprocessing` reads it."""
    return json.dumps({"mean": preprocessing.mean, "std": preprocessing.std, "bgr": preprocessing.bgr})


def packed(labels: Iterable[str], preprocessing: Preprocessing, start: int) -> bytes:
    """Return notes as they stand behind a TFLite file of `start` bytes; without labels, preprocessing alone."""
    notes = {"labels.txt": "\n".join(labels), PREPROCESSING_FILE: written(preprocessing)}
    archived = io.BytesIO(b"\0" * start)
    with zipfile.ZipFile(archived, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, text in notes.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # the same bytes whenever it is written
            entry.compress_type = zipfile.ZIP_DEFLATED
            if text:
                archive.writestr(entry, text)
    return archived.getvalue()[start:]


def _only_text(path: Path, end: str) -> str:
    """Return the one file whose name ends so in the archive that a file is or ends in; empty for none or many."""
    if not zipfile.is_zipfile(path):
        return ""
    with zipfile.ZipFile(path) as archive:
        found = [info for info in archive.infolist() if info.filename.endswith(end)]
        if len(found) != 1 or found[0].file_size > _LARGEST:
            return ""
        return archive.read(found[0]).decode("utf-8", "replace")
