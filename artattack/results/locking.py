"""The lock of a run folder: one process at a time works in it.

On this machine, it is a lock of the operating system, which ends with its process. Behind a URL, it is a file that
names its process. This file outlives a killed process, and only a process on the same machine is known to have ended.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from artattack.errors import ArtattackError, DiskError
from artattack.remote import create, read
from artattack.results.plain_data import from_json, to_json

NAME = "run.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from working in a folder, which is created if it is missing.

    Raises:
        ArtattackError: another process works in the folder, or it cannot be created.
    """
    with _locked_here(folder) if isinstance(folder, Path) else _locked_behind_url(folder):
        yield


def is_locked(folder: Path) -> bool:
    """Return whether a process works in a folder now; behind a URL, unless its process is known to have ended."""
    if not (folder / NAME).exists():
        return False
    if not isinstance(folder, Path):
        holder = _holder(folder / NAME)
        return holder is not None and not _is_gone(holder)
    lock = FileLock(folder / NAME)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError:  # a copy without write permission
        return False
    lock.release()
    return False


@contextmanager
def _locked_here(folder: Path) -> Iterator[None]:
    made = not folder.exists()
    lock = FileLock(folder / NAME)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise ArtattackError(
            f"{folder}: another process works on this run: wait for it (artattack status {folder}), "
            "or choose another folder (--out)"
        ) from error
    except OSError as error:
        raise ArtattackError(f"{folder}: cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # while the lock is held; the next process creates a new file
            (folder / NAME).unlink()
        lock.release()
        with suppress(OSError):  # a refused run leaves no folder
            if made:
                folder.rmdir()


@contextmanager
def _locked_behind_url(folder: Path) -> Iterator[None]:
    """Hold the lock file: created exclusively where the file system supports it, and verified afterwards."""
    lock = folder / NAME
    mine = {
        "machine": _machine(),
        "process": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "id": uuid.uuid4().hex,
    }
    theirs = _holder(lock)
    if theirs and _is_gone(theirs):
        lock.unlink()
        theirs = None
    if theirs is None:
        with suppress(FileExistsError):
            create(lock, to_json(mine).encode())
        theirs = _holder(lock)
    if theirs != mine:
        told = theirs or {}
        machine = (told.get("machine") or ["a machine unknown"])[0]
        raise ArtattackError(
            f"{folder}: another process works on this run: {told.get('process', 'one unknown')} on {machine}, since "
            f"{told.get('since', 'a time unknown')}: wait for it (artattack status), choose another folder (--out) or, "
            f"if you know that it has ended, delete {lock}"
        )
    try:
        yield
    finally:
        with suppress(Exception):  # a network error here would hide the run's own error
            if _holder(lock) == mine:
                lock.unlink()


def _holder(lock: Path) -> dict[str, Any] | None:
    """Return the content of a lock file, an empty dict if it is unreadable, or None if it does not exist."""
    try:
        told = from_json(read(lock))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    except OSError as error:
        raise DiskError(f"{lock}: cannot be read: {error.strerror or error}") from error
    return told if isinstance(told, dict) else {}


def _is_gone(holder: dict[str, Any]) -> bool:
    """Return whether a process of this machine has ended; unknown for other machines, hence False."""
    process = holder.get("process")
    return holder.get("machine") == _machine() and isinstance(process, int) and not psutil.pid_exists(process)


def _machine() -> list[str]:
    """Return an identity of this machine and its process numbers: containers may share a host name."""
    marks = [socket.gethostname()]
    with suppress(OSError):  # Linux only
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        marks.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return marks
