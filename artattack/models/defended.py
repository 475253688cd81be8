"""Defended classifiers: a model behind defences, which apply in scores and in all attacks.

An attack's gradient is the defence's own where it has one. It passes unchanged through the other defences (BPDA:
Athalye et al., Obfuscated Gradients Give a False Sense of Security, ICML 2018). With a random defence, attacks and
scores use mean confidences over several draws (EOT, the same paper). An attack on a smoothed classifier reads the mean
over noisy copies, because votes have no gradient (Salman et al., NeurIPS 2019).
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from artattack.errors import ArtattackError, one_line
from artattack.inputs.labels import LabelSpace
from artattack.models.classifier import DRAWS, Classifier, Gives
from artattack.models.defences import SMOOTHING, Defence, check_sizes, gradient_word
from artattack.models.model import interpolation
from artattack.models.predictor import LEAST_PROBABILITY

Array = NDArray[Any]
Step = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # images (N, H, W, 3) and seeds (N,) int64 to images

_VOTERS = 32  # noisy copies that are asked at once


@dataclass(eq=False, kw_only=True, repr=False)
class Defended(Classifier):
    """A classifier behind defences, with logits as its only output.

    The seed and the image determine the draws, so that an answer depends on neither the other images nor their order.
    Attacks and scores have separate draws (`as_read`), so that an attack does not know the draws of its score.

    It has these attributes, besides those of every classifier.

    Attributes:
        undefended: the classifier behind the defences.
        defences: the defences, in the order they apply; smoothing, the last in the list, adds its noise first.
        seed: seed of all draws.
        stream: `scored` for the draws of scores, `read` for those of attacks.
        straight_through: whether gradients pass unchanged through all defences, even those with their own gradient.
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
    doubts: tuple[str, ...] = ()
    draws: int = 1
    undefended: Classifier
    defences: tuple[Defence, ...]
    seed: int = 0
    stream: Literal["scored", "read"] = "scored"
    straight_through: bool = False

    @property
    def network_classes(self) -> int:
        """Number of classes of the undefended classifier."""
        return self.undefended.classes

    @property
    def network_sha256(self) -> str:
        """Identity of the undefended classifier."""
        return self.undefended.network_sha256

    @property
    def source_gradient(self) -> str | None:
        """How an attack's gradient passes through the defences; see `gradient_word`."""
        return gradient_word(self.defences)

    @property
    def copies(self) -> int:
        """Number of draws over which an attack's gradient is averaged."""
        return DRAWS if any(defence.info.random for defence in self.defences) else 1

    def as_read(self) -> Self:
        """Return the classifier with the draws that attacks read."""
        return replace(self, stream="read")

    def defend(self, x: Array, draw: int = 0) -> Array:
        """Return images (N, H, W, 3) float32 in [0, 1] as the undefended classifier gets them in one draw.

        Raises:
            ArtattackError: the images are too small for a defence, or a defence fails on them.
        """
        return self._through(x, self._seeds(x, draw + 1)[:, draw])

    def abstains(self, logits: Array) -> NDArray[np.bool_] | None:
        """Return whether a smoothed classifier abstains on each image, (N,) bool; None for other classifiers.

        It abstains if a two-sided binomial test at level `alpha` does not tell the votes of the first two classes apart
        (Cohen et al. 2019, PREDICT). The logits (N, K) are the logarithms of shares of votes.
        """
        if self._smoothing is None:
            return None
        from scipy.special import softmax
        from scipy.stats import binomtest

        votes = np.rint(self.draws * softmax(np.asarray(logits, np.float64), axis=1))
        second, first = np.sort(votes, axis=1)[:, -2:].T.astype(int)
        p = [binomtest(int(a), int(a + b), 0.5).pvalue if a + b else 1.0 for a, b in zip(first, second, strict=True)]
        return np.array([value > self._smoothing["alpha"] for value in p], bool)

    def _averaged(self, x: Array) -> Array:
        return super()._averaged(x) if self._smoothing is None else self._votes(x)

    def _predict(self, x: Array) -> Array:
        return self._drawn(x, 0)

    def _drawn(self, x: Array, draw: int) -> Array:
        return self._answers(self.defend(x, draw))

    def _votes(self, x: Array) -> Array:
        """Return the logarithms (N, K) of the noisy copies' shares of votes; shares below 1.2e-38 count as 1.2e-38."""
        count, seeds = self.draws, self._seeds(x, self.draws)
        votes = np.zeros((len(x), self.classes), np.int64)
        for i, image in enumerate(x):
            for start in range(0, count, _VOTERS):
                asked = seeds[i, start : start + _VOTERS]
                copies = np.repeat(image[np.newaxis], len(asked), axis=0)
                np.add.at(votes[i], self._answers(self._through(copies, asked)).argmax(1), 1)
        return np.asarray(np.log(np.maximum(votes / count, LEAST_PROBABILITY)), np.float32)

    def _answers(self, x: Array) -> Array:
        logits = self.undefended.predict(x, len(x))
        return logits if self.outputs is None else logits[:, self.outputs]

    def _through(self, x: Array, seeds: Array) -> Array:
        check_sizes(self.defences, (x.shape[1], x.shape[2]))
        return np.asarray(self._defended(tf.constant(x, tf.float32), tf.constant(seeds)).numpy())

    def _defended(self, x: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        if self.straight_through:
            return _with_identity(lambda x: self._stepped(x, seeds), x)
        return self._stepped(x, seeds)

    def _stepped(self, x: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        for step in self._steps:
            x = step(x, seeds)
        return x

    def _seeds(self, x: Array, draws: int) -> Array:
        """Return seeds (N, draws) int64 of images (N, H, W, 3) float32."""
        found = np.zeros((len(x), draws), np.int64)
        for i, image in enumerate(x):
            digest = hashlib.sha256(f"{self.seed}/{self.stream}/".encode())
            digest.update(np.ascontiguousarray(image, "<f4").tobytes())
            for draw in range(draws):
                one = digest.copy()
                one.update(str(draw).encode())
                found[i, draw] = int.from_bytes(one.digest()[:4], "little")
        return found

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        inner = [_STEPS.get(d.name, _Art)(d, place) for place, d in enumerate(self.defences) if d.name != SMOOTHING]
        return (*([] if self._smoothing is None else [_Noise(self._smoothing, len(inner))]), *inner)

    @property
    def _smoothing(self) -> Defence | None:
        return next((defence for defence in self.defences if defence.name == SMOOTHING), None)


class DefendedNetwork(Defended):
    """A classifier behind defences, with gradients through them."""

    gives: ClassVar[Gives] = "gradients"

    def logits(self, x: tf.Tensor) -> tf.Tensor:
        """Return differentiable logits (N, K) float32 of images (N, H, W, 3) float32 in [0, 1].

        With random defences, they are the logarithms of the mean confidences over `copies` draws. Each draw is a row of
        the network's batch.
        """
        height, width = x.shape[1:3]
        check_sizes(self.defences, (height, width))
        copies = self.copies
        seeds = tf.zeros(tf.shape(x)[:1], tf.int64)
        if copies > 1:
            seeds = tf.reshape(tf.numpy_function(lambda images: self._seeds(images, copies), [x], tf.int64), [-1])
            x = tf.ensure_shape(tf.repeat(x, copies, axis=0), (None, height, width, 3))
        network: Any = self.undefended
        values = network.logits(self._defended(x, seeds))
        values = values if self.outputs is None else tf.gather(values, self.outputs, axis=1)
        if copies == 1:
            return values
        drawn = tf.reshape(tf.nn.log_softmax(values), (-1, copies, self.classes))
        return tf.reduce_logsumexp(drawn, axis=1) - math.log(copies)


def defended(model: Classifier, defences: Sequence[Defence], seed: int) -> Defended:
    """Return a classifier behind defences.

    Args:
        model: the classifier. With gradients, the defended one has gradients, too; it never has features.
        defences: one or more, in the order they apply.
        seed: seed of all draws.
    """
    plain = [defence.plain() for defence in defences]
    told = json.dumps([model.weights_sha256, plain], sort_keys=True)
    made = Defended if model.gives == "logits" else DefendedNetwork
    random = any(defence.info.random for defence in defences)
    return made(
        name=model.name,
        weights=model.weights,
        weights_sha256=hashlib.sha256(told.encode()).hexdigest(),
        binary=model.binary,
        input_size=model.input_size,
        label_space=model.label_space,
        probabilities=model.probabilities,
        doubts=model.doubts,
        draws=int(defences[-1]["sample_size"]) if defences[-1].name == SMOOTHING else DRAWS if random else 1,
        undefended=model,
        defences=tuple(defences),
        seed=seed,
    )


def _with_identity(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """Return a function of images, with the identity as its gradient."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def called(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        return function(x), lambda upstream: upstream

    return called(x)


class _Art:
    """One of ART's NumPy preprocessors, whose gradient passes straight through."""

    def __init__(self, defence: Defence, place: int) -> None:
        self._defence = defence
        self._place = place
        self._art = _made_by_art(defence)

    def __call__(self, x: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        return _with_identity(
            lambda x: tf.ensure_shape(tf.numpy_function(self._apply, [x, seeds], tf.float32), x.shape), x
        )

    def _apply(self, x: Array, seeds: Array) -> Array:
        x = np.clip(x, 0.0, 1.0)
        if self._defence.name == "JpegCompression":  # ART cuts off what a file rounds
            x = ((np.floor(255.0 * x + 0.5) + 0.25) / 255.0).astype(np.float32)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                if not self._defence.info.random:
                    return np.asarray(self._art(x)[0], np.float32)
                return np.concatenate([self._one(image, int(seed)) for image, seed in zip(x, seeds, strict=True)])
        except Exception as error:  # ART, Pillow and SciPy may raise anything
            raise ArtattackError(f"{self._defence} failed: {one_line(error, typed=True)}") from error

    def _one(self, image: Array, seed: int) -> Array:
        with _numpy_seeded(_rng(seed, self._place).integers(2**32)):
            return np.asarray(self._art(image[np.newaxis])[0], np.float32)


class _Median:
    """ART's TensorFlow median filter, with its own gradient."""

    def __init__(self, defence: Defence, place: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from art.defences.preprocessor.spatial_smoothing_tensorflow import SpatialSmoothingTensorFlowV2
        self._art = SpatialSmoothingTensorFlowV2(window_size=int(defence["window_size"]))

    def __call__(self, x: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(self._art.forward(x)[0], x.shape)


class _ResizeAndPad:
    """Shrinks each image by a random factor, and puts it at a random place on black; each image has its own draws."""

    def __init__(self, defence: Defence, place: int) -> None:
        self._least = float(defence["least"])
        self._place = place

    def __call__(self, x: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        height, width = x.shape[1:3]
        shrinking = [self._of_side(side) for side in (height, width)]
        rows, columns = tf.numpy_function(
            lambda seeds: self._drawn(seeds, *shrinking), [seeds], [tf.float32, tf.float32]
        )
        rows, columns = tf.ensure_shape(rows, (None, height, height)), tf.ensure_shape(columns, (None, width, width))
        return tf.ensure_shape(tf.einsum("nih,nhwc,njw->nijc", rows, x, columns), x.shape)

    def _of_side(self, side: int) -> list[Array]:
        """Return the matrices (h, side) that shrink a side to h pixels, for every h that can be drawn."""
        return [interpolation(side, shrunk) for shrunk in range(math.ceil(self._least * side), side)] + [np.eye(side)]

    def _drawn(self, seeds: Array, rows: list[Array], columns: list[Array]) -> tuple[Array, Array]:
        drawn: tuple[list[Array], list[Array]] = ([], [])
        for seed in seeds:
            rng = _rng(int(seed), self._place)
            size = rng.random()  # one for both sides, which keeps the shape
            for matrices, of_side in zip(drawn, (rows, columns), strict=True):
                matrix = of_side[int(size * len(of_side))]
                side = matrix.shape[1]
                start = int(rng.integers(side - len(matrix) + 1))
                placed = np.zeros((side, side), np.float32)
                placed[start : start + len(matrix)] = matrix
                matrices.append(placed)
        return np.stack(drawn[0]), np.stack(drawn[1])


class _Noise:
    """Adds normal noise to each image."""

    def __init__(self, defence: Defence, place: int) -> None:
        self._scale = np.float32(defence["scale"])
        self._place = place

    def __call__(self, x: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        shape = tuple(x.shape[1:])
        noise = tf.numpy_function(lambda seeds: self._drawn(seeds, shape), [seeds], tf.float32)
        return x + tf.ensure_shape(noise, (None, *shape))

    def _drawn(self, seeds: Array, shape: tuple[int, ...]) -> Array:
        drawn = [_rng(int(seed), self._place).standard_normal(shape, np.float32) for seed in seeds]
        return np.asarray(self._scale * np.stack(drawn), np.float32)


_STEPS: dict[str, Callable[[Defence, int], Step]] = {"SpatialSmoothing": _Median, "ResizeAndPad": _ResizeAndPad}


def _made_by_art(defence: Defence) -> Any:
    """Return ART's preprocessor of a defence, for images (N, H, W, 3) in [0, 1]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ART warns that packages are absent
        from art.defences import preprocessor

    given = dict(defence.parameters)
    match defence.name:
        case "GaussianAugmentation":
            logging.getLogger(preprocessor.gaussian_augmentation.__name__).disabled = True  # its messages lack a value
            given |= {"augmentation": False, "apply_fit": False, "apply_predict": True, "clip_values": (0.0, 1.0)}
        case "JpegCompression" | "FeatureSqueezing" | "TotalVarMin":
            given |= {"clip_values": (0.0, 1.0)}
    return getattr(preprocessor, defence.name)(**given)


def _rng(seed: int, place: int) -> np.random.Generator:
    """Return the generator of one draw of the defence at a place in the list."""
    return np.random.default_rng([seed, place])


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, which ART's preprocessors draw from, and restore it afterwards."""
    state = np.random.get_state()
    np.random.seed(int(seed))
    try:
        yield
    finally:
        np.random.set_state(state)
