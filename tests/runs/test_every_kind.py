"""Classifiers of every kind in a run: equal records, the attacks that each kind allows, and refusals of others."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tf_keras

from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import make_plan
from artattack.evaluation.run import run_benchmark
from artattack.models import load_model
from artattack.results.columns import RECORDS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

SIZE, CLASSES = 32, ["tench", "goldfish", "hen", "cock"]
rng = np.random.default_rng(0)
KERNEL = rng.normal(size=(4, 3, 5, 5)).astype(np.float32)  # of the one network that all kinds hold, as PyTorch has it
WEIGHTS = rng.normal(size=(4, len(CLASSES))).astype(np.float32)
OWN: dict[str, Any] = {"preprocessing": "tf", "label_space": CLASSES, "input_size": SIZE}
GRADIENTS = ("torchscript", "pt2", "module", "timm")
ANSWERS = ("onnx", "tflite", "lce", "function", "http")


def keras() -> Any:
    images = tf_keras.Input((SIZE, SIZE, 3))
    x = tf_keras.layers.Conv2D(4, 5, use_bias=False)(images)
    x = tf_keras.layers.GlobalAveragePooling2D()(tf_keras.layers.ReLU()(x))
    network = tf_keras.Model(images, tf_keras.layers.Dense(len(CLASSES), use_bias=False)(x))
    network.set_weights([KERNEL.transpose(2, 3, 1, 0), WEIGHTS])
    return network


def module() -> Any:
    torch = pytest.importorskip("torch")
    parts = (torch.nn.Conv2d(3, 4, 5, bias=False), torch.nn.Linear(4, len(CLASSES), bias=False))
    with torch.no_grad():
        parts[0].weight.copy_(torch.from_numpy(KERNEL))
        parts[1].weight.copy_(torch.from_numpy(WEIGHTS.T.copy()))
    pooled = (torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return torch.nn.Sequential(parts[0], *pooled, parts[1]).eval()


def write_onnx(path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make, number = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        make.make_node("Conv", ["image", "kernel"], ["features"]),
        make.make_node("Relu", ["features"], ["positive"]),
        make.make_node("ReduceMean", ["positive"], ["mean"], axes=[2, 3], keepdims=0),
        make.make_node("MatMul", ["mean", "weights"], ["logits"]),
    ]
    known = [onnx.numpy_helper.from_array(values, name) for values, name in ((KERNEL, "kernel"), (WEIGHTS, "weights"))]
    ends = (("image", ["N", 3, SIZE, SIZE]), ("logits", ["N", len(CLASSES)]))
    given, found = ([make.make_tensor_value_info(name, number, shape)] for name, shape in ends)
    model = make.make_model(
        make.make_graph(nodes, "net", given, found, known), opset_imports=[make.make_opsetid("", 13)]
    )
    model.ir_version = 8
    onnx.save(model, path)


class Handler(BaseHTTPRequestHandler):
    """Answers as TensorFlow Serving does."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        values = self.server.network(np.asarray(asked["instances"], np.float32)).numpy()  # type: ignore[attr-defined]
        content = json.dumps({"predictions": values.tolist()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.network = keras()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/models/mine:predict"
    server.shutdown()
    server.server_close()


def of_kind(kind: str, folder: Path, request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """For one kind: the section `models` of a benchmark, and the models passed to the run."""
    path = folder / f"net.{kind}"
    if kind == "onnx":
        write_onnx(path)
    elif kind == "tflite":
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(keras()).convert())
    elif kind == "lce":
        path.write_bytes(pytest.importorskip("larq_compute_engine").convert_keras_model(keras()))
    elif kind == "torchscript":
        network, torch = module(), pytest.importorskip("torch")
        torch.jit.script(network).save(str(path))
    elif kind == "pt2":
        network, torch = module(), pytest.importorskip("torch")
        images = (torch.rand(2, 3, SIZE, SIZE),)
        torch.export.save(torch.export.export(network, images, dynamic_shapes=({0: torch.export.Dim("n")},)), path)
    elif kind == "timm":
        pytest.importorskip("timm", exc_type=Exception)  # of another build than torch, it raises anything
        return {"model": "timm:test_vit", "weights": "random", "input_size": 160}, {}
    elif kind == "module":
        return {}, {"mine": load_model(module(), **OWN)}
    elif kind == "function":
        network = keras()
        return {}, {"mine": load_model(lambda x: network(2 * x - 1).numpy(), **(OWN | {"preprocessing": None}))}
    elif kind == "http":
        return {"model": request.getfixturevalue("url"), **OWN}, {}
    word = {"torchscript": "torch", "pt2": "torch"}.get(kind, kind)
    return {"model": f"{word}:{path}", **OWN}, {}


def benchmark(spec: dict[str, Any], attacks: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "images": {"size": SIZE, "limit": 2},
        "models": {"mine": spec} if spec else {},
        "classifiers": ["mine"],
        "feature_model": "quicknet_tiny",
        "style_judges": "quicknet_tiny",
        "attacks": attacks,
    }


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Records of the Keras network that all but timm's are."""
    folder = tmp_path_factory.mktemp("original")
    keras().save(folder / "net.keras")
    spec = {"model": str(folder / "net.keras"), **OWN}
    return run_benchmark(benchmark(spec, [{"attack": "noise"}, SQUARE]), out=folder / "run")


SQUARE = {"attack": "square", "source": "mine", "eps": 0.1, "max_iter": 20, "max_queries": 8}
BY_GRADIENTS = [
    {"attack": "fgsm", "source": "mine", "eps": "8/255"},
    {"attack": "mi-fgsm", "source": "mine", "eps": "8/255", "max_iter": 2},
    {"attack": "style", "backbone": "quicknet_tiny", "guide": "mine", "style": "waves", "steps": 2},
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [*GRADIENTS, *ANSWERS])
def test_every_kind_in_a_run(kind: str, tmp_path: Path, original: pd.DataFrame, request: pytest.FixtureRequest) -> None:
    spec, models = of_kind(kind, tmp_path, request)
    attacks = [{"attack": "noise"}, SQUARE, *(BY_GRADIENTS if kind in GRADIENTS else ())]
    records = run_benchmark(benchmark(spec, attacks), out=tmp_path / "run", models=models)
    assert records["error"].isna().all(), records["error"].dropna().iloc[0]
    assert list(records.columns) == list(original.columns) == [column.name for column in RECORDS]
    mine = records[records["classifier"] == "mine"]
    # 2 untouched images, and for each attack its 2, and 2 of the noise as far away.
    assert len(mine) == 2 + 4 * (len(attacks) - 1)
    filled = {column for column in records if mine[mine["attack"] == "square"][column].notna().all()}
    theirs = original[(original["classifier"] == "mine") & (original["attack"] == "square")]
    expected = {column for column in original if theirs[column].notna().all()}
    assert filled >= expected if kind == "timm" else filled == expected  # timm's has all of ImageNet's classes
    attacked = records[records["attack"] == "square"]
    assert attacked["queries"].between(1, 8).all()
    assert attacked[attacked["classifier"] == "mine"]["classifier_seen"].all()
    if kind in GRADIENTS:
        of_gradients = mine[mine["attack"].isin(["fgsm", "mi-fgsm"])]
        assert len(of_gradients) == 4
        assert (of_gradients["confidence_shift"] < 0).all()
        assert (of_gradients["linf"] > 0).all()
        assert mine[mine["attack"] == "style"]["classifier_seen"].all()
    if kind != "timm":  # the same network: it sees the same in the untouched images
        before, expected = (
            frame[(frame["classifier"] == "mine") & (frame["attack"] == "clean")] for frame in (records, original)
        )
        np.testing.assert_array_equal(before["top1_class_before"], expected["top1_class_before"])
        np.testing.assert_allclose(
            before["top1_confidence_before"].astype(float), expected["top1_confidence_before"].astype(float), atol=1e-4
        )


@pytest.mark.filterwarnings("ignore")
def test_kinds_of_classifiers_on_ray(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ray = pytest.importorskip("ray")
    specs = {kind: of_kind(kind, tmp_path, request)[0] for kind in ("torchscript", "onnx", "http")}
    attacks = [BY_GRADIENTS[0] | {"source": "torchscript"}, SQUARE | {"source": ["onnx", "http"]}]
    asked = benchmark({}, attacks) | {"models": specs, "classifiers": list(specs)}
    here = run_benchmark(asked, out=tmp_path / "here", cache=False)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        there = run_benchmark(asked, out=tmp_path / "there", engine="ray", workers=1, cache=False)
    finally:
        ray.shutdown()
    assert there["error"].isna().all()
    assert set(there["classifier"]) == set(specs)
    # Another number of threads than here: the last digits may differ.
    pd.testing.assert_frame_equal(there.drop(columns="seconds"), here.drop(columns="seconds"), rtol=1e-4, atol=1e-5)


FEATURES = "'mine' has no readable layers"
PREDICTS = "'mine' only predicts, and this role needs gradients: attack it by queries"
USES: dict[str, tuple[dict[str, Any], str]] = {
    "source of a gradient attack": ({"attacks": [{"attack": "pgd", "source": "mine"}]}, PREDICTS),
    "source of mi-fgsm": ({"attacks": [{"attack": "mi-fgsm", "source": "mine", "eps": 0.1}]}, PREDICTS),
    "guide": ({"attacks": [{"attack": "style", "guide": "mine"}]}, PREDICTS),
    "backbone": ({"attacks": [{"attack": "style", "backbone": "mine"}]}, FEATURES),
    "feature model": ({"feature_model": "mine"}, FEATURES),
    "style judge": ({"style_judges": "mine", "attacks": [{"attack": "style"}]}, FEATURES),
}
WORDS = {
    "onnx": "onnx:net",
    "tflite": "tflite:net",
    "lce": "lce:net",
    "http": "http://localhost:1/v1/models/mine:predict",
    "https": "https://models.example.org/v1/models/mine:predict",
    "torchscript": "torch:net",
    "pt2": "net.pt2",
    "timm": "timm:test_vit",
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", WORDS)
def test_roles_that_a_kind_cannot_take_are_refused_before_the_run(
    kind: str, use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the word alone: whether or not the package is there, and without opening the file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("artattack.models.kinds.find_spec", lambda package: object())
    for name in ("net", "net.pt2"):
        Path(name).touch()
    change, message = USES[use]
    spec = {"model": WORDS[kind], **({"weights": "random"} if kind == "timm" else {"preprocessing": "tf"})}
    data = benchmark(spec, [SQUARE]) | change
    if kind in ("torchscript", "pt2", "timm") and message == PREDICTS:
        make_plan(parse_benchmark(data))
        return
    with pytest.raises(ArtattackError, match=message) as caught:
        make_plan(parse_benchmark(data))
    assert "\n" not in str(caught.value)
    assert ":" in str(caught.value).split("model 'mine'")[0]  # where in the file it stands


def test_which_kinds_were_tried() -> None:
    from artattack.models.kinds import KINDS

    words = {word.partition(":")[0] if ":" in word else "torch" for word in WORDS.values()}
    assert words == {kind.word for kind in KINDS}
