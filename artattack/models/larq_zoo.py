"""The binarized networks of larq-zoo, with their published ImageNet weights. No TensorFlow at import."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import Any

from artattack.models.info import ModelInfo


def _network(name: str, source: str, download: str, style: tuple[int, ...], content: int) -> ModelInfo:
    """Return one row; `style` and `content` are indices of binarized convolutions from the input."""
    return ModelInfo(
        name=name,
        family="larq_zoo",
        source=source,
        binary=True,
        input_size=(224, 224),
        preprocessing="imagenet",
        style_layers=tuple(f"binary:{k}" for k in style),
        content_layers=(f"binary:{content}",),
        weights=("imagenet", "random") if download else ("random",),
        needs="a download from larq-zoo's releases" if download else "weights=PATH: larq-zoo publishes none",
        download=download and f"larq/models/{download}",
    )


# Style layers: one binarized convolution per stage. Content layer: the first of the third stage.
NETWORKS = (
    _network("quicknet", "sota.QuickNet", "quicknet/quicknet_weights.h5", (2, 5, 8, 13), 8),
    _network("quicknet_small", "sota.QuickNetSmall", "quicknet/quicknet_small_weights.h5", (2, 5, 8, 13), 8),
    _network("quicknet_large", "sota.QuickNetLarge", "quicknet/quicknet_large_weights.h5", (3, 9, 16, 28), 14),
    _network(
        "binary_alexnet",
        "literature.BinaryAlexNet",
        "binary_alexnet/binary_alexnet_weights.h5",
        (0, 1, 2, 3),
        2,
    ),
    _network("birealnet", "literature.BiRealNet", "birealnet/birealnet_weights.h5", (2, 5, 8, 13), 8),
    _network("resnet_e18", "literature.BinaryResNetE18", "resnet_e/resnet_e_18_weights.h5", (2, 5, 8, 13), 8),
    _network(
        "densenet28",
        "literature.BinaryDenseNet28",
        "binary_densenet/binary_densenet_28_weights.h5",
        (3, 8, 12, 20),
        12,
    ),
    _network(
        "densenet37",
        "literature.BinaryDenseNet37",
        "binary_densenet/binary_densenet_37_weights.h5",
        (3, 9, 16, 28),
        14,
    ),
    _network(
        "densenet37_dilated",
        "literature.BinaryDenseNet37Dilated",
        "binary_densenet/binary_densenet_37_dilated_weights.h5",
        (3, 9, 16, 28),
        14,
    ),
    _network(
        "densenet45",
        "literature.BinaryDenseNet45",
        "binary_densenet/binary_densenet_45_weights.h5",
        (3, 11, 20, 35),
        18,
    ),
    _network("dorefanet", "literature.DoReFaNet", "dorefanet/dorefanet_weights.h5", (0, 1, 2, 3), 2),
    _network("meliusnet22", "literature.MeliusNet22", "meliusnet22/meliusnet22_weights.h5", (4, 11, 20, 29), 18),
    _network("r2b", "literature.RealToBinaryNet", "r2b/r2b_weights.h5", (2, 5, 8, 13), 8),
    _network("strong_baseline", "literature.real_to_bin_nets.StrongBaselineNetBNNFactory", "", (2, 5, 8, 13), 8),
    _network("xnornet", "literature.XNORNet", "xnornet/xnornet_weights.h5", (0, 1, 2, 3), 2),
)


def build(info: ModelInfo, weights: str | Path, classes: int) -> Any:
    """Build a network for `classes` classes with weights `imagenet`, `random` or from an h5 file."""
    import larq_zoo

    from artattack.tracing import unconverted

    network = unconverted(attrgetter(info.source)(larq_zoo))(
        weights=None if weights == "random" else str(weights),
        input_shape=(*info.input_size, 3),
        num_classes=classes,
    )
    return network.build() if info.source.endswith("Factory") else network
