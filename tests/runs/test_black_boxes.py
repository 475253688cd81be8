"""Runs with a classifier that only predicts: scored, attacked by queries, and refused in other roles."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tf_keras
import yaml

from artattack.checks import check_models, targets_by_name, targets_of_run
from artattack.config import load_benchmark, parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import make_plan
from artattack.evaluation.run import run_benchmark
from artattack.inputs.images import read_image, to_float
from artattack.models import load_model
from artattack.results.exports import textattack_table
from artattack.results.run_folder import RunFolder, load_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

SIZE = 64
HOPS = {"max_iter": 1, "max_eval": 10, "init_eval": 5, "init_size": 100}
BENCHMARK: dict[str, Any] = {
    "images": {"size": SIZE, "limit": 5},
    "classifiers": ["mine", "quicknet_tiny"],
    "attacks": [
        {"attack": "hopskipjump", "source": "mine", **HOPS},
        {"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255"},
    ],
    "feature_model": "quicknet_tiny",
    "batch_size": 3,
}


class Brightness:
    """Tells bright images from dark ones, and keeps count of those it is asked about."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.images += len(x)
        difference = 40 * (x.mean((1, 2, 3)) - 0.45)
        return np.stack([difference, -difference, np.full(len(x), -9.0)], 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("run") / "mine"
    model = load_model(Brightness(), input_size=SIZE, name="brightness", label_space=["tench", "goldfish", "hen"])
    run_benchmark(BENCHMARK, out=out, models={"mine": model})
    return load_run(out)


def test_it_is_scored_like_any_other(run: RunFolder) -> None:
    records = run.records
    assert records["error"].isna().all()
    assert len(records) == 5 * 3 * 2
    mine = records[records["classifier"] == "mine"]
    assert set(mine["classifier_weights"]) == {"python"}
    for row in mine.to_dict("records"):
        before = to_float(read_image(run.path / "images" / "original" / f"{row['image']}.png"))[None]
        after = to_float(read_image(run.path / row["file"]))[None]
        logits = [Brightness()(x)[0] for x in (before, after)]
        assert row["flip"] == (logits[0].argmax() != logits[1].argmax())
        assert row["top1_class_before"] == (0, 1, 8)[logits[0].argmax()]
        confidence = np.exp(logits[1].max()) / np.exp(logits[1]).sum()
        assert row["top1_confidence_after"] == pytest.approx(confidence, rel=1e-4)
    assert json.loads((run.path / "run.json").read_text())["config"]["models"]["mine"]["weights"] == "python"


def test_it_is_attacked_by_queries_which_are_counted(run: RunFolder) -> None:
    records = run.records
    attacked = records[records["attack"] == "hopskipjump"]
    mine = attacked[attacked["classifier"] == "mine"]
    assert mine["flip"].any()
    assert mine["classifier_seen"].all()
    assert (mine["queries"] > 0).all()
    assert attacked.groupby("image")["queries"].nunique().eq(1).all()
    assert records.loc[records["attack"] != "hopskipjump", "queries"].isna().all()
    summary = run.summary.set_index(["attack", "classifier"])
    row = summary.loc["hopskipjump", "mine"]
    assert row["mean_queries"] == pytest.approx(mine["queries"].astype(float).mean())
    assert row["median_queries"] == pytest.approx(mine["queries"].astype(float).median())
    assert pd.isna(summary.loc[("fgsm", "mine"), "mean_queries"])
    logged = textattack_table(records)
    assert logged["num_queries"].equals(records[records["kind"] != "clean"]["queries"].set_axis(logged.index))


def test_a_limit_of_queries_in_a_benchmark_file(tmp_path: Path) -> None:
    limited = {"attack": "square", "source": "quicknet_tiny", "eps": 0.1, "max_queries": 4}
    only = BENCHMARK | {"classifiers": "quicknet_tiny", "attacks": [limited], "budgets": {"linf": 0.05}}
    records = run_benchmark(only, out=tmp_path / "run")
    attacked = records[records["attack"] == "square"]
    assert len(attacked) == 10
    assert attacked["error"].isna().all()
    assert attacked["queries"].between(1, 4).all()
    assert json.loads(attacked["parameters"].iloc[0]) == {"eps": 0.1, "max_queries": 4}
    with pytest.raises(
        ArtattackError, match=r"attacks\.0 \(fgsm\): max_queries is for attacks that read answers alone"
    ):
        make_plan(parse_benchmark({"attacks": [{"attack": "fgsm", "source": "quicknet_tiny", "max_queries": 4}]}))


def test_queries_are_those_that_the_source_answers(tmp_path: Path) -> None:
    counter = Brightness()
    model = load_model(counter, input_size=SIZE)
    only = BENCHMARK | {"classifiers": ["mine"], "attacks": BENCHMARK["attacks"][:1], "batch_size": 5}
    counter.images = 0
    records = run_benchmark(only, out=tmp_path / "run", models={"mine": model})
    counted = records["queries"].sum()
    # Beside the attack's: 5 originals scored twice, as they are and as untouched files, 5 files and 5 images as made,
    # and some to round to 8 bits.
    assert 0 < counted <= counter.images - 20
    assert counter.images - 20 - counted < 5 * 256


def test_all_queries_of_an_attack_that_rounds_without_asking_are_counted(tmp_path: Path) -> None:
    counter = Brightness()
    model = load_model(counter, input_size=SIZE)
    square = {"attack": "square", "source": "mine", "eps": 0.1, "max_iter": 3}
    only = BENCHMARK | {"classifiers": ["mine"], "attacks": [square], "batch_size": 5}
    counter.images = 0
    records = run_benchmark(only, out=tmp_path / "run", models={"mine": model})
    scored = 5 + 5 + 5 + 5  # originals, as they are and as untouched files; files of the attack, its images as made
    assert records["queries"].sum() == counter.images - scored


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"attacks": [{"attack": "pgd", "source": "mine"}]},
            r"^attacks\.0 \(pgd\): model 'mine' only predicts, and this role needs gradients: attack it by queries",
        ),
        ({"attacks": [{"attack": "mi-fgsm", "source": "mine", "eps": 0.1}]}, "this role needs gradients"),
        ({"attacks": [{"attack": "style", "backbone": "mine"}]}, "'mine' has no readable layers"),
        ({"attacks": [{"attack": "style", "guide": "mine"}]}, "this role needs gradients"),
        ({"feature_model": "mine"}, "^feature_model: model 'mine' has no readable layers"),
        (
            {"style_judges": "mine", "attacks": [{"attack": "style"}]},
            "^style_judges: model 'mine' has no readable layers",
        ),
    ],
)
def test_any_other_use_is_refused_before_the_run(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    model = load_model(Brightness(), input_size=SIZE)
    with pytest.raises(ArtattackError, match=message) as caught:
        run_benchmark(BENCHMARK | change, out=tmp_path / "run", models={"mine": model})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    (tmp_path / "net.tflite").touch()  # of a file the word alone tells
    file = {"models": {"mine": {"model": f"tflite:{tmp_path / 'net.tflite'}", "preprocessing": "unit"}}}
    with pytest.raises(ArtattackError, match=message):
        make_plan(parse_benchmark(BENCHMARK | change | file))


def test_models_that_are_given_are_named_and_are_models(tmp_path: Path) -> None:
    model = load_model(Brightness(), input_size=SIZE)
    with pytest.raises(ArtattackError, match="'mine' is Brightness; give what artattack"):
        run_benchmark(BENCHMARK, models={"mine": Brightness()})  # type: ignore[dict-item]
    with pytest.raises(ArtattackError, match="'other' is given, but the benchmark does not name it"):
        run_benchmark(BENCHMARK, models={"mine": model, "other": model})
    with pytest.raises(ArtattackError, match="'quicknet_tiny' is the name of another model"):
        run_benchmark(BENCHMARK, models={"mine": model, "quicknet_tiny": model})
    with pytest.raises(ArtattackError, match="classifiers: unknown model 'mine'"):
        run_benchmark(BENCHMARK, out=tmp_path / "run")


def test_a_function_that_breaks_in_the_run_breaks_its_records_alone(tmp_path: Path) -> None:
    sound = [1000]  # answers left

    def fragile(x: np.ndarray) -> np.ndarray:
        sound[0] -= 1
        return np.tile([3.0, 2.0, 1.0], (len(x), 1))[:, : 3 if sound[0] >= 0 else 2]

    noise = [{"attack": "noise", "like": "fgsm"}, BENCHMARK["attacks"][1]]
    model = load_model(fragile, input_size=SIZE)
    sound[0] = 4  # twice for each of the two batches of originals
    records = run_benchmark(BENCHMARK | {"attacks": noise}, out=tmp_path / "run", models={"mine": model})
    broken = records[records["error"].notna()]
    assert set(broken["classifier"]) == {"mine"}
    assert list(broken["attack"].value_counts()) == [5, 5]
    assert broken["error"].str.contains(r"model 'fragile' gave values of shape \(\d, 2\) for \d images").all()


def test_a_file_beside_the_benchmark_file_is_scored_as_its_keras_original(tmp_path: Path) -> None:
    inputs = tf_keras.Input((SIZE, SIZE, 3))
    x = tf_keras.layers.GlobalMaxPooling2D()(tf_keras.layers.Conv2D(6, 5, strides=4)(inputs))
    network = tf_keras.Model(inputs, tf_keras.layers.Dense(4)(x))
    network.save(tmp_path / "net.keras")
    (tmp_path / "net.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    own = {"preprocessing": "tf", "label_space": ["tench", "goldfish", "hen", "cock"]}
    file = BENCHMARK | {
        "models": {"mine": {"model": "tflite:net.tflite", **own}, "original": {"model": "net.keras", **own}},
        "classifiers": ["mine", "original"],
        "attacks": [{"attack": "square", "source": "mine", "eps": 0.1, "max_iter": 5}],
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(file))
    records = run_benchmark(tmp_path / "mine.yaml", out=tmp_path / "run")
    assert records["error"].isna().all()
    mine, original = (records[records["classifier"] == name].reset_index() for name in ("mine", "original"))
    for column in ("top1_class_before", "top1_class_after", "flip", "rank_after"):
        assert mine[column].equals(original[column]), column
    np.testing.assert_allclose(mine["confidence_shift"], original["confidence_shift"], atol=1e-4)
    assert load_benchmark(tmp_path / "mine.yaml").models["mine"].model == f"tflite:{tmp_path / 'net.tflite'}"
    with pytest.raises(ArtattackError, match="has no readable layers"):
        targets_by_name([f"tflite:{tmp_path / 'net.tflite'}"])


def test_checks_leave_out_classifiers_without_layers(run: RunFolder, tmp_path: Path) -> None:
    assert list(targets_of_run(run.path).models) == ["quicknet_tiny"]
    model = load_model(Brightness(), input_size=SIZE)
    with pytest.raises(ArtattackError, match="'Brightness' has no readable layers"):
        check_models([model], np.zeros((5, SIZE, SIZE, 3)))  # type: ignore[list-item]
    only = BENCHMARK | {"classifiers": ["mine"], "attacks": [{"attack": "noise"}, BENCHMARK["attacks"][1]]}
    run_benchmark(only, out=tmp_path / "run", models={"mine": model})
    with pytest.raises(ArtattackError, match="none of the run's classifiers has readable ones"):
        targets_of_run(tmp_path / "run")
