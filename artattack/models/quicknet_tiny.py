"""The binarized network bundled with the package: see `weights/quicknet_tiny.md`. No TensorFlow at import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artattack.errors import ArtattackError
from artattack.files import sha256_file
from artattack.inputs.labels import LabelSpace, class_index
from artattack.models.info import ModelInfo

_WEIGHTS = Path(__file__).with_name("weights") / "quicknet_tiny.h5"
_WNIDS = _WEIGHTS.with_suffix(".wnids.txt")
_SHA256 = "034d25177c2867730bce33c1b8203be15ae20ea2f40109d1272a08cc9b523711"

NETWORK = ModelInfo(
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
)


def label_space() -> LabelSpace:
    """The 200 classes of Tiny ImageNet, in the order of the network's outputs."""
    return tuple(class_index(wnid) for wnid in _WNIDS.read_text().split())


def build(info: ModelInfo, weights: str | Path, classes: int) -> Any:
    """Build a network for `classes` classes with weights `bundled`, `random` or from an h5 file."""
    from artattack.models import larq_zoo

    if weights == "bundled":
        if sha256_file(_WEIGHTS) != _SHA256:
            raise ArtattackError(f"'{_WEIGHTS}' is not the file that was bundled; install artattack anew")
        weights = _WEIGHTS
    return larq_zoo.build(info, weights, classes)
