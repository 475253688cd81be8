"""A file against its original: differences worked out by hand, and advice that names the change of the copy."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from typer.testing import CliRunner

from artattack.cli import app
from artattack.errors import ArtattackError
from artattack.models import load_model
from artattack.networks.agreement import compare_models

SIZE = 32
X = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype(np.float32)
IDS = ["a", "b", "c", "d"]
CLASSES = ["tench", "goldfish", "hen"]


def means(x: np.ndarray) -> np.ndarray:
    """Logits (N, 3): means of the channels that the network is given."""
    return x.mean((1, 2)) * [1.0, 2.0, 3.0]


def model(function: Any = means, preprocessing: Any = "unit", **options: Any) -> Any:
    return load_model(function, preprocessing=preprocessing, input_size=8, outputs="logits", **options)


def test_differences_are_those_worked_out_by_hand() -> None:
    def shifted(x: np.ndarray) -> np.ndarray:
        values = means(x)
        if len(values) == 4:
            values[2, 0] -= 0.25
            values[1] += 0.125
        return values

    found = compare_models(model(shifted), model(), X, IDS)
    assert not found.agree
    assert (found.images, found.same, found.where, found.values) == (4, 4, "c", "logits")
    assert found.largest == pytest.approx(0.25, abs=1e-6)
    assert found.median == pytest.approx(0.0, abs=1e-6)  # four of twelve values differ
    assert "--tolerance 0.3 accepts them" in found.advice
    near = compare_models(model(shifted), model(), X, IDS, tolerance=0.26)
    assert near.agree
    assert near.advice == ""
    same = compare_models(model(), model(), X, IDS)
    assert same.agree
    assert same.largest == 0


@pytest.mark.parametrize(
    ("copy", "original", "advice"),
    [
        ("unit", "tf", "^With preprocessing: tf for 'means' they agree"),
        ("tf", "imagenet", "^With preprocessing: imagenet for"),
        ("byte", {"mean": [0] * 3, "std": [1] * 3, "bgr": True}, "order blue, green, red \\(bgr: true\\) for"),
        ("caffe", {"mean": [103.939, 116.779, 123.68], "std": [1] * 3}, "order red, green, blue \\(bgr: false\\) for"),
        ("byte", {"mean": [100] * 3, "std": [70] * 3}, "check mean and std"),
    ],
)
def test_the_change_of_the_copy_is_found(copy: Any, original: Any, advice: str) -> None:
    found = compare_models(model(preprocessing=copy), model(preprocessing=original), X, IDS)
    assert not found.agree
    assert re.search(advice, found.advice), found.advice


def test_classes_in_another_order() -> None:
    def turned(x: np.ndarray) -> np.ndarray:
        return means(x)[:, [2, 0, 1]]

    found = compare_models(model(turned), model(), X, IDS)
    assert found.same < 4
    assert "in another order: check the order of classes" in found.advice
    named = model(turned, label_space=[CLASSES[k] for k in (2, 0, 1)])
    assert compare_models(named, model(label_space=CLASSES), X, IDS).agree
    named = model(turned, classes=["c", "a", "b"])
    assert compare_models(named, model(classes=["a", "b", "c"]), X, IDS).agree
    with pytest.raises(ArtattackError, match="'fewer' has 2 classes and 'means' 3: to compare them"):
        compare_models(model(lambda x: means(x)[:, :2], name="fewer"), model(), X, IDS)


def test_probabilities_and_logits_are_compared_as_logarithms() -> None:
    def softmax(x: np.ndarray) -> np.ndarray:
        powers = np.exp(means(x))
        return powers / powers.sum(1, keepdims=True)

    copy = load_model(softmax, input_size=8)
    assert copy.probabilities
    found = compare_models(copy, model(lambda x: means(x) + 7), X, IDS)
    assert found.agree
    assert found.values == "log-probabilities"


def test_nothing_that_is_known_explains_it() -> None:
    found = compare_models(model(lambda x: -means(x)), model(), X, IDS)
    assert "No known channel order or scaling" in found.advice


def test_the_command(tmp_path: Path) -> None:
    inputs = tf_keras.Input((SIZE, SIZE, 3))
    maps = tf_keras.layers.Conv2D(4, 3, kernel_initializer=tf_keras.initializers.GlorotUniform(1))(inputs)
    network = tf_keras.Model(inputs, tf_keras.layers.GlobalAveragePooling2D()(maps))
    network.save(tmp_path / "mine.h5")
    (tmp_path / "mine.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    (tmp_path / "mine.yaml").write_text(
        "models:\n"
        "  phone: {model: 'tflite:mine.tflite', preprocessing: caffe}\n"
        "  server: {model: mine.h5, preprocessing: {mean: [103.939, 116.779, 123.68], std: [1, 1, 1]}}\n"
    )

    def agree(*words: str) -> tuple[int, str]:
        found = CliRunner().invoke(app, ["agree", *words, "--limit", "3"])
        return found.exit_code, " ".join(found.output.split()) + found.stderr

    code, said = agree(f"tflite:{tmp_path / 'mine.tflite'}", str(tmp_path / "mine.h5"), "--preprocessing", "tf")
    assert (code, "same most likely class 3 of 3" in said, "They agree." in said) == (0, True, True), said
    code, said = agree("phone", "server", "--benchmark", str(tmp_path / "mine.yaml"))
    assert code == 1
    assert "They differ. With channels in the order red, green, blue (bgr: false) for 'mine' they agree" in said
    code, said = agree("phone", "server")
    assert code == 2
    assert "unknown model 'phone'" in said
