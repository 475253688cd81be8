"""Distilling: what the teacher is asked, what is imitated, and that the student's file is one to use."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from artattack import cli
from artattack.errors import ArtattackError
from artattack.inputs.images import save_png
from artattack.models import load_model
from artattack.training.distil import DistilSettings, _ask, _crop, _difference, _joint, _pairs, _student, distil
from artattack.training.networks import binary_kernels

CLASSES = ["tench", "hen", "goldfish"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(5):
        flat = np.full((40, 50, 3), rng.integers(0, 256, 3), np.uint8)
        save_png(folder / f"part{number % 2}" / f"{number}.png", flat)
    return folder


@pytest.fixture
def asked() -> list[np.ndarray]:
    return []


@pytest.fixture
def teacher(asked: list[np.ndarray]) -> Any:
    """A classifier that says how red, green and blue an image is, and keeps what it was asked."""

    def classify(x: np.ndarray) -> np.ndarray:
        asked.append(x)
        return 4 * x.mean((1, 2))

    model = load_model(classify, input_size=36, label_space=CLASSES, outputs="logits", name="colours")
    asked.clear()
    return model


def settings(photos: Path, **options: Any) -> DistilSettings:
    given = {"logits_only": True, "size": 32, "crops": 3, "epochs": 1, "batch": 6, "held_out": 0.2}
    return DistilSettings(teacher="colours", images=str(photos), **{**given, **options})


def test_a_surrogate_of_a_function_from_its_answers(
    teacher: Any, asked: list[np.ndarray], photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    card = distil(settings(photos, student="quicknet_small"), teacher, out)
    assert sum(map(len, asked)) == card.facts["questions"] == 15
    assert {x.shape[1:] for x in asked} == {(36, 36, 3)}  # at its own size
    assert (card.facts["images_trained_on"], card.facts["images_measured_on"]) == (4, 1)
    student = load_model(out / "student.keras")
    assert student.label_space == teacher.label_space
    assert student.input_size == (32, 32)
    assert student.binary
    for variable, _ in binary_kernels(student.network):  # type: ignore[attr-defined]
        assert set(np.unique(variable.numpy())) == {-1.0, 1.0}
    told = json.loads((out / "student.json").read_bytes())
    assert told["distilled_from"] == "colours"
    assert told["facts"]["agrees_with_teacher"]["n"] == 3  # the crops of the one image held out
    assert "questions | 15 |" in (out / "student.md").read_text()
    assert sorted(path.name for path in out.iterdir()) == [
        "settings.json", "student.csv", "student.json", "student.keras", "student.md"
    ]  # fmt: skip
    asked.clear()
    distil(settings(photos, student="quicknet_small"), teacher, out, resume=True)
    assert not asked


def test_answers_are_asked_for_once(teacher: Any, asked: list[np.ndarray], photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.rglob("*.png"))
    kept = tmp_path / "crops.npz"
    first, unreadable = _ask(settings(photos), teacher, files, kept, lambda *_: None)
    assert unreadable == 0
    assert first.x.shape == (15, 32, 32, 3)
    assert first.image.tolist() == [n for n in range(5) for _ in range(3)]
    # images are of one colour, so every crop is, whatever its size and place
    assert first.logits == pytest.approx(4 * first.x.mean((1, 2)) / 255, abs=1e-3)
    asked.clear()
    again, _ = _ask(settings(photos), teacher, files, kept, lambda *_: None)
    assert not asked
    assert (again.x == first.x).all()
    assert (again.logits == first.logits).all()


def test_crops_have_their_shape_and_lie_within_the_image() -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 60).astype(np.uint8)[:, None, None], (60, 40, 3))
    rng = np.random.default_rng(0)
    spans = []
    for _ in range(40):
        crop = _crop(ramp, (20, 10), rng)
        assert crop.shape == (20, 10, 3)
        spans.append(float(crop[-1, 0, 0]) - float(crop[0, 0, 0]))
    # all of the height at most; at least the root of 0.12 of it, less a pixel of the crop at each end
    assert 255 * 0.25 < min(spans) < 255 * 0.6 < max(spans) <= 255


def test_unexplained_variance_of_a_map_that_says_nothing_is_one() -> None:
    target = tf.constant(np.random.default_rng(0).normal(3.0, 2.0, (8, 4, 4, 5)).astype(np.float32))
    own, wanted = tf.keras.Input((8, 8, 2)), tf.keras.Input((4, 4, 5))
    model = tf.keras.Model([own, wanted], _difference(own, wanted, "layer"))
    found = model([tf.zeros((8, 8, 8, 2)), target], training=True)
    assert float(found) == pytest.approx(1.0, abs=0.01)


def test_features_are_imitated_from_the_sums_nearest_in_size(photos: Path) -> None:
    teacher = load_model("efficientnet_lite0", weights="random")
    given = DistilSettings(teacher="efficientnet_lite0", images=str(photos), size=64, student="quicknet_small")
    student = _student(given, teacher.classes)
    pairs = {layer: name for name, layer in _pairs(student, teacher, 64)}
    side = {name: student.get_layer(name).output_shape[1] for name in pairs.values()}
    # maps of the teacher at 64 px: 32, 16, 8 and 4; of the student: 16, 8, 4 and 2
    assert {layer: side[name] for layer, name in pairs.items()} == {
        "block2a_expand_relu6": 16, "block3a_expand_relu6": 16, "block4a_expand_relu6": 8, "block6a_expand_relu6": 4
    }  # fmt: skip
    joint = _joint(given, teacher, 1)
    assert len(joint.model.losses) == 4
    trained = {variable.ref() for variable in joint.model.trainable_variables}
    assert all(variable.ref() in trained for variable in joint.student.trainable_variables)
    assert len(trained) == len(joint.student.trainable_variables) + 2 * 4  # and the maps; nothing of the teacher


def test_a_student_begins_with_the_weights_it_is_given(photos: Path) -> None:
    given = settings(photos, student="quicknet", start="quicknet_tiny", size=64)
    student, start = _student(given, 3), load_model("quicknet_tiny").network  # type: ignore[attr-defined]
    pairs = zip((a for a in student.layers if a.weights), (b for b in start.layers if b.weights), strict=True)
    *same, (head, other) = pairs
    assert head.weights[0].shape != other.weights[0].shape
    for own, given_layer in same:
        for a, b in zip(own.get_weights(), given_layer.get_weights(), strict=True):
            assert (np.sign(a) == np.sign(b)).all()
    kernel = binary_kernels(student)[0][0].numpy()
    assert set(np.unique(np.abs(kernel))) == {np.float32(0.25)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"logits_only": False}, "teacher 'colours' has no layers that can be read"),
        ({"student": "quiknet"}, "unknown architecture of a student 'quiknet'; did you mean"),
        ({"start": "efficientnet_lite0"}, "is not of the architecture quicknet"),
    ],
)
def test_what_cannot_be_distilled(
    options: dict[str, Any], words: str, teacher: Any, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArtattackError, match=words):
        distil(settings(photos, **options), teacher, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_mistakes_on_the_command_line_are_one_line(tmp_path: Path, photos: Path) -> None:
    for arguments, words in (
        (["efficientnet_lite0", "--images", tmp_path / "nowhere"], "no such folder or manifest"),
        (["efficientnet_litte0", "--images", photos], "unknown model 'efficientnet_litte0'"),
        (["efficientnet_lite0", "--images", photos, "--temperature", "0"], "--temperature: input should be greater"),
    ):
        done = CliRunner().invoke(cli.app, ["distil", *map(str, arguments), "--out", str(tmp_path / "out")])
        assert done.exit_code == 2, done.output
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "out").exists()
