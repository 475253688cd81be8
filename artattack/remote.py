"""Paths behind URLs, for run folders in a bucket or on a server: what fsspec reaches, as universal-pathlib shows it.

Such a path is no `pathlib.Path`, and has no folders to make, no renaming and no fsync, but answers as one does: most of
the package need not know. What is written is handed over whole. Object stores take that all or nothing; on other
servers a writer that is killed may leave half a file, which a run finds out by its SHA-256.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from artattack.errors import ArtattackError, DiskError, nearest

_SECRET = re.compile(r"(?<=://)[^/]*?:(.+)@")  # `user:password@`


def open_url(url: Any) -> Path:
    """Return the path a URL such as `s3://bucket/mine` or `sftp://host/mine` stands for, after one look at it.

    Args:
        url: a string or, with options that no URL holds, a UPath. A password in it is not in what the path prints.

    Raises:
        ArtattackError: nothing knows the protocol, a package is missing, what lies there cannot be reached, or it has
            a secret in it that would be printed.
    """
    if find_spec("upath") is None:
        raise ArtattackError("run folders behind URLs need universal-pathlib: pip install 'artattack[remote]'")
    from fsspec.implementations.local import LocalFileSystem
    from upath import UPath

    shown = without_secret(str(url))
    if isinstance(url, str):
        if "?" in url:
            raise ArtattackError(f"{url.partition('://')[0]}://: a run folder's URL has no ? in it")
        kind = _file_system(url.partition("://")[0], shown)
        if issubclass(kind, LocalFileSystem):
            return Path(str(kind._strip_protocol(url)))
    found = _SECRET.search(str(url))
    try:
        path = _fresh(UPath, url)
        if found and found[1] in str(path):
            raise ArtattackError(f"{shown}: keep keys out of this URL, which would be printed")
        path.exists()
    except ArtattackError:
        raise
    except Exception as error:  # whatever a server, or what speaks to it, has to say
        why = in_one_line(error)
        why = why.replace(found[1], "***") if found else why
        raise ArtattackError(f"{shown}: cannot be reached: {why}") from error
    return path  # type: ignore[no-any-return]


def without_secret(word: str) -> str:
    """Return a path or URL as it may be printed: without user and password."""
    return _SECRET.sub("", word)


def _file_system(protocol: str, shown: str) -> Any:
    """Return fsspec's class for a protocol; raises ArtattackError where there is none, or its package is missing."""
    import fsspec
    from fsspec.registry import known_implementations

    try:
        return fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        package = known_implementations.get(protocol, {}).get("class", "fsspec").partition(".")[0]
        install = "" if package == "fsspec" else f": pip install {package}"  # else the message names it
        raise ArtattackError(f"{shown}: {in_one_line(error)}{install}") from error
    except ValueError as error:
        close = nearest(protocol, fsspec.available_protocols())
        raise ArtattackError(f"{shown}: unknown protocol '{protocol}'{close} (s3, gs, abfs, sftp, ...)") from error


def _fresh(kind: Any, url: Any) -> Any:
    """Return a path that keeps no listings, where its file system would: other processes write in the folder, too."""
    try:
        path = kind(url, use_listings_cache=False)
        _ = path.fs
    except TypeError:  # one that takes no such option, and keeps none
        path = kind(url)
        _ = path.fs
    return path


def takes_turns(path: Any) -> bool:
    """Return whether a path's file system has one connection, which threads must not use at once."""
    return not (isinstance(path, Path) or path.fs.async_impl)


def is_private(path: Any) -> bool:
    """Return whether a path lies in this process' memory, where no other process finds it."""
    return not isinstance(path, Path) and path.protocol == "memory"


@contextmanager
def uploading(path: Any) -> Iterator[BinaryIO]:
    """Give a file to write to, which becomes the one behind a URL once it is whole.

    Raises:
        DiskError: it is not taken.
    """
    with TemporaryDirectory() as folder:
        local = Path(folder) / "whole"
        try:
            with local.open("wb") as file:
                yield file
        except OSError as error:
            raise DiskError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from error
        try:
            path.fs.put_file(str(local), path.path)
        except Exception as error:
            raise DiskError(f"{path}: cannot be written: {in_one_line(error)}") from error


def create(path: Any, content: bytes) -> None:
    """Write a file that is not there yet: of several who try at once only one can where the file system sees to that.

    Raises:
        FileExistsError: it is there.
        DiskError: it is not taken.
    """
    with TemporaryDirectory() as folder:
        local = Path(folder) / "whole"
        local.write_bytes(content)
        try:
            try:
                path.fs.put_file(str(local), path.path, mode="create")
            except TypeError:  # one that cannot be asked to
                path.fs.put_file(str(local), path.path)
        except FileExistsError:
            raise
        except Exception as error:
            raise DiskError(f"{path}: cannot be written: {in_one_line(error)}") from error


def read(path: Any) -> bytes:
    """Return the content of a file, as it is at this moment."""
    content: bytes = path.fs.cat_file(path.path)
    return content


def is_of_server(error: Exception) -> bool:
    """Return whether an error came from behind a URL: from fsspec, or from what it uses there."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(str(frame.f_globals.get("__name__")).split(".")[0] in ("fsspec", "upath") for frame, _ in frames)


def in_one_line(error: Exception) -> str:
    """Return what an error says, in one line: the system's word for it if there is one."""
    reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
    return reason or type(error).__name__
