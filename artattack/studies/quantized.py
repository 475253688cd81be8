"""Post-training quantization of a float network to few bits, without further training.

Kernels are rounded per output channel, at the scale of least squared error: one bit is the sign times the mean
magnitude (Rastegari et al., XNOR-Net, ECCV 2016, equation 6), more bits are whole multiples, as many above zero as
below. Activations use larq's DoReFa (Zhou et al., 2016), on a range of least squared error. As in that paper, the
first and the last layer keep float kernels. The following batch normalization corrects the change that rounding makes
to the mean and spread of each channel (Nagel et al., Data-Free Quantization, ICCV 2019, section 4.2; measured on
images, where the paper derives it). Layers are quantized in order, each on the outputs of the quantized layers before
it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artattack.errors import ArtattackError
from artattack.studies.derived import derived
from artattack.training.networks import FLOAT, Precision, parse_precision

Array = NDArray[np.float32]

_RECIPE = 1  # version of the rounding: networks of another version are made again
_IMAGES = 8  # number of bundled samples on which ranges and means are measured
_SCALES = np.linspace(0.15, 1.0, 35, dtype=np.float32)  # scales to try, as shares of the largest value
_MOST = 200_000  # approximate maximum number of activations by which a range is chosen


def is_quantized(name: str) -> bool:
    """Return whether a name denotes a low-precision network, such as `efficientnet_lite0-w4a8`."""
    return _parts(name) is not None


def _parts(name: str) -> tuple[str, Precision] | None:
    from artattack.models.registry import is_registered

    whole, _, bits = name.rpartition("-")
    if not is_registered(whole):
        return None
    try:
        return whole, parse_precision(bits)
    except ArtattackError:
        return None


def quantized(name: str) -> Path:
    """Return the file of a registry model at few bits, creating the file if it is missing.

    The file is in the user's cache folder, with a card beside it that describes its input and layers.

    Args:
        name: the model and its bits, such as `efficientnet_lite0-w4a8`. The model consists of convolutions, batch
            normalizations, ReLUs, sums, poolings and dense layers.

    Raises:
        ArtattackError: the name denotes no such network, or the file cannot be written.
    """
    parts = _parts(name)
    if parts is None:
        raise ArtattackError(f"network '{name}': write a model of the registry and bits, efficientnet_lite0-w4a8")
    whole, precision = parts
    title = f"{whole} with {precision.weights} bits a weight and {precision.activations} an activation, rounded"

    def rounded(model: Any) -> Any:
        from artattack.inputs.image_sets import open_image_set, read_sample, spread
        from artattack.inputs.images import to_float
        from artattack.models.model import resize

        samples = spread(open_image_set("samples").samples, _IMAGES)
        images = to_float(np.stack([read_sample(sample, 224, 0.875) for sample in samples]))
        return at_precision(model.network, precision, model.preprocessing(resize(images, model.input_size)))

    return derived(whole, f"{name}-{_RECIPE}-{{}}.keras", title, rounded, distilled_from=whole)


def at_precision(network: Any, precision: Precision, images: Any) -> Any:
    """Return a copy of a network at few bits.

    Args:
        network: a functional Keras network in which each ReLU follows a batch normalization and feeds one layer.
        precision: bits of weights and activations; `FLOAT` leaves either as it is.
        images: preprocessed images (N, H, W, 3) float32, on which ranges and means are measured.
    """
    import larq as lq

    from artattack.models.network import rebuild

    def replace(layer: Any) -> Any:
        if type(layer).__name__ != "ReLU" or precision.activations == FLOAT:
            return None
        return lq.quantizers.DoReFa(k_bit=precision.activations, mode="activations", name=layer.name)

    copy = rebuild(network, replace=replace)
    parents = {layer.name: _parents(layer) for layer in network.layers}
    kernels = [layer.name for layer in network.layers if _has_kernel(layer)]
    open_ends = Counter(parent for names in parents.values() for parent in names)
    float_values, values = ({network.layers[0].name: images} for _ in range(2))
    ranges: dict[str, float] = {}  # by activation: the range that its outputs are divided by
    for layer in network.layers[1:]:
        here, before = copy.get_layer(layer.name), parents[layer.name]
        given, float_given = ([kept[name] for name in before] for kept in (values, float_values))
        if _has_kernel(layer):
            kernel, *rest = layer.get_weights()
            kernel = kernel * ranges.get(_source(before[0], parents), 1.0)
            if layer.name not in (kernels[0], kernels[-1]):
                kernel = round_kernel(kernel, precision.weights, 2 if "Depthwise" in type(layer).__name__ else -1)
            here.set_weights([kernel, *rest])
        if type(layer).__name__ == "BatchNormalization":
            here.set_weights(_corrected(layer, given[0].numpy(), float_given[0].numpy()))
        if type(here).__name__ == "DoReFa":
            ranges[layer.name] = range_ = best_range(layer(given[0]).numpy(), precision.activations)
            normalization = copy.get_layer(before[0])
            scale, offset, *rest = normalization.get_weights()
            normalization.set_weights([scale / range_, offset / range_, *rest])
            given = [given[0] / range_]
        values[layer.name], float_values[layer.name] = (
            each(given_to if len(given_to) > 1 else given_to[0])
            for each, given_to in ((here, given), (layer, float_given))
        )
        open_ends.subtract(before)
        for name in before:
            if not open_ends[name]:
                values.pop(name), float_values.pop(name)
    return copy


def round_kernel(kernel: Array, bits: int, axis: int = -1) -> Array:
    """Return a kernel in which each channel of one axis has at most 2^bits values.

    Args:
        kernel: any shape, float32.
        bits: 1 for sign times mean magnitude; 2 to 8 for whole multiples of a step, 2^(bits-1) - 1 on either side of
            zero; `FLOAT` for the kernel itself.
        axis: axis of the channels.
    """
    if bits == FLOAT:
        return kernel
    moved = np.moveaxis(kernel, axis, 0)
    channels = moved.reshape(len(moved), -1)
    if bits == 1:
        rounded = np.where(channels < 0, -1, 1) * np.abs(channels).mean(1, keepdims=True)
    else:
        steps = 2 ** (bits - 1) - 1
        largest = np.maximum(np.abs(channels).max(1, keepdims=True), np.finfo(np.float32).tiny)
        rounded, least = np.zeros_like(channels), np.full((len(channels), 1), np.inf)
        for share in _SCALES:
            step = share * largest / steps
            tried = step * np.clip(np.round(channels / step), -steps, steps)
            error = np.square(tried - channels).sum(1, keepdims=True)
            rounded, least = np.where(error < least, tried, rounded), np.minimum(error, least)
    return np.moveaxis(rounded.reshape(moved.shape), 0, axis).astype(np.float32)


def best_range(values: Array, bits: int) -> float:
    """Return the upper end of the range [0, r] that minimizes the rounding error of values >= 0 at 2^bits levels."""
    flat = values.reshape(-1)
    flat = flat[:: max(1, flat.size // _MOST)]
    largest, levels = max(float(flat.max()), float(np.finfo(np.float32).tiny)), 2**bits - 1
    errors = [
        np.square(np.round(np.minimum(flat / (share * largest), 1) * levels) * (share * largest / levels) - flat).mean()
        for share in _SCALES
    ]
    return float(_SCALES[int(np.argmin(errors))]) * largest


def _corrected(layer: Any, values: Array, float_values: Array) -> list[Array]:
    """Return the weights of a batch normalization that gives rounded values the mean and spread of float ones."""
    scale, offset, mean, variance = layer.get_weights()
    (centre, spread), (float_centre, float_spread) = (
        (each.mean((0, 1, 2)), each.std((0, 1, 2))) for each in (values, float_values)
    )
    still = (spread == 0) | (float_spread == 0)  # a constant channel
    ratio = np.where(still, 1, spread / np.where(still, 1, float_spread))
    return [scale / ratio, offset, centre - ratio * (float_centre - mean), variance]


def _parents(layer: Any) -> list[str]:
    """Return the names of the layers whose outputs a layer takes, in a network that calls each layer once."""
    inputs = layer.input if isinstance(layer.input, list) else [layer.input]
    return [each._keras_history[0].name for each in inputs]


def _source(name: str, parents: dict[str, list[str]]) -> str:
    """Return the activation behind a pooling, or the layer itself."""
    return parents[name][0] if "pool" in name else name


def _has_kernel(layer: Any) -> bool:
    return any(word in type(layer).__name__ for word in ("Conv2D", "Dense"))
