"""Hardening of PyTorch networks, resumable as that of Keras networks."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from artattack.errors import ArtattackError
from artattack.files import write_file
from artattack.models.predictor import LEAST_PROBABILITY
from artattack.models.torch_model import TorchModel
from artattack.progress import Progress
from artattack.training.best_epoch import best_epoch, epochs_since_best
from artattack.training.data import Array

if TYPE_CHECKING:
    from artattack.training.fitting import Course
    from artattack.training.harden import Example, HardenSettings


class _Logits(torch.nn.Module):  # type: ignore[misc]
    """A copy of a model's network, from preprocessed images (N, 3, H, W) to logits (N, K)."""

    def __init__(self, model: TorchModel) -> None:
        super().__init__()
        with torch.no_grad():  # otherwise the copied parameters of TorchScript are no leaves of the graph
            self.network = copy.deepcopy(model.network)
        self.module = self.network.module
        self.probabilities = model.probabilities
        self.outputs = None if model.outputs is None else torch.as_tensor(np.asarray(model.outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = self.network.called(x)
        if self.probabilities:
            values = torch.log(torch.clamp(values, min=LEAST_PROBABILITY))
        return values if self.outputs is None else values[:, self.outputs]


class Hardening:
    """A PyTorch network in training; see `artattack.training.harden.Trainer`.

    Args:
        model: the untouched model; a copy of its network is trained.
        settings: settings of the training.
        steps: steps of the whole training, over which the learning rate falls to 0 along a cosine.

    Raises:
        ArtattackError: the network has no parameters that can be trained.
    """

    def __init__(self, model: TorchModel, settings: HardenSettings, steps: int) -> None:
        torch.manual_seed(settings.seed)
        self._model = model
        self._student = _Logits(model)  # in evaluation mode, as the model
        trained = [values for values in self._student.parameters() if values.is_floating_point()]
        if not trained:
            raise ArtattackError(
                f"model '{model.name}' holds its weights as constants, which cannot be trained: give the network as it "
                "was before freezing or quantization"
            )
        for values in trained:
            values.requires_grad_(True)
        self.parameters = sum(values.numel() for values in trained)
        self._weights = np.array([1.0, settings.painted_weight]) / (1 + settings.painted_weight)
        self._temperature = settings.temperature
        self._optimizer = torch.optim.Adam(trained, settings.learning_rate)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, max(steps, 1))

    def step(self, example: Example) -> float:
        """Train on a batch, and return its loss."""
        self._optimizer.zero_grad()
        loss = self._loss(example)
        loss.backward()
        self._optimizer.step()
        self._schedule.step()
        return float(loss.item())

    def loss(self, example: Example) -> float:
        """Return the mean loss of a batch."""
        with torch.no_grad():
            return float(self._loss(example).item())

    @property
    def weights(self) -> list[Array]:
        """All floating-point weights of the network, copied."""
        return [values.detach().float().cpu().numpy().copy() for values in self._floats().values()]

    @weights.setter
    def weights(self, values: list[Array]) -> None:
        given = {name: torch.as_tensor(value) for name, value in zip(self._floats(), values, strict=True)}
        self._student.load_state_dict({**self._student.state_dict(), **given})

    def _floats(self) -> dict[str, torch.Tensor]:
        state = self._student.state_dict().items()
        return {name: values for name, values in state if torch.is_tensor(values) and values.is_floating_point()}

    def fit(
        self,
        examples: Callable[[int], Iterator[Example]],
        steps: int,
        validation: Sequence[Example],
        course: Course,
        work: Path,
        on_progress: Progress,
    ) -> pd.DataFrame:
        """Train, or resume training; see `artattack.training.fitting.fit`."""
        rows, best = self._resumed(work / "state.pt")
        batches = examples(len(rows))
        for epoch in range(len(rows), course.epochs):
            if rows and epochs_since_best(row["val_loss"] for row in rows) >= course.patience:
                break
            begun, losses = perf_counter(), []
            for number in range(steps):
                losses.append(self.step(next(batches)))
                on_progress("hardening", epoch * steps + number + 1, course.epochs * steps)
            sums = [self.loss(example) * len(example[1]) for example in validation]
            loss = sum(sums) / sum(len(example[1]) for example in validation)
            rows.append({"epoch": epoch, "loss": np.mean(losses).item(), "val_loss": loss})
            if best_epoch(row["val_loss"] for row in rows) in (epoch, None):
                best = copy.deepcopy(self._student.state_dict())
            rows[-1]["seconds"] = perf_counter() - begun
            self._store(work / "state.pt", rows, best)
        if not np.isfinite([row["val_loss"] for row in rows]).any():
            raise ArtattackError("hardening: no epoch has a finite validation loss; lower the learning rate")
        self._student.load_state_dict(best)
        return pd.DataFrame(rows)

    def save(self, path: Path) -> None:
        """Write the network as TorchScript, traced for batches of any size."""
        height, width = self._model.input_size
        like = next(self._student.parameters())
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # tracing warns of sizes that it takes for constants
            script = torch.jit.trace(self._student, torch.zeros(2, 3, height, width).to(like))
        packed = BytesIO()
        torch.jit.save(script, packed)
        write_file(path, packed.getvalue())

    def _loss(self, example: Example) -> torch.Tensor:
        """Return the mean over the batch of the weighted divergences."""
        (untouched, painted), logits = example
        taught = torch.log_softmax(self._tensor(logits) / self._temperature, -1)
        total = torch.zeros(())
        for weight, images in zip(self._weights, (untouched, painted), strict=True):
            given = np.asarray(self._model.preprocessing(images)).transpose(0, 3, 1, 2)
            learnt = torch.log_softmax(self._student(self._tensor(given)) / self._temperature, -1)
            divergence = (taught.exp() * (taught - learnt)).sum(-1)
            total = total + weight * self._temperature**2 * divergence.mean().cpu()
        return total

    def _tensor(self, values: Any) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(next(self._student.parameters()))

    def _store(self, path: Path, rows: list[dict[str, Any]], best: Any) -> None:
        state = {
            "rows": rows,
            "best": best,
            "student": self._student.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }
        packed = BytesIO()
        torch.save(state, packed)
        write_file(path, packed.getvalue())

    def _resumed(self, path: Path) -> tuple[list[dict[str, Any]], Any]:
        """Return the history and the best weights so far, and continue from the last complete epoch."""
        if not path.is_file():
            return [], None
        state = torch.load(path, weights_only=True)
        self._student.load_state_dict(state["student"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        return state["rows"], state["best"]
