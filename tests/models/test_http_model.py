"""A classifier behind HTTP, on a local server that is slow, fails and returns invalid answers."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from artattack.config import load_benchmark, parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import make_plan
from artattack.evaluation.run import run_benchmark
from artattack.models import http_model, load_model
from artattack.models.http_options import HttpOptions

pytestmark = pytest.mark.usefixtures("models_load_once")

SIZE = 48
TOKEN = "not-to-be-written-down"


def brightness(x: np.ndarray) -> np.ndarray:
    """Tell bright images from dark ones; logits (N, 3) of pixels in 0..255."""
    difference = 40 * (x.mean((1, 2, 3)) / 255 - 0.45)
    return np.stack([difference, -difference, np.full(len(x), -9.0)], 1)


class Server(ThreadingHTTPServer):
    """Answers with the values of a function, except where the next of its `moods` says otherwise."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.moods: list[str] = []
        self.asked: list[int] = []  # images in each request
        self.headers: list[dict[str, str]] = []
        self.shapes: list[tuple[int, ...]] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/models/mine:predict"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet of clients that hang up."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        x = np.array(json.loads(content)["instances"], np.float32)
        self.server.asked.append(len(x))
        self.server.shapes.append(x.shape)
        self.server.headers.append(dict(self.headers))
        mood = self.server.moods.pop(0) if self.server.moods else "good"
        values = brightness(x if x.shape[-1] == 3 else x.transpose(0, 2, 3, 1)).tolist()
        answer = json.dumps({"predictions": values}).encode()
        self.behave(mood, answer, values)

    def behave(self, mood: str, answer: bytes, values: list[Any]) -> None:
        if mood.isdigit():
            self.answer(b"\x1b[31mtoo\nbad", int(mood), {"Retry-After": "7", "Location": "http://elsewhere/"})
        elif mood == "silent":
            self.server.released.wait(20)
        elif mood == "drip":
            self.send_response(200)
            self.send_header("Content-Length", str(10**9))
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(400):
                    self.wfile.write(b" " * http_model.PIECE)
                    self.wfile.flush()
                    if self.server.released.wait(0.05):
                        return
        elif mood == "hang up":
            self.close_connection = True
            self.connection.close()
        elif mood == "cut":
            self.answer(answer[:-5], length=len(answer))
        elif mood == "huge":
            self.answer(b" " * (2 * http_model.PIECE))
        else:
            self.answer(NONSENSE[mood](values) if mood != "good" else answer)

    def answer(self, content: bytes, status: int = 200, more: dict[str, str] | None = None, length: int = 0) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length or len(content)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


def predictions(values: Any) -> bytes:
    return json.dumps({"predictions": values}).encode()


NONSENSE: dict[str, Callable[[list[Any]], bytes]] = {
    "page": lambda v: b"<html><script>alert(1)</script>",
    "binary": lambda v: b"\xff\xfe\x00\x01" * 99,
    "deep": lambda v: b"[" * 60_000,
    "list": lambda v: json.dumps(v).encode(),
    "words": lambda v: predictions([["cat", "dog", "hen"]] * len(v)),
    "nested": lambda v: predictions([{"scores": row} for row in v]),
    "ragged": lambda v: predictions([*v[:-1], v[-1][:2]]),
    "one number": lambda v: predictions([row[0] for row in v]),
    "fewer images": lambda v: predictions(v[:-1]),
    "nan": lambda v: predictions([[float("nan"), *row[1:]] for row in v]),
    "infinite": lambda v: predictions([[float("inf"), *row[1:]] for row in v]),
    "classes": lambda v: predictions([[*row, 0.0] for row in v]),
    "null": lambda v: predictions(None),
}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Recorded waits between tries, without waiting."""
    found: list[float] = []
    monkeypatch.setattr(http_model, "sleep", found.append)
    return found


def load(server: Server, label_space: Any = ("tench", "goldfish", "hen"), **http: Any) -> Any:
    model = load_model(server.url, preprocessing="byte", input_size=SIZE, label_space=label_space, http=http)
    server.asked.clear()
    return model


X = np.random.default_rng(0).uniform(size=(5, SIZE, SIZE, 3)).astype(np.float32) * np.float32(
    [[[[1]]], *[[[[0.8]]]] * 4]
)


def test_its_logits_are_those_of_the_function_behind_it(server: Server) -> None:
    model = load(server, batch_size=2)
    np.testing.assert_allclose(model.predict(X), brightness(255 * X), rtol=1e-5)
    assert server.asked == [2, 2, 1]
    assert (model.weights, model.gives, model.label_space) == ("http", "logits", (0, 1, 8))
    assert model.name == server.url
    assert server.headers[-1]["Content-Type"] == "application/json"
    assert "Authorization" not in server.headers[-1]
    first = load(server, channels="first")
    assert server.shapes[-1] == (1, 3, SIZE, SIZE)  # the last of the questions at loading
    np.testing.assert_allclose(first.predict(X), model.predict(X), rtol=1e-5)
    assert first.weights_sha256 == model.weights_sha256


def test_passing_failures_are_tried_again_after_longer_and_longer_waits(server: Server, waits: list[float]) -> None:
    model = load(server)
    server.moods = ["503", "hang up", "cut"]
    np.testing.assert_allclose(model.predict(X), brightness(255 * X), rtol=1e-5)
    assert server.asked == [5] * 4
    assert waits == [7.0, 1.0, 2.0]  # the first as the server asked for
    server.moods = ["429"]
    model.predict(X[:1])
    assert waits[3:] == [7.0]


@pytest.mark.parametrize(
    ("mood", "why"),
    [
        ("503", "status 503 Service Unavailable$"),
        ("silent", r"no answer within 0\.2 s$"),
        ("drip", r"no complete answer within 0\.2 s$"),
        ("hang up", "no connection, or a broken one: "),
        ("cut", "no connection, or a broken one: "),
    ],
)
def test_after_the_last_try_one_line_says_why(mood: str, why: str, server: Server, waits: list[float]) -> None:
    endpoint = http_model.Endpoint(server.url, HttpOptions(timeout=0.2 if mood in ("silent", "drip") else 60, tries=2))
    server.moods = [mood] * 2
    with pytest.raises(
        ArtattackError, match=rf"mine:predict': the server returns no answer in 2 tries: {why}"
    ) as caught:
        endpoint(X)
    assert "\n" not in str(caught.value)
    assert len(server.asked) == 2
    assert len(waits) == 1


def test_a_server_that_does_not_exist(waits: list[float]) -> None:
    with Server() as gone:
        url = gone.url
    with pytest.raises(ArtattackError, match=r"no answer in 3 tries: no connection, or a broken one: .*refused"):
        load_model(url, preprocessing="byte", input_size=SIZE, http={"tries": 3})
    assert waits == [0.5, 1.0]


def test_an_answer_that_is_not_finite_is_one_images_alone(server: Server) -> None:
    model = load(server)
    x = np.random.default_rng(0).random((3, *model.input_size, 3), np.float32)
    expected = model.predict(x)
    for mood in ("nan", "infinite"):
        server.moods = [mood]
        found = model.predict(x)
        assert not np.isfinite(found[:, 0]).any()
        np.testing.assert_array_equal(found[:, 1:], expected[:, 1:])
    server.moods = ["nan"]
    with pytest.raises(ArtattackError, match="gave values that are not finite for 3 of 3 images"):
        model.predict_finite(x)


@pytest.mark.parametrize(
    ("mood", "message"),
    [
        ("404", r"status 404 Not Found: \[31mtoo bad$"),
        ("302", "redirects to http://elsewhere/: give that URL$"),
        ("page", "no JSON: <html><script>"),
        ("binary", "no JSON: "),
        ("deep", "no JSON: "),
        ("list", "JSON without `predictions`$"),
        ("words", "`predictions` without a number for each image and class$"),
        ("nested", "`predictions` without a number"),
        ("ragged", "`predictions` without a number"),
        ("one number", r"predictions of shape \(5,\) for 5 images, not \(5, classes\)$"),
        ("fewer images", r"predictions of shape \(4, 3\) for 5 images"),
        ("null", r"predictions of shape \(\) for 5 images"),
        ("classes", r"gave values of shape \(5, 4\) for 5 images; a classifier gives \(5, 3\)$"),
        ("huge", "an answer of more than 0 MiB$"),
    ],
)
def test_nonsense_ends_in_one_line_and_is_not_asked_for_again(
    mood: str, message: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(server)
    monkeypatch.setattr(http_model, "LARGEST", http_model.PIECE)
    server.moods = [mood]
    with pytest.raises(ArtattackError, match=message) as caught:
        model.predict(X)
    assert len(server.asked) == 1
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_classes_that_change_from_request_to_request(server: Server) -> None:
    model = load(server, batch_size=3)
    server.moods = ["good", "classes"]
    with pytest.raises(ArtattackError, match=r"varying numbers of classes: 3, 4$"):
        model.predict(X)


def test_no_more_requests_than_asked_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(http_model, "sleep", sleep)
    monkeypatch.setattr(http_model, "now", lambda: now)
    model = load(server, per_second=4, batch_size=1)  # four probes, then four pictures twice and one alone: 13 requests
    model.predict(X)
    assert now == 100 + 17 / 4  # the first of 18 needs no wait
    now += 1
    model.predict(X[:2])
    assert now == 105.5


def test_a_token_comes_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArtattackError, match="the environment variable MY_TOKEN, which holds its token, is not set"):
        load(server, token="MY_TOKEN")
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    load(server, token="MY_TOKEN")
    assert server.headers[-1]["Authorization"] == f"Bearer {TOKEN}"
    with pytest.raises(ArtattackError, match="a token is sent only over https or to this machine"):
        load_model("http://example.invalid/mine", preprocessing="byte", input_size=SIZE, http={"token": "MY_TOKEN"})


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("http://", {}, "not an address, such as https://localhost"),
        ("http://host:99999/x", {}, "not an address"),
        ("http://host/a b", {}, "not an address"),
        ("https://me:secret@host/x", {}, "holds a password, which run.json would store"),
        ("https://host/x", {}, "say what the server expects: input_size, and preprocessing"),
        ("https://host/x.onnx?key=secret", {"input_size": 32}, "'https://host/x.onnx': say what the server expects"),
        ("https://host/x", {"http": {"timeouts": 3}}, "http: unknown key 'timeouts'; did you mean 'timeout'"),
        ("https://host/x", {"http": {"tries": 0}}, "http: tries: .*greater than 0, not 0"),
        ("https://host/x", {"weights": "imagenet"}, "a server has its weights; leave out weights=imagenet"),
        ("quicknet_tiny", {"http": {"tries": 3}}, "`http` is for models behind an http or https address"),
    ],
)
def test_mistakes_are_found_before_anything_is_sent(spec: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtattackError, match=message) as caught:
        load_model(spec, **options)
    assert "secret" not in str(caught.value)


FGSM = {"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255"}
SQUARE = {"attack": "square", "source": "mine", "eps": 0.1, "max_iter": 2, "max_queries": 3}
BENCHMARK: dict[str, Any] = {
    "images": {"size": SIZE, "limit": 4},
    "batch_size": 2,
    "classifiers": ["mine", "quicknet_tiny"],
    "attacks": [FGSM, SQUARE, {"attack": "noise", "like": "fgsm"}],
    "feature_model": "quicknet_tiny",
}


def test_a_run_is_that_of_the_function_behind_the_server(
    server: Server, tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    spec = {
        "model": server.url,
        "preprocessing": "byte",
        "input_size": SIZE,
        "label_space": ["tench", "goldfish", "hen"],
        "http": {"tries": 2, "token": "MY_TOKEN"},
    }
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(BENCHMARK | {"models": {"mine": spec}}))
    make_plan(load_benchmark(file))
    assert server.asked == []  # a plan is no reason to ask
    server.moods = ["good", *["503", "good"] * 12]  # when it is loaded, and then each other time
    there = run_benchmark(file, out=tmp_path / "there")
    assert server.moods == []
    assert waits
    assert there["error"].isna().all()
    assert TOKEN not in (tmp_path / "there" / "run.json").read_text()

    function = load_model(
        brightness, preprocessing="byte", input_size=SIZE, label_space=["tench", "goldfish", "hen"], name="here"
    )
    here = run_benchmark(BENCHMARK, out=tmp_path / "here", models={"mine": function})
    assert set(there["classifier_weights"]) == {"http", "bundled"}
    but = ["seconds", "classifier_weights", "classifier_network", "source_weights"]
    pd.testing.assert_frame_equal(there.drop(columns=but), here.drop(columns=but), rtol=1e-4)
    assert (there.loc[there["attack"] == "square", "queries"] > 0).all()

    # The server is away for a while: what needed it fails, and is done when it is back.
    server.moods = ["good", *["good"] * 8, *["503"] * 6]
    hurt = run_benchmark(file, out=tmp_path / "hurt")
    assert hurt["error"].str.contains("no answer in 2 tries: status 503").any()
    assert hurt.loc[hurt["error"].notna(), "error"].str.contains("server returns").all()
    healed = run_benchmark(file, out=tmp_path / "hurt", resume=True)
    pd.testing.assert_frame_equal(healed.drop(columns="seconds"), there.drop(columns="seconds"), rtol=1e-4)


def test_a_mistyped_key_in_a_benchmark_file_is_named() -> None:
    model = {"model": "https://host/x", "http": {"time_out": 3}}
    with pytest.raises(ArtattackError, match=r"models\.mine\.http\.time_out.*did you mean 'timeout'"):
        parse_benchmark({"models": {"mine": model}})
