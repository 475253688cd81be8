"""Networks with several outputs: choice by name or index in every kind of file, with numbers by hand."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from typer.testing import CliRunner

from artattack.cli import app
from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.run import run_benchmark
from artattack.models import load_model
from artattack.models.output_choice import chosen_output
from artattack.models.tflite_file import output_names

SIZE, CLASSES = 12, 5
X = np.random.default_rng(0).uniform(size=(4, SIZE, SIZE, 3)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(3, CLASSES)).astype(np.float32)
MEANS = (2 * X - 1).mean((1, 2))  # of channels mapped to [-1, 1], as preprocessing `tf` does
LOGITS = MEANS @ WEIGHTS


def network(keras: Any, *, dictionary: bool = False) -> Any:
    """Two outputs: means over the pixels of each channel, and their product with a matrix."""
    inputs = keras.Input((SIZE, SIZE, 3))
    means = keras.layers.GlobalAveragePooling2D(name="means")(inputs)
    logits = keras.layers.Dense(CLASSES, use_bias=False, name="logits")(means)
    made = keras.Model(inputs, {"of classes": logits, "of channels": means} if dictionary else [logits, means])
    made.set_weights([WEIGHTS])
    return made


def keras_file(folder: Path) -> str:
    network(tf_keras).save(folder / "net.keras")
    return str(folder / "net.keras")


def keras_3_file(folder: Path) -> str:
    import keras

    network(keras).save(folder / "three.keras")
    return str(folder / "three.keras")


def h5_file(folder: Path) -> str:
    network(tf_keras).save(folder / "net.h5")
    return str(folder / "net.h5")


def tflite_file(folder: Path) -> str:
    content = tf.lite.TFLiteConverter.from_keras_model(network(tf_keras)).convert()
    (folder / "net.tflite").write_bytes(content)
    return str(folder / "net.tflite")


def lce_file(folder: Path) -> str:
    engine = pytest.importorskip("larq_compute_engine")
    (folder / "lce.tflite").write_bytes(engine.convert_keras_model(network(tf_keras)))
    return f"lce:{folder / 'lce.tflite'}"


def onnx_file(folder: Path) -> str:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make, kinds = onnx.helper, onnx.TensorProto
    graph = make.make_graph(
        [
            make.make_node("ReduceMean", ["image"], ["means"], axes=[2, 3], keepdims=0),
            make.make_node("MatMul", ["means", "weights"], ["logits"]),
        ],
        "network",
        [make.make_tensor_value_info("image", kinds.FLOAT, ("N", 3, SIZE, SIZE))],
        [make.make_tensor_value_info(name, kinds.FLOAT, ("N", k)) for name, k in (("logits", CLASSES), ("means", 3))],
        [onnx.numpy_helper.from_array(WEIGHTS, "weights")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, folder / "net.onnx")
    return str(folder / "net.onnx")


class Both(NamedTuple):
    logits: Any
    means: Any


def module(kind: str) -> Any:
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.Parameter(torch.from_numpy(WEIGHTS))

        def forward(self, x):
            means = x.mean((2, 3))
            logits = means @ self.weights
            if kind == "mapping":
                return {"logits": logits, "means": means}
            return Both(logits, means) if kind == "named" else (logits, means)

    return Net()


def traced_file(folder: Path) -> str:
    import torch

    torch.jit.save(torch.jit.trace(module("tuple"), torch.zeros(1, 3, SIZE, SIZE)), folder / "net.pt")
    return str(folder / "net.pt")


def exported_file(folder: Path) -> str:
    torch = pytest.importorskip("torch")
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(module("mapping"), (torch.zeros(2, 3, SIZE, SIZE),), dynamic_shapes=(batch,))
    torch.export.save(program, folder / "net.pt2")
    return str(folder / "net.pt2")


# Each kind, with the names of its outputs: logits first, then means.
FILES = {
    keras_file: ("logits", "means"),
    keras_3_file: ("logits", "means"),
    h5_file: ("logits", "means"),
    tflite_file: None,  # the converter's choice
    lce_file: None,
    onnx_file: ("logits", "means"),
    traced_file: ("0", "1"),
    exported_file: ("logits", "means"),
}


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_the_chosen_output_of_a_file_classifies(make: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch") if make in (traced_file, exported_file) else None
    spec = make(tmp_path)
    names = FILES[make] or output_names(Path(spec.removeprefix("lce:")).read_bytes())
    size = SIZE if make is traced_file else None
    places = (0, 1)
    if FILES[make] is None:  # a converter may put them in another order
        first = load_model(spec, preprocessing="tf", output=0).classes
        places = (0, 1) if first == CLASSES else (1, 0)
    for place, expected in zip(places, (LOGITS, MEANS), strict=True):
        for output in (place, names[place]):
            model = load_model(spec, preprocessing="tf", input_size=size, output=output)
            np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ArtattackError) as caught:
        load_model(spec, preprocessing="tf", input_size=size)
    assert f"has 2 outputs: 0 ('{names[0]}'), 1 ('{names[1]}'); choose one by its place or name" in str(caught.value)
    with pytest.raises(ArtattackError, match=r"has no output 2: choose one of 0 \('"):
        load_model(spec, preprocessing="tf", input_size=size, output=2)


def test_outputs_of_a_dictionary_go_by_its_keys(tmp_path: Path) -> None:
    import keras

    for library in (tf_keras, keras):
        network(library, dictionary=True).save(tmp_path / "net.keras")
        model = load_model(tmp_path / "net.keras", preprocessing="tf", output="of channels")
        np.testing.assert_allclose(model.predict(X), MEANS, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["tuple", "named", "mapping"])
def test_modules_with_several_outputs_have_gradients_of_the_chosen_one(kind: str) -> None:
    model: Any = load_model(module(kind), preprocessing="tf", input_size=SIZE, output=1 if kind == "tuple" else "means")
    with tf.GradientTape() as tape:
        x = tf.constant(X)
        tape.watch(x)
        value = tf.reduce_sum(model.logits(x)[:, 2])
    np.testing.assert_allclose(model.predict(X), MEANS, rtol=1e-4, atol=1e-5)
    expected = np.zeros_like(X)
    expected[..., 2] = 2 / SIZE**2  # the mean of a channel, which preprocessing has doubled
    np.testing.assert_allclose(tape.gradient(value, x), expected, rtol=1e-5, atol=1e-8)


def test_a_single_tensor_among_a_modules_outputs_needs_no_choice() -> None:
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3)), None

    model = load_model(Net(), preprocessing="tf", input_size=SIZE)
    np.testing.assert_allclose(model.predict(X), MEANS, rtol=1e-4, atol=1e-5)
    with pytest.raises(ArtattackError, match="returns NoneType, not a tensor"):
        load_model(Net(), preprocessing="tf", input_size=SIZE, output=1)


def test_names_go_before_places_and_close_ones_are_hinted_at() -> None:
    assert chosen_output("m", ["1", "0"], "0") == 1
    assert chosen_output("m", ["logits", "aux"], "1") == 1
    assert chosen_output("m", ["logits"], None) == chosen_output("m", ["logits"], 0) == 0
    with pytest.raises(
        ArtattackError, match=r"no output 'logit'; did you mean 'logits'\?: choose one of 0 \('logits'\)"
    ):
        chosen_output("m", ["logits", "aux"], "logit")


@pytest.mark.parametrize("output", [-1, True, 1.0, "", ["logits"]])
def test_an_invalid_output_is_refused(output: Any) -> None:
    with pytest.raises(ArtattackError, match="output is an output's name, or its place from 0, not"):
        load_model("quicknet_tiny", output=output)
    with pytest.raises(ArtattackError, match=r"models\.mine\.output"):
        parse_benchmark({"models": {"mine": {"model": "quicknet_tiny", "output": output}}})


def test_models_with_one_output_by_their_kind_take_no_choice() -> None:
    for spec in ("quicknet_tiny", lambda x: x.mean((1, 2))):
        with pytest.raises(ArtattackError, match=r"output is for files and .* with several outputs; leave"):
            load_model(spec, input_size=SIZE, output=0)


def test_a_run_scores_both_outputs_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTATTACK_CACHE_SIZE", "1GB")
    monkeypatch.setenv("ARTATTACK_CACHE", str(tmp_path / "cache"))
    path = keras_file(tmp_path)
    mine = {"model": path, "preprocessing": "tf"}
    benchmark = {
        "images": {"limit": 2, "size": 32},
        "models": {"classes": {**mine, "output": "logits"}, "channels": {**mine, "output": 1}},
        "classifiers": ["classes", "channels"],
        "attacks": [{"attack": "fgsm", "source": ["classes", "channels"], "eps": "8/255"}],
    }
    records = run_benchmark(benchmark, out=tmp_path / "run")
    assert records["error"].isna().all()
    assert records.query("classifier == 'channels'")["top1_class_before"].max() < 3
    # The cache keeps images of the two outputs apart, although both come from the same file.
    assert not records.query("attack == 'fgsm'")["from_cache"].any()


def test_the_commands_take_it(tmp_path: Path) -> None:
    path = keras_file(tmp_path)
    twice = CliRunner().invoke(app, ["agree", path, path, "--preprocessing=tf", "--output=means", "--limit=2"])
    assert twice.exit_code == 0, twice.output
    photos = tmp_path / "photos"
    photos.mkdir()
    refused = CliRunner().invoke(app, ["distil", path, f"--images={photos}", "--preprocessing=tf", "--dry-run"])
    assert "has 2 outputs: 0 ('logits'), 1 ('means'); choose one" in refused.output
