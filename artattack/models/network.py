"""Surgery on functional Keras networks: cut, resize, replace layers, always on a copy.

Every change clones the network: logits instead of softmax, features at any resolution, surrogate gradients, average
pooling, other precisions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import larq as lq
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from artattack.errors import ArtattackError, unknown
from artattack.tracing import forgetting_gradients, unconverted

Network = Any  # a functional Model of tf_keras (Keras 2) or of keras (Keras 3)
Layer = Any
# Returns a layer's replacement, unbuilt, or None for a plain copy. A replacement gets the weights of the original
# layer, unless it comes with a list of its own.
Replace = Callable[[Layer], "Layer | tuple[Layer, list[NDArray[Any]]] | None"]

_BINARY_CONVOLUTIONS = (lq.layers.QuantConv2D, lq.layers.QuantDepthwiseConv2D, lq.layers.QuantSeparableConv2D)


def keras_of(network: Network) -> Any:
    """Return the Keras package, 2 (`tf_keras`) or 3 (`keras`), that a network belongs to."""
    import tf_keras

    return tf_keras if isinstance(network, tf_keras.Model) else sys.modules["keras"]


@unconverted  # type: ignore[untyped-decorator]
@forgetting_gradients()  # a functional network calls its layers anew in each trace
def rebuild(
    network: Network,
    outputs: Sequence[str] | None = None,
    *,
    input_shape: tuple[int | None, int | None, int] | None = None,
    replace: Replace | None = None,
) -> Network:
    """Copy a functional network; optionally cut it at layers, change its input shape, or replace layers.

    Args:
        network: a functional Keras model with one input (N, H, W, 3).
        outputs: names of the layers whose outputs the copy returns, as a list; by default the network's own.
        input_shape: (H, W, 3) of the copy, None for any; by default the network's own.
        replace: function that returns a layer's replacement; see `Replace`.

    Returns:
        A network with its own weights, copied by layer name; it is not trainable (`freeze`).

    Raises:
        ArtattackError: the copy cannot be built, for example because a layer before the cut fixes the size.
    """
    keras = keras_of(network)
    if outputs is not None:
        tensors = [network.get_layer(name).output for name in outputs]
        network = keras.Model(network.input, tensors, name=network.name)
    own_shape = tuple(network.input_shape[1:])
    shape = own_shape if input_shape is None else input_shape
    own_weights: dict[str, list[NDArray[Any]]] = {}

    def clone(layer: Layer) -> Layer:
        stand_in = replace(layer) if replace else None
        if isinstance(stand_in, tuple):
            stand_in, own_weights[layer.name] = stand_in
        if stand_in is not None:
            return stand_in
        if _is_network(layer):
            fixed = layer.input_shape[1:]
            inner_shape = fixed if shape == own_shape else (*[None] * (len(fixed) - 1), fixed[-1])
            return keras.models.clone_model(layer, keras.Input(inner_shape), clone_function=clone)
        if shape != own_shape and _pools_everything(layer):
            return keras.layers.GlobalAveragePooling2D(keepdims=True, name=layer.name)
        # Keras 3 lists operations among the layers; they have no state, so the copy can share them.
        if not hasattr(layer, "weights"):
            return layer
        config = layer.get_config()  # drawing initial weights, which the original's replace, takes a sixth of the time
        return type(layer).from_config(config | {key: "zeros" for key in config if key.endswith("_initializer")})

    def give_weights(original: Network, copy: Network) -> None:
        for layer in copy.layers:
            if _is_network(layer):
                give_weights(original.get_layer(layer.name), layer)
            elif layer.weights:  # a replacement may have none
                weights = own_weights.get(layer.name)
                layer.set_weights(original.get_layer(layer.name).get_weights() if weights is None else weights)
            if hasattr(layer, "finalize_state"):  # Normalization computes with values derived from its weights
                layer.finalize_state()

    try:
        copy = keras.models.clone_model(network, keras.Input(shape), clone_function=clone)
        give_weights(network, copy)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        raise ArtattackError(
            f"network '{network.name}' cannot be rebuilt for input {shape}: {reason(error)}"
        ) from error
    freeze(copy)
    return copy


def freeze(network: Network) -> None:
    """Make a network not trainable, without changing its outputs.

    Keras 2 puts a batch normalization that is not trainable into evaluation mode, even if the file calls it with
    `training=True`. Such a layer stays trainable, so that it still normalizes by the batch. In Keras 3, the mode of the
    network's call overrides that of its layers' calls.
    """
    network.trainable = False
    for layer in network.layers:
        if _is_network(layer):
            freeze(layer)
        elif type(layer).__name__ == "BatchNormalization" and any(
            getattr(node, "call_kwargs", {}).get("training") is True for node in layer._inbound_nodes
        ):
            layer.trainable = True


def reason(error: Exception) -> str:
    """Return the most informative line of an exception; Keras names the layer first and the cause below."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [cause for line in lines if (cause := line.partition("Exception encountered: ")[2])]
    lines = causes[-1:] or [line for line in lines if not line.startswith("Exception encountered")] or lines
    return lines[0][:200] if lines else type(error).__name__


def _is_network(layer: Layer) -> bool:
    return hasattr(layer, "layers")


def _pools_everything(layer: Layer) -> bool:
    """Whether a layer averages over its whole input, as global pooling in a network built for one size."""
    if type(layer).__name__ != "AveragePooling2D":
        return False
    size = tuple(layer.input.shape[1:3])
    return size == tuple(layer.pool_size) and size != (1, 1)


class _Beginning(NamedTuple):
    """The beginning of a network.

    Attributes:
        scaling: kinds of the layers that scale values, in order.
        last: the last layer before the first one that does more than scale, crop or reorder; None for none.
        nested: the nested network that follows, if any.
    """

    scaling: tuple[str, ...]
    last: Layer | None
    nested: Network | None


# Layers that scale images, with arithmetic on constants below; layers that leave values as they are (`_PASSING`: crops,
# flips, another order of channels) may stand between them.
_SCALING = ("Rescaling", "Normalization")
_ARITHMETIC_2 = ("math.truediv", "math.divide", "math.multiply", "math.subtract", "math.add", "__operators__.add")
_ARITHMETIC_3 = ("TrueDivide", "Divide", "Multiply", "Subtract", "Add")
_ARITHMETIC = {*_ARITHMETIC_2, *_ARITHMETIC_3, "nn.bias_add"}
_PASSING = ("CenterCrop", "Cropping2D", "Resizing", "SlicingOpLambda", "GetItem", "Dropout")


def _beginning(network: Network) -> _Beginning:
    layer, last = network.input._keras_history[0], None
    scaling: list[str] = []
    while True:
        nodes = [getattr(node, "operation", None) or node.layer for node in layer._outbound_nodes]
        after = [
            found for found in getattr(network, "operations", network.layers) if any(found is other for other in nodes)
        ]
        if len(after) != 1 or len(after[0]._inbound_nodes) != 1:
            return _Beginning(tuple(scaling), last, None)
        layer = after[0]
        if _is_network(layer):
            return _Beginning(tuple(scaling), last, layer if getattr(layer, "inputs", None) else None)
        kind = type(layer).__name__
        name = layer.get_config().get("function") if kind == "TFOpLambda" else kind
        alone = len(layer._inbound_nodes[0].parent_nodes) == 1
        if name in _SCALING or (name in _ARITHMETIC and alone):
            scaling.append(name)
        elif name not in _PASSING and not kind.startswith("Random"):
            return _Beginning(tuple(scaling), last, None)
        last = layer


def scaling_layers(network: Network) -> tuple[str, ...]:
    """Return the kinds of layers, or the functions, that scale images at the beginning of a network, in order."""
    scaling, _, nested = _beginning(network)
    return scaling if nested is None else (*scaling, *scaling_layers(nested))


def after_scaling(network: Network, x: Any) -> Any:
    """Return preprocessed images (N, h, w, 3) after the network's `scaling_layers`."""
    _, last, nested = _beginning(network)
    if last is not None:
        x = keras_of(network).Model(network.input, last.output)(tf.constant(x), training=False)
    return np.asarray(x) if nested is None else after_scaling(nested, x)


def spread_at_first_normalization(network: Network, x: Any) -> float | None:
    """Return the spread of preprocessed images (N, h, w, 3) at the first batch normalization, relative to training.

    For each channel, the spread is the standard deviation of the layer's input over its standard deviation in training;
    the result is the median over channels. None for a network without batch normalization, or with an untrained one.
    """
    _, last, nested = _beginning(network)
    if nested is not None:
        if last is not None:
            x = keras_of(network).Model(network.input, last.output)(tf.constant(x), training=False)
        return spread_at_first_normalization(nested, np.asarray(x))
    norms = [layer for layer in network.layers if type(layer).__name__ == "BatchNormalization"]
    if not norms or len(norms[0]._inbound_nodes) != 1:
        return None
    mean, variance = np.asarray(norms[0].moving_mean), np.asarray(norms[0].moving_variance)
    if not mean.any() and (variance == 1).all():
        return None
    got = np.asarray(keras_of(network).Model(network.input, norms[0].input)(tf.constant(x), training=False))
    if got.shape[-1] != len(mean):
        return None
    spread = got.std(axis=tuple(range(got.ndim - 1)))
    return float(np.median(spread / np.sqrt(variance + norms[0].epsilon)))


def with_logits(network: Network) -> Network:
    """Return the network without its final softmax, if any, so that its outputs (N, K) are logits."""
    last = network.output._keras_history[0]
    if not {"Softmax", "softmax", "nn.softmax"} & final_names(network):
        return network
    if not getattr(last, "weights", None):  # a softmax layer of its own
        return keras_of(network).Model(network.input, last.input, name=network.name)

    def linear(layer: Layer) -> Layer | None:
        return type(layer).from_config({**layer.get_config(), "activation": "linear"}) if layer is last else None

    return rebuild(network, replace=linear)


def final_names(network: Network) -> set[str]:
    """Return the names of the last layer's class, activation and function, as far as it has them."""
    last = network.output._keras_history[0]
    config = last.get_config()
    names = (type(last).__name__, config.get("activation"), config.get("function"))
    return {name for name in names if isinstance(name, str)}


def is_binary_convolution(layer: Layer) -> bool:
    """Whether a layer convolves binarized activations with binarized kernels."""
    return isinstance(layer, _BINARY_CONVOLUTIONS) and layer.input_quantizer is not None


def is_convolution(layer: Layer) -> bool:
    """Whether a layer is any two-dimensional convolution."""
    return "Conv2D" in type(layer).__name__


def is_sum(layer: Layer) -> bool:
    """Whether a layer adds its inputs, as at the end of a residual branch."""
    # Keras 2 turns `a + b` into a layer named by its function; b may be a constant.
    adds = type(layer).__name__ == "Add" or layer.get_config().get("function") in ("__operators__.add", "math.add")
    return adds and len(layer._inbound_nodes[0].parent_nodes) > 1


def is_activation(layer: Layer) -> bool:
    """Whether a layer is an activation function, not part of another layer."""
    return type(layer).__name__ in ("Activation", "ReLU", "PReLU", "LeakyReLU", "ELU")


class _Kind(NamedTuple):
    fits: Callable[[Layer], bool]
    plural: str


_KINDS = {
    "binary": _Kind(is_binary_convolution, "binarized convolutions"),
    "conv": _Kind(is_convolution, "convolutions"),
    "sum": _Kind(is_sum, "sums of two layers"),
    "activation": _Kind(is_activation, "activations"),
}


def layer_names(network: Network, specs: Sequence[str]) -> tuple[str, ...]:
    """Resolve layer specifications to layer names.

    Args:
        network: the network with the layers.
        specs: a layer's name; or a kind and a number, such as `binary:3`, counted from 0 at the input or from -1 at
            the output; or a kind and a star, such as `conv:*`, for all layers of the kind. The kinds are `binary`
            (binarized convolutions), `conv` (all convolutions), `sum` (sums at the end of residual branches) and
            `activation`.

    Raises:
        ArtattackError: the network has no such layer; the message suggests names or numbers.
    """
    return tuple(name for spec in specs for name in _layer_names(network, spec))


def _layer_names(network: Network, spec: str) -> list[str]:
    kind, _, count = spec.partition(":")
    if not count:
        names = [layer.name for layer in network.layers]
        if spec not in names:
            raise unknown("layer", spec, names)
        return [spec]
    if kind not in _KINDS:
        raise ArtattackError(f"layer '{spec}': a counted layer is one of {', '.join(f'{k}:0' for k in _KINDS)}")
    names = [layer.name for layer in network.layers if _KINDS[kind].fits(layer)]
    if count == "*" and names:
        return names
    try:
        return [names[int(count)]]
    except (ValueError, IndexError):
        raise ArtattackError(
            f"layer '{spec}': network '{network.name}' has {len(names)} {_KINDS[kind].plural}"
            + (f", {kind}:0 to {kind}:{len(names) - 1}" if names else "; use conv:K or a layer's name")
        ) from None


def default_layers(network: Network) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return default layer specifications for style and content.

    Style takes the middle convolution of each quarter of the depth, content the middle convolution of all. Both count
    binarized convolutions, if there are any. A network without convolutions gets no layers.
    """
    binary = sum(map(is_binary_convolution, network.layers))
    kind, count = ("binary", binary) if binary else ("conv", sum(map(is_convolution, network.layers)))
    quarters = dict.fromkeys((2 * quarter + 1) * count // 8 for quarter in range(4))
    return tuple(f"{kind}:{k}" for k in quarters if count), (f"{kind}:{count // 2}",) if count else ()
