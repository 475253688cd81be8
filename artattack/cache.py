"""A cache of results on disk, by a cache key (the hash of everything that determines a result), with a size limit.

When the cache is too large, it deletes the least recently used entries. Each entry is one file, named by its key and
written atomically, so any number of processes can share the folder and be killed at any moment. A damaged entry counts
as missing. There is no index, which could be wrong or would need locks, which network disks handle badly. Entries hold
arrays and JSON, and no code.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs
from pydantic import ByteSize, TypeAdapter, ValidationError

from artattack.errors import ArtattackError

DEFAULT_SIZE = "5GB"
_LEAST_FREE = 10**9  # bytes of the disk to leave free
_LOOKS = 20  # the folder is scanned whenever 1/20 of the limit has been written
_KEPT = 0.75  # share of the limit that remains after eviction
_FORGOTTEN = 3600.0  # age in seconds from which a temporary file counts as abandoned
_WORDS = "words"  # name of the array that holds an entry's JSON


class Cached(NamedTuple):
    """The entry under a cache key.

    Attributes:
        arrays: arrays by name.
        words: JSON values by name.
    """

    arrays: dict[str, np.ndarray]
    words: dict[str, Any]


class CacheSize(NamedTuple):
    """Size of a cache.

    Attributes:
        entries: number of entries.
        size: total size in bytes.
        oldest: last use of the least recently used entry, in seconds since 1970; None if the cache is empty.
    """

    entries: int
    size: int
    oldest: float | None


@dataclass
class Cache:
    """Entries in a folder, by cache key.

    Args:
        folder: folder of the cache; created on the first write.
        limit: maximum size in bytes, respected by up to five concurrent writers. The least recently used entries are
            deleted first.
    """

    folder: Path
    limit: int
    _unseen: int | None = field(default=None, init=False, repr=False)  # bytes written since the last scan of the folder

    def get(self, key: str) -> Cached | None:
        """Return the entry under a key, or None if it is missing or damaged."""
        path = self._path(key)
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            words = json.loads(arrays.pop(_WORDS).item())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError):
            return None
        if not isinstance(words, dict):
            return None
        with suppress(OSError):
            os.utime(path)  # marks the entry as used
        return Cached(arrays, words)

    def put(self, key: str, arrays: Mapping[str, np.ndarray], words: Mapping[str, Any]) -> None:
        """Store an entry under a key.

        Entries above 75 % of the size limit are not stored, nor are entries that would leave less than 1 GB of the disk
        free. A failed write is no error.
        """
        content = io.BytesIO()
        # JSON as bytes: NumPy's text type drops trailing zeros, and takes four bytes per letter.
        np.savez(content, **arrays, **{_WORDS: np.array(json.dumps(dict(words)).encode())})
        size = content.tell()
        if size > self.limit * _KEPT:
            return
        with suppress(OSError):
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(path.parent).free < _LEAST_FREE + size:
                return
            _write(path, content.getbuffer())
            self._unseen = None if self._unseen is None else self._unseen + size
            if self._unseen is None or self._unseen > self.limit / _LOOKS:
                self._evict()
                self._unseen = 0

    def size(self) -> CacheSize:
        """Return the size of the cache."""
        found = [stat for _, stat in self._entries()]
        return CacheSize(len(found), sum(s.st_size for s in found), min((s.st_mtime for s in found), default=None))

    def clear(self) -> CacheSize:
        """Delete all entries, and return the size before; other files in the folder stay."""
        was = self.size()
        for path, _ in self._entries():
            with suppress(OSError):
                path.unlink()
        self._tidy(0.0)
        return was

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npz"

    def _entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*.npz"):
            with suppress(OSError):  # another process has just deleted it
                yield path, path.stat()

    def _evict(self) -> None:
        """Delete abandoned temporary files and, above the limit, the least recently used entries."""
        self._tidy(_FORGOTTEN)
        found = sorted(self._entries(), key=lambda entry: entry[1].st_mtime)
        left = sum(stat.st_size for _, stat in found)
        if left <= self.limit * _KEPT:
            return
        for path, stat in found:
            with suppress(OSError):
                path.unlink()
            left -= stat.st_size
            if left <= self.limit * _KEPT:
                return

    def _tidy(self, age: float) -> None:
        """Delete temporary files of killed processes that are at least `age` seconds old."""
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*.tmp"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime >= age:
                    path.unlink()


def _write(path: Path, content: memoryview) -> None:
    """Write a file atomically, through a temporary file with a unique name; a power cut may damage the file."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


def open_cache() -> Cache | None:
    """Return the user's cache, or None if the environment sets its size to 0.

    `ARTATTACK_CACHE` sets its folder, `ARTATTACK_CACHE_SIZE` its maximum size, such as 500MB or 0.

    Raises:
        ArtattackError: `ARTATTACK_CACHE_SIZE` is not a size.
    """
    folder, limit = _settings()
    return Cache(folder, limit) if limit else None


def cache_settings() -> Cache:
    """Return the user's cache even if its maximum size is 0; errors as in `open_cache`."""
    return Cache(*_settings())


def _settings() -> tuple[Path, int]:
    written = os.environ.get("ARTATTACK_CACHE_SIZE") or DEFAULT_SIZE
    try:
        limit = int(TypeAdapter(ByteSize).validate_python(written))
    except ValidationError as error:
        raise ArtattackError(f"ARTATTACK_CACHE_SIZE: give a size such as 500MB, 5GB or 0, not '{written}'") from error
    given = os.environ.get("ARTATTACK_CACHE")
    folder = Path(given).expanduser() if given else platformdirs.user_cache_path("artattack") / "perturbed"
    return folder.absolute(), max(0, limit)
