"""The binarized networks bundled with the package; `weights/` holds their cards. No TensorFlow at import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artattack.errors import ArtattackError
from artattack.files import sha256_file
from artattack.inputs.labels import IMAGENET, LabelSpace, class_index
from artattack.models.info import ModelInfo

FOLDER = Path(__file__).with_name("weights")
_SHA256 = {
    "quicknet_tiny": "034d25177c2867730bce33c1b8203be15ae20ea2f40109d1272a08cc9b523711",
    "quicknet_distilled": "c03356f5fee8106138cab431d835ef0d89d8884490209cacfdf6aee238287217",
}

NETWORKS = (
    ModelInfo(
        name="quicknet_tiny",
        family="bundled",
        source="sota.QuickNet",
        binary=True,
        input_size=(64, 64),
        preprocessing="imagenet",
        style_layers=("binary:2", "binary:5", "binary:8", "binary:13"),
        content_layers=("binary:8",),
        weights=("bundled", "random"),
        needs="nothing: bundled",
    ),
    ModelInfo(
        name="quicknet_distilled",
        family="bundled",
        source="sota.QuickNet",
        binary=True,
        input_size=(224, 224),
        preprocessing="imagenet",
        style_layers=("activation:0", "sum:3", "sum:7", "sum:11"),
        content_layers=("binary:8",),
        weights=("bundled", "random"),
        needs="nothing: bundled; a backbone only",
        distilled_from="efficientnet_lite0",
        classifies=False,
    ),
)


def label_space(name: str) -> LabelSpace:
    """Return a bundled network's classes in the order of its outputs: its list of wnids, or all of ImageNet's."""
    wnids = FOLDER / f"{name}.wnids.txt"
    return LabelSpace(map(class_index, wnids.read_text().split())) if wnids.exists() else IMAGENET


def build(info: ModelInfo, weights: str | Path, classes: int) -> Any:
    """Build a network for `classes` classes with weights `bundled`, `random` or from an h5 file."""
    from artattack.models import larq_zoo

    if weights == "bundled":
        weights = FOLDER / f"{info.name}.h5"
        if sha256_file(weights) != _SHA256[info.name]:
            raise ArtattackError(f"'{weights}' is not the bundled file; reinstall artattack")
    return larq_zoo.build(info, weights, classes)
