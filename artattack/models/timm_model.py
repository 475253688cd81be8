"""Networks from timm (PyTorch Image Models), by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import load_file

from artattack.errors import ArtattackError, unknown
from artattack.inputs.labels import IMAGENET
from artattack.models.load_options import LoadOptions
from artattack.models.model import Preprocessing
from artattack.models.network import reason
from artattack.models.torch_model import TorchModel, load_module


def load(name: str, options: LoadOptions) -> TorchModel:
    """Load a timm network.

    Args:
        name: timm's name, such as `resnet18`.
        options: options for loading. Weights are `imagenet` (timm's, downloaded unless cached), `random`, or the path
            of a .safetensors file. By default, preprocessing and size are those of timm's configuration, and the
            classes of a network with 1000 outputs are ImageNet's.

    Raises:
        ArtattackError: timm does not know the network, or its weights are unavailable or do not fit.
    """
    if not timm.is_model(name):
        raise unknown("timm model", name, timm.list_models())
    weights = options.weights
    path = Path(weights) if weights not in (None, "imagenet", "random") else None
    if weights is None or (path and (path.suffix != ".safetensors" or not path.is_file())):
        raise ArtattackError(
            f"model 'timm:{name}': give weights: imagenet (timm downloads them unless cached), random, or "
            f"the path of a .safetensors file{'' if weights is None else f', not {weights}'}"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
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
        replace(
            options,
            preprocessing=Preprocessing(mean, std) if options.preprocessing is None else options.preprocessing,
            space=IMAGENET if options.space is None and network.num_classes == len(IMAGENET) else options.space,
            size=said["input_size"][1:] if options.size is None else options.size,
        ),
        weights="file" if path else str(weights),
    )
