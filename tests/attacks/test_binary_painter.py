"""Painters with 1-bit blocks: their bits, their file for Larq Compute Engine, and their cost."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tf_keras

from artattack.attacks.painter_card import PainterCard, PainterFile, PainterStyle
from artattack.attacks.painter_export import export_painter
from artattack.attacks.painter_network import Painter, build_network, of_one_size, with_rows
from artattack.bound import Bound
from artattack.networks.efficiency import exportable, measure_models, network_costs
from artattack.networks.runtimes import Task, Timing
from artattack.training.card_writing import write_painter_card
from artattack.training.networks import save_network

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> PainterFile:
    path = tmp_path_factory.mktemp("painter") / "painter.keras"
    network, rng = build_network(2, binary=True, filters=(4, 32), blocks=1), np.random.default_rng(0)
    for layer in network.layers:
        layer.set_weights([values + rng.normal(0, 0.2, values.shape) for values in layer.get_weights()])
    save_network(network, path)
    given: dict[str, Any] = {
        "backbone": "quicknet_tiny",
        "balls": (Bound("psnr", 20.0),),
        "decay": 1.5,
        "lowest": 1 / 32,
    }
    styles = (PainterStyle(name="one"), PainterStyle(name="two"))
    write_painter_card(PainterCard(title="two", styles=styles, binary=True, **given), path)
    return PainterFile(path)


def test_a_block_adds_normalized_convolutions_of_signs(file: PainterFile) -> None:
    network = Painter(file).network
    shown = ("block0a", "block0a_sum", "block0b", "block0b_sum")
    outputs = [network.get_layer("block0a_sum").input[0], *(network.get_layer(name).output for name in shown)]
    x = np.random.default_rng(1).random((1, 32, 32, 3)).astype(np.float32)
    mix = np.array([[1, 0]], np.float32)
    entered, first, middle, second, after = (part.numpy() for part in tf_keras.Model(network.inputs, outputs)([x, mix]))
    assert entered.min() < 0 < entered.max()  # no ReLU before the first sign
    for value, made, layer in ((entered, first, "block0a"), (middle, second, "block0b")):
        padded = np.pad(value, [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
        kernel = network.get_layer(layer).get_weights()[0]
        bits, weights = (np.where(array >= 0, 1.0, -1.0) for array in (padded, kernel))
        expected = np.stack(
            [
                [np.tensordot(bits[0, i : i + 3, j : j + 3], weights, 3) for j in range(value.shape[2])]
                for i in range(value.shape[1])
            ]
        )
        np.testing.assert_allclose(made[0], expected, atol=1e-4)
    assert np.abs(middle - entered).max() > 0  # the shortcut of the first half, and of the second
    assert np.abs(after - middle).max() > 0


def test_more_styles_keep_the_blocks_binary(file: PainterFile) -> None:
    old = Painter(file).network
    more = with_rows(old, np.eye(3, 2, dtype=np.float32))
    x = np.random.default_rng(1).random((1, 32, 32, 3)).astype(np.float32)
    assert np.array_equal(old([x, np.eye(2, dtype=np.float32)[:1]]), more([x, np.eye(3, dtype=np.float32)[:1]]))
    assert network_costs(of_one_size(more, (32, 32)))["binary_share"] > 0


def test_costs_counted_by_hand(file: PainterFile) -> None:
    costs = network_costs(of_one_size(Painter(file).network, (32, 32)))
    binary = 2 * 9 * 32 * 32
    norms = 2 * 2 * (4 + 32 + 32 + 32 + 4)  # scale and offset of two styles
    whole = binary + 75 * 4 + 9 * 4 * 32 + 32 * 4 + 9 * (4 + 4) * 4 + 9 * (4 + 12) * 12 + norms
    assert costs["parameters"] == whole
    assert costs["binary_share"] == pytest.approx(binary / whole)
    assert costs["packed_mib"] * 2**20 == pytest.approx(4 * (whole - binary) + binary / 8)


def test_the_file_for_larq_compute_engine_paints_as_the_painter_does(file: PainterFile, tmp_path: Path) -> None:
    pytest.importorskip("larq_compute_engine")
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    x = np.random.default_rng(1).uniform(0.2, 0.8, (1, 32, 48, 3)).astype(np.float32)
    expected = Painter(file).paint(x, file.mix("one"))
    path = tmp_path / "painter.tflite"
    assert export_painter(file, "one", (32, 48), path, to="lce") == path.stat().st_size
    assert b"LceBconv2d" in path.read_bytes()
    np.testing.assert_allclose(Interpreter(path.read_bytes(), num_threads=1).predict(x), expected, atol=2e-4)
    assert path.stat().st_size < export_painter(file, "one", (32, 48), tmp_path / "float.tflite")


def test_a_painter_is_measured_beside_models(file: PainterFile) -> None:
    tasks: list[Task] = []

    def time_task(task: Task) -> Timing:
        tasks.append(task)
        return Timing(2.0, 3.0, 4.0)

    row = measure_models([str(file.path)], time_task=time_task, limit=1).iloc[0]
    assert pd.isna(row["failed"])
    assert (row["weights"], row["input_size"], row["compiled_ms_one"]) == ("painter", 224, 2.0)
    assert pd.isna(row["keras_ms_one"])
    assert 0 < row["binary_share"] < 1
    assert {task.runtime for task in tasks} == {"compiled", *exportable()}
    assert all(row[f"{to}_mib"] > 0 for to in exportable())
