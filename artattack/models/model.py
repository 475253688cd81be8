"""A model: a network with its preprocessing, input size and label space."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from artattack.errors import ArtattackError, unknown
from artattack.inputs.labels import LabelSpace
from artattack.models.classifier import Classifier, Gives
from artattack.tracing import compiled, forgetting_gradients


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of a network's input, an affine map of each channel: y = (255 x - mean) / std.

    Attributes:
        mean: mean of each channel, in 0..255, in the network's channel order.
        std: standard deviation of each channel, in 0..255, above 0.
        bgr: whether the network expects its channels as blue, green, red.

    Raises:
        ArtattackError: a value has another type or range.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)
    bgr: bool = False

    def __post_init__(self) -> None:
        """Check the values, and convert lists and arrays to tuples."""
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three_numbers(name, getattr(self, name)))
        if min(self.std) <= 0:
            raise ArtattackError(f"preprocessing: std takes 3 numbers above 0, not {list(self.std)}")
        if not isinstance(self.bgr, bool):
            raise ArtattackError(f"preprocessing: bgr takes true or false, without quotes, not {self.bgr!r}")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Map images (N, H, W, 3) float32 in [0, 1] to the network's input, same shape and dtype."""
        if self.bgr:
            x = tf.reverse(x, axis=[-1])
        std = np.asarray(self.std, np.float32)
        return x * tf.constant(255.0 / std, x.dtype) - tf.constant(np.asarray(self.mean, np.float32) / std, x.dtype)


def _three_numbers(name: str, values: Any) -> tuple[float, ...]:
    known = isinstance(values, list | tuple | np.ndarray) and len(values) == 3
    if not known or not all(_is_finite(value) for value in values):
        raise ArtattackError(
            f"preprocessing: {name} takes 3 numbers in 0..255, one for each channel, such as [127.5, 127.5, 127.5], "
            f"not {' '.join(repr(values).split())}"
        )
    return tuple(float(value) for value in values)


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


# The names are those of Keras' modes; `imagenet` is Keras' `torch`, which every network of larq-zoo expects.
PREPROCESSING = {
    "imagenet": Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": Preprocessing((103.939, 116.779, 123.68), (1.0, 1.0, 1.0), bgr=True),
    "tf": Preprocessing((127.5,) * 3, (127.5,) * 3),  # [-1, 1]
    "lite": Preprocessing((127.0,) * 3, (128.0,) * 3),  # EfficientNet-Lite
    "unit": Preprocessing(),  # [0, 1]
    "byte": Preprocessing(std=(1.0, 1.0, 1.0)),  # [0, 255], for networks that preprocess within
}


def without_preprocessing(model: str) -> ArtattackError:
    """Return the error for a model without preprocessing; `model` is the name that its user gave."""
    names = ", ".join(PREPROCESSING)
    return ArtattackError(f"model '{model}': give its preprocessing: {names}, or mean and std in 0..255")


def parse_preprocessing(value: str | Mapping[str, Any] | Preprocessing) -> Preprocessing:
    """Return a preprocessing by its name, or from `mean`, `std` (each of 3 numbers in 0..255) and `bgr`.

    A `Preprocessing` is returned unchanged.

    Raises:
        ArtattackError: a name, key or value is invalid, or the values are for pixels in [0, 1]: every channel of mean
            or std is below 1, which fits no network for pixels in 0..255.
    """
    if isinstance(value, Preprocessing):
        return value
    if isinstance(value, str):
        if value not in PREPROCESSING:
            raise unknown("preprocessing", value, PREPROCESSING)
        return PREPROCESSING[value]
    if not isinstance(value, Mapping):
        raise ArtattackError(f"preprocessing: give a name ({', '.join(PREPROCESSING)}), or mean and std, not {value!r}")
    wrong = {str(key) for key in value} - {"mean", "std", "bgr"}
    if wrong:
        raise unknown("preprocessing key", min(wrong), ("mean", "std", "bgr"))
    preprocessing = replace(PREPROCESSING["byte"], **value)
    fractions = {
        name: [round(255 * number, 3) for number in numbers]
        for name, numbers in (("mean", preprocessing.mean), ("std", preprocessing.std))
        if 0 < max(map(abs, numbers)) < 1
    }
    if fractions:
        written = " and ".join(f"{name} {list(value[name])}" for name in fractions)
        meant = ", ".join(f"{name}: {numbers}" for name, numbers in fractions.items())
        raise ArtattackError(
            f"preprocessing: {written} would be right for pixels in [0, 1], but both are in 0..255: multiply by 255, "
            f"{meant}"
        )
    return preprocessing


@dataclass(eq=False, repr=False)
class Model(Classifier):
    """A TensorFlow network with its preprocessing, input size and label space, usable as backbone or classifier.

    It has these attributes, besides those of every classifier.

    Attributes:
        network: functional Keras network from preprocessed images (N, h, w, 3) to logits; `outputs` selects the
            model's logits (N, K) among them.
        preprocessing: preprocessing of images in [0, 1].
        style_layers: default layers for style, as specifications (`binary:3` or a name).
        content_layers: default layers for content, likewise.
    """

    gives: ClassVar[Gives] = "features"

    name: str
    weights: str
    weights_sha256: str
    binary: bool
    network: Any
    input_size: tuple[int, int]
    preprocessing: Preprocessing
    label_space: LabelSpace | None
    style_layers: tuple[str, ...]
    content_layers: tuple[str, ...]
    outputs: tuple[int, ...] | None = None
    probabilities: bool = False
    doubts: tuple[str, ...] = ()
    draws: int = 1
    # Not an argument, so that a changed copy (`dataclasses.replace`) starts without the original's functions.
    _compiled: dict[tuple[int, int], Callable[[tf.Tensor], tf.Tensor]] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def network_classes(self) -> int:
        """Number of the network's outputs."""
        return int(self.network.output_shape[-1])

    def logits(self, x: tf.Tensor) -> tf.Tensor:
        """Return logits (N, K) float32 of images (N, H, W, 3) float32 in [0, 1]; differentiable.

        Images of another size are resized to `input_size`, see `resize`.
        """
        logits = tf.cast(self.network(self.preprocessing(resize(x, self.input_size)), training=False), tf.float32)
        return logits if self.outputs is None else tf.gather(logits, self.outputs, axis=1)

    def _predict(self, x: NDArray[Any]) -> NDArray[Any]:
        height, width = x.shape[1:3]
        if (height, width) not in self._compiled:
            spec = tf.TensorSpec((None, height, width, 3), tf.float32)
            # A concrete function, since TensorFlow warns of retracing when many models are called for the first time.
            with forgetting_gradients():
                self._compiled[height, width] = compiled(self.logits).get_concrete_function(spec)
        return np.asarray(self._compiled[height, width](tf.constant(x)).numpy())


def weights_sha256(network: Any) -> str:
    """Return the hash of a network's weights: their values as float32, in order."""
    digest = hashlib.sha256()
    for values in network.get_weights():
        digest.update(np.ascontiguousarray(values, "<f4").tobytes())
    return digest.hexdigest()


def resize(x: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resize images (N, H, W, C) to (N, h, w, C): Lanczos (antialiased) where a side shrinks, else bilinear.

    Antialiased bilinear, the alternative for shrinking, blurs more: `quicknet_tiny` loses a fifth of its accuracy.
    Two matrix products make resizing differentiable, and fast on every device and in every precision. H and W must be
    known when traced.
    """
    height, width = x.shape[1:3]
    if (height, width) == tuple(size):
        return x
    rows = tf.constant(interpolation(height, size[0]), x.dtype)
    columns = tf.constant(interpolation(width, size[1]), x.dtype)
    return tf.einsum("ih,nhwc,jw->nijc", rows, x, columns)


@lru_cache(maxsize=64)
def interpolation(length: int, target: int) -> NDArray[Any]:
    """Return the matrix (target, length) of 1-D antialiased interpolation, from TensorFlow's resized unit vectors."""
    with tf.init_scope():
        basis = tf.eye(length)[tf.newaxis, :, :, tf.newaxis]
        method = "lanczos3" if target < length else "bilinear"
        matrix = tf.image.resize(basis, (target, length), method=method, antialias=True)
        return np.asarray(matrix[0, :, :, 0].numpy(), np.float32)
