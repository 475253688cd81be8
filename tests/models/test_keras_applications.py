"""Weights that libraries download: a truncated or wrong file gives one line and is deleted."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tf_keras.src.applications import mobilenet

from artattack.errors import ArtattackError
from artattack.models import load_model
from artattack.models.registry import model_info


class Handler(BaseHTTPRequestHandler):
    """Gives half of what it promises, or all of something else."""

    def do_GET(self) -> None:
        content = b"no weights at all" * 100
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.server.cuts else content)  # type: ignore[attr-defined]

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    """The place where MobileNet's weights come from; of those that Keras downloads without knowing a hash."""
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(mobilenet, "BASE_WEIGHT_PATH", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".keras").mkdir()
    yield server
    server.shutdown()
    server.server_close()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("cuts", [True, False])
def test_a_download_that_cannot_be_used_is_deleted(cuts: bool, server: HTTPServer, tmp_path: Path) -> None:
    server.cuts = cuts  # type: ignore[attr-defined]
    path = model_info("mobilenet").download_path
    assert path.is_relative_to(tmp_path)
    message = r"model 'mobilenet' needs a download from keras.applications, which failed \(.*file"
    with pytest.raises(ArtattackError, match=message) as caught:
        load_model("mobilenet")
    assert "\n" not in str(caught.value)
    assert files(tmp_path / ".keras") == []


def test_a_file_that_was_there_and_cannot_be_used_is_named(server: HTTPServer, tmp_path: Path) -> None:
    path = model_info("mobilenet").download_path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half of it")  # of a process that was killed meanwhile
    with pytest.raises(ArtattackError, match=r"the file at '.*\.h5' cannot be used .*; delete it") as caught:
        load_model("mobilenet")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"half of it"
