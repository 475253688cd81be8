"""Feature networks: a backbone cut at the deepest layer used, frozen for features and for gradients to pixels.

Feature networks are not trained, which allows shortcuts in the hot loop: kernels are binarized once instead of at every
step, batch normalization has the gradient of its affine map at inference, and quantizers and max pooling have faster
gradients of equal values. Forward outputs stay the same to the last bit. Networks of Keras 3 need no shortcuts: larq
needs Keras 2, and Keras 3 normalizes at inference by the affine map itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import larq as lq
import numpy as np
import tensorflow as tf
import tf_keras

from artattack.attacks.gradients import max_pool_of_pairs, straight_through
from artattack.attacks.surrogate import surrogate, with_gradient
from artattack.models.model import Model, weights_sha256
from artattack.models.network import Layer, Network, keras_of, layer_names, rebuild
from artattack.tracing import compiled

_KERNELS = {
    "kernel_quantizer": "kernel",
    "depthwise_quantizer": "depthwise_kernel",
    "pointwise_quantizer": "pointwise_kernel",
}
# Frozen copies in use, by network; then by its weights, surrogate and pooling, and by layers. Attacks of a run often
# read the same features, and copying a network takes a second.
_copies: WeakKeyDictionary[Network, WeakValueDictionary[tuple[Any, ...], Network]] = WeakKeyDictionary()


class InferenceBatchNormalization(tf_keras.layers.Layer):  # type: ignore[misc]
    """Batch normalization at inference, with the gradient of its affine map.

    The gradient of Keras 2 also sums gradients of mean, variance, scale and offset, which attacks do not read.
    """

    def __init__(self, original: Layer) -> None:
        super().__init__(name=original.name)
        mean, variance = original.moving_mean.numpy(), original.moving_variance.numpy()
        gamma = original.gamma.numpy() if original.scale else np.ones_like(mean)
        beta = original.beta.numpy() if original.center else np.zeros_like(mean)
        slope = gamma / np.sqrt(variance + original.epsilon)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def normalize(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
            y = tf.raw_ops.FusedBatchNormV3(
                x=x,
                scale=gamma,
                offset=beta,
                mean=mean,
                variance=variance,
                epsilon=original.epsilon,
                is_training=False,
            ).y
            return y, lambda upstream: upstream * tf.cast(slope, upstream.dtype)

        self._normalize = normalize

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Normalize (N, H, W, C)."""
        return self._normalize(x)


class Features:
    """A frozen copy of a backbone, from images of any size to the outputs of some layers.

    A copy in use that holds all layers is shared, if the backbone's weights and the other arguments are the same.

    Args:
        model: the backbone, which stays unchanged.
        layers: layer specifications, see `artattack.models.network.layer_names`.
        gradient: name of a surrogate gradient for the quantizers of activations, or None for the model's own.
        average_pooling: whether to replace max pooling by average pooling.

    Raises:
        ArtattackError: no such layer or surrogate, or the network up to the layers has a fixed input size.
    """

    def __init__(
        self,
        model: Model,
        layers: Sequence[str],
        *,
        gradient: str | None = None,
        average_pooling: bool = False,
    ) -> None:
        names = tuple(layer_names(model.network, layers))
        copies = _copies.setdefault(model.network, WeakValueDictionary())
        kind = weights_sha256(model.network), gradient, average_pooling
        network = copies.get((kind, names)) or _part_of_a_copy(copies, kind, names)
        if network is None:
            network = _frozen_copy(model.network, names, gradient, average_pooling)
        self.network = copies[kind, names] = network
        self._preprocessing = model.preprocessing

    def only(self, places: Iterable[int]) -> Features:
        """Return the features of some of these layers, by their places from 0 on, through the same copy."""
        part = copy(self)
        part.network = keras_of(self.network).Model(self.network.input, [self.network.outputs[k] for k in places])
        return part

    def bytes_per_image(self, height: int, width: int) -> int:
        """Return the approximate memory of one image's activations, forward and backward, in bytes."""
        traced = compiled(self).get_concrete_function(tf.TensorSpec((1, height, width, 3), tf.float32))
        shapes = [output.shape for op in traced.graph.get_operations() for output in op.outputs]
        values = sum(shape.num_elements() or 0 for shape in shapes if shape.rank == 4 and shape[0] == 1)
        return 4 * 2 * values  # float32; a gradient for each activation

    def __call__(self, x: tf.Tensor) -> list[tf.Tensor]:
        """Return the layers' outputs, each (N, h, w, C), for images (N, H, W, 3) float32 in [0, 1]."""
        outputs = self.network(self._preprocessing(x), training=False)
        return outputs if isinstance(outputs, list) else [outputs]


def _part_of_a_copy(
    copies: WeakValueDictionary[tuple[Any, ...], Network], kind: tuple[Any, ...], names: Sequence[str]
) -> Network | None:
    """Return the layers' outputs from a copy in use of the same kind that holds these layers, or None."""
    for (other, _), network in list(copies.items()):
        if other == kind and {layer.name for layer in network.layers}.issuperset(names):
            return keras_of(network).Model(network.input, [network.get_layer(name).output for name in names])
    return None


def _frozen_copy(network: Network, names: Sequence[str], gradient: str | None, average_pooling: bool) -> Network:
    """Return a frozen copy of a network for images of any size, cut at layers."""
    derivative = surrogate(gradient) if gradient else None
    average_pool = keras_of(network).layers.AveragePooling2D

    def replace(layer: Layer) -> Any:
        if average_pooling and type(layer).__name__ == "MaxPooling2D":
            return average_pool.from_config(layer.get_config())  # both have the same configuration
        if isinstance(layer, tf_keras.layers.MaxPooling2D) and _pools_pairs(layer):
            return tf_keras.layers.Lambda(max_pool_of_pairs, name=layer.name)
        if isinstance(layer, tf_keras.layers.BatchNormalization) and list(np.ravel(layer.axis)) in ([3], [-1]):
            return InferenceBatchNormalization(layer)
        if any(getattr(layer, key, None) is not None for key in ("input_quantizer", *_KERNELS)):
            return _frozen(layer, derivative)
        return None

    return rebuild(network, names, input_shape=(None, None, 3), replace=replace)


def _pools_pairs(layer: Layer) -> bool:
    how = (tuple(layer.pool_size), tuple(layer.strides), layer.padding, layer.data_format)
    return how == ((2, 2), (1, 1), "valid", "channels_last")


def _frozen(layer: Layer, derivative: Callable[[tf.Tensor], tf.Tensor] | None) -> tuple[Layer, list[np.ndarray]]:
    config = layer.get_config()
    quantizers = {attribute: getattr(layer, key, None) for key, attribute in _KERNELS.items()}
    config.update({key: None for key in _KERNELS if key in config})
    config.update({key: None for key in config if key.endswith("_constraint")})
    quantizer = config.get("input_quantizer") and layer.input_quantizer
    if derivative is None and isinstance(quantizer, lq.quantizers.SteSign) and quantizer.clip_value is not None:
        derivative = straight_through(quantizer.clip_value)
    if quantizer and derivative:
        config["input_quantizer"] = with_gradient(quantizer, derivative)
    binarize = {id(getattr(layer, attribute)): quantizer for attribute, quantizer in quantizers.items() if quantizer}
    weights = [
        np.asarray(binarize[id(variable)](tf.constant(value)) if id(variable) in binarize else value)
        for variable, value in zip(layer.weights, layer.get_weights(), strict=True)
    ]
    return type(layer).from_config(config), weights
