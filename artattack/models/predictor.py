"""Models that only predict: files of other libraries, servers and functions, queried for their outputs alone."""

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

_PROBES = 4  # images of the trial at loading
LEAST_PROBABILITY = np.finfo(np.float32).tiny  # probabilities are raised to it, for a finite logarithm
_ROUNDING = 1e-3  # tolerance of a sum of probabilities


@dataclass(eq=False, kw_only=True, repr=False)
class Predictor(Classifier):
    """A model with outputs only, for scoring and attacks by queries.

    It has these attributes, besides those of every classifier.

    Attributes:
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
        """Number of values for an image."""
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
    """Make a model from a function, after a trial on a few images.

    Args:
        name: name of the model.
        ask: function from preprocessed images (N, h, w, 3) float32 to values (N, K).
        preprocessing: preprocessing that the function expects.
        input_size: (h, w) in pixels.
        label_space: class of each value; None if unknown.
        outputs: `logits` or `probabilities`; by default `probabilities` if the values of the trial lie between 0 and 1
            and sum to 1.
        weights: `file`, `python` or `http`.
        weights_sha256: hash of the file, or a function that hashes the trial's values (N, K); by default the hash of
            their bytes.
        step: distance between neighbouring values if they are quantized, otherwise 0.
        input_range: range of the input's values, if limited.

    Raises:
        ArtattackError: the function fails, its values are not finite or of fewer than two classes, their number differs
            from `label_space`, or they are not the probabilities that `outputs` promises.
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
            f"model '{name}' has outputs: probabilities, but its outputs lie in {values.min():.3g} to "
            f"{values.max():.3g} and sum to {values[0].sum():.3g} for the first image tried; give outputs: logits"
        )
    if weights_sha256 is None:
        weights_sha256 = hashlib.sha256(np.ascontiguousarray(values, "<f4").tobytes()).hexdigest()
    doubts: tuple[str, ...] = ()
    if probable and outputs != "probabilities":
        looks = "values that lie in [0, 1] and sum to 1 for four random images"
        doubts = (
            f"gives {looks}, which count as logits because of outputs: logits; if they are probabilities, give "
            "outputs: probabilities"
            if outputs == "logits"
            else f"gives {looks}: they count as probabilities, and their logarithms as logits; give outputs: "
            "probabilities or outputs: logits",
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
        open_file: function that opens the file for images of a size, or of the file's own size for None.
        options: options for loading. By default, preprocessing, size and classes are the file's.

    Raises:
        ArtattackError: the file cannot be read, or holds no network from one image to classes.
    """
    expected = None if options.preprocessing is None else parse_preprocessing(options.preprocessing)
    input_size = options.size
    try:
        opened = open_file(path, input_size)
    except ArtattackError:
        raise
    except Exception as error:  # readers may raise anything on damaged and foreign files
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
    """Return resized and preprocessed images (N, h, w, 3) float32, exactly as a TensorFlow network gets them.

    Args:
        x: images (N, H, W, 3) float32 in [0, 1].
        preprocessing: preprocessing of images in [0, 1].
        size: (h, w) in pixels.
    """
    return np.asarray(preprocessing(resize(tf.constant(x), size)).numpy())


def answer(name: str, ask: Callable[[Array], Any], x: Array, classes: int | None = None) -> Array:
    """Return a function's values (N, K) float32 for preprocessed images (N, h, w, 3), after checking their shape.

    Values that are not finite are kept: they concern one image, not those beside it.

    Raises:
        ArtattackError: the function fails, or does not return a number for each image and class.
    """
    try:
        values = np.asarray(ask(x), np.float32)
        if values.ndim == 4 and values.shape[2:] == (1, 1):  # the last layer is a convolution
            values = values[:, :, 0, 0]
    except ArtattackError:
        raise
    except Exception as error:  # foreign code may raise anything
        raise ArtattackError(f"model '{name}' failed on images of shape {x.shape}: {reason(error)}") from error
    wanted = "classes" if classes is None else classes
    if values.ndim != 2 or len(values) != len(x) or classes not in (None, values.shape[1]):
        raise ArtattackError(
            f"model '{name}' gave values of shape {values.shape} for {len(x)} images; a classifier gives "
            f"({len(x)}, {wanted})"
        )
    return values


def _after_background(label_space: LabelSpace | None, classes: int) -> tuple[int, ...] | None:
    """Return the outputs of ImageNet's classes if a background class precedes them, as in TF-Slim; otherwise None."""
    if label_space is None or label_space.names or len(label_space) != len(IMAGENET) or classes != len(IMAGENET) + 1:
        return None
    return tuple(range(1, classes))


def _channels_first(path: Path, shape: tuple[int | None, ...]) -> bool:
    """Whether an input's shape is (N, 3, H, W) instead of (N, H, W, 3)."""
    layouts = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] == 3]
    if len(layouts) != 1:
        sides = ", ".join("any" if side is None else str(side) for side in shape)
        raise ArtattackError(
            f"model '{path}' takes ({sides}); a classifier takes (N, 3, H, W) or (N, H, W, 3), with the 3 written in "
            "the file"
        )
    return layouts == [1]


def _in_batches(run: Callable[[Array], Array], x: Array, size: int | None) -> Array:
    """Run a network in batches of a fixed size, the last one padded with zeros; None for a free size."""
    x = np.ascontiguousarray(x)
    if size is None:
        return run(x)
    padded = np.concatenate([x, np.zeros((-len(x) % size, *x.shape[1:]), x.dtype)])
    return np.concatenate([run(padded[k : k + size]) for k in range(0, len(padded), size)])[: len(x)]


def _are_probabilities(values: Array, step: float) -> bool:
    """Whether values (N, K) lie in [0, 1] and sum to 1, within rounding and their quantization step."""
    sums = values.sum(axis=1)
    tolerance = _ROUNDING + step / 2 * values.shape[1]
    return bool((values >= 0).all() and (values <= 1 + _ROUNDING).all() and (abs(sums - 1) <= tolerance).all())
