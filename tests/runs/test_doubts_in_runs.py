"""Doubts of models and of runs reach the user: before and after the run, in run.json and in the report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras
from typer.testing import CliRunner

import artattack
from artattack import cli
from artattack.results.run_folder import load_run

pytestmark = pytest.mark.usefixtures("models_load_once")

WEIGHTS = np.random.default_rng(0).normal(size=(3, 10))
RUN: dict[str, Any] = {
    "images": {"limit": 8, "size": 32},
    "classifiers": ["mine"],
    "attacks": [],
    "feature_model": "efficientnet_lite0",
}


def test_an_untouched_image_that_flips_is_an_error(tmp_path: Path) -> None:
    turns = iter(range(10**6))

    def fickle(x: np.ndarray) -> np.ndarray:
        """Steady while it is loaded and asked about the originals; from then on another class is the first."""
        values = np.zeros((len(x), 3)) + x.mean((1, 2)) / 100
        values[:, 1 if next(turns) < 5 else 2] += 1
        return values

    model = artattack.load_model(fickle, input_size=32)
    records = artattack.run_benchmark(RUN, out=tmp_path / "run", models={"mine": model})
    assert len(records) == 8
    assert records["flip"].isna().all()
    assert records["error"].str.contains("model 'mine' answers differently when asked again").all()


def test_a_random_classifier_is_marked_in_records_run_json_and_report(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)

    def random(x: np.ndarray) -> np.ndarray:
        return x.mean((1, 2)) @ WEIGHTS + draw.normal(size=(len(x), 10))

    model = artattack.load_model(random, input_size=32, random=True)
    with pytest.warns(UserWarning, match="averaged over 8 draws"):
        records = artattack.run_benchmark(RUN, out=tmp_path / "run", models={"mine": model})
    assert (records["classifier_draws"] == 8).all()
    assert records["error"].isna().all()
    run = load_run(tmp_path / "run")
    assert run.info["config"]["models"]["mine"]["draws"] == 8
    assert "averaged over 8 draws" in run.doubts_before[0]
    assert any("answers at random and flips" in doubt for doubt in run.doubts_after)


def test_a_network_that_sees_black_is_said_before_and_after_the_run(tmp_path: Path) -> None:
    inputs = tf_keras.Input((32, 32, 3))
    x = tf_keras.layers.GlobalAveragePooling2D()(tf_keras.layers.Rescaling(1 / 255)(inputs))
    made = tf_keras.Model(inputs, tf_keras.layers.Dense(10)(x))
    made.set_weights([WEIGHTS, np.arange(10.0) / 10])
    made.save(tmp_path / "net.keras")
    spec = {"model": str(tmp_path / "net.keras"), "preprocessing": "unit"}
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps(RUN | {"models": {"mine": spec}}))
    done = CliRunner().invoke(cli.app, ["run", str(file), "-o", str(tmp_path / "out")], prog_name="artattack")
    assert done.exit_code == 0, done.output
    assert "warning: model 'mine' begins with Rescaling" in done.stderr
    after = "Doubtful: classifier 'mine' puts all 8 untouched images into one class"
    assert done.stdout.index(after) < done.stdout.index("No attack was scored")
    told = json.loads((tmp_path / "out" / "run.json").read_text())["doubts"]
    assert "give preprocessing: byte" in told["before"][0]
    assert "one class" in told["after"][0]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.index("puts all 8 untouched images into one class") < page.index('id="striking"')
    assert page.index("begins with Rescaling") < page.index('id="striking"')
