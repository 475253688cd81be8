"""Networks from timm (PyTorch Image Models), by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import load_file

from artattack.errors import ArtattackError, unknown
from artattack.inputs.labels import IMAGENET, LabelSpace
from artattack.models.model import Preprocessing
from artattack.models.network import reason
from artattack.models.predictor import Outputs
from artattack.models.torch_model import TorchModel, load_module


def load(
    name: str,
    weights: str | Path | None,
    preprocessing: str | Mapping[str, Any] | Preprocessing | None,
    label_space: LabelSpace | None,
    input_size: tuple[int, int] | None,
    outputs: Outputs | None,
    output: int | str | None,
    seed: int,
) -> TorchModel:
    """Load a timm network.

    Args:
        name: timm's name, such as `resnet18`.
        weights: `imagenet` (timm's weights, downloaded unless cached), `random`, or the path of a .safetensors file.
        preprocessing: by default timm's configuration.
        label_space: by default ImageNet's classes for a network with 1000 outputs.
        input_size: (H, W) in pixels, by default timm's configuration.
        outputs: see `artattack.models.predictor.predictor`.
        output: which of its outputs, where it returns several; see `artattack.models.output_choice`.
        seed: seed of random weights.

    Raises:
        ArtattackError: timm does not know the network, or its weights are unavailable or do not fit.
    """
    if not timm.is_model(name):
        raise unknown("timm model", name, timm.list_models())
    path = Path(weights) if weights not in (None, "imagenet", "random") else None
    if weights is None or (path and (path.suffix != ".safetensors" or not path.is_file())):
        raise ArtattackError(
            f"model 'timm:{name}': give weights: imagenet (timm downloads them unless cached), random, or "
            f"the path of a .safetensors file{'' if weights is None else f', not {weights}'}"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = timm.create_model(name, pretrained=weights == "imagenet")
        if path:
            network.load_state_dict(load_file(path))
    except Exception as error:  # timm, its hub and PyTorch may raise anything
        raise ArtattackError(f"model 'timm:{name}' with weights {weights} cannot be loaded: {reason(error)}") from error
    said = timm.data.resolve_model_data_config(network)
    mean, std = (tuple(255 * np.asarray(said[key], float)) for key in ("mean", "std"))
    return load_module(
        name,
        network,
        Preprocessing(mean, std) if preprocessing is None else preprocessing,
        IMAGENET if label_space is None and network.num_classes == len(IMAGENET) else label_space,
        said["input_size"][1:] if input_size is None else input_size,
        outputs,
        weights="file" if path else str(weights),
        output=output,
    )
