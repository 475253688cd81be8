"""Costs of networks: counted by hand, compared with published figures, and timed."""

from io import StringIO
from pathlib import Path

import larq
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tf_keras
from rich.console import Console
from typer.testing import CliRunner

import artattack
from artattack import cli
from artattack.commands.printing import print_efficiency
from artattack.errors import ArtattackError
from artattack.models.model import Model, parse_preprocessing
from artattack.models.registry import load_registered, model_infos
from artattack.networks import efficiency
from artattack.networks.efficiency import measure_models, measured_by_default, network_costs
from artattack.networks.published import PUBLISHED
from artattack.networks.runtimes import Runtime, Task, Timing, time_alone
from artattack.results.columns import EFFICIENCY, dtypes

pytestmark = pytest.mark.slow


def test_costs_counted_by_hand() -> None:
    inputs = tf_keras.Input((8, 8, 3))
    x = larq.layers.QuantConv2D(
        4, 3, padding="same", use_bias=False, input_quantizer="ste_sign", kernel_quantizer="ste_sign"
    )(inputs)
    x = tf_keras.layers.BatchNormalization()(x)
    outputs = tf_keras.layers.Dense(5)(tf_keras.layers.GlobalAveragePooling2D()(x))
    model = Model(
        "m", "random", "", True, tf_keras.Model(inputs, outputs), (8, 8), parse_preprocessing("tf"), None, (), ()
    )
    bits, floats = 3 * 3 * 3 * 4, 2 * 4 + 4 * 5 + 5  # normalisation folds to a factor and an offset a channel
    costs = network_costs(model.network)
    assert costs["parameters"] == bits + floats
    assert costs["binary_share"] == bits / (bits + floats)
    assert costs["float32_mib"] == 4 * (bits + floats) / 2**20
    assert costs["packed_mib"] == (bits / 8 + 4 * floats) / 2**20
    assert costs["macs"] == bits * 8 * 8 + 4 * 5
    assert costs["binary_macs_share"] == bits * 64 / (bits * 64 + 20)


def test_our_counts_of_quicknet_equal_the_published_ones() -> None:
    costs = network_costs(load_registered("quicknet", "random").network)
    assert costs["parameters"] == PUBLISHED["quicknet"].parameters == 13_234_088
    assert round(costs["packed_mib"], 2) == PUBLISHED["quicknet"].mib == 4.17


def test_published_rows_are_of_networks_that_are_there() -> None:
    names = {info.name for info in model_infos()}
    assert set(PUBLISHED) - names == {"quicknet (2020)"}
    assert all(row.source and row.top1 and (row.top5 is None or row.top5 > row.top1) for row in PUBLISHED.values())
    assert PUBLISHED["quicknet (2020)"][1:5] == (0.586, 0.810, 10_518_528, 3.21)
    assert set(measured_by_default()) > {"quicknet_tiny", "quicknet (2020)", "quicknet", "vgg19"}


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    """A table whose clock is a lookup and whose files are empty, with one runtime that breaks down."""

    def time_task(task: Task) -> Timing:
        if task.runtime == "compiled":
            raise RuntimeError("no\nway")
        assert (task.file is None) == (task.runtime == "keras")
        return Timing({"keras": 7.0, "tflite": 3.0}[task.runtime] / (1 if task.threads else 2), 6.0, 11.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("artattack.models.export.convert", lambda model, to: b"x" * 2**19)
        patch.setattr(efficiency, "exportable", lambda: ("tflite",))
        return measure_models(["quicknet (2020)", "quicknet_tiny"], repeats=1, time_task=time_task)


def test_a_table_of_measured_and_published_figures(found: pd.DataFrame) -> None:
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == dtypes(EFFICIENCY)
    old, tiny = found.to_dict("records")
    assert (old["published_top1"], old["published_mib"]) == (0.586, 3.21)
    assert pd.isna(old["parameters"])
    assert pd.isna(old["weights"])
    assert (tiny["weights"], tiny["input_size"], tiny["tflite_mib"]) == ("bundled", 64, 0.5)
    assert pd.isna(tiny["lce_mib"])
    assert [tiny[f"keras_{what}"] for what in ("ms_one", "cpu_ms_one", "ms_all", "run_mib")] == [7.0, 6.0, 3.5, 11.0]
    assert (tiny["tflite_ms_one"], tiny["tflite_ms_all"]) == (3.0, 1.5)
    assert pd.isna(tiny["compiled_ms_one"])
    assert tiny["failed"] == "compiled, threads one: no way; compiled, threads all: no way"
    model, images = load_registered("quicknet_tiny"), artattack.load_images("samples")
    said = [model.label_space[k] for k in model.predict(images.x).argmax(1)]  # type: ignore[index]
    known = [(guess, y) for guess, y in zip(said, images.y, strict=True) if y in model.label_space]  # type: ignore[operator]
    assert (tiny["n_labelled"], tiny["n_correct"]) == (len(known), sum(guess == y for guess, y in known))


def test_it_is_printed_whole(found: pd.DataFrame) -> None:
    console = Console(width=200, record=True, file=StringIO())
    random = found.iloc[[1]].assign(model="vgg19", weights="random")
    print_efficiency(pd.concat([found, random]), console)
    text = console.export_text()
    for words in (
        "quicknet (2020)",
        "58.6%",
        "10,518,528",
        "3.21",
        "vgg19 (random weights)",
        "7.0",
        "failed in compiled",
    ):
        assert words in text


def test_a_runtime_is_timed_in_a_process_of_its_own(tmp_path: Path) -> None:
    inputs = tf_keras.Input((8, 8, 3))
    network = tf_keras.Model(inputs, tf_keras.layers.Dense(3)(tf_keras.layers.GlobalAveragePooling2D()(inputs)))
    path = tmp_path / "a.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    timing = time_alone(Task("", "", "tflite", 1, 3, path))
    assert 0 < timing.milliseconds < 60_000
    assert timing.cpu_milliseconds >= 0
    assert np.isfinite(timing.mib)


@pytest.mark.parametrize("runtime", ["keras", "compiled"])
def test_keras_is_timed_in_a_process_of_its_own(runtime: Runtime) -> None:
    timing = time_alone(Task("quicknet_tiny", "bundled", runtime, 1, 2))
    assert 0 < timing.milliseconds < 60_000
    assert timing.cpu_milliseconds > 0
    assert 20 < timing.mib < 2000  # the weights alone are 49 MiB


def test_a_failed_network_gives_a_reason_and_the_other_rows_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(model: Model, to: str) -> bytes:
        if to == "lce":
            raise ValueError("no such\noperation")
        return b"x"

    monkeypatch.setattr("artattack.models.export.convert", convert)
    monkeypatch.setattr(efficiency, "exportable", lambda: ("tflite", "lce"))
    kept: list[list[str]] = []
    out = tmp_path / "networks.csv"

    def timed(task: Task) -> Timing:
        kept.append(pd.read_csv(out)["model"].tolist())  # the first network stands there before the second is timed
        return Timing(1.0, 1.0, 1.0)

    names = ["quicknet (2020)", "quicknet_tiny"]
    found = measure_models(names, limit=1, time_task=timed, out=out)
    assert kept
    assert all(models == names[:1] for models in kept)
    written = out.read_bytes()
    tiny = found.set_index("model").loc["quicknet_tiny"]
    assert tiny["failed"] == "lce, export: no such operation"
    assert tiny["tflite_ms_one"] == 1.0
    assert pd.isna(tiny["lce_ms_one"])
    assert tiny["measured"].count("-") == 2
    assert "tensorflow" in tiny["versions"]
    console = Console(width=200, record=True, file=StringIO())
    print_efficiency(found, console)
    assert "failed" in console.export_text().splitlines()[2]

    def never(task: Task) -> Timing:
        raise AssertionError

    again = measure_models(names, time_task=never, out=out, resume=True)
    assert again.equals(found)
    assert out.read_bytes() == written


def test_ones_own_networks_are_measured_from_a_benchmark_file(tmp_path: Path) -> None:
    """A 3x3 convolution of 3 to 4 channels on 32x32, then 5 classes: parameters and multiply-accumulates by hand."""
    inputs = tf_keras.Input((32, 32, 3))
    x = tf_keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    tf_keras.Model(inputs, tf_keras.layers.Dense(5)(tf_keras.layers.GlobalAveragePooling2D()(x))).save(
        tmp_path / "small.h5"
    )
    file = tmp_path / "mine.yaml"
    file.write_text(
        "models:\n"
        "  small: {model: small.h5, preprocessing: imagenet, classes: [a, b, c, d, e]}\n"
        "  served: {model: 'module:nowhere', preprocessing: imagenet}\n"
    )
    asked: list[Task] = []

    def timed(task: Task) -> Timing:
        asked.append(task)
        return Timing(2.0, 1.0, 3.0)

    found = measure_models(models=file, limit=1, time_task=timed).set_index("model")
    assert list(found.index) == ["small", "served"]
    small = found.loc["small"]
    assert (small["parameters"], small["weights"], small["input_size"]) == (3 * 3 * 3 * 4 + 4 * 5 + 5, "file", 32)
    assert small["macs"] == 32 * 32 * 3 * 3 * 3 * 4 + 4 * 5
    assert small["compiled_ms_all"] == 2.0
    assert "nowhere" in found.loc["served", "failed"]
    assert {task.model for task in asked} == {"small"}
    run = next(task for task in asked if task.runtime == "compiled" and task.threads == 1)
    assert time_alone(run).milliseconds > 0  # another process loads it, too


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("models quicknet_tiny --measure --resume", "--resume needs --csv FILE"),
        ("models quicknet_tinny --measure", "unknown model 'quicknet_tinny'"),
        ("models quicknet_tiny", "names, --models, --csv and --resume go with --measure"),
        ("models quicknet_tiny --measure --images nowhere", "nowhere"),
    ],
)
def test_mistakes_are_one_line(arguments: str, words: str) -> None:
    done = CliRunner().invoke(cli.app, arguments.split(), prog_name="artattack")
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_such_release() -> None:
    with pytest.raises(ArtattackError, match="unknown model 'quicknet \\(2021\\)'"):
        measure_models(["quicknet (2021)"])
