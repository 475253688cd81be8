"""Hardening of Keras 2 networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras

from artattack.models.model import Model
from artattack.models.network import rebuild
from artattack.progress import Progress
from artattack.training import fitting
from artattack.training.data import Array
from artattack.training.imitation import imitation
from artattack.training.networks import save_network, with_latent_weights
from artattack.training.train import make_optimizer

if TYPE_CHECKING:
    import pandas as pd

    from artattack.training.harden import Example, HardenSettings


class Hardening:
    """A Keras network in training; see `artattack.training.harden.Trainer`.

    Args:
        model: the untouched model; a copy of its network is trained.
        settings: settings of the training.
        steps: steps of the whole training, over which the learning rate falls to 0.
    """

    def __init__(self, model: Model, settings: HardenSettings, steps: int) -> None:
        tf_keras.utils.set_random_seed(settings.seed)
        size = model.input_size
        self._student = rebuild(model.network, input_shape=(*size, 3))
        self._student.trainable = True
        with_latent_weights(self._student)
        self.parameters = int(self._student.count_params())
        images = [tf_keras.Input((*size, 3), name=name) for name in ("untouched", "painted")]
        logits = [self._student(model.preprocessing(image), training=False) for image in images]
        self._model = tf_keras.Model(images, tf.stack(logits, axis=1), name="hardening")
        weights = np.array([1.0, settings.painted_weight], np.float32) / (1 + settings.painted_weight)

        def loss(taught: Any, learnt: Any) -> Any:
            return tf.reduce_sum(weights * imitation(taught[:, None], learnt, settings.temperature), axis=1)

        self._model.compile(optimizer=make_optimizer(settings.learning_rate, steps), loss=loss)
        image = tf.TensorSpec((None, *size, 3), tf.float32)
        self._signature = (image, image), tf.TensorSpec((None, model.classes), tf.float32)

    def step(self, example: Example) -> float:
        """Train on a batch, and return its loss."""
        (untouched, painted), logits = example
        return float(self._model.train_on_batch([untouched, painted], logits))

    def loss(self, example: Example) -> float:
        """Return the mean loss of a batch."""
        (untouched, painted), logits = example
        return float(self._model.test_on_batch([untouched, painted], logits))

    @property
    def weights(self) -> list[Array]:
        """All weights of the network; those of one bit are latent."""
        return list(self._student.get_weights())

    @weights.setter
    def weights(self, values: list[Array]) -> None:
        self._student.set_weights(values)

    def fit(
        self,
        examples: Callable[[int], Iterator[Example]],
        steps: int,
        validation: Sequence[Example],
        course: fitting.Course,
        work: Path,
        on_progress: Progress,
    ) -> pd.DataFrame:
        """Train, or resume training; see `artattack.training.fitting.fit`."""

        def dataset(draw: Callable[[], Iterator[Example]]) -> tf.data.Dataset:
            return tf.data.Dataset.from_generator(draw, output_signature=self._signature).prefetch(2)

        return fitting.fit(
            self._model,
            lambda start: dataset(lambda: examples(start)),
            steps,
            dataset(lambda: iter(validation)),
            course,
            work,
            "hardening",
            on_progress,
        )

    def save(self, path: Path) -> None:
        """Write the network as a .keras file; one-bit kernels become their signs."""
        save_network(self._student, path)
