"""Hardening: its loss in closed form, what it unlearns, resumed trainings, cards, and what cannot be hardened."""

from pathlib import Path
from typing import Any

import larq as lq
import numpy as np
import pandas as pd
import pytest
import tf_keras
from scipy.special import log_softmax
from typer.testing import CliRunner

from artattack import cli
from artattack.errors import ArtattackError
from artattack.models import load_model
from artattack.models.card import read_card
from artattack.training import harden as hardening
from artattack.training.harden import HardenSettings, average_weights, harden, plan_hardening

pytestmark = pytest.mark.slow


def kl(taught: np.ndarray, learnt: np.ndarray) -> float:
    p, q = log_softmax(taught), log_softmax(learnt)
    return float((np.exp(p) * (p - q)).sum())


def test_the_loss_is_the_divergence_from_the_untouched_networks_answers(case: Any, tmp_path: Path) -> None:
    """Blue moves by d / side pixels' root: an L2 of 3.2 over 16 x 16 pixels of one channel is 0.2 for each."""
    given = case.settings(learning_rate=1e-12, painted_weight=3.0)
    harden(given, case.network(), case.paint, tmp_path / "out")
    divergences = []
    for red in (60, 190):
        x = np.array([red, 250 - red, 102]) / 255
        logits, painted = (m @ case.weights + [0, 0, -14.0] for m in (x, np.round(255 * (x - [0, 0, 0.2])) / 255))
        divergences.append(kl(logits, painted))
    found = float(pd.read_csv(tmp_path / "out" / "hardened.csv")["val_loss"].iloc[0])
    # Both colours may be held out in any share; their divergences are equal, by symmetry of the weights.
    assert divergences[0] == pytest.approx(divergences[1], rel=1e-9)
    assert found == pytest.approx(3 / 4 * divergences[0], rel=1e-3)


def test_a_hardened_network_unlearns_what_paint_moves_and_keeps_its_answers(
    case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardening, "_SHARES", (1.0,))  # the held-out style, the opposite one, would choose the smallest
    given = case.settings(40, epochs=40, patience=40, learning_rate=0.3)
    card = harden(given, case.network(), case.paint, tmp_path / "out")
    facts = card.facts
    assert (facts["styles_trained_on"], facts["styles_measured_on"]) == (["more"], ["less"])
    assert facts["images_trained_on"] == 32
    assert (facts["answers_changed_without_paint"]["count"], facts["answers_changed_without_paint"]["n"]) == (0, 8)
    x = np.full((2, case.side, case.side, 3), 0.4, np.float32)
    x[0, ..., 0], x[1, ..., 1] = 0.7, 0.7
    before, after = case.network(), load_model(tmp_path / "out" / "hardened.keras")
    assert list(after.predict(x).argmax(1)) == list(before.predict(x).argmax(1)) == [0, 1]
    bluer = x + np.float32([0, 0, 0.2])
    assert list(before.predict(bluer).argmax(1)) == [2, 2]
    assert list(after.predict(bluer).argmax(1)) == [0, 1]
    written = read_card(tmp_path / "out" / "hardened.keras")
    assert written is not None
    assert (written.distilled_from, written.preprocessing["std"]) == ("colours", [255, 255, 255])  # type: ignore[index]
    assert "flips before" in (tmp_path / "out" / "hardened.md").read_text()


class Quadratic:
    """A trainer of one weight, with the loss (w - best)^2 at any example."""

    parameters = 1

    def __init__(self, best: float) -> None:
        self.best, self.weights = best, [np.ones(1, np.float32)]

    def loss(self, example: Any) -> float:
        return float((self.weights[0][0] - self.best) ** 2)


@pytest.mark.parametrize(("best", "share"), [(0.6, 0.5), (0.9, 1.0), (-1.0, 0.25)])
def test_weights_are_averaged_at_the_share_with_the_lowest_loss(best: float, share: float) -> None:
    trainer = Quadratic(best)
    example = ((np.zeros(1), np.zeros(1)), np.zeros((2, 3)))
    assert average_weights(trainer, [np.zeros(1, np.float32)], [example]) == share  # type: ignore[arg-type]
    assert trainer.weights == [np.float32([share])]


def test_an_average_without_a_finite_loss_is_not_chosen() -> None:
    trainer = Quadratic(0.25)
    trainer.loss = lambda example: np.nan if trainer.weights[0][0] < 0.6 else 1.0  # type: ignore[method-assign]
    example = ((np.zeros(1), np.zeros(1)), np.zeros((2, 3)))
    assert average_weights(trainer, [np.zeros(1, np.float32)], [example]) == 0.75  # type: ignore[arg-type]


def test_a_hardening_that_was_stopped_ends_with_the_same_numbers(case: Any, tmp_path: Path) -> None:
    given = case.settings(epochs=3, distances=(1.0, 4.0), learning_rate=0.05)

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("hardening") and done == 3:  # of six steps, in the second epoch
            raise KeyboardInterrupt

    harden(given, case.network(), case.paint, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        harden(given, case.network(), case.paint, tmp_path / "stopped", on_progress=stop)
    with pytest.raises(ArtattackError, match="already holds a training"):
        harden(given, case.network(), case.paint, tmp_path / "stopped")
    harden(given, case.network(), case.paint, tmp_path / "stopped", resume=True)
    whole, stopped = (load_model(tmp_path / name / "hardened.keras").network for name in ("whole", "stopped"))
    for one, other in zip(whole.get_weights(), stopped.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_one_bit_weights_can_change_their_signs_and_statistics_of_batches_stay(case: Any, tmp_path: Path) -> None:
    image = tf_keras.Input((case.side, case.side, 3))
    pooled = tf_keras.layers.GlobalAveragePooling2D()(image)
    normalized = tf_keras.layers.BatchNormalization()(pooled)
    dense = lq.layers.QuantDense(3, kernel_quantizer="ste_sign", kernel_constraint="weight_clip", use_bias=False)
    made = tf_keras.Model(image, dense(normalized))
    signs = np.array([[1, -1, 1], [-1, 1, 1], [1, 1, -1.0]])
    dense.set_weights([signs])
    statistics = [np.ones(3), np.zeros(3), np.full(3, 0.4), np.full(3, 0.01)]
    made.layers[2].set_weights(statistics)
    made.save(tmp_path / "signs.h5")
    model = load_model(tmp_path / "signs.h5", preprocessing="unit")
    given = case.settings(40, epochs=30, patience=30, learning_rate=0.1)
    harden(given, model, case.paint, tmp_path / "out")
    after = load_model(tmp_path / "out" / "hardened.keras").network
    kernel = next(layer for layer in after.layers if isinstance(layer, lq.layers.QuantDense)).get_weights()[0]
    assert set(np.unique(kernel)) <= {-1.0, 1.0}
    assert (kernel != signs).any()
    kept = next(layer for layer in after.layers if isinstance(layer, tf_keras.layers.BatchNormalization)).get_weights()
    for one, other in zip(kept[2:], statistics[2:], strict=True):  # after scale and offset
        np.testing.assert_array_equal(one, np.float32(other))


def test_a_plan_says_what_is_trained_on(case: Any, tmp_path: Path) -> None:
    plan = "\n".join(plan_hardening(case.settings(), case.network(), case.paint))
    assert "images     20, 4 of them held out" in plan
    assert "styles     more; held out: less" in plan
    assert "1 epochs of 2 steps of 8 crops" in plan


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"styles": ("moore",)}, "unknown style of the painter 'moore'; did you mean 'more'"),
        ({"styles": ("more", "less")}, "the painter has the styles more, less: at least one"),
        ({"held_out_styles": ("less", "more")}, "the painter has the styles more, less: at least one"),
    ],
)
def test_styles_that_cannot_be_trained_on(options: dict[str, Any], words: str, case: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match=words):
        harden(case.settings(**options), case.network(), case.paint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_function_cannot_be_hardened(case: Any, tmp_path: Path) -> None:
    function = load_model(lambda x: x.mean((1, 2)), input_size=case.side)
    with pytest.raises(ArtattackError, match="cannot be trained here: hardening takes networks of Keras 2"):
        harden(case.settings(), function, case.paint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong", [{"distances": (0, 1)}, {"distances": (2, 1)}, {"styles": ("a",), "held_out_styles": ("a",)}]
)
def test_settings_that_contradict_one_another(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"two distances above 0|both|and held out"):
        HardenSettings(model="a", images="b", **wrong)


def test_the_command_hardens_with_a_painters_file(case: Any, tmp_path: Path) -> None:
    painter = case.painter()
    case.network()
    case.settings()
    arguments = [tmp_path / "colours.keras", "--preprocessing", "unit", "--images", tmp_path / "photos", "-o"]
    arguments += [tmp_path / "out", "--painter", painter, "--style", "less", "--epochs", "1"]
    planned = CliRunner().invoke(cli.app, ["harden", *map(str, arguments), "--dry-run"])
    assert planned.exit_code == 0, planned.output
    assert "styles     less; held out: more" in planned.stdout
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(cli.app, ["harden", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert "flips before" in done.stdout
    written = read_card(tmp_path / "out" / "hardened.keras")
    assert written is not None
    assert (written.facts["styles_trained_on"], written.facts["painter"]) == (["less"], "painter.keras")
    wrong = CliRunner().invoke(cli.app, ["harden", *map(str, arguments), "--style", "waves", "--distances", "5", "1"])
    assert wrong.exit_code == 2
    assert "--distances: two distances above 0, the smaller first" in wrong.stderr
    assert len(wrong.stderr.splitlines()) == 1
