"""A training from data to a usable file: accuracy, files, and resuming after a kill."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import larq as lq
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from artattack import cli
from artattack.errors import ArtattackError
from artattack.inputs.images import to_float
from artattack.models import load_model
from artattack.models.card import Card
from artattack.results.statistics import wilson
from artattack.training.data import read_labelled
from artattack.training.fitting import Course, batches, fit, whole
from artattack.training.train import TrainSettings, _label_space, make_optimizer, train

pytestmark = pytest.mark.slow

SMALL = {"size": 16, "width": 1 / 16, "epochs": 6, "batch": 12, "learning_rate": 0.01}


def settings(data: Path, **options: Any) -> TrainSettings:
    return TrainSettings(data=str(data), **{**SMALL, **options})


@pytest.fixture(scope="module")
def trained(coloured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "nets"
    train(settings(coloured), out)
    return out


@pytest.mark.parametrize("name", ["w1a1", "float"])
def test_networks_learn_colours_and_their_cards_count_right(name: str, trained: Path, coloured: Path) -> None:
    images = read_labelled(coloured, 16, held_out=0.2, validation=0.1, seed=0, on_progress=lambda *_: None)
    model = load_model(trained / f"{name}.keras")
    assert model.label_space is not None
    assert model.label_space.names == ("blue", "green", "red")
    assert model.input_size == (16, 16)
    assert model.binary == (name == "w1a1")
    right = int((model.predict(to_float(images.test[0])).argmax(axis=1) == images.test[1]).sum())
    card = json.loads((trained / f"{name}.json").read_bytes())
    assert card["classes"] == ["blue", "green", "red"]
    accuracy = card["facts"]["accuracy"]
    assert (accuracy["count"], accuracy["n"]) == (right, 12)
    assert [accuracy["low"], accuracy["high"]] == pytest.approx([float(bound) for bound in wilson(right, 12)])
    assert right >= 9  # chance is 4
    assert f"{right} of 12" in (trained / f"{name}.md").read_text()
    assert len(pd.read_csv(trained / f"{name}.csv")) == card["facts"]["epochs"] == 6


def test_half_of_the_images_can_be_painted(case: Any, coloured: Path, tmp_path: Path) -> None:
    given = settings(coloured, with_art=str(case.painter()), precisions=("w1a1",), epochs=2)
    (card,) = train(given, tmp_path / "nets")
    assert card.facts["accuracy_painted"]["n"] == card.facts["accuracy"]["n"] == 12
    assert (card.facts["styles_trained_on"], card.facts["styles_measured_on"]) == (["more"], ["less"])
    assert card.facts["settings"]["with_art"] == "painter.keras"
    with pytest.raises(ArtattackError, match=r"painter 'nowhere\.keras': no such file"):
        train(settings(coloured, with_art="nowhere.keras"), tmp_path / "others")
    assert not (tmp_path / "others").exists()


def test_one_bit_files_hold_signs_and_no_checkpoint_is_left(trained: Path) -> None:
    kernel = load_model(trained / "w1a1.keras").network.get_layer("conv1").get_weights()[0]  # type: ignore[attr-defined]
    assert set(np.unique(kernel)) == {-1.0, 1.0}
    assert not [entry for entry in trained.iterdir() if entry.name.startswith(".")]


def test_a_training_that_is_there_is_kept(trained: Path, coloured: Path) -> None:
    before = (trained / "w1a1.keras").read_bytes()
    with pytest.raises(ArtattackError, match="holds a training"):
        train(settings(coloured), trained)
    with pytest.raises(ArtattackError, match="trained with another seed"):
        train(settings(coloured, seed=1), trained, resume=True)
    kept = (trained / "settings.json").read_bytes()
    older = {key: value for key, value in json.loads(kept).items() if key != "optimizer"}
    (trained / "settings.json").write_text(json.dumps(older))
    with pytest.raises(ArtattackError, match="by another version, without optimizer: name another folder"):
        train(settings(coloured), trained, resume=True)
    (trained / "settings.json").write_bytes(kept)
    train(settings(coloured), trained, resume=True)
    assert (trained / "w1a1.keras").read_bytes() == before


_KILLED = """
import os, signal, sys
import artattack
from artattack.runtime import load_tensorflow
load_tensorflow()
from pathlib import Path
from artattack.training.train import TrainSettings, train
given = TrainSettings.model_validate_json(sys.argv[1])
def kill(what, done, total):
    if what.startswith("training") and done == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
train(given, Path(sys.argv[2]), on_progress=kill)
"""


def test_a_killed_training_goes_on_as_if_it_had_not_been(trained: Path, coloured: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    given = settings(coloured, precisions="w1a1")
    # 44 images to train on, so 3 steps an epoch: the kill falls into the fourth
    command = [sys.executable, "-c", _KILLED, given.model_dump_json(), str(out), "11"]
    done = subprocess.run(command, env=os.environ, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (out / "w1a1.keras").exists()
    assert len(pd.read_csv(out / ".w1a1" / "history.csv")) == 3
    begun: list[int] = []
    train(given, out, resume=True, on_progress=lambda what, n, _: begun.append(n) if "w1a1" in what else None)
    assert begun[0] == 10  # the first step of the fourth epoch
    for name in ("loss", "val_loss"):
        whole, resumed = (pd.read_csv(folder / "w1a1.csv")[name] for folder in (trained, out))
        assert resumed.to_numpy() == pytest.approx(whole.to_numpy(), rel=1e-5)
    one, other = (load_model(folder / "w1a1.keras").network.get_weights() for folder in (trained, out))  # type: ignore[attr-defined]
    for a, b in zip(one, other, strict=True):
        assert b == pytest.approx(a, rel=1e-4, abs=1e-5)


def test_every_epoch_shows_all_images_in_its_own_order_wherever_it_begins() -> None:
    course = Course(epochs=3, batch=4, patience=1, seed=5)
    x = np.zeros((8, 16, 16, 3), np.uint8)
    y = np.arange(8)
    all_labels = np.concatenate([labels.numpy() for _, labels in batches((x, y), course, augment=False)])
    epochs = all_labels.reshape(3, 8)
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert (epochs[0] != epochs[1]).any()
    later = np.concatenate([labels.numpy() for _, labels in batches((x, y), course, augment=False, start=2)])
    assert later.tolist() == epochs[2].tolist()


def test_augmentation_is_the_same_wherever_it_begins_and_keeps_values() -> None:
    course = Course(epochs=2, batch=4, patience=1, seed=0)
    x = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    shown = [images.numpy() for images, _ in batches((x, np.arange(4)), course, augment=True)]
    later = [images.numpy() for images, _ in batches((x, np.arange(4)), course, augment=True, start=1)]
    assert (later[0] == shown[1]).all()
    assert (shown[0] != shown[1]).any()
    values = set(np.unique(x.astype(np.float32) / 127.5 - 1).round(5))
    assert set(np.unique(shown[0]).round(5)) <= values


def test_a_training_without_a_finite_loss_says_what_to_do(coloured: Path, tmp_path: Path) -> None:
    class Lost(tf.keras.losses.Loss):
        def call(self, taught: Any, learnt: Any) -> Any:
            return tf.reduce_sum(learnt, axis=-1) * np.nan

    model = tf.keras.Sequential([tf.keras.Input((16, 16, 3)), tf.keras.layers.Flatten(), tf.keras.layers.Dense(2)])
    model.compile(optimizer="sgd", loss=Lost())
    arrays = np.zeros((4, 16, 16, 3), np.uint8), np.zeros(4, np.int64)
    course = Course(epochs=1, batch=2, patience=1, seed=0)
    with pytest.raises(ArtattackError, match="no epoch has a finite validation loss; lower the learning rate"):
        fit(
            model,
            lambda start: batches(arrays, course, augment=False, start=start),
            2,
            whole(arrays, 2),
            course,
            tmp_path,
            "training",
            lambda *_: None,
        )


def test_bop_flips_signs_and_adam_trains_the_rest(coloured: Path, tmp_path: Path) -> None:
    card = train(settings(coloured, precisions="w1a1", optimizer="bop", epochs=1), tmp_path / "bop")[0]
    network = load_model(tmp_path / "bop" / "w1a1.keras").network  # type: ignore[attr-defined]
    assert set(np.unique(network.get_layer("conv1").get_weights()[0])) == {-1.0, 1.0}
    assert card.facts["bytes"] < card.facts["bytes_as_float32"] / 4
    assert isinstance(make_optimizer(0.01, 10, by_bop=True), lq.optimizers.CaseOptimizer)


@pytest.mark.parametrize(
    ("classes", "space"),
    [
        (["n01443537", "tench"], (1, 0)),
        (["goldfish", "blue"], None),
        (["n01443537", "goldfish"], None),  # one class twice
        (["0", "1"], None),  # numbers may count anything
    ],
)
def test_classes_of_imagenet_are_known_by_their_names(classes: list[str], space: Any) -> None:
    assert _label_space(classes) == space


def artattack_says(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli.app, list(map(str, arguments)), prog_name="artattack")


def test_dry_run_says_how_much_and_writes_nothing(coloured: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    small = ["--size", 16, "--width", 0.0625, "--epochs", 6, "--batch", 12, "--precision", "w1a1"]
    done = artattack_says("train", coloured, *small, "--dry-run", "--out", out)
    assert done.exit_code == 0, done.output
    assert "60 images of 3 classes" in done.stdout
    assert "up to 6 epochs of 3 steps of 12 images, 16 px" in done.stdout
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: no such folder or file"),
        (["DATA", "--precision", "w3"], "--precision: precision 'w3': write float"),
        (["DATA", "--size", "20"], "size 20: the network pools three times by 2"),
        (["DATA", "--held-out", "1"], "--held-out: input should be less than 1"),
        (["DATA", "--out", "DATA"], "exists and holds no training"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], words: str, coloured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = artattack_says("train", *[str(coloured) if word == "DATA" else word for word in arguments])
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_size_against_float_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(settings: TrainSettings, out: Path, **_: Any) -> list[Card]:
        sizes = {"w1a1": 1000, "float": 31_000}
        return [
            Card(title=name, preprocessing="tf", facts={"bytes": size, "bytes_as_float32": 31_000})
            for name, size in sizes.items()
        ]

    monkeypatch.setattr("artattack.training.train.train", trained)
    done = artattack_says("train", tmp_path, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("31.0 times smaller") == 1  # not of the float twin


def test_an_interrupted_training_says_how_to_go_on(
    coloured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(settings: TrainSettings, out: Path, **_: Any) -> None:
        out.mkdir()
        (out / "settings.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr("artattack.training.train.train", interrupted)
    given = ["--precision=w1a1", "--seed=3", "--no-augment"]
    done = artattack_says("train", coloured, *given, "--out", tmp_path / "out")
    assert done.exit_code == 130
    again = done.stderr[done.stderr.index("to go on: ") :].removeprefix("to go on: ").split()
    assert again[:3] == ["artattack", "train", str(coloured)]
    assert sorted(again[3:]) == sorted([*given, "--resume", "--out", str(tmp_path / "out")])
