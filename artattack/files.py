"""Files: paths from user input, atomic writes, and hashes."""

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
    """Return the path for user input: an absolute local path, or a URL that fsspec supports.

    A remote path is not a `pathlib.Path` but has the same interface (`artattack.remote`).

    Raises:
        ArtattackError: as in `open_url` and `absolute`.
    """
    behind_url = "://" in word if isinstance(word, str) else not isinstance(word, os.PathLike)
    return open_url(word) if behind_url else absolute(Path(word))


def absolute(path: Path) -> Path:
    """Return the absolute form of a local path; remote paths stay unchanged.

    Raises:
        ArtattackError: the path is relative, and the working directory no longer exists.
    """
    try:
        return path.absolute() if isinstance(path, Path) else path
    except FileNotFoundError as error:
        raise ArtattackError(f"{path}: the working directory no longer exists; give an absolute path") from error


def shown(path: Path) -> str:
    """Return a path as text for messages, relative to the working directory if below it."""
    if isinstance(path, Path):
        with suppress(ValueError, OSError):
            return str(path.relative_to(Path.cwd()))
    return str(path)


def names_folder(word: str) -> bool:
    """Return whether a word names a local folder that exists, or is a URL; http and https URLs name models instead."""
    protocol, behind_url, _ = word.partition("://")
    return protocol not in ("http", "https") if behind_url else Path(word).is_dir()


def readable(path: Path) -> Path | io.BytesIO:
    """Return a file as other libraries read it: a local path, or the content of a remote file."""
    return path if isinstance(path, Path) else io.BytesIO(read(path))


def append_text(path: Path, text: str) -> None:
    """Append to a text file. On a remote file, concurrent appends may lose text."""
    if isinstance(path, Path):
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    else:
        write_file(path, (read(path) if path.exists() else b"") + text.encode())


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old or the new content, even if this process is killed.

    Raises:
        DiskError: the file cannot be written.
    """
    with writing(path) as file:
        file.write(content)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to in pieces, with the guarantee and the errors of `write_file`."""
    if not isinstance(path, Path):
        with uploading(path) as file:
            yield file
        return
    temporary = path.with_name(f".artattack-{uuid.uuid4().hex}.tmp")  # unique to this writer
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
    """Delete the temporary files of killed writers in a folder and its subfolders.

    No other process may write there. Remote folders have no temporary files.
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
