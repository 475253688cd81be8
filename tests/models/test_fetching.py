"""Published weights from a stand-in server: fetched, verified by checksum, tried on photos."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tf_keras.src.applications import mobilenet
from typer.testing import CliRunner

import artattack
from artattack.cli import app
from artattack.config import benchmark_names, load_benchmark, parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import make_plan
from artattack.evaluation.run import run_benchmark
from artattack.models import fetching
from artattack.models.fetching import fetch_model, missing_weights
from artattack.models.registry import load_model, model_info, model_infos

TENCH, HEN = 0, 8


class Handler(BaseHTTPRequestHandler):
    """Returns the same file for every request."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(self.server.content)  # type: ignore[attr-defined]

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The host of MobileNet's weights, and a home without any."""
    server: Any = HTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(mobilenet, "BASE_WEIGHT_PATH", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".keras").mkdir()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos of tench and one of a hen in the place of the bundled ones."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for k, wnid in enumerate(["n01440764", "n01440764", "n01440764", "n01514859"]):
        pixels = np.random.default_rng(k).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{wnid}_{k}.png")
    monkeypatch.setattr(fetching, "_PHOTOS", str(folder))
    return folder


def weights(name: str, path: Path, sees: int) -> bytes:
    """Weights of a network that sees one class in every image."""
    model: Any = load_model(name, "random")
    dense = next(layer for layer in reversed(model.network.layers) if layer.weights)
    *kernel, bias = dense.get_weights()
    bias[sees] = 1e4
    dense.set_weights([*kernel, bias])
    model.network.save_weights(path)
    return path.read_bytes()


def test_weights_are_fetched_once_and_tried(server: Any, photos: Path, tmp_path: Path) -> None:
    server.content = weights("mobilenet", tmp_path / "random.h5", sees=TENCH)
    path = model_info("mobilenet").download_path
    steps: list[str] = []
    fetched = fetch_model("mobilenet", on_progress=steps.append)
    assert (fetched.path, fetched.downloaded, fetched.right, fetched.photos) == (path, True, 3, 4)
    assert fetched.wrong == (("n01514859_3", "hen", "tench"),)
    assert fetched.sha256 == hashlib.sha256(server.content).hexdigest()
    assert steps == ["downloading mobilenet", "trying mobilenet on the bundled photos"]
    again = fetch_model("mobilenet")
    assert (again.downloaded, again.right, len(server.asked)) == (False, 3, 1)


def test_weights_that_recognise_nothing_do_not_stay(server: Any, photos: Path, tmp_path: Path) -> None:
    server.content = weights("mobilenet", tmp_path / "random.h5", sees=HEN + 1)
    path = model_info("mobilenet").download_path
    with pytest.raises(ArtattackError, match=r"right on 0 of 4 photos: '.*' does not hold .*; the file was deleted"):
        fetch_model("mobilenet")
    assert not path.exists()
    path.write_bytes(server.content)  # put there by hand
    with pytest.raises(ArtattackError, match=r"right on 0 of 4 photos: .*; delete it to download it again"):
        fetch_model("mobilenet")
    assert path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("right", [True, False])
def test_larq_zoos_checksum_is_compared(
    right: bool, server: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = weights("quicknet", tmp_path / "random.h5", sees=TENCH)
    own = hashlib.sha256(server.content).hexdigest()
    get_file = tf.keras.utils.get_file

    def from_here(origin: str, file_hash: str, **options: Any) -> str:
        assert origin.startswith("https://github.com/larq/zoo/releases/download/quicknet-")
        origin = origin.replace("https://github.com", f"http://127.0.0.1:{server.server_port}")
        return get_file(origin=origin, file_hash=own if right else file_hash, **options)

    monkeypatch.setattr(tf.keras.utils, "get_file", from_here)
    path = model_info("quicknet").download_path
    if right:
        assert fetch_model("quicknet").right == 3
        assert server.asked == ["/larq/zoo/releases/download/quicknet-v1.0/quicknet_weights.h5"]
        path.unlink()
        assert fetch_model("quicknet", tmp_path / "random.h5").right == 3  # from a copy
        assert len(server.asked) == 1
    else:
        with pytest.raises(ArtattackError, match="model 'quicknet' needs a download from larq-zoo's releases, which"):
            fetch_model("quicknet")
        with pytest.raises(ArtattackError, match=r"'.*random\.h5' does not hold the published weights"):
            fetch_model("quicknet", tmp_path / "random.h5")
        assert not path.exists()


def test_a_copy_is_taken_in_the_place_of_the_download(server: Any, photos: Path, tmp_path: Path) -> None:
    server.content = weights("mobilenet", tmp_path / "copy.h5", sees=TENCH)
    fetched = artattack.fetch_model("mobilenet", tmp_path / "copy.h5")
    assert (fetched.right, server.asked) == (3, [])
    fetched.path.unlink()
    with pytest.raises(ArtattackError, match=r"'.*absent\.h5' cannot be copied to '.*': No such file"):
        fetch_model("mobilenet", tmp_path / "absent.h5")
    (tmp_path / "broken.h5").write_bytes(b"no weights")
    with pytest.raises(ArtattackError, match=r"'.*broken\.h5' does not hold the published weights"):
        fetch_model("mobilenet", tmp_path / "broken.h5")
    assert not fetched.path.exists()


def test_models_without_a_download_are_reported() -> None:
    with pytest.raises(ArtattackError, match="'quicknet_tiny' needs nothing: bundled; weights are downloaded for q"):
        fetch_model("quicknet_tiny")
    with pytest.raises(ArtattackError, match="'strong_baseline' needs weights=PATH: larq-zoo publishes none"):
        fetch_model("strong_baseline")
    with pytest.raises(ArtattackError, match="unknown model 'quiknet'; did you mean 'quicknet'"):
        fetch_model("quiknet")


def test_the_command_prints_the_fetched_weights_and_the_next_step(server: Any, photos: Path, tmp_path: Path) -> None:
    server.content = weights("mobilenet", tmp_path / "random.h5", sees=TENCH)
    done = CliRunner().invoke(app, ["models", "fetch", "mobilenet"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert f"mobilenet: downloaded to {model_info('mobilenet').download_path} (sha256 " in said
    assert "mobilenet: right on 3 of 4 photos; wrong: n01514859_3: hen, seen as tench" in said
    assert said.endswith("Next: artattack attack photo.jpg --style waves --backbone mobilenet -o painted.png")
    twice = CliRunner().invoke(app, ["models", "fetch", "mobilenet", "vgg16", "--from", str(tmp_path / "random.h5")])
    assert twice.exit_code == 2
    assert "name one" in twice.output
    listed = CliRunner().invoke(app, ["models"])
    assert listed.exit_code == 0
    assert "quicknet_tiny" in listed.output


def test_bundled_benchmarks_go_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert benchmark_names() == ("transfer",)
    assert "transfer" in CliRunner().invoke(app, ["run", "--help"]).output
    (tmp_path / "transfer").write_text("no benchmark")  # the name wins
    plan = make_plan(load_benchmark(Path("transfer")))
    assert plan.benchmark.name == "transfer"
    assert plan.to_fetch == ["densenet121", "mobilenet_v2", "quicknet", "birealnet"]
    assert plan.doubts == ()
    binary = {info.name for info in model_infos() if info.binary}
    styles = [entry for entry in plan.benchmark.attacks if entry.attack == "style"]
    assert all({*entry.backbone, *(entry.guide or ())} <= binary for entry in styles)
    assert not {*plan.benchmark.classifiers} & binary
    done = CliRunner().invoke(app, ["run", "transfer", "--dry-run"])
    assert "to download  artattack models fetch densenet121 mobilenet_v2 quicknet birealnet" in done.output
    with pytest.raises(ArtattackError, match="unknown benchmark 'transferr'; did you mean 'transfer'"):
        load_benchmark(Path("transferr"))


def test_a_run_that_lacks_weights_names_them_in_one_line(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = b"no weights at all"
    benchmark = {"images": {"limit": 1}, "classifiers": ["mobilenet", "vgg16"], "attacks": []}
    with pytest.raises(ArtattackError, match=r"not here: artattack models fetch mobilenet vgg16$") as caught:
        run_benchmark(benchmark, out=tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_weights_from_a_path_are_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert missing_weights({"quicknet": None, "vgg16": "imagenet", "vgg19": "random", "quicknet_tiny": None}) == [
        "quicknet", "vgg16",
    ]  # fmt: skip
    models = {"mine": {"model": "quicknet", "weights": str(tmp_path / "mine.h5")}}
    (tmp_path / "mine.h5").write_bytes(b"")
    assert make_plan(parse_benchmark({"models": models, "classifiers": ["mine"], "attacks": []})).to_fetch == []
