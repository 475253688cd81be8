"""Models that only predict: files of other libraries and functions, asked for values and for nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from artattack.errors import ArtattackError
from artattack.files import sha256_file
from artattack.inputs.labels import IMAGENET, LabelSpace, check_outputs
from artattack.models.classifier import Classifier, Gives
from artattack.models.load_options import LoadOptions, Outputs
from artattack.models.model import Preprocessing, parse_preprocessing, resize
from artattack.models.network import reason
from artattack.models.notes import read_preprocessing
from artattack.models.opened import InputRange, Opened, imagenet_classes_of, own_classes_of

Array = NDArray[Any]

_PROBES = 4  # images that a network is asked about before it is used
LEAST_PROBABILITY = np.finfo(np.float32).tiny  # of a probability, so that it has a logarithm
_ROUNDING = 1e-3  # by which probabilities may miss a sum of 1


@dataclass(eq=False, kw_only=True, repr=False)
class Predictor(Classifier):
    """A model with outputs only, for scoring and attacks by queries.

    Attributes, in addition to those of every classifier:
        ask: function from preprocessed images (N, h, w, 3) float32 of `input_size` to values (N, K).
        preprocessing: preprocessing of images in [0, 1].
        answers: K, number of values for an image.
        input_range: range of the input's values, if limited.
    """

    gives: ClassVar[Gives] = "logits"

    name: str
    weights: str
    weights_sha256: str
    binary: bool
    input_size: tuple[int, int]
    label_space: LabelSpace | None
    outputs: tuple[int, ...] | None = None
    probabilities: bool
    ask: Callable[[Array], Any]
    preprocessing: Preprocessing
    answers: int
    input_range: InputRange | None = None
    doubts: tuple[str, ...] = ()
    draws: int = 1

    @property
    def network_classes(self) -> int:
        """How many values it gives for an image."""
        return self.answers

    def _predict(self, x: Array) -> Array:
        values = answer(self.name, self.ask, prepared(x, self.preprocessing, self.input_size), self.answers)
        if self.probabilities:
            values = np.log(np.maximum(values, LEAST_PROBABILITY))
        return values if self.outputs is None else values[:, self.outputs]


def predictor(
    name: str,
    ask: Callable[[Array], Any],
    *,
    preprocessing: Preprocessing,
    input_size: tuple[int, int],
    label_space: LabelSpace | None,
    outputs: Outputs | None,
    weights: str,
    weights_sha256: str | Callable[[Array], str] | None = None,
    step: float = 0.0,
    input_range: InputRange | None = None,
) -> Predictor:
    """Make a model of what answers questions, after asking it about a few images.

    Args:
        name: of the model.
        ask: from preprocessed images (N, h, w, 3) float32 to values (N, K).
        preprocessing: what it expects of images.
        input_size: (h, w) in pixels.
        label_space: the ImageNet class of each value, or None for classes of its own.
        outputs: what the values are; None to find out: probabilities are between 0 and 1 and sum to 1.
        weights: `file`, `python` or `http`.
        weights_sha256: hash of the file, or what makes one of the answers (N, K); by default the hash of their bytes.
        step: between neighbouring values where they are quantized, else 0.
        input_range: what its input can hold, where that is limited.

    Raises:
        ArtattackError: it fails, its answers are none, or there are not as many classes as `label_space` says.
    """
    images = np.random.default_rng(0).uniform(size=(_PROBES, *input_size, 3)).astype(np.float32)
    values = answer(name, ask, prepared(images, preprocessing, input_size))
    if not np.isfinite(values).all():
        raise ArtattackError(f"model '{name}' gave values that are not finite")
    classes = values.shape[1]
    if classes < 2:
        raise ArtattackError(
            f"model '{name}' has {classes} output; a classifier has one for each of two classes or more"
        )
    kept = _after_background(label_space, classes)
    if kept is None:
        check_outputs(label_space, classes, name)
    probable = _are_probabilities(values, step)
    if outputs == "probabilities" and not probable:
        raise ArtattackError(
            f"model '{name}': outputs are said to be probabilities, but lie in {values.min():.3g} to "
            f"{values.max():.3g} and sum to {values[0].sum():.3g} for the first image tried; say outputs: logits"
        )
    if weights_sha256 is None:
        weights_sha256 = hashlib.sha256(np.ascontiguousarray(values, "<f4").tobytes()).hexdigest()
    doubts: tuple[str, ...] = ()
    if probable and outputs != "probabilities":
        looks = "values that lie in [0, 1] and sum to 1 for four random images"
        doubts = (
            f"gives {looks}, and is taken at its word that they are logits; are they no probabilities?"
            if outputs == "logits"
            else f"gives {looks}: taken for probabilities, whose logarithms count as logits; say outputs: "
            "probabilities or, if they are none, outputs: logits",
        )
    return Predictor(
        name=name,
        weights=weights,
        weights_sha256=weights_sha256 if isinstance(weights_sha256, str) else weights_sha256(values),
        binary=False,
        input_size=input_size,
        label_space=label_space,
        outputs=kept,
        probabilities=probable and outputs != "logits",
        ask=ask,
        preprocessing=preprocessing,
        answers=classes,
        input_range=input_range,
        doubts=doubts,
    )


def load_file(
    path: Path,
    open_file: Callable[[Path, tuple[int, int] | None], Opened],
    options: LoadOptions,
) -> Predictor:
    """Load a classifier that only predicts from a file of another library.

    Args:
        path: the file.
        open_file: opens it, for images of a size or of its own.
        options: how to load it. Preprocessing, size and classes are by default those that the file names.

    Raises:
        ArtattackError: the file cannot be read, or holds no network from one image to classes.
    """
    expected = None if options.preprocessing is None else parse_preprocessing(options.preprocessing)
    input_size = options.size
    try:
        opened = open_file(path, input_size)
    except ArtattackError:
        raise
    except Exception as error:  # whatever the readers raise on damaged and foreign files
        raise ArtattackError(f"model '{path}' cannot be loaded: {reason(error)}") from error
    if expected is None:
        expected = read_preprocessing(path, opened.preprocessing)
    channels_first = _channels_first(path, opened.shape)
    own_size = opened.shape[2:] if channels_first else opened.shape[1:3]
    if input_size is not None and any(own not in (None, side) for own, side in zip(own_size, input_size, strict=True)):
        raise ArtattackError(
            f"model '{path}' takes images of {own_size[0]} x {own_size[1]} pixels; leave out input_size, or give that"
        )
    height, width = input_size or own_size
    if height is None or width is None:
        raise ArtattackError(f"model '{path}': the file fixes no input size; give input_size")

    def ask(x: Array) -> Array:
        return _in_batches(opened.run, x.transpose(0, 3, 1, 2) if channels_first else x, opened.shape[0])

    found = predictor(
        path.stem,
        ask,
        preprocessing=expected,
        input_size=(height, width),
        label_space=imagenet_classes_of(opened.names) if options.space is None else options.space,
        outputs=options.outputs,
        weights="file",
        weights_sha256=sha256_file(path),
        step=opened.step,
        input_range=opened.input_range,
    )
    if found.label_space is None:
        found.label_space = own_classes_of(opened.names, found.classes)
    return found


def prepared(x: Array, preprocessing: Preprocessing, size: tuple[int, int]) -> Array:
    """Return images (N, H, W, 3) float32 in [0, 1] resized and preprocessed, exactly as for a TensorFlow network."""
    return np.asarray(preprocessing(resize(tf.constant(x), size)).numpy())


def answer(name: str, ask: Callable[[Array], Any], x: Array, classes: int | None = None) -> Array:
    """Ask about preprocessed images (N, h, w, 3), and return values (N, K) float32, checked.

    Values that are not finite come back as they are: they are one image's, and say nothing of those beside it.

    Raises:
        ArtattackError: it fails, or what it says is no number for each image and class.
    """
    try:
        values = np.asarray(ask(x), np.float32)
        if values.ndim == 4 and values.shape[2:] == (1, 1):  # from a convolution in the place of a dense layer
            values = values[:, :, 0, 0]
    except ArtattackError:
        raise
    except Exception as error:  # whatever foreign code raises
        raise ArtattackError(f"model '{name}' failed on images of shape {x.shape}: {reason(error)}") from error
    wanted = "classes" if classes is None else classes
    if values.ndim != 2 or len(values) != len(x) or classes not in (None, values.shape[1]):
        raise ArtattackError(
            f"model '{name}' gave values of shape {values.shape} for {len(x)} images; a classifier gives "
            f"({len(x)}, {wanted})"
        )
    return values


def _after_background(label_space: LabelSpace | None, classes: int) -> tuple[int, ...] | None:
    """Return the outputs of ImageNet's classes where a background class stands in front, as TF-Slim has it."""
    if label_space is None or label_space.names or len(label_space) != len(IMAGENET) or classes != len(IMAGENET) + 1:
        return None
    return tuple(range(1, classes))


def _channels_first(path: Path, shape: tuple[int | None, ...]) -> bool:
    """Whether an input is (N, 3, H, W), as its shape says, and not (N, H, W, 3)."""
    layouts = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] == 3]
    if len(layouts) != 1:
        sides = ", ".join("any" if side is None else str(side) for side in shape)
        raise ArtattackError(
            f"model '{path}' takes ({sides}); a classifier takes (N, 3, H, W) or (N, H, W, 3), with the 3 written in "
            "the file"
        )
    return layouts == [1]


def _in_batches(run: Callable[[Array], Array], x: Array, size: int | None) -> Array:
    """Run a network whose file fixes how many images it takes at once; what is missing in the last batch is zeros."""
    x = np.ascontiguousarray(x)
    if size is None:
        return run(x)
    padded = np.concatenate([x, np.zeros((-len(x) % size, *x.shape[1:]), x.dtype)])
    return np.concatenate([run(padded[k : k + size]) for k in range(0, len(padded), size)])[: len(x)]


def _are_probabilities(values: Array, step: float) -> bool:
    """Whether values (N, K) are probabilities, as far as these and their quantization tell."""
    sums = values.sum(axis=1)
    tolerance = _ROUNDING + step / 2 * values.shape[1]
    return bool((values >= 0).all() and (values <= 1 + _ROUNDING).all() and (abs(sums - 1) <= tolerance).all())
