"""Paths behind URLs, on fsspec's file system in memory: opened, refused in one line, and without secrets in output."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("upath", reason="run folders behind URLs need universal-pathlib: pip install artattack[remote]")
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]
from fsspec.registry import _registry  # type: ignore[import-untyped]
from fsspec.utils import infer_storage_options  # type: ignore[import-untyped]

from artattack import remote
from artattack.errors import ArtattackError, DiskError
from artattack.files import append_text, names_folder, sha256_file, to_path, write_file
from artattack.results.locking import NAME, is_locked, locked
from artattack.results.plain_data import from_json, to_json
from artattack.results.run_folder import RunFolder, load_run

SECRET = "pa:ss@word"


class Server(MemoryFileSystem):  # type: ignore[misc]
    """A server that asks for a password and, as paramiko does, takes no option it does not know."""

    protocol = "sftp"
    cachable = False

    def __init__(self, host: str, username: str = "", password: str = "") -> None:
        super().__init__()
        if password != SECRET:
            raise PermissionError(f"{host} does not know {username} by {password}")

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(infer_storage_options(path)["path"]))

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        found = infer_storage_options(path)
        return {key: found[key] for key in ("host", "username", "password") if key in found}


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_registry, "sftp", Server)


def test_words_that_are_paths_stay_paths(tmp_path: Path) -> None:
    assert to_path("results/mine") == to_path(Path("results/mine")) == Path.cwd() / "results" / "mine"
    assert to_path(f"file://{tmp_path}/mine") == tmp_path / "mine"
    assert isinstance(to_path(f"file://{tmp_path}/mine"), Path)
    url = to_path("memory://runs/mine")
    assert not isinstance(url, Path)
    assert str(to_path(url / "cells")) == "memory://runs/mine/cells"
    assert names_folder(str(tmp_path))
    assert names_folder("s3://bucket/mine")
    assert not names_folder("http://localhost/model")
    assert not names_folder("quicknet")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("memroy://mine", r"^memroy://mine: unknown protocol 'memroy'; did you mean 'memory'\? \(s3, gs, abfs, sftp,"),
        ("s3://bucket/mine", r"^s3://bucket/mine: Install s3fs to access S3: pip install s3fs$"),
        (f"s3://me:{SECRET}@bucket/mine", r"^s3://bucket/mine: Install s3fs to access S3: pip install s3fs$"),
        ("sftp://host/mine", r"^sftp://host/mine: SFTPFileSystem requires \"paramiko\" to be installed$"),
        (f"memory://me:{SECRET}@host/mine", "^memory://host/mine: remove the key from this URL"),
        (f"memory://mine?token={SECRET}", r"^memory://: a run folder's URL cannot contain \?$"),
    ],
)
def test_urls_that_cannot_be_opened_give_one_line(url: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("s3fs", "paramiko"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    for protocol in ("s3", "sftp"):
        monkeypatch.delitem(_registry, protocol, raising=False)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    with pytest.raises(ArtattackError, match=told) as caught:
        load_run(url)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_printed_urls_hold_no_secret() -> None:
    assert remote.without_secret(f"sftp://me:{SECRET}@host:22/mine") == "sftp://host:22/mine"
    for word in ("s3://bucket/a:b@c", "abfs://box@account/mine", "results/me:you@home", "C:\\runs@home"):
        assert remote.without_secret(word) == word


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "find_spec", lambda name: None)
    with pytest.raises(ArtattackError, match=r"pip install 'artattack\[remote\]'$"):
        load_run("memory://mine")


@pytest.mark.usefixtures("server")
def test_a_password_is_neither_printed_nor_written() -> None:
    folder = RunFolder.create(to_path(f"sftp://me:{SECRET}@host/mine"), {"config": {"seed": 1}})
    with folder.locked():
        folder.write_cell("a", [{"image": "cat"}])
        written = b"".join(file.getvalue() for file in MemoryFileSystem.store.values())
    assert b'"seed": 1' in written
    assert SECRET.encode() not in written
    assert SECRET not in f"{folder} {folder!r} {folder.path.resolve()!r} {folder.images}"
    assert load_run(folder.path).cell("a") == [{"image": "cat"}]  # with the password still known
    with pytest.raises(ArtattackError, match="holds a run already") as caught:
        RunFolder.create(folder.path, {"config": {}})
    assert SECRET not in str(caught.value)


@pytest.mark.usefixtures("server")
def test_a_server_that_refuses_is_one_line_without_the_password() -> None:
    with pytest.raises(ArtattackError) as caught:
        load_run("sftp://me:letmein@host/mine")
    assert str(caught.value) == "sftp://host/mine: cannot be reached: host does not know me by ***"


def test_files_are_written_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    path = to_path("memory://mine/folder/file")
    write_file(path, b"old")
    stopped = remote.uploading(path)
    stopped.__enter__().write(b"ne")
    assert not stopped.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert path.read_bytes() == b"old"
    assert [str(each) for each in path.parent.iterdir()] == ["memory://mine/folder/file"]
    assert sha256_file(path) == "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4"
    append_text(path, "er")
    append_text(path.with_name("log"), "first\n")
    assert (path.read_bytes(), path.with_name("log").read_bytes()) == (b"older", b"first\n")

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no\nquota")

    monkeypatch.setattr(MemoryFileSystem, "put_file", refuse)
    with pytest.raises(DiskError, match=r"^memory://mine/folder/file: cannot be written: no quota$"):
        write_file(path, b"new")
    with pytest.raises(ArtattackError, match="none: cannot be read"):
        sha256_file(path.with_name("none"))


def test_refusals_of_a_server_give_one_line_and_other_errors_pass() -> None:
    folder = RunFolder(to_path("memory://mine"))
    with pytest.raises(DiskError, match=r"^memory://mine: .*absent"), folder.locked():
        remote.read(folder.path / "absent")
    with pytest.raises(ZeroDivisionError), folder.locked():
        _ = 1 / 0
    assert not list(folder.path.iterdir())  # nothing is left


# ---- the lock


def test_one_process_at_a_time() -> None:
    folder = to_path("memory://mine")
    with locked(folder):
        holder = from_json((folder / NAME).read_bytes())
        assert is_locked(folder)
        with pytest.raises(ArtattackError) as caught, locked(folder):
            pass
        assert from_json((folder / NAME).read_bytes()) == holder
    assert str(caught.value) == (
        f"memory://mine: another process works on this run: {os.getpid()} on {holder['machine'][0]}, since "
        f"{holder['since']}: wait for it (artattack status), choose another folder (--out) or, if you know that it has "
        "ended, delete memory://mine/run.lock"
    )
    assert not is_locked(folder)
    assert not (folder / NAME).exists()


@pytest.mark.parametrize(("machine", "gone"), [(None, True), (["elsewhere"], False)])
def test_only_a_process_of_this_machine_is_known_to_be_gone(machine: list[str] | None, gone: bool) -> None:
    folder = to_path("memory://mine")
    with locked(folder):
        killed = from_json((folder / NAME).read_bytes()) | {"process": 2**30, "id": "another"}
    write_file(folder / NAME, to_json(killed | ({"machine": machine} if machine else {})).encode())
    assert is_locked(folder) is not gone
    if gone:
        with locked(folder):
            assert is_locked(folder)
        return
    with pytest.raises(ArtattackError, match=f"{2**30} on elsewhere, since .* delete memory://mine/run.lock"):
        locked(folder).__enter__()


def test_a_lock_that_cannot_be_read_or_that_another_took_is_not_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = to_path("memory://mine")
    write_file(folder / NAME, b"?")
    with pytest.raises(ArtattackError, match="one unknown on a machine unknown"), locked(folder):
        pass
    (folder / NAME).unlink()
    with locked(folder):
        write_file(folder / NAME, b'{"id": "another"}')
    assert (folder / NAME).exists()


def test_of_two_that_start_at_once_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = to_path("memory://mine")
    put = MemoryFileSystem.put_file

    def late(self: Any, *arguments: Any, **options: Any) -> None:
        MemoryFileSystem.put_file = put
        write_file(folder / NAME, b'{"process": 1, "machine": ["first"]}')
        put(self, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "put_file", late)
    with pytest.raises(ArtattackError, match="1 on first"), locked(folder):
        pass
