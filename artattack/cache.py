"""What was made before, kept on disk by the hash of all that decided it, and let go of when there is too much.

Each entry is a file of its own, named by its key and written all or nothing, so that any number of processes may share
the folder and be stopped at any moment; a damaged entry counts as none. There is no index that could be wrong or would
have to be locked, which network disks do badly. Entries hold arrays and words, and nothing that runs when it is read.
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
_LEAST_FREE = 10**9  # bytes of the disk that are left to others
_LOOKS = 20  # how often the folder is looked through while as much is written as it may hold
_KEPT = 0.75  # of what it may hold, once it was too much
_FORGOTTEN = 3600.0  # seconds after which a file half written is nobody's any more
_WORDS = "words"  # the array of an entry that holds its words, as JSON


class Entry(NamedTuple):
    """What is kept under one key.

    Attributes:
        arrays: by name.
        words: plain data as JSON has it, by name.
    """

    arrays: dict[str, np.ndarray]
    words: dict[str, Any]


class CacheSize(NamedTuple):
    """How much a cache holds.

    Attributes:
        entries: how many.
        size: in bytes.
        oldest: when the entry was used that has not been for longest, in seconds since 1970; None without any.
    """

    entries: int
    size: int
    oldest: float | None


@dataclass
class Cache:
    """Entries in a folder, by keys that are hashes.

    Args:
        folder: where; it is made when something is kept.
        limit: how many bytes it may hold. Up to five processes that write at once keep to it; what was not used for
            longest goes first.
    """

    folder: Path
    limit: int
    _unseen: int | None = field(
        default=None, init=False, repr=False
    )  # bytes written since the folder was looked through

    def get(self, key: str) -> Entry | None:
        """Return what is kept under a key, or None where there is nothing or it is damaged."""
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
            os.utime(path)  # it was used
        return Entry(arrays, words)

    def put(self, key: str, arrays: Mapping[str, np.ndarray], words: Mapping[str, Any]) -> None:
        """Keep something under a key, where the disk takes it: a cache that cannot be written is no mistake."""
        content = io.BytesIO()
        # Words as bytes: NumPy's text drops zeros at its end, and takes four bytes for each letter.
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
                self._let_go()
                self._unseen = 0

    def size(self) -> CacheSize:
        """Return how much is kept."""
        found = [stat for _, stat in self._entries()]
        return CacheSize(len(found), sum(s.st_size for s in found), min((s.st_mtime for s in found), default=None))

    def clear(self) -> CacheSize:
        """Let go of everything, and return how much that was; other files in the folder stay."""
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
            with suppress(OSError):  # another process has just let go of it
                yield path, path.stat()

    def _let_go(self) -> None:
        """Remove what was not used for longest, where there is too much, and what was never finished."""
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
        """Remove files half written by processes that were stopped."""
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*.tmp"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime >= age:
                    path.unlink()


def _write(path: Path, content: memoryview) -> None:
    """Write a file all or nothing; each process under a name of its own. What a power cut leaves is no archive."""
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
    """Return the user's cache, or None where the environment says that it may hold nothing.

    `ARTATTACK_CACHE` is its folder, `ARTATTACK_CACHE_SIZE` how much it may hold, such as 500MB or 0.

    Raises:
        ArtattackError: that is no size.
    """
    folder, limit = _settings()
    return Cache(folder, limit) if limit else None


def cache_settings() -> Cache:
    """Return the user's cache even where it may hold nothing; errors as of `open_cache`."""
    return Cache(*_settings())


def _settings() -> tuple[Path, int]:
    written = os.environ.get("ARTATTACK_CACHE_SIZE") or DEFAULT_SIZE
    try:
        limit = int(TypeAdapter(ByteSize).validate_python(written))
    except ValidationError as error:
        raise ArtattackError(f"ARTATTACK_CACHE_SIZE: a size such as 500MB, 5GB or 0, not '{written}'") from error
    given = os.environ.get("ARTATTACK_CACHE")
    folder = Path(given).expanduser() if given else platformdirs.user_cache_path("artattack") / "perturbed"
    return folder.absolute(), max(0, limit)
