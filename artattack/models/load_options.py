"""How a model is loaded: the arguments of `load_model`, checked and parsed once. No TensorFlow here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from artattack.inputs.labels import LabelSpace
from artattack.models.http_options import HttpOptions

if TYPE_CHECKING:
    from artattack.models.model import Preprocessing

Outputs = Literal["logits", "probabilities"]


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What a loader gets beside the path, name or address of a model. None means the model's own.

    Attributes:
        weights: kind of weights, or the path of a weights file.
        size: (H, W) in pixels at which the model classifies.
        preprocessing: as `artattack.models.model.parse_preprocessing` takes it.
        space: class of each output.
        outputs: what the outputs are; None to find out.
        output: which output to classify with, of several; see `artattack.models.output_choice`.
        http: how a server is asked.
        seed: seed of random weights.
    """

    weights: str | Path | None = None
    size: tuple[int, int] | None = None
    preprocessing: str | Mapping[str, object] | Preprocessing | None = None
    space: LabelSpace | None = None
    outputs: Outputs | None = None
    output: int | str | None = None
    http: HttpOptions | Mapping[str, object] | None = None
    seed: int = 0
