"""Distilling: the queries to the teacher, the imitation, and the usable student file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from larq_zoo.sota.quicknet import QuickNetFactory
from typer.testing import CliRunner
from zookeeper import Field, factory

from artattack import cli
from artattack.errors import ArtattackError
from artattack.inputs.images import save_png
from artattack.models import larq_zoo, load_model
from artattack.models.model import Model, parse_preprocessing
from artattack.tracing import unconverted
from artattack.training import distil as distilling
from artattack.training.crops import Drawing, ask, cut, fresh_batches, recoloured
from artattack.training.distil import DistilSettings, _joint, distil, plan_distilling
from artattack.training.fitting import Course
from artattack.training.imitation import build_joint, build_student, compare, mean_square, pair_layers
from artattack.training.networks import binary_kernels

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("eager")]

CLASSES = ["tench", "hen", "goldfish"]


@factory
class Small(QuickNetFactory):
    """A QuickNet of four blocks and 0.2 million parameters instead of thirteen."""

    section_blocks = Field((1, 1, 1, 1))
    section_filters = Field((32, 64, 96, 128))


@pytest.fixture
def small_student(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an architecture that is built small."""

    def build(info: Any, weights: str, classes: int) -> Any:
        return unconverted(Small(weights=None, input_shape=(*info.input_size, 3), num_classes=classes).build)()

    monkeypatch.setattr(larq_zoo, "build", build)
    return "quicknet_small"


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
    teacher: Any, asked: list[np.ndarray], photos: Path, small_student: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    card = distil(settings(photos, student=small_student), teacher, out)
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
    agrees = told["facts"]["agrees_with_teacher"]
    assert (agrees["n"], agrees["photos"]) == (3, 1)  # the crops of the one image held out
    assert "questions | 15 |" in (out / "student.md").read_text()
    assert sorted(path.name for path in out.iterdir()) == [
        "settings.json", "student.csv", "student.json", "student.keras", "student.md"
    ]  # fmt: skip
    asked.clear()
    distil(settings(photos, student=small_student), teacher, out, resume=True)
    assert not asked


def test_answers_are_asked_for_once(teacher: Any, asked: list[np.ndarray], photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.rglob("*.png"))
    kept, drawing = tmp_path / "crops.npz", Drawing((36, 36), 32, 3, 0.0, 0)
    first, unreadable = ask(teacher, files, drawing, kept, lambda *_: None)
    assert unreadable == 0
    assert first.x.shape == (15, 32, 32, 3)
    assert first.image.tolist() == [n for n in range(5) for _ in range(3)]
    # images are of one colour, so every crop is, whatever its size and place
    assert first.logits == pytest.approx(4 * first.x.mean((1, 2)) / 255, abs=1e-3)
    asked.clear()
    again, _ = ask(teacher, files, drawing, kept, lambda *_: None)
    assert not asked
    assert (again.x == first.x).all()
    assert (again.logits == first.logits).all()


def test_images_that_cannot_be_read_are_left_out(teacher: Any, photos: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    files = [*sorted(photos.rglob("*.png"))[:1], broken, *sorted(photos.rglob("*.png"))[1:2]]
    found, unreadable = ask(teacher, files, Drawing((36, 36), 32, 2, 0.0, 0), tmp_path / "crops.npz", lambda *_: None)
    assert unreadable == 1
    assert found.image.tolist() == [0, 0, 2, 2]
    assert len(found.x) == len(found.logits) == 4


def test_fresh_crops_differ_by_epoch_and_are_the_same_wherever_training_begins(photos: Path) -> None:
    files = sorted(photos.rglob("*.png"))
    course, drawing = Course(epochs=3, batch=5, patience=1, seed=4), Drawing((32, 32), 32, 2, 0.3, 4)
    shown = [x.numpy() for (x,) in fresh_batches(files, drawing, course)]
    assert [x.shape for x in shown] == [(5, 32, 32, 3)] * 6  # two steps in each of three epochs
    epochs = [np.concatenate(shown[n : n + 2]) for n in (0, 2, 4)]
    assert not (np.sort(epochs[0], 0) == np.sort(epochs[1], 0)).all()
    later = np.concatenate([x.numpy() for (x,) in fresh_batches(files, drawing, course, 2)])
    assert (later == epochs[2]).all()
    assert -1 <= later.min() < later.max() <= 1


def test_colours_vary_by_the_share_asked_for() -> None:
    grey, rng = np.full((8, 8, 3), 100, np.uint8), np.random.default_rng(0)
    means = [float(recoloured(grey, 0.5, rng).mean()) for _ in range(60)]
    assert 50 <= min(means) < 65  # of one colour: brightness is all that changes
    assert 135 < max(means) <= 150


def test_crops_have_their_shape_and_lie_within_the_image() -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 60).astype(np.uint8)[:, None, None], (60, 40, 3))
    rng = np.random.default_rng(0)
    spans = []
    for _ in range(40):
        crop = cut(ramp, (20, 10), rng)
        assert crop.shape == (20, 10, 3)
        spans.append(float(crop[-1, 0, 0]) - float(crop[0, 0, 0]))
    # all of the height at most; at least the root of 0.12 of it, less a pixel of the crop at each end
    assert 255 * 0.25 < min(spans) < 255 * 0.6 < max(spans) <= 255


def test_unexplained_variance_of_a_map_that_says_nothing_is_one() -> None:
    target = tf.constant(np.random.default_rng(0).normal(3.0, 2.0, (8, 4, 4, 5)).astype(np.float32))
    own, wanted = tf.keras.Input((8, 8, 2)), tf.keras.Input((4, 4, 5))
    model = tf.keras.Model([own, wanted], mean_square(*compare(own, wanted, "layer")))
    found = model([tf.zeros((8, 8, 8, 2)), target], training=True)
    assert float(found) == pytest.approx(1.0, abs=0.01)


def test_features_are_imitated_from_the_sums_nearest_in_size(photos: Path, small_student: str) -> None:
    teacher = load_model("efficientnet_lite0", weights="random")
    given = DistilSettings(teacher="efficientnet_lite0", images=str(photos), size=64, student=small_student)
    student = build_student(small_student, None, 64, teacher.classes)
    pairs = {layer: name for name, layer in pair_layers(student, teacher, 64)}
    side = {name: student.get_layer(name).output_shape[1] for name in pairs.values()}
    # maps of the teacher at 64 px: 32, 16, 8 and 4; of the student: 16, 8, 4 and 2
    assert {layer: side[name] for layer, name in pairs.items()} == {
        "block2a_expand_relu6": 16, "block3a_expand_relu6": 16, "block4a_expand_relu6": 8, "block6a_expand_relu6": 4
    }  # fmt: skip
    joint = _joint(given, teacher, 1)
    assert len(joint.model.losses) == 5  # and one of logits
    trained = {variable.ref() for variable in joint.model.trainable_variables}
    assert all(variable.ref() in trained for variable in joint.student.trainable_variables)
    assert len(trained) == len(joint.student.trainable_variables) + 2 * 4  # and the maps; nothing of the teacher


def test_a_student_begins_with_the_weights_it_is_given() -> None:
    student = build_student("quicknet", "quicknet_tiny", 64, 3)
    start = load_model("quicknet_tiny").network  # type: ignore[attr-defined]
    pairs = zip((a for a in student.layers if a.weights), (b for b in start.layers if b.weights), strict=True)
    *same, (head, other) = pairs
    assert head.weights[0].shape != other.weights[0].shape
    for own, given_layer in same:
        for a, b in zip(own.get_weights(), given_layer.get_weights(), strict=True):
            assert (np.sign(a) == np.sign(b)).all()
    kernel = binary_kernels(student)[0][0].numpy()
    assert set(np.unique(np.abs(kernel))) == {np.float32(0.25)}


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose stripes differ in colour and width: something for features to tell apart."""
    folder, rng = tmp_path_factory.mktemp("striped"), np.random.default_rng(1)
    for number in range(10):
        stripes = (np.arange(48) // (2 + number) % 2)[None, :, None] * rng.integers(0, 256, 3)
        save_png(folder / f"{number}.png", np.broadcast_to(stripes, (48, 48, 3)).astype(np.uint8))
    return folder


def small_teacher() -> Any:
    """A float network of two convolutions, the first of which is for style, that classifies at 40 px."""
    keras = tf.keras
    keras.utils.set_random_seed(3)
    image = keras.Input((40, 40, 3))
    x = keras.layers.Conv2D(6, 3, strides=4, padding="same", activation="relu", name="seen")(image)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    network = keras.Model(image, x)
    return Model(
        "small", "random", "", False, network, (40, 40), parse_preprocessing("tf"), (0, 8, 1), ("seen",), ("seen",)
    )


@pytest.mark.usefixtures("compiled")
def test_features_are_learnt_and_the_unexplained_share_equals_numpys(
    striped: Path, small_student: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def keep(*given: Any, **options: Any) -> Any:
        made.append(build_joint(*given, **options))
        return made[-1]

    monkeypatch.setattr(distilling, "build_joint", keep)
    teacher, out = small_teacher(), tmp_path / "out"
    options = {"size": 32, "crops": 8, "epochs": 6, "batch": 8, "held_out": 0.2, "learning_rate": 0.01}
    given = DistilSettings(teacher="small", images=str(striped), student=small_student, colour=0.2, **options)
    card = distil(given, teacher, out)
    history = pd.read_csv(out / "student.csv")
    assert history["seen"].iloc[-1] < 0.8 * history["seen"].iloc[0]
    assert card.facts["questions"] == 2 * 8 + len(history) * 8 * 8  # beforehand, and at each step

    # The unexplained share, computed by NumPy from the networks' layers.
    (joint,) = made
    held = set(np.random.default_rng(0).permutation(10)[:2].tolist())
    files = [path for n, path in enumerate(sorted(striped.glob("*.png"))) if n in held]
    crops, _ = ask(teacher, files, Drawing((40, 40), 32, 8, 0.0, 0), tmp_path / "again.npz", lambda *_: None)
    shown = crops.x.astype(np.float32) / 255
    ((sum_name, _),) = joint.pairs
    target = tf.keras.Model(teacher.network.input, teacher.network.get_layer("seen").output)
    kernel, offset = target.layers[-1].get_weights()
    again = tf.nn.relu(tf.nn.conv2d(2 * shown - 1, kernel, 4, "SAME") + offset).numpy()  # 8 x 8 of 32 px
    inner = load_model(out / "student.keras").network  # type: ignore[attr-defined]
    expected = parse_preprocessing(load_card(out)["preprocessing"])
    own = tf.keras.Model(inner.input, inner.get_layer(sum_name).output)(expected(tf.constant(shown))).numpy()
    assert own.shape[1:3] == again.shape[1:3] == (8, 8)
    mapping, bias = joint.model.get_layer("seen_map").get_weights()
    mean, variance = joint.model.get_layer("seen_standardised").get_weights()
    standard = (again - mean) / np.sqrt(variance + 1e-3)
    wrong = np.square(own @ mapping[0, 0] + bias - standard).sum((0, 1, 2))
    spread = np.square(standard - standard.mean((0, 1, 2))).sum((0, 1, 2))
    varies = spread > 1e-3 * standard[..., 0].size
    assert card.facts["unexplained_seen"] == pytest.approx((wrong / spread)[varies].mean(), abs=2e-3)


def load_card(out: Path) -> Any:
    return json.loads((out / "student.json").read_bytes())


def test_a_feature_distilling_that_was_stopped_ends_with_the_same_numbers(
    striped: Path, small_student: str, tmp_path: Path
) -> None:
    options = {"size": 32, "crops": 2, "epochs": 2, "batch": 8, "held_out": 0.2}
    given = DistilSettings(teacher="small", images=str(striped), student=small_student, **options)

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("distilling") and done == 3:  # of four steps, in the second epoch
            raise KeyboardInterrupt

    assert "logits and seen, new crops in each epoch" in "\n".join(plan_distilling(given, small_teacher()))
    distil(given, small_teacher(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        distil(given, small_teacher(), tmp_path / "stopped", on_progress=stop)
    distil(given, small_teacher(), tmp_path / "stopped", resume=True)
    whole, resumed = (pd.read_csv(tmp_path / name / "student.csv") for name in ("whole", "stopped"))
    for column in ("loss", "val_loss", "seen", "logits"):
        assert resumed[column].to_numpy() == pytest.approx(whole[column].to_numpy(), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"logits_only": False}, "teacher 'colours' has no readable layers"),
        ({"student": "quiknet"}, "unknown student architecture 'quiknet'; did you mean"),
        ({"start": "efficientnet_lite0"}, "does not have the architecture quicknet"),
    ],
)
def test_invalid_distillations_are_refused(
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
