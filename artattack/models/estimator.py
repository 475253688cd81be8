"""ART estimators of models, on which every ART attack runs unchanged, at compiled speed.

ART's own TensorFlow classifier differentiates eagerly, layer by layer, and runs one forward pass per class
for class gradients. Here each quantity an attack asks for is one compiled function of a batch of any size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from art.estimators.classification import BlackBoxClassifierNeuralNetwork, TensorFlowV2Classifier
from numpy.typing import NDArray
from scipy.special import softmax

from artattack.errors import ArtattackError
from artattack.models.classifier import Classifier
from artattack.models.model import Model
from artattack.tracing import compiled

Array = NDArray[Any]

ROWS = 32  # (image, class) pairs differentiated at once: bounds the memory of class_gradient
_REDUCTIONS: dict[str, Callable[[Array], Any]] = {"none": np.asarray, "mean": np.mean, "sum": np.sum}


class ArtEstimator(TensorFlowV2Classifier):  # type: ignore[misc]
    """A model as an ART classifier of images (N, H, W, 3) float32 in [0, 1].

    Predictions are logits (N, K), divided by the temperature. The loss is the categorical cross-entropy of
    those logits, one value per image; loss gradients are not divided by the size of the batch, so that an
    image's gradient does not depend on the images beside it. Labels `y` are one-hot (or a distribution)
    (N, K), or indices (N,) of the model's outputs. The network always runs in inference mode. Methods raise
    ArtattackError for images of another shape than `input_shape`.

    Attributes:
        artattack_model: the model.
        temperature: divisor of the logits. Decisions do not depend on it, but the softmax in the loss
            saturates less at higher values, where gradients of binarized networks otherwise vanish (Gupta
            & Ajanthan, Improved Gradient-Based Adversarial Attacks for Quantized Networks, AAAI 2022).
            It applies to all outputs for ART, so that logits, losses and gradients agree.
        probabilities: whether predictions and class gradients are those of the softmax of the logits, which a few
            attacks require.
    """

    def __init__(
        self,
        model: Model,
        *,
        input_shape: tuple[int, int, int] | None = None,
        temperature: float = 1.0,
        probabilities: bool = False,
    ) -> None:
        """Compile nothing yet: each function is traced at its first call, once for all batch sizes."""
        self.artattack_model = model
        self.temperature = _checked_temperature(temperature, model)
        self.probabilities = probabilities
        self._rows = max(1, ROWS // model.copies)
        shape = (*model.input_size, 3) if input_shape is None else tuple(input_shape)
        images = tf.TensorSpec((None, *shape), tf.float32)
        targets = tf.TensorSpec((None, model.classes), tf.float32)
        labels = tf.TensorSpec((None,), tf.int32)
        self._losses = compiled(self._trace_losses, input_signature=[images, targets])
        self._loss_gradients = compiled(self._trace_loss_gradients, input_signature=[images, targets])
        self._class_gradients = compiled(self._trace_class_gradients, input_signature=[images, labels])
        super().__init__(
            model=_Outputs(compiled(self._trace_outputs, input_signature=[images])),
            nb_classes=model.classes,
            input_shape=shape,
            loss_object=tf.keras.losses.CategoricalCrossentropy(from_logits=not probabilities, reduction="sum"),
            clip_values=(0.0, 1.0),
            channels_first=False,
            preprocessing=None,  # other values cost a round trip through NumPy at each call
        )

    def predict(self, x: Array | tf.Tensor, batch_size: int = 128, training_mode: bool = False, **kwargs: Any) -> Array:
        """Return logits (N, K) float32 (see `probabilities`), computed `batch_size` images at a time."""
        logits = self.artattack_model.predict(np.asarray(self._images(x)), batch_size)
        if self.temperature != 1:
            logits /= np.float32(self.temperature)
        return tf.nn.softmax(logits).numpy() if self.probabilities else logits

    def loss_gradient(
        self, x: Array | tf.Tensor, y: Array | tf.Tensor, training_mode: bool = False, **kwargs: Any
    ) -> Array | tf.Tensor:
        """Return each image's loss gradient (N, H, W, 3) float32, a tensor if `x` is one, else an array."""
        gradients = self._loss_gradients(self._images(x), self._targets(y))
        return gradients if tf.is_tensor(x) else gradients.numpy()

    def compute_loss(
        self,
        x: Array | tf.Tensor,
        y: Array | tf.Tensor,
        reduction: str = "none",
        training_mode: bool = False,
        **kwargs: Any,
    ) -> Array:
        """Return each image's loss (N,) float32, or the "mean" or "sum" of all losses."""
        return np.asarray(_REDUCTIONS[reduction](self._losses(self._images(x), self._targets(y)).numpy()))

    def class_gradient(
        self,
        x: Array | tf.Tensor,
        label: int | list[int] | Array | None = None,
        training_mode: bool = False,
        **kwargs: Any,
    ) -> Array:
        """Return gradients of logits (see `probabilities`).

        Args:
            x: images (N, H, W, 3).
            label: one class for all images, one for each, or None for all K classes of each.
            training_mode: ignored; the network always runs in inference mode.
            **kwargs: ignored; ART's signature has them.

        Returns:
            Array (N, K, H, W, 3) float32 for `label=None`, otherwise (N, 1, H, W, 3). The first takes
            12 K H W bytes for each image: 600 MB at 224 pixels and 1000 classes.
        """
        x = np.asarray(self._images(x))
        count = len(x)
        classes = np.arange(self.nb_classes) if label is None else np.asarray(label).reshape(-1, 1)
        pairs = np.broadcast_to(classes, (count, classes.shape[-1])).astype(np.int32)
        gradients = np.empty((pairs.size, *x.shape[1:]), np.float32)
        for start in range(0, pairs.size, self._rows):
            rows = np.arange(start, min(start + self._rows, pairs.size))
            some = tf.constant(x[rows // pairs.shape[1]])  # a tensor, which a function that runs eagerly needs
            gradients[rows] = self._class_gradients(some, tf.constant(pairs.flat[rows]))
        return gradients.reshape(count, -1, *x.shape[1:])

    def _check_params(self) -> None:
        super()._check_params()
        if self.preprocessing_operations or self.postprocessing_defences:
            raise ArtattackError(
                f"the estimator of model '{self.artattack_model.name}' takes no ART defences: give them to "
                "artattack.load_model(..., defences=[...]), by name (`artattack defences`)"
            )

    def _images(self, x: Array | tf.Tensor) -> tf.Tensor:
        if tuple(x.shape[1:]) != self.input_shape:
            height, width, _ = self.input_shape
            raise ArtattackError(
                f"the estimator of model '{self.artattack_model.name}' takes images of shape "
                f"(N, {height}, {width}, 3), not {tuple(x.shape)}; give to_estimator the input_shape you need"
            )
        return tf.cast(x, tf.float32)

    def _targets(self, y: Array | tf.Tensor) -> tf.Tensor:
        if len(y.shape) == 1 or y.shape[1] == 1:
            return tf.one_hot(tf.reshape(y, [-1]), self.nb_classes)
        return tf.cast(y, tf.float32)

    def _trace_logits(self, x: tf.Tensor) -> tf.Tensor:
        return self.artattack_model.logits(x) / self.temperature

    def _trace_outputs(self, x: tf.Tensor) -> tf.Tensor:
        logits = self._trace_logits(x)
        return tf.nn.softmax(logits) if self.probabilities else logits

    def _trace_losses(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax_cross_entropy_with_logits(y, self._trace_logits(x))

    def _trace_loss_gradients(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        if self.artattack_model.copies == 1:
            return self._trace_gradients(x, y)
        # All copies of all images would take too much memory at once.
        one = tf.TensorSpec(self.input_shape, tf.float32)
        return tf.map_fn(
            lambda pair: self._trace_gradients(pair[0][tf.newaxis], pair[1][tf.newaxis])[0],
            (x, y),
            fn_output_signature=one,
            parallel_iterations=1,
        )

    def _trace_gradients(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            losses = self._trace_losses(x, y)
        return tape.gradient(losses, x)

    def _trace_class_gradients(self, x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            chosen = tf.gather(self._trace_outputs(x), labels, batch_dims=1)
        return tape.gradient(chosen, x)


class _Outputs:
    """The `model` of an estimator: a function from images in [0, 1] to predictions.

    ART calls it with `training=`, and builds a plain classifier around it for AutoPGD with a `loss_type`.
    Resizing and preprocessing are inside; it is compiled, and so are its gradients.
    """

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def __call__(self, x: Array | tf.Tensor, training: bool = False) -> tf.Tensor:
        return self._compiled(tf.cast(x, tf.float32))


class QueryEstimator(BlackBoxClassifierNeuralNetwork):  # type: ignore[misc]
    """A model as an ART classifier of images (N, H, W, 3) float32 in [0, 1], without gradients.

    It has the attributes of `ArtEstimator`.
    """

    def __init__(
        self,
        model: Classifier,
        *,
        input_shape: tuple[int, int, int] | None = None,
        temperature: float = 1.0,
        probabilities: bool = False,
    ) -> None:
        self.artattack_model = model
        self.temperature = _checked_temperature(temperature, model)
        self.probabilities = probabilities
        super().__init__(
            self._answers,
            input_shape=(*model.input_size, 3) if input_shape is None else tuple(input_shape),
            nb_classes=model.classes,
            channels_first=False,
            clip_values=(0.0, 1.0),
            preprocessing=None,
        )

    def _answers(self, x: Array) -> Array:
        logits = self.artattack_model.predict(x, len(x)) / np.float32(self.temperature)
        return np.asarray(softmax(logits, axis=1)) if self.probabilities else logits


def _checked_temperature(temperature: float, model: Classifier) -> float:
    if not temperature > 0:
        raise ArtattackError(f"temperature {temperature} of model '{model.name}': give a number above 0")
    return temperature


def to_estimator(
    model: Classifier,
    *,
    input_shape: tuple[int, int, int] | None = None,
    temperature: float = 1.0,
    probabilities: bool = False,
) -> Any:
    """Return a model's ART estimator.

    Args:
        model: the model.
        input_shape: (H, W, 3) of the images to attack, by default at the model's own input size; the estimator
            includes resizing, and gradients are for the image before resizing.
        temperature: divisor of the logits, above 0; see `ArtEstimator`.
        probabilities: whether predictions are probabilities instead of logits; see `ArtEstimator`.

    Returns:
        An `ArtEstimator`, or a `QueryEstimator` for a model without gradients. Predictions and gradients of a defended
        model go through its defences.

    Raises:
        ArtattackError: the temperature is not above 0.
    """
    made: Any = QueryEstimator if model.gives == "logits" else ArtEstimator
    return made(model.as_read(), input_shape=input_shape, temperature=temperature, probabilities=probabilities)
