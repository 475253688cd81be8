"""Models and images with classes of one's own: from folders and files to records, report and the words of one photo."""

import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tf_keras
from PIL import Image

import artattack
from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import make_plan
from artattack.evaluation.run import run_benchmark
from artattack.inputs.labels import LabelSpace
from artattack.models import load_model
from artattack.models.export import export_model
from artattack.photo.attack import _view
from artattack.report import write_report
from artattack.results.run_folder import load_run

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
def test_what_is_not_compared_is_said(photos: Path, classifiers: tuple[str, ...], folder: str, doubt: str) -> None:
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
