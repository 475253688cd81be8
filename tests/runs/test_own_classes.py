"""Models and images with their own classes: from folders and files to records, report and the words of one photo."""

import re
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tf_keras
from PIL import Image

import artattack
from artattack.attacks.aims import Aims, find_aims
from artattack.attacks.entries import Batch
from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import make_plan
from artattack.evaluation.run import run_benchmark
from artattack.inputs.image_sets import open_image_set
from artattack.inputs.labels import LabelSpace
from artattack.models import load_model
from artattack.models.class_names import own_names_in
from artattack.models.export import export_model
from artattack.photo.attack import _view
from artattack.report import write_report
from artattack.results.run_folder import load_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once", "eager")]

COLOURS = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230)}
DOCS = Path(__file__).resolve().parents[2] / "docs"


def colours(x: np.ndarray, order: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
    """Logits (N, 3): ten times the mean of each channel."""
    return 10 * x.mean((1, 2))[:, order]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of each colour, and in that of blue an image that is green."""
    for name, colour in COLOURS.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40), colour).save(tmp_path / "photos" / name / f"{name}.png")
    Image.new("RGB", (40, 40), COLOURS["green"]).save(tmp_path / "photos" / "blue" / "odd.png")
    return tmp_path / "photos"


def benchmark(photos: Path, *classifiers: str, **keys: Any) -> dict[str, Any]:
    return {
        "images": {"set": str(photos), "size": 32, "crop": 1.0},
        "classifiers": list(classifiers),
        "attacks": [{"attack": "square", "source": classifiers[0], "eps": "8/255", "max_iter": 2}],
        "feature_model": "quicknet_tiny",
        "style_judges": "quicknet_tiny",
        "name": "own",
        **keys,
    }


def test_models_and_folders_of_own_classes_are_compared_by_name(photos: Path, tmp_path: Path) -> None:
    models = {
        "mine": load_model(colours, input_size=32, classes=["Red", "green", "blue"], name="mine"),
        "other": load_model(lambda x: colours(x, (2, 0, 1)), input_size=32, classes=["blue", "red", "green"], name="o"),
    }
    records = run_benchmark(benchmark(photos, "mine", "other"), models=models, out=tmp_path / "out", cache=False)
    clean = records[records["kind"] == "clean"].set_index(["classifier", "image"])
    for name in models:  # whatever the order of their outputs
        mine = clean.loc[name]
        assert dict(zip(mine.index, mine["true_name"], strict=True)) == {
            **{"blue": "blue", "green": "green", "odd": "blue", "red": "Red"}
        }
        assert mine["top1_name_before"].tolist() == ["blue", "green", "green", "Red"]
        assert mine.index.tolist() == ["blue", "odd", "green", "red"]  # by folder
        assert mine["correct_before"].tolist() == [True, False, True, True]
        assert mine["true_class"].tolist() == [2, 2, 1, 0]  # places in the first model's list
        assert mine["top1_class_before"].tolist() == [2, 1, 1, 0]
    assert re.search(r"\bgreen\b", write_report(load_run(tmp_path / "out")).read_text())
    assert load_run(tmp_path / "out").info["config"]["models"]["other"]["names"] == ["Red", "green", "blue"]


def test_a_benchmark_file_names_a_models_classes(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\ufeffred\ngreen\n\nblue\n", encoding="utf-8")
    network = tf_keras.Sequential([tf_keras.Input((32, 32, 3)), tf_keras.layers.GlobalAveragePooling2D()])
    network.save(tmp_path / "mine.keras")
    spec = {"model": "mine.keras", "preprocessing": "unit", "classes": "names.txt"}
    told = parse_benchmark(benchmark(photos, "mine", models={"mine": spec}), base=tmp_path)
    plan = make_plan(told)
    assert (plan.image_set.classes, plan.doubts) == (("red", "green", "blue"), ())
    assert [sample.label for sample in plan.samples] == [2, 2, 1, 0]  # by folder: blue, green, red
    model = load_model(**told.spec("mine").arguments())
    assert model.label_space == LabelSpace(range(3), ("red", "green", "blue"))
    assert model.restricted_to({2, 0}).label_space == LabelSpace((0, 2), ("red", "green", "blue"))
    red = np.full((2, 32, 32, 3), COLOURS["red"], np.float32) / 255
    view = _view("mine", model, red)
    assert [name for _, name, _ in view.before] == ["red", "green", "blue"]
    export_model(model, "tflite", tmp_path / "mine.tflite")
    assert load_model(tmp_path / "mine.tflite").label_space == model.label_space


def test_attacks_lead_to_own_classes_by_name(photos: Path, tmp_path: Path) -> None:
    """A network of mean channels: 128/255 turn red and blue into green; another model has another order of classes."""
    network = tf_keras.Sequential([tf_keras.Input((32, 32, 3)), tf_keras.layers.GlobalAveragePooling2D()])
    network.save(tmp_path / "mine.keras")
    spec = {"model": str(tmp_path / "mine.keras"), "preprocessing": "unit", "classes": ["Red", "green", "blue"]}
    pgd = {"attack": "pgd", "source": "mine", "eps": "128/255", "max_iter": 8, "target": "Green"}
    attacks: list[dict[str, Any]] = [
        pgd,
        pgd | {"attack": "mi-fgsm"},
        {"attack": "style", "backbone": "quicknet_tiny", "style": "waves", "guide": "mine", "target": 1, "steps": 1},
    ]
    given = benchmark(photos, "mine", "other", models={"mine": spec}, attacks=attacks)
    with pytest.raises(ArtattackError, match=r"attacks.1 \(mi-fgsm\): target: no class 'grren'; did you mean 'green'"):
        make_plan(parse_benchmark(given | {"classifiers": "mine", "attacks": [pgd, attacks[1] | {"target": "grren"}]}))
    other = load_model(lambda x: colours(x, (2, 0, 1)), input_size=32, classes=["blue", "red", "green"], name="o")
    records = run_benchmark(given, models={"other": other}, out=tmp_path / "out", cache=False)
    assert records["error"].isna().all()
    led = records[records["kind"] != "clean"]
    assert set(led["target_class"]) == {1}
    assert records.loc[records["kind"] == "clean", "target_class"].isna().all()
    for attack in ("pgd", "mi-fgsm"):
        for name in ("mine", "other"):
            hits = led[(led["attack"] == attack) & (led["classifier"] == name)].set_index("image")["target_hit"]
            assert (hits["red"], hits["blue"], hits["odd"]) == (True, True, False)  # the odd one was green before
            assert pd.isna(hits["green"])  # which is its own class
    run = load_run(tmp_path / "out")
    row = run.summary[(run.summary["attack"] == "pgd") & (run.summary["classifier"] == "mine")].iloc[0]
    assert (row["n_targeted"], row["target_hits"]) == (3, 2)
    assert "67% [21, 94]" in run.headline.table["to target"].tolist()
    assert re.search(r"67% \[21, 94\] <small>2 of 3</small>", write_report(run).read_text())


def test_targets_of_images_are_counted_as_labels_are(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "set.csv"
    for text, labels, targets in (
        ("file,label,target_class\n{0},red,blue\n", [0], [2]),
        ("file,target_class\n{0},blue\n", [None], [2]),  # without labels
    ):
        table.write_text(text.format(photos / "red" / "red.png"))
        found = open_image_set(table, tuple(COLOURS))
        assert found.classes == tuple(COLOURS)
        assert [sample.label for sample in found.samples] == labels
        assert [sample.target for sample in found.samples] == targets
    mine = load_model(colours, input_size=32, classes=["blue", "red", "green"], name="mine")
    flat = make_plan(parse_benchmark(benchmark(photos / "red", "mine")), {"mine": mine})
    assert flat.image_set.classes == ("blue", "red", "green")  # nothing else counts classes there


def test_aims_of_a_source_that_counts_other_classes_than_the_labels() -> None:
    source = SimpleNamespace(name="mine", label_space=LabelSpace(range(3), COLOURS))
    estimator = SimpleNamespace(artattack_model=source, nb_classes=3)
    x = np.zeros((2, 8, 8, 3), np.float32)

    def aims(targets: tuple[int | None, ...], classes: tuple[str, ...], target: str | None = None) -> Aims:
        batch = Batch(None, x, (0, 1), None, None, targets, (0, 1), classes)  # type: ignore[arg-type]
        return find_aims(batch, estimator, target, np.array([0, 0]))

    drawn = aims((None, None), ("green", "blue", "red", "white"))
    assert drawn.classes == [None, None]  # not the numbers of the source, which mean others there
    assert (drawn.outputs > 0).all()
    named = aims((0, 3), ("green", "blue", "red", "white"))
    assert (named.outputs[0], named.classes[0], [*named.unfit]) == (1, 0, [1])
    assert "no class 'white'" in named.unfit[1]
    assert [*aims((1, None), ()).unfit] == [0]  # ImageNet's goldfish is no class of the source
    assert (aims((), (), "blue").outputs.tolist(), aims((), (), "blue").classes) == ([2, 2], [None, None])
    assert aims((), tuple(COLOURS), "blue").classes == [2, 2]


@pytest.mark.parametrize(
    ("classifiers", "folder", "doubt"),
    [
        (
            ("mine", "efficientnet_lite0"),
            "photos",
            "not tell the same classes apart .'mine' 3 of its own, 'eff.* others",
        ),
        (("mine",), "samples", "its labels are ImageNet's, and the classifiers have classes of their own"),
        (("efficientnet_lite0",), "flat", "no image is labelled: flips and confidences are measured"),
    ],
)
def test_comparisons_left_out_are_reported(photos: Path, classifiers: tuple[str, ...], folder: str, doubt: str) -> None:
    where = {"photos": str(photos), "samples": "samples", "flat": str(photos / "red")}[folder]
    mine = load_model(colours, input_size=32, classes=list(COLOURS), name="mine")
    told = parse_benchmark(benchmark(photos, *classifiers, images={"set": where, "size": 32}))
    (said,) = make_plan(told, {"mine": mine} if "mine" in classifiers else {}).doubts
    assert re.search(doubt, said)


def test_folders_of_own_classes_without_a_model_that_names_them_are_refused(photos: Path) -> None:
    with pytest.raises(ArtattackError, match=r"'blue', 'green', 'red', are no ImageNet classes; .*`classes: \[...\]`"):
        make_plan(parse_benchmark(benchmark(photos, "efficientnet_lite0")))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"classes": ["red", "green"]}, "classes: a list of 2 classes for 3 outputs"),
        ({"classes": ["red", "green", "Red"]}, "classes: 'Red' is there twice"),
        ({"classes": "no/such.txt"}, "classes 'no/such.txt' is neither a list nor a text file"),
        ({"classes": {"red": 0}}, "classes are a list of names in the order of the outputs"),
        (
            {"classes": list(COLOURS), "label_space": [0, 1, 2]},
            "label_space is for ImageNet's classes, classes for others",
        ),
    ],
)
def test_wrong_lists_of_classes(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ArtattackError, match=why):
        load_model(colours, input_size=32, **arguments)


def test_imagenets_classes_are_not_taken_for_own_ones_of_the_same_number(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), COLOURS["green"]).save(tmp_path / "n01443537_green.png")  # class 1 of ImageNet
    mine = load_model(colours, input_size=32, classes=list(COLOURS), name="mine")
    told: dict[str, Any] = {"models": {"mine": mine}, "out": tmp_path / "out", "cache": False}
    with pytest.warns(UserWarning, match="its labels are ImageNet's"):
        records = run_benchmark(benchmark(tmp_path, "mine", attacks=[]), **told)
    row = records.iloc[0]
    assert (row["true_name"], row["top1_name_before"], row["top1_class_before"]) == ("goldfish", "green", 1)
    assert not row["in_label_space"]
    assert pd.isna(row["correct_before"])


def test_the_example_of_the_docs_runs(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (DOCS / "models.md").read_text().partition("## Classes of one's own\n")[2].partition("\n## ")[0]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code
    assert len(code[1].splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    said: dict[str, Any] = {"artattack": artattack}
    exec(textwrap.dedent(code[1]), said)
    assert {*said["records"]["true_name"]} == {"red", "green", "blue"}


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_class_names_in_a_file_label_the_images(kind: str, photos: Path, tmp_path: Path) -> None:
    path = tmp_path / f"mine.{kind}"
    if kind == "tflite":
        network = tf_keras.Sequential([tf_keras.Input((32, 32, 3)), tf_keras.layers.GlobalAveragePooling2D()])
        network.save(tmp_path / "mine.keras")
        model = load_model(tmp_path / "mine.keras", preprocessing="unit", classes=["red", "green", "blue"])
        export_model(model, "tflite", path)
    else:
        onnx = pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        make, kinds = onnx.helper, onnx.TensorProto
        graph = make.make_graph(
            [make.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0)],
            "network",
            [make.make_tensor_value_info("image", kinds.FLOAT, ("N", 3, 32, 32))],
            [make.make_tensor_value_info("mean", kinds.FLOAT, ("N", 3))],
        )
        made = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)])
        made.ir_version = 8
        make.set_model_props(made, {"names": "['red', 'green', 'blue']", "preprocessing": '"unit"'})
        onnx.save(made, path)
    told = benchmark(photos, "mine", models={"mine": {"model": str(path)}}, attacks=[])
    assert [sample.label for sample in make_plan(parse_benchmark(told)).samples] == [2, 2, 1, 0]
    records = run_benchmark(told, out=tmp_path / "out")
    assert records["true_name"].tolist() == ["blue", "blue", "green", "red"]
    assert records["correct_before"].tolist() == [True, False, True, True]  # the odd one is green
    assert own_names_in(str(path)) == ("red", "green", "blue")
    assert own_names_in(str(tmp_path / "absent.onnx")) is own_names_in("efficientnet_lite0") is None
