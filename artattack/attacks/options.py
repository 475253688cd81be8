"""Options of the style attack; the same names in Python, benchmark files and on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from artattack.errors import ArtattackError
from artattack.validation import DistanceOrNone, Names, Numbers, Section, explain


class StyleOptions(Section):
    """Options of the style attack, with their defaults."""

    steps: PositiveInt = Field(60, description="optimiser steps")
    learning_rate: PositiveFloat = Field(0.02, description="size of a step, in image units")
    optimizer: Literal["adam", "lbfgs"] = Field("adam", description="adam, or SciPy's L-BFGS-B, one image at a time")
    init: Literal["content", "noise"] | Path = Field("content", description="start: content, noise or an image file")
    style_weight: NonNegativeFloat = Field(10.0, description="weight of the style loss")
    content_weight: NonNegativeFloat = Field(0.0, description="weight of the content loss; 0 is style only")
    tv_weight: NonNegativeFloat = Field(0.1, description="weight of the anisotropic total variation")
    style_layers: Names | None = Field(
        None, description="layers for style: names, or binary:K, conv:K, sum:K, activation:K"
    )
    style_layer_weights: Numbers | None = Field(None, description="weight of each style layer; default: all alike")
    content_layers: Names | None = Field(None, description="layers for content, named likewise")
    statistics: Literal["gram", "mean-variance", "histogram"] = Field("gram", description="what style is measured by")
    pooling: Literal["max", "average"] = Field("max", description="average: in the place of max pooling")
    surrogate: str | None = Field(
        None, description="gradient through sign(): identity, approx-sign, swish-sign, tanh:T"
    )
    parametrization: Literal["pixel", "fourier"] = Field("fourier", description="what is optimised")
    jitter: NonNegativeInt = Field(16, description="random shift under the network at each step, up to so many pixels")
    budget: DistanceOrNone = Field(
        ("psnr", 20.0), description="ball held to at every step: linf=8/255, l2=5 or psnr=20 (dB); none for no bounds"
    )
    match: DistanceOrNone = Field(
        None, description="distance kept at the end: l2=5, linf=8/255, ssim=0.8, delta_e=10; or none"
    )
    mask: Path | None = Field(None, description="image, white where pixels may change")
    style_mask: Path | None = Field(None, description="image, white where the style image counts")
    guide_weight: NonNegativeFloat = Field(1.0, description="weight of the loss that leads guides astray")
    guide_loss: Literal["margin", "cross-entropy"] = Field("margin", description="which loss that is")
    confidence: NonNegativeFloat = Field(1.0, description="logit margin at which the margin loss is content")
    temperature: PositiveFloat = Field(1.0, description="what guides' logits are divided by in that loss")
    views: NonNegativeInt = Field(0, description="random resizes, shifts and noises the guides see at each step")
    target: str | None = Field(None, description="ImageNet class guides are led to; default: away from what they see")
    early_stop: bool = Field(False, description="stop an image once every guide is astray, at the least distance")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the convolutions, on a CPU")


def parse_options(values: dict[str, Any]) -> StyleOptions:
    """Validate options of the style attack given as plain data.

    Raises:
        ArtattackError: something in them is wrong; one line for the first mistakes.
    """
    try:
        return StyleOptions.model_validate(values)
    except ValidationError as error:
        raise ArtattackError(explain(error, lambda path: (".".join(map(str, path)), StyleOptions))) from error
