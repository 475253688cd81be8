"""Class names and preprocessing in model files, and doubts about a model's outputs."""

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from artattack.errors import ArtattackError
from artattack.evaluation.run import run_benchmark
from artattack.models import load_model
from artattack.models.export import export_model
from artattack.models.model import PREPROCESSING, Preprocessing

pytestmark = pytest.mark.usefixtures("models_load_once")

SIZE = 8
X = np.random.default_rng(0).random((3, SIZE, SIZE, 3), np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
FORMS = {
    '"caffe"': PREPROCESSING["caffe"],
    '{"mean": [120, 110, 100], "std": [60, 50, 40]}': Preprocessing((120, 110, 100), (60, 50, 40)),
    '{"mean": [1, 2, 3], "std": [4, 5, 6], "bgr": true}': Preprocessing((1, 2, 3), (4, 5, 6), bgr=True),
}


def keras() -> Any:
    images = tf_keras.Input((SIZE, SIZE, 3))
    mean = tf_keras.layers.GlobalAveragePooling2D()(images)
    network = tf_keras.Model(images, tf_keras.layers.Dense(4, use_bias=False)(mean))
    network.set_weights([WEIGHTS])
    return network


def onnx_file(folder: Path, text: str) -> str:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make, number = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        make.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        make.make_node("MatMul", ["mean", "weights"], ["values"]),
    ]
    ends = (("image", ["N", 3, SIZE, SIZE]), ("values", ["N", 4]))
    given, found = ([make.make_tensor_value_info(name, number, shape)] for name, shape in ends)
    graph = make.make_graph(nodes, "net", given, found, [onnx.numpy_helper.from_array(WEIGHTS, "weights")])
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)])
    model.ir_version = 8
    if text:
        make.set_model_props(model, {"preprocessing": text})
    onnx.save(model, folder / "net.onnx")
    return f"onnx:{folder / 'net.onnx'}"


def packed(path: Path, text: str) -> None:
    if text:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("preprocessing.json", text)


def tflite_file(folder: Path, text: str) -> str:
    path = folder / "net.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(keras()).convert())
    packed(path, text)
    return f"tflite:{path}"


def lce_file(folder: Path, text: str) -> str:
    path = folder / "net.lce"
    path.write_bytes(pytest.importorskip("larq_compute_engine").convert_keras_model(keras()))
    packed(path, text)
    return f"lce:{path}"


def module() -> Any:
    torch = pytest.importorskip("torch")
    dense = torch.nn.Linear(3, 4, bias=False)
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(WEIGHTS.T.copy()))
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), dense).eval()


def script_file(folder: Path, text: str) -> str:
    network, torch = module(), pytest.importorskip("torch")
    files = {"preprocessing.json": text} if text else {}
    torch.jit.save(torch.jit.script(network), str(folder / "net.pt"), _extra_files=files)
    return f"torch:{folder / 'net.pt'}"


def export_file(folder: Path, text: str) -> str:
    network, torch = module(), pytest.importorskip("torch")
    program = torch.export.export(network, (torch.rand(2, 3, SIZE, SIZE),))
    torch.export.save(program, folder / "net.pt2", extra_files={"preprocessing.json": text} if text else None)
    return f"torch:{folder / 'net.pt2'}"


Make = Callable[[Path, str], str]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [onnx_file, tflite_file, lce_file, script_file, export_file])
def test_preprocessing_from_the_file_unless_it_is_said(make: Make, tmp_path: Path) -> None:
    for text, expected in FORMS.items():
        spec = make(tmp_path, text)
        model = load_model(spec, input_size=SIZE)
        assert model.preprocessing == expected
        by_hand = np.asarray(expected(tf.constant(X))).mean((1, 2)) @ WEIGHTS
        np.testing.assert_allclose(model.predict(X), by_hand, rtol=1e-4, atol=1e-4)
        assert load_model(spec, preprocessing="unit", input_size=SIZE).preprocessing == PREPROCESSING["unit"]
    for text, message in (
        ("", "give its preprocessing"),
        ("{", r"the preprocessing in the file is invalid \(no JSON\)"),
        ('"cafe"', "unknown preprocessing 'cafe'"),
        ('{"mean": [0.4, 0.5, 0.6]}', "both are in 0..255"),
        ('{"mean": [NaN, 1, 1]}', "takes 3 numbers"),
        ("[" * 100_000, "is invalid"),
    ):
        with pytest.raises(ArtattackError, match=message) as caught:
            load_model(make(tmp_path, text), input_size=SIZE)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("to", ["tflite", "lce"])
def test_exported_files_hold_their_networks_preprocessing(to: str, tmp_path: Path) -> None:
    if to == "lce":
        pytest.importorskip("larq_compute_engine")
    keras().save(tmp_path / "net.keras")
    caffe = load_model(tmp_path / "net.keras", preprocessing="caffe", label_space=["hen", "cock", "tench", "goldfish"])
    export_model(caffe, to, tmp_path / "net.tflite")
    file = load_model(f"{to}:{tmp_path / 'net.tflite'}")
    assert (file.preprocessing, file.label_space) == (caffe.preprocessing, caffe.label_space)
    np.testing.assert_allclose(file.predict(X), caffe.predict(X), rtol=1e-4, atol=1e-3)
    with zipfile.ZipFile(tmp_path / "net.tflite") as archive:
        assert json.loads(archive.read("preprocessing.json"))["bgr"] is True
    foreign = load_model(tmp_path / "net.keras", preprocessing="tf")
    export_model(foreign, to, tmp_path / "net.tflite")
    file = load_model(f"{to}:{tmp_path / 'net.tflite'}")
    assert (file.preprocessing, file.label_space) == (PREPROCESSING["tf"], None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "^model 'mine' gives values that lie in .*: they count as probabilities, and their logarithms as logits"),
        ({"outputs": "logits"}, "^model 'mine' gives values that .*which count as logits because of outputs: logits"),
        ({"outputs": "probabilities"}, None),
    ],
)
def test_a_doubt_about_probabilities_is_reported_before_the_run(
    given: dict[str, Any], message: str | None, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    def classify(x: np.ndarray) -> np.ndarray:
        share = np.clip(x.mean((1, 2, 3)), 0, 1)
        return np.stack([share, 1 - share], 1)

    model = load_model(classify, input_size=SIZE, **given)
    assert model.probabilities == (given.get("outputs") != "logits")
    benchmark = {
        "images": {"size": 32, "limit": 1},
        "classifiers": ["mine"],
        "attacks": [],
        "feature_model": "quicknet_tiny",
    }
    records = run_benchmark(benchmark, out=tmp_path / "run", models={"mine": model})
    assert records["error"].isna().all()
    said = [str(warning.message) for warning in recwarn if "model 'mine'" in str(warning.message)]
    assert len(said) == (message is not None)
    if message:
        assert re.match(message, said[0])
        assert "\n" not in said[0]
