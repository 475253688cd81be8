"""Defences that stand before a classifier: their names, parameters and papers. No TensorFlow here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

from artattack.errors import ArtattackError, unknown

SMOOTHING = "RandomizedSmoothing"
Gradient = Literal["own", "straight-through"]


class Parameter(NamedTuple):
    """A parameter of a defence.

    Attributes:
        name: name of the parameter; ART's name for ART's defences.
        default: default value; None if a value is required.
        wanted: valid values, in words.
        fits: function that returns whether a value is valid.
        meaning: description, in words.
    """

    name: str
    default: Any
    wanted: str
    fits: Callable[[Any], bool]
    meaning: str


class DefenceInfo(NamedTuple):
    """A defence that a model can have.

    Attributes:
        name: the class in ART, or the package's own name.
        meaning: effect on an image, with the paper.
        gradient: gradient that an attack gets: the defence's `own`, or `straight-through`, the identity.
        random: whether the defence is random.
        parameters: parameters of the defence.
    """

    name: str
    meaning: str
    gradient: Gradient
    random: bool
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True)
class Defence:
    """A defence with the values of all its parameters.

    Attributes:
        name: a name in `DEFENCES`.
        parameters: name and value of each parameter.
    """

    name: str
    parameters: tuple[tuple[str, Any], ...]

    @property
    def info(self) -> DefenceInfo:
        """The row of the table of defences."""
        return DEFENCES[self.name]

    def __getitem__(self, parameter: str) -> Any:
        """Return the value of a parameter."""
        return dict(self.parameters)[parameter]

    def __str__(self) -> str:
        """Return the defence as text for the records: `JpegCompression(quality=50)`."""
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in self.parameters)})"

    def plain(self) -> dict[str, dict[str, Any]]:
        """Return the defence as plain data for a benchmark file: `{"JpegCompression": {"quality": 50}}`."""
        return {self.name: dict(self.parameters)}


def _whole(value: Any, least: int, most: float = math.inf, *, odd: bool = False) -> bool:
    whole = isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most
    return whole and (not odd or int(value) % 2 == 1)


def _number(value: Any, *, above: float = -math.inf, least: float = -math.inf, below: float = math.inf) -> bool:
    known = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    return known and above < float(value) < below and float(value) >= least


_SOLVERS = ("L-BFGS-B", "CG", "Newton-CG")
_SCALE = partial(_number, above=0.0, below=100.0)
_SCALE_WANTED = "a number above 0, in units of pixels in [0, 1]"

DEFENCES: dict[str, DefenceInfo] = {
    info.name: info
    for info in (
        DefenceInfo(
            "JpegCompression",
            "compresses the image as JPEG (Das et al. 2017; Dziugaite et al. 2016)",
            "straight-through",
            False,
            (Parameter("quality", 50, "a whole number from 1 to 100", partial(_whole, least=1, most=100), "of JPEG"),),
        ),
        DefenceInfo(
            "FeatureSqueezing",
            "rounds pixels to fewer levels (Xu et al., NDSS 2018)",
            "straight-through",
            False,
            (
                Parameter(
                    "bit_depth",
                    None,
                    "a whole number from 1 to 8",
                    partial(_whole, least=1, most=8),
                    "bits for each channel; 8 changes no file",
                ),
            ),
        ),
        DefenceInfo(
            "SpatialSmoothing",
            "takes the median of each pixel's window (Xu et al., NDSS 2018)",
            "own",
            False,
            (
                Parameter(
                    "window_size",
                    3,
                    "an odd whole number from 3 on",
                    partial(_whole, least=3, odd=True),
                    "side of the window, px",
                ),
            ),
        ),
        DefenceInfo(
            "TotalVarMin",
            "rebuilds the image from some of its pixels, with little total variation (Guo et al., ICLR 2018)",
            "straight-through",
            True,
            (
                Parameter(
                    "prob", 0.3, "a number from 0 to 1", partial(_number, least=0, below=1 + 1e-12), "share kept"
                ),
                Parameter("norm", 2, "a whole number from 1 on", partial(_whole, least=1), "norm of the variation"),
                Parameter("lamb", 0.5, "a number from 0 on", partial(_number, least=0), "weight of the variation"),
                Parameter("solver", "L-BFGS-B", f"one of {', '.join(_SOLVERS)}", _SOLVERS.__contains__, "SciPy's"),
                Parameter("max_iter", 10, "a whole number from 1 on", partial(_whole, least=1), "steps of the solver"),
            ),
        ),
        DefenceInfo(
            "GaussianAugmentation",
            "adds normal noise, and clips the image to [0, 1] (Zantedeschi et al. 2017)",
            "straight-through",
            True,
            (Parameter("sigma", None, _SCALE_WANTED, _SCALE, "standard deviation"),),
        ),
        DefenceInfo(
            "ResizeAndPad",
            "shrinks the image by a random factor, at a random place on black (Xie et al., ICLR 2018)",
            "own",
            True,
            (
                Parameter(
                    "least",
                    0.9,
                    "a number above 0 and below 1",
                    partial(_number, above=0, below=1),
                    "smallest side, over the image's",
                ),
            ),
        ),
        DefenceInfo(
            SMOOTHING,
            "lets noisy copies vote, and abstains where two classes are close (Cohen et al., ICML 2019)",
            "own",
            True,
            (
                Parameter("scale", 0.25, _SCALE_WANTED, _SCALE, "standard deviation of the noise"),
                Parameter(
                    "sample_size",
                    100,
                    "a whole number from 2 to 100000",
                    partial(_whole, least=2, most=100_000),
                    "copies that vote",
                ),
                Parameter(
                    "alpha",
                    0.001,
                    "a number above 0 and below 1",
                    partial(_number, above=0, below=1),
                    "level of the test between the first two classes",
                ),
            ),
        ),
    )
}
_UNFIT = {  # ART's other preprocessors
    "ThermometerEncoding": "makes many channels of each, and networks here take three",
    "PixelDefend": "needs a PixelCNN network of its own",
    "LabelSmoothing": "changes labels in training",
    "CutMix": "changes images in training",
    "Cutout": "changes images in training",
    "Mixup": "changes images in training",
    "Mp3Compression": "is for sound",
    "Resample": "is for sound",
    "VideoCompression": "is for videos",
}


def parse_defences(value: Any) -> tuple[Defence, ...]:
    """Return defences from names or mappings such as `{JpegCompression: {quality: 50}}`, in the order they apply.

    Args:
        value: a name or mapping, a list of these, or None for no defence. Parameters that are not given have their
            default values.

    Raises:
        ArtattackError: a defence, a parameter or its value is invalid, a required parameter is missing, or smoothing is
            not the last defence.
    """
    if value is None:
        return ()
    found = tuple(map(_parse, value if isinstance(value, list | tuple) else [value]))
    for place, defence in enumerate(found):
        if defence.name == SMOOTHING and place < len(found) - 1:
            raise ArtattackError(
                f"{SMOOTHING} votes over copies that the other defences have seen: put it last in the list"
            )
    return found


def _parse(value: Any) -> Defence:
    if isinstance(value, Defence):
        value = value.plain()
    if isinstance(value, str):
        value = {value: None}
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ArtattackError(
            f"a defence is a name or {{NAME: {{PARAMETER: VALUE}}}}, such as {{JpegCompression: {{quality: 50}}}}, "
            f"not {' '.join(repr(value).split())[:200]}"
        )
    ((word, given),) = value.items()
    name = str(word)
    for unfit, why in _UNFIT.items():
        if name in (unfit, f"{unfit}PyTorch", f"{unfit}TensorFlowV2"):
            raise ArtattackError(f"defence {name} {why}; `artattack defences` lists those that work")
    if name not in DEFENCES:
        raise unknown("defence", name, DEFENCES)
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise ArtattackError(f"{name}: parameters are a mapping such as {{{_example(DEFENCES[name])}}}, not {given!r}")
    known = {parameter.name: parameter for parameter in DEFENCES[name].parameters}
    for key in given:
        if key not in known:
            raise unknown(f"parameter of {name}", str(key), known)
    values = []
    for key, parameter in known.items():
        chosen = given.get(key, parameter.default)
        if chosen is None:
            raise ArtattackError(f"{name} needs {key}: {parameter.wanted}")
        if not parameter.fits(chosen):
            raise ArtattackError(f"{name}: {key} is {parameter.wanted}, not {chosen!r}")
        values.append((key, chosen))
    return Defence(name, tuple(values))


def _example(info: DefenceInfo) -> str:
    first = info.parameters[0]
    return f"{first.name}: {4 if first.default is None else first.default}"


def plain_defences(value: Any) -> list[dict[str, dict[str, Any]]] | None:
    """Return defences as plain data with all parameters, or None without defences; errors as in `parse_defences`."""
    return [defence.plain() for defence in parse_defences(value)] or None


def check_sizes(defences: Sequence[Defence], size: tuple[int, int]) -> None:
    """Check that images of a size are large enough for all defences.

    Args:
        defences: the defences.
        size: (H, W) in pixels.

    Raises:
        ArtattackError: the images are too small for a defence.
    """
    side = min(size)
    for defence in defences:
        if defence.name == "SpatialSmoothing" and defence["window_size"] // 2 >= side:
            raise ArtattackError(
                f"{defence}: a window of images of {size[0]} x {size[1]} px is at most {2 * side - 1} px wide"
            )
        if defence.name == "ResizeAndPad" and math.ceil(defence["least"] * side) >= side:
            raise ArtattackError(
                f"{defence}: shrinks images of {size[0]} x {size[1]} px by less than a pixel: give a smaller `least`"
            )


def gradient_word(defences: Sequence[Defence]) -> str | None:
    """Return how an attack's gradient passes through defences, or None without defences.

    The word is `own` if every defence has a gradient of its own, otherwise `straight-through`, followed by `, averaged`
    if a defence is random.
    """
    if not defences:
        return None
    through = "own" if all(defence.info.gradient == "own" for defence in defences) else "straight-through"
    return f"{through}, averaged" if any(defence.info.random for defence in defences) else through
