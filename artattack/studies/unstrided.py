"""Backbones with an unstrided stem: the same kernels, applied at every pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artattack.studies.derived import derived


def unstrided(backbone: str) -> Path:
    """Return the file of a binarized backbone with an unstrided stem, creating the file if it is missing.

    The stem consists of the layers before the first binarized convolution: in QuickNet, two convolutions with a stride
    of 2. All kernels stay unchanged, and later layers work on maps of sixteen times the area. The file is in the user's
    cache folder, with a card beside it that describes its input and layers.

    Args:
        backbone: a model of the registry.

    Raises:
        ArtattackError: there is no such model, it cannot be rebuilt that way, or the file cannot be written.
    """
    return derived(
        backbone,
        f"{backbone}-stem-1-{{}}.keras",
        f"{backbone} without strides in its stem",
        lambda model: without_strides(model.network),
    )


def without_strides(network: Any) -> Any:
    """Return a copy of a network whose convolutions before the first binarized one have a stride of 1.

    Raises:
        ArtattackError: the network cannot be rebuilt that way.
    """
    from artattack.models.network import is_binary_convolution, is_convolution, keras_of, rebuild

    layers = keras_of(network).layers
    stem = []
    for layer in network.layers:
        if is_binary_convolution(layer):
            break
        stem.append(layer.name)

    def replace(layer: Any) -> Any:
        if layer.name in stem and is_convolution(layer):
            return type(layer).from_config({**layer.get_config(), "strides": (1, 1)})
        if type(layer).__name__ == "AveragePooling2D" and tuple(layer.input.shape[1:3]) == tuple(layer.pool_size):
            return layers.GlobalAveragePooling2D(keepdims=True, name=layer.name)  # also covers a larger map
        return None

    return rebuild(network, replace=replace)
