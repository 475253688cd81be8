"""Runs with defended models: what attacks read, how records name it, and the table beside the undefended network."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tf_keras

import artattack
from artattack.config import parse_benchmark
from artattack.report.page import render
from artattack.results.run_folder import RunFolder, load_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

SIDE = 32
DEFENCES = [{"FeatureSqueezing": {"bit_depth": 3}}, {"GaussianAugmentation": {"sigma": 0.05}}]
VOTES = [{"RandomizedSmoothing": {"scale": 0.1, "sample_size": 5, "alpha": 0.2}}]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of no family, so that only its weights tell that it is the same behind defences."""
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((SIDE, SIDE, 3))
    y = tf_keras.layers.Conv2D(4, 5, strides=4, activation="relu")(image)
    path = tmp_path_factory.mktemp("network") / "small.keras"
    tf_keras.Model(image, tf_keras.layers.Dense(5)(tf_keras.layers.Flatten()(y))).save(path)
    return path


def ran(network: Path, path: Path) -> RunFolder:
    plain = {"model": str(network), "preprocessing": "tf", "classes": ["a", "b", "c", "d", "e"]}
    benchmark: dict[str, Any] = {
        "name": "defended",
        "images": {"limit": 2, "size": SIDE},
        "models": {"plain": plain, "guarded": plain | {"defences": DEFENCES}, "voting": plain | {"defences": VOTES}},
        "classifiers": ["plain", "guarded", "voting"],
        "feature_model": "plain",
        "attacks": [
            {"attack": "pgd", "source": ["plain", "guarded"], "eps": "16/255", "eps_step": "8/255", "max_iter": 2},
            {"attack": "noise", "like": "pgd"},
        ],
    }
    artattack.run_benchmark(parse_benchmark(benchmark), out=path, on_doubt=lambda doubt: None, cache=False)
    return load_run(path)


@pytest.fixture(scope="module")
def run(network: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return ran(network, tmp_path_factory.mktemp("defended") / "run")


def test_records_say_what_was_read_and_of_whom(run: RunFolder) -> None:
    records = run.records
    assert records["error"].isna().all()
    pgd = records[records["attack"] == "pgd"].groupby(["source", "classifier"]).first()
    relation = pgd["classifier_relation"]
    assert relation["plain", "plain"] == relation["guarded", "guarded"] == "seen"
    assert relation["plain", "guarded"] == relation["guarded", "plain"] == relation["guarded", "voting"] == "kin"
    assert pd.isna(pgd.loc[("plain", "guarded"), "source_gradient"])
    assert pgd.loc[("guarded", "plain"), "source_gradient"] == "straight-through, averaged"
    by_classifier = records.groupby("classifier").first()
    assert by_classifier.loc["guarded", "classifier_defences"] == (
        "FeatureSqueezing(bit_depth=3) + GaussianAugmentation(sigma=0.05)"
    )
    assert by_classifier["classifier_network"].nunique() == 1
    assert by_classifier.loc["guarded", "classifier_draws"] == 8
    assert records.loc[records["classifier"] == "voting", "abstained_after"].notna().all()
    assert records.loc[records["classifier"] != "voting", "abstained_after"].isna().all()
    assert by_classifier.loc["voting", "classifier_draws"] == 5


def test_a_run_has_each_beside_its_undefended_self(run: RunFolder) -> None:
    table = run.defences
    assert {*table["classifier"]} == {"guarded", "voting"}
    assert {*table["undefended"]} == {"plain"}
    own = table[table["variant"] != table["variant_undefended"]]
    assert {*zip(own["variant"], own["variant_undefended"], strict=True)} == {("pgd/guarded", "pgd/plain")}
    records = run.records
    row = (
        table[(table["variant"] == "pgd/plain") & (table["rate"] == "flip_rate")].set_index("classifier").loc["voting"]
    )
    flips = records[(records["attack"] == "pgd") & (records["source"] == "plain")].groupby("classifier")["flip"].mean()
    assert (row["rate_defended"], row["rate_undefended"]) == (flips["voting"], flips["plain"])
    assert row["difference"] == flips["voting"] - flips["plain"]
    page = render(run)
    assert "Do defences help?" in page
    assert "FeatureSqueezing(bit_depth=3) + GaussianAugmentation(sigma=0.05)" in page


def test_two_runs_are_identical_and_the_seed_decides_the_draws(run: RunFolder, network: Path, tmp_path: Path) -> None:
    again = ran(network, tmp_path / "again")
    pd.testing.assert_frame_equal(run.records.drop(columns="seconds"), again.records.drop(columns="seconds"))
    pd.testing.assert_frame_equal(run.defences, again.defences)
    x = np.random.default_rng(0).random((2, SIDE, SIDE, 3), np.float32)
    first, other = (
        artattack.load_model(network, preprocessing="tf", defences=DEFENCES, seed=seed).predict(x) for seed in (0, 1)
    )
    assert abs(first - other).max() > 1e-4
