"""Files: where a user's word leads, written all or nothing, and told apart by their hashes."""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from artattack.errors import ArtattackError, DiskError
from artattack.remote import open_url, read, uploading


def to_path(word: str | Path) -> Path:
    """Return the path that a user means: of this machine, absolute, or behind any URL that fsspec knows.

    What a URL becomes is no `pathlib.Path`, but answers as one does (`artattack.remote`).

    Raises:
        ArtattackError: as `open_url` and `absolute`.
    """
    behind_url = "://" in word if isinstance(word, str) else not isinstance(word, os.PathLike)
    return open_url(word) if behind_url else absolute(Path(word))


def absolute(path: Path) -> Path:
    """Return a path that leads to the same place wherever the process moves; one behind a URL stays as it is.

    Raises:
        ArtattackError: the path is relative, and the folder that it starts from is gone.
    """
    try:
        return path.absolute() if isinstance(path, Path) else path
    except FileNotFoundError as error:
        raise ArtattackError(f"{path}: the working directory is gone: give an absolute path") from error


def shown(path: Path) -> str:
    """Return a path as it may be printed: relative to the working directory where it lies below that."""
    if isinstance(path, Path):
        with suppress(ValueError, OSError):
            return str(path.relative_to(Path.cwd()))
    return str(path)


def names_folder(word: str) -> bool:
    """Return whether a word is a folder that is there, or the URL of one; by http there are only models."""
    protocol, behind_url, _ = word.partition("://")
    return protocol not in ("http", "https") if behind_url else Path(word).is_dir()


def readable(path: Path) -> Path | io.BytesIO:
    """Return what libraries read: a path of this machine or, of a file behind a URL, its content."""
    return path if isinstance(path, Path) else io.BytesIO(read(path))


def append_text(path: Path, text: str) -> None:
    """Add to the end of a text file. Behind a URL, of what two processes add at once, one may be lost."""
    if isinstance(path, Path):
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    else:
        write_file(path, (read(path) if path.exists() else b"") + text.encode())


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader, whenever this process is stopped, sees the old content or the new.

    Raises:
        DiskError: the disk does not take it.
    """
    with writing(path) as file:
        file.write(content)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write to piece by piece, with the promise and the errors of `write_file`."""
    if not isinstance(path, Path):
        with uploading(path) as file:
            yield file
        return
    temporary = path.with_name(f".artattack-{uuid.uuid4().hex}.tmp")  # of no other writer of the same file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete, in a folder and below it, the beginnings of files whose writers were stopped in the middle.

    Only where no other process writes. Behind a URL, none are left.
    """
    if isinstance(folder, Path):
        for path in folder.rglob(".artattack-*.tmp"):
            with suppress(OSError):
                path.unlink()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        ArtattackError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtattackError(f"{path}: cannot be read: {error.strerror or error}") from error
