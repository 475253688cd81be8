"""A model's doubts: whether it answers the same images the same way, and whether it gets images as it expects them.

Found once, when a model is loaded, by a few forward passes of four small pictures; the same for every kind of model.
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
_AGAIN = 0.01  # change from one asking to the next, over the range of answers; servers may round in between
_ALONE = 0.05  # the same between an image alone and in a batch, where sums come in another order
_OUTSIDE = 0.1  # share of values that a quantized input cuts off; calibration on photos cuts off a few per cent
_USED = 0.45  # of a quantized input's range; half of one that is symmetric about 0 is used by pixels in [0, 1]
_SPREADS = {"Rescaling": (0.1, 300.0), "Normalization": (0.5, 12.0)}  # least and most of values that leave such layers
_TIMES = 20.0  # by which values may spread more, or less, than those a normalization was trained on
_SAME = 1e-3  # change from picture to picture, over the spread of answers over classes, that counts as no change


def examined(model: AnyClassifier, *, random: bool = False) -> AnyClassifier:
    """Return a model with its doubts, after asking it about four pictures twice, and about one of them alone.

    Args:
        model: freshly loaded.
        random: whether its answers are allowed to change; it is then asked `DRAWS` times, and answers are averaged.

    Raises:
        ArtattackError: answers change from one asking to the next, or with the images in the same batch, and `random`
            does not allow it.
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
            f"say `random: true`: its answers are then averaged over {DRAWS} draws"
        )
    if random:
        found.append(
            f"{change}; as `random: true` says, answers are averaged over {DRAWS} draws, and two runs differ"
            if change
            else f"is said to be random, but gave the same answers twice; they are averaged over {DRAWS} draws"
        )
    elif model.weights != "random":  # whose answers say nothing, whatever the network gets
        found += list(_doubts_of_input(model, pictures)) or _doubts_of_answers(first)
    return replace(model, draws=DRAWS if random else 1, doubts=tuple(found))  # type: ignore[type-var]


@lru_cache(8)
def doubt_pictures(size: tuple[int, int]) -> Array:
    """Return four pictures (4, h, w, 3) float32 in [0, 1] with the spectrum of photos, 1/f, always the same.

    Over all, mean 0.45 and standard deviation 0.25 are about those of ImageNet's photos. The first is dark and faint: a
    network that normalizes by the batch sees it differently alone.
    """
    height, width = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = 1 / np.maximum(frequency, 1 / max(height, width))
    noise = np.random.default_rng(0).normal(size=(len(_MEANS), 4, height, width))
    waves = np.fft.irfft2(np.fft.rfft2(noise) * amplitude, s=(height, width))
    shades = (waves[:, :1] + 0.5 * waves[:, 1:]).transpose(0, 2, 3, 1)  # channels go together, as in photos
    shades -= shades.mean((1, 2), keepdims=True)
    shades /= shades.std((1, 2), keepdims=True) + 1e-9
    means, deviations = (np.reshape(values, (-1, 1, 1, 1)) for values in (_MEANS, _DEVIATIONS))
    return np.clip(means + deviations * shades, 0, 1).astype(np.float32)


def _answers(model: Classifier, x: Array) -> Array:
    """Return logits (N, K) of pictures of the model's size, asked once; of Keras, without compiling anything."""
    if isinstance(model, Model):
        return np.asarray(model.logits(tf.constant(x)).numpy())
    return model._predict(x)


def _change(model: Classifier, first: Array, second: Array, alone: Array) -> str:
    """Say how answers (N, K) change that should not; empty where they do not."""
    compared = np.exp if model.probabilities else np.asarray  # a logarithm stretches what rounds to 0
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
    """Yield a line where answers (N, K) do not depend on the picture."""
    between_pictures, between_classes = values.std(axis=0).max(), values.mean(axis=0).std()
    if between_pictures < _SAME * between_classes:
        yield (
            "gives four different pictures the same answer: does it get images as it expects them? see preprocessing "
            "and input_size"
        )


def _doubts_of_input(model: Classifier, pictures: Array) -> Iterator[str]:
    """Yield what cannot be right about the values that a network gets; nothing for those that tell nothing."""
    if not isinstance(model, Model | Predictor):
        return
    given = np.asarray(model.preprocessing(tf.constant(pictures)).numpy())
    if isinstance(model, Predictor):
        if model.input_range is not None:
            yield from _doubts_of_range(model.input_range, given)
        watched = getattr(model, "network", None)  # of PyTorch, which need not be installed
        spread = None if watched is None else watched.first_spread(given)
    else:
        yield from _doubts_of_first_layers(model, pictures, given)
        spread = networks.spread_at_first_normalization(model.network, given)
    if spread is not None and not 1 / _TIMES < spread < _TIMES:
        times, word = (spread, "more") if spread > 1 else (1 / max(spread, 1e-9), "less")
        yield (
            f"gets values that spread {times:.0f} times {word} at its first batch normalization than those it was "
            "trained on: preprocessing is probably not what it was trained with"
        )


def _doubts_of_range(holds: InputRange, given: Array) -> Iterator[str]:
    """Yield a line where values are cut off by a quantized input, or fall into a small part of its range."""
    low, high = float(given.min()), float(given.max())
    said = f"its input holds values from {holds.low:.3g} to {holds.high:.3g}, and preprocessing gives it {low:.3g} to "
    outside = float(((given < holds.low - holds.step) | (given > holds.high + holds.step)).mean())
    used = (min(high, holds.high) - max(low, holds.low)) / (holds.high - holds.low)
    if outside > _OUTSIDE:
        yield f"loses {outside:.0%} of the values it gets: {said}{high:.3g}: say another preprocessing"
    elif used < _USED:
        levels = int(max(used, 0) * (holds.high - holds.low) / holds.step) + 1
        yield f"tells {levels} levels of a pixel apart: {said}{high:.3g}: say another preprocessing"


def _doubts_of_first_layers(model: Model, pictures: Array, given: Array) -> Iterator[str]:
    """Yield a line where a network begins with layers that scale images, which were scaled before."""
    scaling = networks.scaling_layers(model.network)
    if not scaling or _plausible(model.network, given):
        return
    got = networks.after_scaling(model.network, given)
    fitting = [
        name for name in ("byte", "unit", "tf", "imagenet", "caffe") if _fits(model, pictures, PREPROCESSING[name])
    ]
    advice = f"say preprocessing: {fitting[0]}" if fitting else "say what it expects before them"
    yield (
        f"begins with {' and '.join(scaling)}, and preprocessing scales images before: what comes out lies in "
        f"{got.min():.3g} to {got.max():.3g}; {advice}"
    )


def _fits(model: Model, pictures: Array, preprocessing: Preprocessing) -> bool:
    return _plausible(model.network, np.asarray(preprocessing(tf.constant(pictures)).numpy()))


def _plausible(network: Any, given: Array) -> bool:
    """Whether values that leave the scaling layers at the beginning spread as values do that networks work on."""
    got = networks.after_scaling(network, given)
    scaling = networks.scaling_layers(network)
    least, most = _SPREADS["Normalization" if "Normalization" in scaling else "Rescaling"]
    return bool(least <= got.max() - got.min() <= most)
