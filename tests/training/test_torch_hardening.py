"""Hardening of PyTorch networks, beside Keras networks with the same weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from artattack.errors import ArtattackError  # noqa: E402
from artattack.models import load_model  # noqa: E402
from artattack.training.harden import harden  # noqa: E402
from artattack.training.torch_hardening import Hardening  # noqa: E402


class Colours(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, weights: np.ndarray) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(3, 3)
        self.register_buffer("seen", torch.tensor(7))
        with torch.no_grad():
            self.dense.weight.copy_(torch.tensor(weights.T))
            self.dense.bias.copy_(torch.tensor([0.0, 0.0, -14.0]))

    def forward(self, x: Any) -> Any:
        return self.dense(x.mean((2, 3)))


def script(case: Any, folder: Path, module: Any = None) -> Any:
    traced = torch.jit.trace((module or Colours(case.weights)).eval(), torch.zeros(2, 3, case.side, case.side))
    torch.jit.save(traced, folder / "colours.pt")
    return load_model(folder / "colours.pt", preprocessing="unit", input_size=case.side)


def test_losses_and_weights_are_those_of_the_keras_network(case: Any, tmp_path: Path) -> None:
    given = case.settings(epochs=3, distances=(1.0, 4.0), learning_rate=0.05)
    harden(given, case.network(), case.paint, tmp_path / "keras")
    card = harden(given, script(case, tmp_path), case.paint, tmp_path / "torch")
    keras, pytorch = (pd.read_csv(tmp_path / name / "hardened.csv") for name in ("keras", "torch"))
    for column in ("loss", "val_loss"):
        np.testing.assert_allclose(pytorch[column], keras[column], rtol=1e-3)
    assert card.facts["flips_after"]["n"] == 4
    x = np.random.default_rng(0).random((4, case.side, case.side, 3), np.float32)
    after = [load_model(tmp_path / name).predict(x) for name in ("keras/hardened.keras", "torch/hardened.pt")]
    np.testing.assert_allclose(after[0], after[1], rtol=1e-2, atol=1e-2)


def test_weights_are_the_floating_point_ones(case: Any, tmp_path: Path) -> None:
    trainer = Hardening(script(case, tmp_path), case.settings(), 1)
    assert [values.shape for values in trainer.weights] == [(3, 3), (3,)]
    trainer.weights = [values + 0.5 for values in trainer.weights]
    state = trainer._student.state_dict()
    assert [int(values) for name, values in state.items() if name.endswith("seen")] == [7]
    np.testing.assert_allclose(trainer.weights[0], case.weights.T + 0.5, rtol=1e-6)


def test_a_stopped_hardening_ends_with_the_same_numbers(case: Any, tmp_path: Path) -> None:
    given = case.settings(epochs=3, learning_rate=0.05)

    def stop(what: str, done: int, total: int) -> None:
        if what == "hardening" and done == 3:  # of six steps, in the second epoch
            raise KeyboardInterrupt

    harden(given, script(case, tmp_path), case.paint, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        harden(given, script(case, tmp_path), case.paint, tmp_path / "stopped", on_progress=stop)
    harden(given, script(case, tmp_path), case.paint, tmp_path / "stopped", resume=True)
    whole, stopped = (pd.read_csv(tmp_path / name / "hardened.csv") for name in ("whole", "stopped"))
    np.testing.assert_allclose(stopped["val_loss"], whole["val_loss"], rtol=1e-6)
    assert len(stopped) == 3


def test_a_network_of_constants_cannot_be_trained(case: Any, tmp_path: Path) -> None:
    class Fixed(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x.mean((2, 3))

    with pytest.raises(ArtattackError, match="holds its weights as constants"):
        harden(case.settings(), script(case, tmp_path, Fixed()), case.paint, tmp_path / "out")
