"""Runs of earlier versions resume: options newer than the run have their defaults."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tf_keras
from PIL import Image

from artattack.errors import ArtattackError
from artattack.evaluation.extending import extend_run
from artattack.evaluation.run import run_benchmark
from artattack.results.plain_data import seal
from artattack.results.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("models_load_once")


@pytest.fixture
def benchmark(tmp_path: Path) -> dict[str, Any]:
    network = tf_keras.Sequential([tf_keras.Input((32, 32, 3)), tf_keras.layers.GlobalAveragePooling2D()])
    network.save(tmp_path / "mine.keras")
    (tmp_path / "photos").mkdir()
    for k in range(2):
        pixels = np.random.default_rng(k).integers(0, 256, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{k}.png")
    return {
        "images": {"set": str(tmp_path / "photos")},
        "models": {
            "mine": {"model": str(tmp_path / "mine.keras"), "preprocessing": "unit", "classes": ["r", "g", "b"]}
        },
        "classifiers": ["mine"],
        "attacks": [{"attack": "mi-fgsm", "source": "mine", "eps": 0.05, "max_iter": 2}],
        "feature_model": "quicknet_tiny",
    }


def of_an_earlier_version(path: Path) -> None:
    """Take from run.json what later versions have added."""
    info = RunFolder.open(path).info
    config = info["config"]
    told = config["benchmark"]
    for option in ("output", "random", "http"):
        del told["models"]["mine"][option]
    for option in ("transforms", "views", "target"):
        del told["attacks"][0][option]
    del told["parquet"]
    del config["models"]["mine"]["names"], config["models"]["mine"]["classes"], config["files"]
    (path / "run.json").write_bytes(seal(info, indent=2))
    (path / ".run.json").write_bytes(seal(info, indent=2))


def test_a_run_without_younger_options_is_resumed(benchmark: dict[str, Any], tmp_path: Path) -> None:
    first = run_benchmark(benchmark, out=tmp_path / "run")
    of_an_earlier_version(tmp_path / "run")
    (cell,) = (tmp_path / "run" / "cells").glob("mi-fgsm*")
    cell.unlink()
    again = run_benchmark(benchmark, out=tmp_path / "run", resume=True)
    same = [table.drop(columns="seconds") for table in (first, again)]
    pd.testing.assert_frame_equal(*same)


def test_and_is_extended(benchmark: dict[str, Any], tmp_path: Path) -> None:
    first = run_benchmark(benchmark, out=tmp_path / "run")
    of_an_earlier_version(tmp_path / "run")
    more = extend_run(tmp_path / "run", classifiers=["quicknet_tiny"])
    assert len(more) == 2 * len(first)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 3}, r"benchmark\.seed was 3, now 0"),
        ({"gone": 3}, r"benchmark\.gone was 3, now \"\(absent\)\""),  # an option that this version does not have
        ({"batch_size": 0}, r"benchmark\.batch_size was 0, now 10"),
    ],
)
def test_another_run_is_refused_as_before(
    changed: dict[str, Any], message: str, benchmark: dict[str, Any], tmp_path: Path
) -> None:
    run_benchmark(benchmark | {"attacks": []}, out=tmp_path / "run")
    info = RunFolder.open(tmp_path / "run").info
    info["config"]["benchmark"] |= changed
    (tmp_path / "run" / "run.json").write_bytes(seal(info, indent=2))
    with pytest.raises(ArtattackError, match=message):
        run_benchmark(benchmark | {"attacks": []}, out=tmp_path / "run", resume=True)


def test_another_network_in_the_same_place_is_refused(benchmark: dict[str, Any], tmp_path: Path) -> None:
    inputs = tf_keras.Input((32, 32, 3))
    pooled = tf_keras.layers.GlobalAveragePooling2D()(tf_keras.layers.Conv2D(3, 1)(inputs))
    run_benchmark(benchmark | {"attacks": []}, out=tmp_path / "run")
    tf_keras.Model(inputs, pooled).save(tmp_path / "mine.keras")
    with pytest.raises(ArtattackError, match=r"models\.mine\.sha256 was"):
        run_benchmark(benchmark | {"attacks": []}, out=tmp_path / "run", resume=True)
