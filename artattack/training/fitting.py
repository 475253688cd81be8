"""Keras' own training, made to go on after a kill as if there had been none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
import tf_keras

from artattack.errors import ArtattackError
from artattack.training.data import Array, OnProgress

_WARM_UP, _TIMED = 2, 4  # steps of an estimate


@dataclass(frozen=True)
class Course:
    """How long a network is trained, and in what order it sees its images.

    Attributes:
        epochs: at most.
        batch: images of one step.
        patience: epochs without a better validation loss after which training stops.
        seed: of the order of images and of their augmentation.
    """

    epochs: int
    batch: int
    patience: int
    seed: int


def steps_of(images: int, batch: int) -> int:
    """Return the steps of an epoch; what is left over is seen in other epochs."""
    return max(1, images // batch)


def batches(
    arrays: tuple[Array, ...], course: Course, augment: bool, start: int = 0, rows: Array | None = None
) -> tf.data.Dataset:
    """Return batches of all epochs from one on, shuffled and augmented by the seed, the epoch and the place alone.

    So a training that goes on after a kill sees what it would have seen. The arrays are read where they lie: nothing
    holds a copy of them.

    Args:
        arrays: the first of images uint8 (N, S, S, 3), the others float or int (N, ...).
        course: how long, and its seed.
        augment: whether images are mirrored and shifted by up to an eighth, beyond which they are mirrored too.
        start: the first epoch.
        rows: int (M,), which of them are shown; by default all.

    Returns:
        Batches of as many tensors; images are float32 in [-1, 1].
    """
    n = len(arrays[0]) if rows is None else len(rows)
    batch = min(course.batch, n)
    kept = steps_of(n, course.batch) * batch

    def order(epoch: tf.Tensor) -> tf.data.Dataset:
        seed = tf.stack([tf.constant(course.seed % 2**31, tf.int64), epoch])
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(n, dtype=tf.int64), seed)[:kept]
        return tf.data.Dataset.from_tensor_slices((epoch * n + tf.range(kept, dtype=tf.int64), shuffled))

    def read(places: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, ...]:
        x, *others = _taken(arrays, indices if rows is None else tf.gather(rows, indices))
        if augment:
            seeds = tf.stack([tf.fill(tf.shape(places), tf.constant(course.seed % 2**31 + 1, tf.int64)), places], 1)
            x = tf.map_fn(lambda pair: _augmented(*pair), (x, seeds), fn_output_signature=tf.float32)
        return (x, *others)

    epochs = tf.data.Dataset.range(start, max(start, course.epochs))
    return epochs.flat_map(order).batch(batch, drop_remainder=True).map(read).prefetch(2)


def _taken(arrays: tuple[Array, ...], rows: tf.Tensor) -> list[tf.Tensor]:
    """Return rows of arrays that stay where they are; images, the first, as float32 in [-1, 1]."""
    found = tf.numpy_function(lambda rows: [array[rows] for array in arrays], [rows], [a.dtype for a in arrays])
    for tensor, array in zip(found, arrays, strict=True):
        tensor.set_shape((rows.shape[0], *array.shape[1:]))
    return [tf.cast(found[0], tf.float32) / 127.5 - 1, *found[1:]]


def _augmented(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    border = max(1, x.shape[0] // 8)
    padded = tf.pad(x, [[border, border], [border, border], [0, 0]], "REFLECT")
    shifted = tf.image.stateless_random_crop(padded, x.shape, seed)
    return tf.image.stateless_random_flip_left_right(shifted, seed + 1)


def whole(arrays: tuple[Array, ...], batch: int) -> tf.data.Dataset:
    """Return batches of all images in their order, as they are, in [-1, 1]; nothing holds a copy of the arrays."""
    rows = tf.data.Dataset.range(len(arrays[0])).batch(batch)
    return rows.map(lambda rows: tuple(_taken(arrays, rows)))


def fit(
    model: Any,
    data: Callable[[int], tf.data.Dataset],
    steps: int,
    validation: tf.data.Dataset,
    course: Course,
    work: Path,
    what: str,
    on_progress: OnProgress,
) -> pd.DataFrame:
    """Train a compiled model, or go on with its training, and give it the weights of its best epoch.

    Args:
        model: compiled; its validation loss says which epoch is best.
        data: from the first epoch that is wanted to batches of all from it on.
        steps: batches of an epoch.
        validation: what the validation loss is measured on.
        course: how long.
        work: folder for checkpoints and history; may hold those of a training that was stopped.
        what: what is trained, for whoever waits.
        on_progress: told how many steps are done.

    Returns:
        A row for each epoch: `epoch`, `seconds` that it took, `loss`, `val_loss` and other measures.

    Raises:
        ArtattackError: no epoch has a finite validation loss.
    """
    work.mkdir(parents=True, exist_ok=True)
    start = _epochs_done(work / "backup")
    history = _history(work, start)
    best = min(history["val_loss"], default=np.inf)
    waited = len(history) - 1 - int(np.argmin(history["val_loss"])) if len(history) else 0
    if start < course.epochs and waited < course.patience:
        model.fit(
            data(start),
            epochs=course.epochs,
            initial_epoch=start,
            steps_per_epoch=steps,
            validation_data=validation,
            verbose=0,
            callbacks=[
                _Clock(),
                tf_keras.callbacks.CSVLogger(str(work / "history.csv"), append=start > 0),
                tf_keras.callbacks.ModelCheckpoint(
                    str(work / "best"), save_best_only=True, save_weights_only=True, initial_value_threshold=best
                ),
                _Patience(course.patience, best, waited),
                tf_keras.callbacks.BackupAndRestore(str(work / "backup"), delete_checkpoint=False),
                _Progress(what, start, steps, course.epochs, on_progress),
            ],
        )
    if not (work / "best.index").is_file():
        raise ArtattackError(f"{what}: no epoch has a finite validation loss; lower the learning rate")
    model.load_weights(str(work / "best")).expect_partial()
    return pd.read_csv(work / "history.csv")


def clear(work: Path) -> None:
    """Remove the checkpoints of a training that is over."""
    shutil.rmtree(work, ignore_errors=True)


def seconds_of_a_step(model: Any, data: tf.data.Dataset) -> float:
    """Return how long a step of training takes, the first two, which compile, left out."""
    taken = []
    for batch in data.take(_WARM_UP + _TIMED):
        begun = perf_counter()
        model.train_on_batch(*batch)
        taken.append(perf_counter() - begun)
    return float(np.mean(taken[_WARM_UP:] or taken))


def _epochs_done(backup: Path) -> int:
    """Return how many epochs a checkpoint of Keras' `BackupAndRestore` is of."""
    latest = tf.train.latest_checkpoint(str(backup / "chief"))
    if latest is None:
        return 0
    return int(tf.train.load_variable(latest, "ckpt_saved_epoch/.ATTRIBUTES/VARIABLE_VALUE")) + 1


def _history(work: Path, start: int) -> pd.DataFrame:
    """Return the history of the epochs that the checkpoint has, and forget what was done after it."""
    path = work / "history.csv"
    if not start or not path.is_file():
        return pd.DataFrame({"val_loss": []})
    history = pd.read_csv(path).query("epoch < @start").drop_duplicates("epoch", keep="last")
    history.to_csv(path, index=False)
    return history


class _Clock(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Writes into the history how long each epoch took."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begun = perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["seconds"] = perf_counter() - self._begun


class _Patience(tf_keras.callbacks.EarlyStopping):  # type: ignore[misc]
    """Early stopping that has already seen the epochs before a kill."""

    def __init__(self, patience: int, best: float, waited: int) -> None:
        super().__init__(patience=patience)
        self._so_far = best, waited

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        best, self.wait = self._so_far
        if np.isfinite(best):
            self.best = best


class _Progress(tf_keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, what: str, start: int, steps: int, epochs: int, on_progress: OnProgress) -> None:
        super().__init__()
        self._done, self._total = start * steps, epochs * steps
        self._what, self._tell, self._best = what, on_progress, np.inf

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._done += 1
        self._tell(self._what, self._done, self._total)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._best = min(self._best, logs["val_loss"])
        self._what = f"{self._what.split(',')[0]}, validation loss {logs['val_loss']:.3f} (best {self._best:.3f})"
