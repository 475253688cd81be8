"""Remote paths for run folders in a bucket or on a server: any fsspec file system, through universal-pathlib.

A remote path is not a `pathlib.Path` and supports neither folders, renaming nor fsync, but it has the same interface,
so most of the package need not distinguish the two. Files are uploaded whole. Object stores accept an upload
atomically; on other servers, a killed writer may leave half a file, which a run detects by its SHA-256.
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

from artattack.errors import ArtattackError, DiskError, nearest, one_line

_SECRET = re.compile(r"(?<=://)[^/]*?:(.+)@")  # `user:password@`


def open_url(url: Any) -> Path:
    """Return the path for a URL such as `s3://bucket/mine` or `sftp://host/mine`, after one access to it.

    Args:
        url: a string, or a UPath with options that no URL can hold. The path's text omits a password in the URL.

    Raises:
        ArtattackError: the protocol is unknown, a package is missing, the URL cannot be reached, or printing the path
            would reveal a secret.
    """
    if find_spec("upath") is None:
        raise ArtattackError("run folders behind URLs need universal-pathlib: pip install 'artattack[remote]'")
    from fsspec.implementations.local import LocalFileSystem
    from upath import UPath

    shown = without_secret(str(url))
    if isinstance(url, str):
        if "?" in url:
            raise ArtattackError(f"{url.partition('://')[0]}://: a run folder's URL cannot contain ?")
        kind = _file_system(url.partition("://")[0], shown)
        if issubclass(kind, LocalFileSystem):
            return Path(str(kind._strip_protocol(url)))
    found = _SECRET.search(str(url))
    try:
        path = _fresh(UPath, url)
        if found and found[1] in str(path):
            raise ArtattackError(f"{shown}: remove the key from this URL, since it would be printed")
        path.exists()
    except ArtattackError:
        raise
    except Exception as error:  # servers and their client libraries may raise anything
        why = one_line(error)
        why = why.replace(found[1], "***") if found else why
        raise ArtattackError(f"{shown}: cannot be reached: {why}") from error
    return path  # type: ignore[no-any-return]


def without_secret(word: str) -> str:
    """Return a path or URL without user and password, safe to print."""
    return _SECRET.sub("", word)


def _file_system(protocol: str, shown: str) -> Any:
    """Return fsspec's class for a protocol; raise ArtattackError if it is unknown or its package is missing."""
    import fsspec
    from fsspec.registry import known_implementations

    try:
        return fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        package = known_implementations.get(protocol, {}).get("class", "fsspec").partition(".")[0]
        install = "" if package == "fsspec" else f": pip install {package}"  # otherwise the message names it
        raise ArtattackError(f"{shown}: {one_line(error)}{install}") from error
    except ValueError as error:
        close = nearest(protocol, fsspec.available_protocols())
        raise ArtattackError(f"{shown}: unknown protocol '{protocol}'{close} (s3, gs, abfs, sftp, ...)") from error


def _fresh(kind: Any, url: Any) -> Any:
    """Return a path that caches no listings, since other processes write to the folder, too."""
    try:
        path = kind(url, use_listings_cache=False)
        _ = path.fs
    except TypeError:  # file systems without a listings cache reject the option
        path = kind(url)
        _ = path.fs
    return path


def takes_turns(path: Any) -> bool:
    """Return whether a path's file system has a single connection, which threads must not share."""
    return not (isinstance(path, Path) or path.fs.async_impl)


def is_private(path: Any) -> bool:
    """Return whether a path is in this process' memory, hidden from other processes."""
    return not isinstance(path, Path) and path.protocol == "memory"


@contextmanager
def uploading(path: Any) -> Iterator[BinaryIO]:
    """Yield a local file to write to, and upload it once it is complete.

    Raises:
        DiskError: the file cannot be written.
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
            raise DiskError(f"{path}: cannot be written: {one_line(error)}") from error


def create(path: Any, content: bytes) -> None:
    """Write a file that does not exist yet; if the file system supports it, only one concurrent writer succeeds.

    Raises:
        FileExistsError: the file exists.
        DiskError: the file cannot be written.
    """
    with TemporaryDirectory() as folder:
        local = Path(folder) / "whole"
        local.write_bytes(content)
        try:
            try:
                path.fs.put_file(str(local), path.path, mode="create")
            except TypeError:  # the file system has no exclusive creation
                path.fs.put_file(str(local), path.path)
        except FileExistsError:
            raise
        except Exception as error:
            raise DiskError(f"{path}: cannot be written: {one_line(error)}") from error


def read(path: Any) -> bytes:
    """Return the current content of a file."""
    content: bytes = path.fs.cat_file(path.path)
    return content


def is_of_server(error: Exception) -> bool:
    """Return whether an error passed through fsspec or universal-pathlib."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(str(frame.f_globals.get("__name__")).split(".")[0] in ("fsspec", "upath") for frame, _ in frames)
