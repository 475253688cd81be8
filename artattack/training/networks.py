"""The 2020 study's network at any precision, and helpers to prepare and save trained networks."""

from __future__ import annotations

import re
import zipfile
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from artattack.errors import ArtattackError
from artattack.files import write_file

if TYPE_CHECKING:
    Network = Any

FLOAT = 32  # bits
_MOMENTUM = 0.9  # of batch normalization: short training has few steps to average over
_FILTERS = (128, 128, 256, 256, 512, 512)
_UNITS = (1024, 1024)
_LATENT = 0.25  # initial magnitude of kernels given as +1 and -1: small enough to change sign in a few hundred steps
_STRIDE = 8  # total stride of three poolings


class Precision(NamedTuple):
    """Bits of a network's weights and activations: 1, 2 to 8 (DoReFa), or 32 for float."""

    weights: int
    activations: int

    def __str__(self) -> str:
        """Return `float` or, for example, `w1a1`."""
        return "float" if self == (FLOAT, FLOAT) else f"w{self.weights}a{self.activations}"


def parse_precision(text: str) -> Precision:
    """Parse `float`, or bits of weights and activations such as `w1a1`, each 1 to 8, or 32 for float.

    Raises:
        ArtattackError: the text is neither.
    """
    match = re.fullmatch(r"w(\d+)a(\d+)", text)
    bits = (FLOAT, FLOAT) if text == "float" else tuple(map(int, match.groups())) if match else ()
    if len(bits) != 2 or any(bit not in (*range(1, 9), FLOAT) for bit in bits):
        raise ArtattackError(
            f"precision '{text}': write float, or bits of weights and activations such as w1a1 or w4a8, each 1 to 8 "
            "or 32"
        )
    return Precision(*bits)


def build_network(size: int, classes: int, width: float, precision: Precision, *, latent: bool = True) -> Network:
    """Build the study's network: BinaryNet for CIFAR-10 (Courbariaux et al., 2016), as in larq's example.

    The network has six convolutions and three dense layers, each followed by batch normalization without scale. The
    first convolution takes unquantized pixels. One bit uses larq's `SteSign` with the straight-through estimator
    clipped at 1, more bits use `DoReFa` (Zhou et al., 2016), and float activations use ReLU.

    Args:
        size: side of images in pixels, a multiple of 8.
        classes: number of outputs.
        width: factor on the paper's numbers of filters and units.
        precision: bits of weights and activations.
        latent: whether one-bit kernels have latent weights, clipped to [-1, 1]; if not (for Bop), kernels are drawn
            from -1 and 1.

    Returns:
        A network from images (N, size, size, 3) in [-1, 1] to probabilities (N, classes).
    """
    import larq as lq
    import tf_keras

    layers, quantizers = tf_keras.layers, lq.quantizers

    def quantized(first: bool) -> dict[str, Any]:
        weights, activations = precision
        options: dict[str, Any] = {}
        if weights == 1:
            options["kernel_quantizer"] = quantizers.SteSign() if latent else quantizers.NoOp(precision=1)
        elif weights < FLOAT:
            options["kernel_quantizer"] = quantizers.DoReFa(k_bit=weights, mode="weights")
        if weights < FLOAT and latent:
            options["kernel_constraint"] = lq.constraints.WeightClip(1.0)
        if activations < FLOAT and not first:
            one = activations == 1
            options["input_quantizer"] = quantizers.SteSign() if one else quantizers.DoReFa(k_bit=activations)
        return options

    def activated(x: Any, name: str) -> Any:
        return layers.ReLU(name=f"{name}_relu")(x) if precision.activations == FLOAT else x

    def normalized(x: Any, name: str) -> Any:
        return layers.BatchNormalization(momentum=_MOMENTUM, scale=False, name=f"{name}_normalization")(x)

    image = x = layers.Input((size, size, 3), name="image")
    for number, filters in enumerate(_FILTERS):
        name, first = f"conv{number}", number == 0
        pad = 1.0 if precision.activations == 1 and not first else 0.0  # a third value would be a second bit
        x = x if first else activated(x, name)
        x = lq.layers.QuantConv2D(
            _scaled(filters, width), 3, padding="same", pad_values=pad, use_bias=False, name=name, **quantized(first)
        )(x)
        if number % 2:
            x = layers.MaxPool2D(2, name=f"{name}_pool")(x)
        x = normalized(x, name)
    x = layers.Flatten(name="flat")(x)
    for number, units in enumerate((*(_scaled(units, width) for units in _UNITS), classes)):
        name = f"dense{number}"
        x = activated(x, name)
        x = lq.layers.QuantDense(units, use_bias=False, name=name, **quantized(False))(x)
        x = normalized(x, name)
    network = tf_keras.Model(image, layers.Activation("softmax", name="probabilities")(x), name="binarynet")
    if precision.weights == 1 and not latent:
        take_signs(network)
    return network


def check_size(size: int) -> None:
    """Raise ArtattackError if three poolings do not divide a size."""
    if size % _STRIDE:
        raise ArtattackError(f"size {size}: the network pools three times by 2; give a multiple of {_STRIDE}")


def _scaled(number: int, width: float) -> int:
    return max(8, 8 * round(number * width / 8))


def binary_kernels(network: Network) -> list[tuple[Any, Any]]:
    """Return each one-bit kernel of a network with its quantizer."""
    pairs = []
    for layer in network.layers:
        for kind in ("kernel", "depthwise", "pointwise"):
            quantizer = getattr(layer, f"{kind}_quantizer", None)
            variable = getattr(layer, kind if kind == "kernel" else f"{kind}_kernel", None)
            if quantizer is not None and variable is not None and getattr(quantizer, "precision", None) == 1:
                pairs.append((variable, quantizer))
    return pairs


def take_signs(network: Network) -> None:
    """Replace the latent weights of one-bit kernels with their signs; outputs stay the same."""
    import numpy as np

    for variable, _ in binary_kernels(network):
        variable.assign(np.where(variable.numpy() < 0, -1.0, 1.0))


def with_latent_weights(network: Network) -> None:
    """Scale one-bit kernels whose weights are all +1 or -1, so that training can change their signs."""
    import numpy as np

    for variable, _ in binary_kernels(network):
        values = variable.numpy()
        if (np.abs(values) == 1).all():
            variable.assign(_LATENT * values)


def sizes(network: Network) -> dict[str, int]:
    """Return a network's parameters and the bytes of its weights as larq counts them: packed, and as float32."""
    import larq as lq

    profile = lq.models.ModelProfile(network)
    return {
        "parameters": int(network.count_params()),
        "bytes": int(profile.memory) // 8,  # larq counts bits
        "bytes_as_float32": int(profile.fp_equivalent_memory) // 8,
    }


def save_network(network: Network, path: Path) -> None:
    """Write a network atomically as a compressed .keras file; one-bit kernels become their signs.

    Raises:
        ArtattackError: the file cannot be written.
    """
    import tf_keras

    take_signs(network)
    uncompiled = tf_keras.Model(network.input, network.output, name=network.name)
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "network.keras"
        uncompiled.save(plain)
        packed = BytesIO()
        with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
            for info in source.infolist():
                target.writestr(info.filename, source.read(info))  # unchanged content, at most an eighth of the size
    write_file(path, packed.getvalue())
