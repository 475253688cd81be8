"""Options for loading a model: the arguments of `load_model`, validated once. No TensorFlow here."""

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
    """Options that a loader gets in addition to the path, name or address of a model.

    None stands for the model's own value.

    Attributes:
        weights: kind of weights, or the path of a weights file.
        size: (H, W) in pixels at which the model classifies.
        preprocessing: as `artattack.models.model.parse_preprocessing` takes it.
        space: class of each output.
        outputs: `logits` or `probabilities`; for None, a trial on a few images decides.
        output: the output to classify with, if there are several; see `artattack.models.output_choice`.
        http: options for requests to a server.
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
