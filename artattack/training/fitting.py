"""Keras training that resumes after a kill with the results of uninterrupted training."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
import tf_keras

from artattack.errors import ArtattackError
from artattack.progress import Progress
from artattack.tracing import forgetting_gradients
from artattack.training.best_epoch import epochs_since_best
from artattack.training.data import Array

_WARM_UP, _TIMED = 2, 4  # steps per time estimate


@dataclass(frozen=True)
class Course:
    """Length of training, and the seed for the order of images.

    Attributes:
        epochs: maximum number of epochs.
        batch: images per step.
        patience: epochs without a better validation loss after which training stops.
        seed: seed for the order of images and their augmentation.
    """

    epochs: int
    batch: int
    patience: int
    seed: int


def steps_of(images: int, batch: int) -> int:
    """Return the steps per epoch, at least 1; an epoch skips the images that do not fill its last batch."""
    return max(1, images // batch)


def batches(
    arrays: tuple[Array, ...], course: Course, augment: bool, start: int = 0, rows: Array | None = None
) -> tf.data.Dataset:
    """Return batches of all epochs from `start` on, shuffled and augmented.

    The seed, the epoch and the position alone determine order and augmentation, so resumed training sees the batches
    that uninterrupted training would see. The arrays are read in place, without a copy.

    Args:
        arrays: images uint8 (N, S, S, 3), then any float or int arrays (N, ...).
        course: length of training, and seed.
        augment: whether to mirror images and shift them by up to an eighth, with reflected borders.
        start: first epoch.
        rows: int (M,), indices of the images to use; by default all.

    Returns:
        Batches with one tensor per array; images are float32 in [-1, 1].
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
    """Return rows of arrays without copying the arrays; images (the first array) as float32 in [-1, 1]."""
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
    """Return batches of all images, in order and unaugmented, in [-1, 1]; the arrays are not copied."""
    rows = tf.data.Dataset.range(len(arrays[0])).batch(batch)
    return rows.map(lambda rows: tuple(_taken(arrays, rows)))


@forgetting_gradients()
def fit(
    model: Any,
    data: Callable[[int], tf.data.Dataset],
    steps: int,
    validation: tf.data.Dataset,
    course: Course,
    work: Path,
    what: str,
    on_progress: Progress,
    callbacks: Sequence[Any] = (),
) -> pd.DataFrame:
    """Train a compiled model, or resume its training, and load the weights of its best epoch.

    Args:
        model: compiled model; the epoch with the lowest validation loss is best.
        data: function from a first epoch to the batches of all epochs from it on.
        steps: batches per epoch.
        validation: batches for the validation loss.
        course: length of training.
        work: folder for checkpoints and history; may hold those of interrupted training.
        what: label of the training in progress messages.
        on_progress: called with the number of steps done.
        callbacks: further Keras callbacks.

    Returns:
        A row for each epoch: `epoch`, `seconds` (its duration), `loss`, `val_loss` and other metrics.

    Raises:
        ArtattackError: no epoch has a finite validation loss.
    """
    work.mkdir(parents=True, exist_ok=True)
    start = _epochs_done(work / "backup")
    history = _history(work, start)
    losses = history["val_loss"].tolist()
    best, waited = min(filter(np.isfinite, losses), default=np.inf), epochs_since_best(losses)
    if start < course.epochs and waited < course.patience:
        make_slots(model)
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
                *callbacks,
            ],
        )
    if not (work / "best.index").is_file():
        raise ArtattackError(f"{what}: no epoch has a finite validation loss; lower the learning rate")
    model.load_weights(str(work / "best")).expect_partial()
    return pd.read_csv(work / "history.csv")


def make_slots(model: Any) -> None:
    """Create the variables of a compiled model's optimizer before the first step.

    TensorFlow traces a step that creates variables twice, and tracing takes most of the time of a short training. A
    step with zero gradients creates them, and changes neither weights nor averages.
    """
    variables = model.trainable_variables
    model.optimizer.apply_gradients([(tf.zeros_like(variable), variable) for variable in variables])
    model.optimizer.iterations.assign(0)


def clear(work: Path) -> None:
    """Remove the checkpoints of finished training."""
    shutil.rmtree(work, ignore_errors=True)


@forgetting_gradients()
def seconds_of_a_step(step: Callable[..., Any], batches: Iterable[Any]) -> float:
    """Return the mean seconds per training step, without the first two, which compile.

    Args:
        step: function that takes a step, such as a compiled model's `train_on_batch`.
        batches: tuples of its arguments; six are used, or all if there are fewer.
    """
    taken = []
    for batch in islice(batches, _WARM_UP + _TIMED):
        begun = perf_counter()
        step(*batch)
        taken.append(perf_counter() - begun)
    return float(np.mean(taken[_WARM_UP:] or taken))


def _epochs_done(backup: Path) -> int:
    """Return the number of epochs completed in a checkpoint of Keras' `BackupAndRestore`."""
    latest = tf.train.latest_checkpoint(str(backup / "chief"))
    if latest is None:
        return 0
    return int(tf.train.load_variable(latest, "ckpt_saved_epoch/.ATTRIBUTES/VARIABLE_VALUE")) + 1


def _history(work: Path, start: int) -> pd.DataFrame:
    """Return the history of the checkpoint's epochs, and drop later rows from the file."""
    path = work / "history.csv"
    if not start or not path.is_file():
        return pd.DataFrame({"val_loss": []})
    history = pd.read_csv(path).query("epoch < @start").drop_duplicates("epoch", keep="last")
    history.to_csv(path, index=False)
    return history


class _Clock(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Adds the duration of each epoch, in seconds, to the history."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begun = perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["seconds"] = perf_counter() - self._begun


class _Patience(tf_keras.callbacks.EarlyStopping):  # type: ignore[misc]
    """Early stopping that counts the epochs before an interruption."""

    def __init__(self, patience: int, best: float, waited: int) -> None:
        super().__init__(patience=patience)
        self._so_far = best, waited

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        best, self.wait = self._so_far
        if np.isfinite(best):
            self.best = best


class _Progress(tf_keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, what: str, start: int, steps: int, epochs: int, on_progress: Progress) -> None:
        super().__init__()
        self._done, self._total = start * steps, epochs * steps
        self._what, self._tell, self._best = what, on_progress, np.inf

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._done += 1
        self._tell(self._what, self._done, self._total)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._best = min(self._best, logs["val_loss"])
        self._what = f"{self._what.split(',')[0]}, validation loss {logs['val_loss']:.3f} (best {self._best:.3f})"
