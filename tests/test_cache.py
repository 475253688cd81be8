"""The cache on disk: bounded, shared by processes, never wrong."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from artattack.cache import Cache, open_cache
from artattack.cli import app
from artattack.errors import ArtattackError

KB = 1000


def key(number: int) -> str:
    return f"{number:064x}"[::-1]


def images(number: int) -> dict[str, np.ndarray]:
    return {"files": np.random.default_rng(number).integers(0, 256, 10 * KB).astype(np.uint8)}


def keep(cache: Cache, *numbers: int) -> None:
    for number in numbers:
        cache.put(key(number), images(number), {"number": number})


def kept(cache: Cache) -> set[int]:
    return {number for number in range(100) if cache.get(key(number))}


def test_stored_entries_are_returned(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "new" / "cache", 10**6)
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3) / 7, "b": np.uint8([255])}
    words = {"name": "Zürich\0", "seconds": 1 / 3, "none": None, "pair": ["l2", 5]}
    cache.put(key(1), arrays, words)
    found = Cache(cache.folder, 10**6).get(key(1))
    assert found is not None
    assert found.words == words
    assert found.arrays.keys() == arrays.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(found.arrays[name], values, strict=True)
    assert cache.get(key(2)) is None


def test_it_stays_below_its_limit_and_deletes_the_least_recently_used_entries(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 100 * KB)  # eviction leaves three quarters: seven entries of 10 kB with their overhead
    for number in range(7):
        keep(cache, number)
        os.utime(tmp_path / key(number)[:2] / f"{key(number)}.npz", (1000 + number, 1000 + number))
    assert cache.get(key(0)) is not None  # used just now
    keep(cache, 7)
    assert kept(cache) == {0, 2, 3, 4, 5, 6, 7}
    for number in range(8, 60):
        keep(cache, number)
        assert cache.size().size <= 100 * KB
    assert 59 in kept(cache)
    cache.put(key(60), {"files": np.zeros(200 * KB, np.uint8)}, {})
    assert cache.get(key(60)) is None
    assert 59 in kept(cache)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "pickle", "words", "folder"])
def test_a_damaged_entry_is_none(damage: str, tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**6)
    keep(cache, 1)
    path = next(tmp_path.rglob("*.npz"))
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:5000])
    elif damage == "flipped":
        path.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("hello")
    elif damage == "pickle":
        np.savez(path, files=np.array([print], dtype=object), words=np.array(b"{}"))
    elif damage == "words":
        np.savez(path, files=np.zeros(3), words=np.array(b"[]"))
    else:
        path.unlink()
        path.mkdir()
    assert cache.get(key(1)) is None
    if damage != "folder":
        keep(cache, 1)
        assert cache.get(key(1)) is not None


WRITER = """
import sys
from pathlib import Path
import numpy as np
from artattack.cache import Cache

cache = Cache(Path(sys.argv[1]), 200_000)
for turn in range(40):
    for step in range(5):
        number = (7 * turn + int(sys.argv[2]) * step) % 30
        files = np.random.default_rng(number).integers(0, 256, 10_000).astype(np.uint8)
        cache.put(f"{number:064x}"[::-1], {"files": files}, {})
        found = cache.get(f"{number:064x}"[::-1])
        assert found is None or (found.arrays["files"] == files).all()
"""


def test_processes_that_write_the_same_at_once_and_one_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, str(n)]) for n in (1, 2)]
    doomed = subprocess.Popen([*command, "3"])
    while not any(tmp_path.rglob("*.npz")):
        time.sleep(0.01)
    doomed.kill()
    doomed.wait()
    assert [writer.wait() for writer in writers] == [0, 0]
    cache = Cache(tmp_path, 200_000)
    assert cache.size().size <= 200_000
    for number in kept(cache):
        found = cache.get(key(number))
        assert found is not None
        np.testing.assert_array_equal(found.arrays["files"], images(number)["files"])


def test_clearing_keeps_other_files(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**6)
    keep(cache, 1, 2)
    (tmp_path / "mine.npz").touch()
    (tmp_path / key(1)[:2] / "half.tmp").touch()  # of a process that was killed
    was = cache.clear()
    assert was.entries == 2
    assert was.size > 20 * KB
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.npz"]
    assert cache.size() == (0, 0, None)


def test_a_disk_that_is_full_or_cannot_be_written_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    keep(Cache(tmp_path / "file" / "below", 10**6), 1)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**9))
    cache = Cache(tmp_path / "cache", 10**6)
    keep(cache, 1)
    assert cache.size().entries == 0


def test_the_environment_says_where_and_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTATTACK_CACHE", str(tmp_path))
    monkeypatch.setenv("ARTATTACK_CACHE_SIZE", "20MB")
    cache = open_cache()
    assert cache is not None
    assert (cache.folder, cache.limit) == (tmp_path, 20 * 10**6)
    keep(cache, 1, 2)
    shown = CliRunner().invoke(app, ["cache"])
    assert shown.exit_code == 0
    for part in (str(tmp_path), "batches  2 of", "21 kB of 20 MB", "last used 2"):
        assert part in shown.output
    cleared = CliRunner().invoke(app, ["cache", "clear"])
    assert "Cleared: 2 batches of images, 21 kB" in cleared.output
    assert cache.size().entries == 0
    monkeypatch.setenv("ARTATTACK_CACHE_SIZE", "0")
    assert open_cache() is None
    assert "keeps no more" in CliRunner().invoke(app, ["cache"]).output
    monkeypatch.setenv("ARTATTACK_CACHE_SIZE", "lots")
    with pytest.raises(ArtattackError, match="ARTATTACK_CACHE_SIZE: give a size such as 500MB, 5GB or 0, not 'lots'"):
        open_cache()
