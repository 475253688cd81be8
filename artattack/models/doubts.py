"""A model's doubts: signs of random answers, or of preprocessing that the network was not trained with.

Loading a model of any kind examines it once, with a few forward passes of four small pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from artattack.errors import ArtattackError
from artattack.models import network as networks
from artattack.models.classifier import DRAWS, Classifier
from artattack.models.model import PREPROCESSING, Model, Preprocessing
from artattack.models.opened import InputRange
from artattack.models.predictor import Predictor

Array = NDArray[Any]
AnyClassifier = TypeVar("AnyClassifier", bound=Classifier)

_MEANS, _DEVIATIONS = (0.3, 0.6, 0.45, 0.45), (0.08, 0.3, 0.25, 0.3)  # of the pictures
# Thresholds. A change of answers is relative to their range.
_AGAIN = 0.01  # change between two passes of the same batch; servers may round in between
_ALONE = 0.05  # change between an image alone and in a batch, which adds in another order
_OUTSIDE = 0.1  # share of values that a quantized input clips; calibration on photos clips a few per cent
_USED = 0.45  # share of a quantized input's range; pixels in [0, 1] use half of a range symmetric about 0
_SPREADS = {"Rescaling": (0.1, 300.0), "Normalization": (0.5, 12.0)}  # plausible range (max - min) after such layers
_TIMES = 20.0  # ratio, either way, of the spread at a batch normalization to the spread in training
_SAME = 1e-3  # change between pictures, over the spread between classes, that counts as none


def examined(model: AnyClassifier, *, random: bool = False) -> AnyClassifier:
    """Return a model with its doubts, after two passes of four pictures and one pass of a single picture.

    A model whose answers are not finite gets no further doubts.

    Args:
        model: a freshly loaded model.
        random: whether its answers may change; predictions then average `DRAWS` draws.

    Raises:
        ArtattackError: answers change between passes or with the other images in a batch, and `random` is False.
    """
    pictures = doubt_pictures(model.input_size)
    first, second, alone = (_answers(model, x) for x in (pictures, pictures, pictures[:1]))
    if not all(np.isfinite(values).all() for values in (first, second, alone)):
        return replace(model, draws=DRAWS) if random else model  # type: ignore[type-var]
    found = list(model.doubts)
    change = _change(model, first, second, alone)
    if change and not random:
        raise ArtattackError(
            f"model '{model.name}' {change}: it was saved, or works, in training mode. Save it in evaluation mode, or "
            f"set `random: true`, which averages its answers over {DRAWS} draws"
        )
    if random:
        found.append(
            f"{change}; as `random: true` says, answers are averaged over {DRAWS} draws, and two runs differ"
            if change
            else f"has `random: true`, but gave the same answers twice; they are averaged over {DRAWS} draws"
        )
    elif model.weights != "random":  # an untrained network's answers reveal no wrong preprocessing
        found += list(_doubts_of_input(model, pictures)) or _doubts_of_answers(first)
    return replace(model, draws=DRAWS if random else 1, doubts=tuple(found))  # type: ignore[type-var]


@lru_cache(8)
def doubt_pictures(size: tuple[int, int]) -> Array:
    """Return four fixed pictures (4, h, w, 3) float32 in [0, 1] with the 1/f spectrum of photos.

    Their overall mean 0.45 and standard deviation 0.25 are about those of ImageNet's photos. The first picture is dark
    and faint, so a network that normalizes by the batch answers it differently alone.
    """
    height, width = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = 1 / np.maximum(frequency, 1 / max(height, width))
    noise = np.random.default_rng(0).normal(size=(len(_MEANS), 4, height, width))
    waves = np.fft.irfft2(np.fft.rfft2(noise) * amplitude, s=(height, width))
    shades = (waves[:, :1] + 0.5 * waves[:, 1:]).transpose(0, 2, 3, 1)  # correlated channels, as in photos
    shades -= shades.mean((1, 2), keepdims=True)
    shades /= shades.std((1, 2), keepdims=True) + 1e-9
    means, deviations = (np.reshape(values, (-1, 1, 1, 1)) for values in (_MEANS, _DEVIATIONS))
    return np.clip(means + deviations * shades, 0, 1).astype(np.float32)


def _answers(model: Classifier, x: Array) -> Array:
    """Return logits (N, K) of pictures of the model's size in one pass; Keras models run uncompiled."""
    if isinstance(model, Model):
        return np.asarray(model.logits(tf.constant(x)).numpy())
    return model._predict(x)


def _change(model: Classifier, first: Array, second: Array, alone: Array) -> str:
    """Describe a change of answers (N, K) between passes or with the batch; empty for no change."""
    compared = np.exp if model.probabilities else np.asarray  # the logarithm magnifies rounding near 0
    first, second, alone = compared(first), compared(second), compared(alone)
    width = float(first.max() - first.min()) or 1.0
    again, beside = float(abs(second - first).max()), float(abs(alone - first[:1]).max())
    if again > _AGAIN * width:
        return f"answers the same images differently when asked again (by up to {again:.2g}, of a range of {width:.2g})"
    if beside > _ALONE * width:
        return (
            f"answers an image differently alone than beside others (by up to {beside:.2g}, of a range of {width:.2g})"
        )
    return ""


def _doubts_of_answers(values: Array) -> Iterator[str]:
    """Yield a line if answers (N, K) do not depend on the picture."""
    between_pictures, between_classes = values.std(axis=0).max(), values.mean(axis=0).std()
    if between_pictures < _SAME * between_classes:
        yield (
            "gives four different pictures the same answer, perhaps because of wrong preprocessing: check "
            "preprocessing and input_size"
        )


def _doubts_of_input(model: Classifier, pictures: Array) -> Iterator[str]:
    """Yield lines about implausible input values; none for networks whose input cannot be judged."""
    if not isinstance(model, Model | Predictor):
        return
    given = np.asarray(model.preprocessing(tf.constant(pictures)).numpy())
    if isinstance(model, Predictor):
        if model.input_range is not None:
            yield from _doubts_of_range(model.input_range, given)
        watched = getattr(model, "network", None)  # a TorchModel; PyTorch may not be installed
        spread = None if watched is None else watched.first_spread(given)
    else:
        yield from _doubts_of_first_layers(model, pictures, given)
        spread = networks.spread_at_first_normalization(model.network, given)
    if spread is not None and not 1 / _TIMES < spread < _TIMES:
        times, word = (spread, "more") if spread > 1 else (1 / max(spread, 1e-9), "less")
        yield (
            f"gets values that spread {times:.0f} times {word} at its first batch normalization than in training: it "
            "was probably trained with another preprocessing"
        )


def _doubts_of_range(holds: InputRange, given: Array) -> Iterator[str]:
    """Yield a line if a quantized input clips the values, or if they use a small part of its range."""
    low, high = float(given.min()), float(given.max())
    said = f"its input holds values from {holds.low:.3g} to {holds.high:.3g}, and preprocessing gives it {low:.3g} to "
    outside = float(((given < holds.low - holds.step) | (given > holds.high + holds.step)).mean())
    used = (min(high, holds.high) - max(low, holds.low)) / (holds.high - holds.low)
    if outside > _OUTSIDE:
        yield f"clips {outside:.0%} of the values it gets: {said}{high:.3g}: give another preprocessing"
    elif used < _USED:
        levels = int(max(used, 0) * (holds.high - holds.low) / holds.step) + 1
        yield f"distinguishes {levels} levels of a pixel: {said}{high:.3g}: give another preprocessing"


def _doubts_of_first_layers(model: Model, pictures: Array, given: Array) -> Iterator[str]:
    """Yield a line if a network begins with layers that scale images and preprocessing has scaled them already."""
    scaling = networks.scaling_layers(model.network)
    if not scaling or _plausible(model.network, given):
        return
    got = networks.after_scaling(model.network, given)
    fitting = [
        name for name in ("byte", "unit", "tf", "imagenet", "caffe") if _fits(model, pictures, PREPROCESSING[name])
    ]
    advice = f"give preprocessing: {fitting[0]}" if fitting else "give the preprocessing that these layers expect"
    yield (
        f"begins with {' and '.join(scaling)}, and preprocessing scales images before: scaled values lie in "
        f"{got.min():.3g} to {got.max():.3g}; {advice}"
    )


def _fits(model: Model, pictures: Array, preprocessing: Preprocessing) -> bool:
    return _plausible(model.network, np.asarray(preprocessing(tf.constant(pictures)).numpy()))


def _plausible(network: Any, given: Array) -> bool:
    """Whether the range of values after a network's first scaling layers is one that networks are trained with."""
    got = networks.after_scaling(network, given)
    scaling = networks.scaling_layers(network)
    least, most = _SPREADS["Normalization" if "Normalization" in scaling else "Rescaling"]
    return bool(least <= got.max() - got.min() <= most)
