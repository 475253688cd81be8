"""Options of artattack's own attacks, with the same names in Python, benchmark files and on the command line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from artattack.bound import Bound
from artattack.errors import ArtattackError, unknown
from artattack.validation import ClassText, DistanceOrNone, Names, Number, Numbers, Section, explain

# Ratio of `tv_weight` to the style and content weights above which `StyleOptions.doubt` warns; the default ratio is
# 1/100. In the study `tv` (docs/lessons/tv.md), 11 of 16 paintings were recognized at a ratio of 1, 5 at 10, 2 at 100
# and none above: this ratio is halfway between 10 and 100 on a log axis.
_MOST_TV = 30.0
# Listed here because artattack.attacks.transforms loads TensorFlow; `styless` is in artattack.attacks.restyled.
TRANSFORM_NAMES = ("eot", "di", "bsr", "ssm", "si", "styless")


_REACH = 2.5  # total length of all steps, as a multiple of the radius (Madry et al., ICLR 2018)
LARGEST = 10**300  # larger whole numbers do not fit into a float


def step_within(radius: float, steps: float) -> float:
    """Return the default step size: 2.5 radius / steps, at most the radius (Madry et al., ICLR 2018).

    Steps of that size reach the edge of the ball although they change direction.

    Args:
        radius: radius of the ball.
        steps: number of steps.
    """
    return min(radius, _REACH * radius / min(steps, LARGEST))


def doubt_of_step(step: float, radius: float) -> str | None:
    """Return a one-line warning if a step exceeds the radius of its ball, or None."""
    if step <= radius * (1 + 1e-9):
        return None
    return (
        f"eps_step: steps of {step:g} within a ball of {radius:g} leap from edge to edge, and a weak attack makes a "
        "classifier look robust; the default is 2.5 eps / max_iter"
    )


def _known_transforms(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in TRANSFORM_NAMES:
            raise unknown("transform", name, TRANSFORM_NAMES)
    return names


def _norm(value: Any) -> Any:
    return "inf" if value == math.inf else 2 if value == 2 else value


GuideLoss = Literal["margin", "cross-entropy", "relativistic", "features"]
GUIDE_LOSS = (
    "loss that fools guides: margin or cross-entropy of the logits; relativistic, the cross-entropy of their "
    "difference from the original's; features, the cosine similarity with the original in a middle layer"
)
Transforms = Annotated[Names, AfterValidator(_known_transforms)]
Norm = Annotated[Literal["inf", 2], BeforeValidator(_norm)]


def check_guide_layers(loss: str, layers: tuple[str, ...] | None) -> None:
    """Raise ValueError for layers of guides beside a loss that reads none."""
    if layers and loss != "features":
        raise ValueError(f"guide_layers: applies to guide_loss features, but guide_loss is {loss}")


class StyleOptions(Section):
    """Options of the style attack, with their defaults."""

    steps: PositiveInt = Field(40, description="optimiser steps")
    learning_rate: PositiveFloat | None = Field(
        None, description="size of a step, in image units; default: 0.02 within a budget, 0.03 without"
    )
    optimizer: Literal["adam", "lbfgs"] = Field("adam", description="adam, or SciPy's L-BFGS-B, one image at a time")
    init: Literal["style", "content", "noise"] | Path = Field(
        "style",
        description="initial image: content, the image itself; style, the image blended with the style up to the "
        "budget (without a budget, content); noise; or an image file",
    )
    style_weight: NonNegativeFloat = Field(10.0, description="weight of the style loss")
    content_weight: NonNegativeFloat = Field(0.0, description="weight of the content loss; 0 is style only")
    tv_weight: NonNegativeFloat = Field(0.1, description="weight of the anisotropic total variation")
    style_layers: Names | None = Field(
        None, description="layers for style: names, or binary:K, conv:K, sum:K, activation:K"
    )
    style_layer_weights: Numbers | None = Field(None, description="weight of each style layer; default: equal weights")
    content_layers: Names | None = Field(None, description="layers for content, with the same names as style_layers")
    style_mean: Literal["geometric", "arithmetic"] = Field(
        "geometric", description="mean over the layers' style distances; geometric lowers each in proportion"
    )
    statistics: Literal["gram", "mean-variance", "histogram"] = Field("gram", description="measure of style")
    pooling: Literal["max", "average"] = Field("max", description="average replaces max pooling")
    surrogate: str | None = Field(
        None, description="gradient through sign(): identity, approx-sign, swish-sign, tanh:T"
    )
    parametrization: Literal["pixel", "fourier"] = Field("fourier", description="parameters to optimise")
    spectrum_decay: NonNegativeFloat | None = Field(
        None,
        description="for fourier: exponent p of the step size 1 / frequency^p; higher is smoother; default: 1.5 within "
        "a budget, 1 without",
    )
    jitter: NonNegativeInt = Field(
        16, description="maximum random shift of the network's input at each step, in pixels"
    )
    budget: DistanceOrNone = Field(
        Bound("psnr", 20.0),
        description="ball that every step stays in: linf=8/255, l2=5 or psnr=20 (dB); none: no ball",
    )
    match: DistanceOrNone = Field(
        None, description="distance of the final image: l2=5, linf=8/255, ssim=0.8, delta_e=10; or none"
    )
    mask: Path | None = Field(None, description="image file, white where pixels may change")
    style_mask: Path | None = Field(None, description="image file, white where the style image counts")
    guide_weight: NonNegativeFloat = Field(10.0, description="weight of the loss that fools guides")
    guide_loss: GuideLoss = Field("margin", description=GUIDE_LOSS)
    guide_layers: Names | None = Field(
        None, description="layers of the guides for the loss features; default: their content layers"
    )
    confidence: NonNegativeFloat | None = Field(
        None, description="logit margin at which the margin loss is 0; default: 30, or 1 with early_stop"
    )
    temperature: PositiveFloat = Field(1.0, description="divisor of the guides' logits in that loss")
    views: NonNegativeInt | None = Field(
        None,
        description="number of transformed copies for the guides at each step; 0: the image itself; default: 1, or 0 "
        "with early_stop and with lbfgs",
    )
    transforms: Transforms | None = Field(
        None, description="transforms of those copies, in order: eot, di, bsr, ssm, si, styless; default: di"
    )
    target: ClassText | None = Field(
        None, description="target class of the guides; default: any other than their prediction"
    )
    early_stop: bool = Field(False, description="stop an image as soon as every guide is fooled")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="precision of convolutions on a CPU")

    @model_validator(mode="after")
    def _with_views(self) -> Self:
        if self.transforms and not self.copies:
            raise ValueError("transforms: applies to views, but `views` is 0")
        return self

    @model_validator(mode="after")
    def _with_layers(self) -> Self:
        if self.guide_loss == "features":
            if self.target:
                raise ValueError("target: the loss features leads away from the original, not to a class")
            if "styless" in (self.transforms or ()):
                raise ValueError("transforms: styless needs a loss of logits, but guide_loss is features")
        check_guide_layers(self.guide_loss, self.guide_layers)
        return self

    @property
    def margin(self) -> float:
        """The logit margin to reach: `confidence`; by default 30, which transfers, or 1 with `early_stop`."""
        if self.confidence is not None:
            return self.confidence
        return 1.0 if self.early_stop else 30.0

    @property
    def copies(self) -> int:
        """The number of views: `views`; by default 1, or 0 with `early_stop` and with lbfgs, whose loss is fixed."""
        if self.views is not None:
            return self.views
        return 0 if self.early_stop or self.optimizer == "lbfgs" else 1

    @property
    def rate(self) -> float:
        """The step size: `learning_rate`, or the default for the budget."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 0.02 if self.budget else 0.03  # without a ball, images move farther

    @property
    def decay(self) -> float:
        """The spectrum's decay exponent: `spectrum_decay`, or the default for the budget."""
        if self.spectrum_decay is not None:
            return self.spectrum_decay
        return 1.5 if self.budget else 1.0  # low frequencies change most within a ball; fine strokes need more distance

    def doubt(self) -> str | None:
        """Return a one-line warning about valid but probably unintended options, or None."""
        aims = self.style_weight + self.content_weight
        if aims and self.tv_weight > _MOST_TV * aims:
            return (
                f"tv_weight: {self.tv_weight:g} beside {aims:g} for style and content lets total variation dominate "
                f"the loss; the default is {type(self).model_fields['tv_weight'].default:g}"
            )
        return None


class MomentumOptions(Section):
    """Options of the momentum attack, with the defaults of the paper (Dong et al., CVPR 2018); `eps` has no default.

    Only the default of `eps_step` in l2 differs. Steps along g change direction, unlike steps of sign(g), and the
    paper's eps / max_iter covers less than half of the radius. Steps of 2.5 eps / max_iter reach the edge.
    """

    eps: Number = Field(gt=0, description="radius of the ball that images stay in, such as 8/255")
    norm: Norm = Field("inf", description="norm of the ball: inf or 2")
    eps_step: Number | None = Field(
        None,
        gt=0,
        description="step size, in that norm; default: eps / max_iter, in l2 2.5 times as much, at most eps",
    )
    max_iter: PositiveInt = Field(10, description="number of steps")
    decay: NonNegativeFloat = Field(1.0, description="factor of momentum at each step; 0 turns momentum off")
    nesterov: bool = Field(False, description="take gradients one momentum step ahead (NI-FGSM)")
    transforms: Transforms | None = Field(
        None, description="transforms of the source's input: eot, di, bsr, ssm, si, styless"
    )
    views: PositiveInt = Field(1, description="number of transformed copies per step, whose gradients are averaged")
    kernel: NonNegativeInt = Field(
        0, description="side of the Gaussian that smooths gradients (TI-FGSM: 15); 0 turns smoothing off"
    )
    targeted: bool = Field(False, description="lead images to target classes, instead of away from the prediction")

    @field_validator("kernel")
    @classmethod
    def _with_a_centre(cls, kernel: int) -> int:
        if kernel == 1 or (kernel and kernel % 2 == 0):
            raise ValueError(f"a kernel smooths from a side of 3 on, and has a centre if that is odd, not {kernel}")
        return kernel

    @model_validator(mode="after")
    def _together(self) -> Self:
        self.ball.checked()
        if self.views > 1 and not self.transforms:
            raise ValueError(f"views: {self.views} copies without `transforms` are all alike")
        return self

    @property
    def ball(self) -> Bound:
        """The ball, a distance and its radius."""
        return Bound("linf" if self.norm == "inf" else "l2", self.eps)

    @property
    def step(self) -> float:
        """The step size in the ball's norm: `eps_step`, or its default."""
        if self.eps_step is not None:
            return self.eps_step
        return self.eps / min(self.max_iter, LARGEST) if self.norm == "inf" else step_within(self.eps, self.max_iter)

    def within(self, ball: Bound) -> Self:
        """Return the options for another ball, `linf` or `l2` and its radius; a given step keeps its ratio to `eps`."""
        distance, radius = ball
        step = None if self.eps_step is None else self.eps_step / self.eps * radius
        return self.model_copy(update={"norm": "inf" if distance == "linf" else 2, "eps": radius, "eps_step": step})


_Options = TypeVar("_Options", bound=Section)


def parse_options(values: dict[str, Any]) -> StyleOptions:
    """Validate options of the style attack given as plain data; errors as in `parse_options_of`."""
    return parse_options_of(StyleOptions, values)


def parse_options_of(attack: type[_Options], values: dict[str, Any]) -> _Options:
    """Validate options given as plain data.

    Args:
        attack: options class of the attack.
        values: the options, by name.

    Raises:
        ArtattackError: an option is invalid; one line names the first mistakes.
    """
    try:
        return attack.model_validate(values)
    except ValidationError as error:
        raise ArtattackError(explain(error, lambda path: (".".join(map(str, path)), attack))) from error
