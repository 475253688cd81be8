"""Compare a converted file with its original on a few images, and explain a difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from artattack.checks.defaults import LIMIT, TOLERANCE
from artattack.config import Benchmark, ModelSpec, load_benchmark
from artattack.errors import ArtattackError
from artattack.inputs.image_sets import load_images
from artattack.inputs.labels import names_of
from artattack.models.classifier import Classifier
from artattack.models.model import PREPROCESSING, Preprocessing
from artattack.models.registry import check_model, is_registered
from artattack.runtime import load_tensorflow

Array = NDArray[Any]
_DEFAULT = Benchmark()


class Agreement(NamedTuple):
    """Agreement of two models on the same images.

    Attributes:
        images: number of images.
        same: number of images on which both predict the same class.
        largest: largest absolute difference of their values, over all images and classes.
        median: median absolute difference, likewise.
        where: name of the image with the largest difference.
        values: the compared values: logits, or log-probabilities if one model returns probabilities.
        tolerance: largest difference attributed to rounding.
        advice: hint on the cause of a difference; empty if the models agree.
    """

    images: int
    same: int
    largest: float
    median: float
    where: str
    values: str
    tolerance: float
    advice: str

    @property
    def agree(self) -> bool:
        """Whether all predicted classes are equal, and all values within the tolerance."""
        return self.same == self.images and self.largest <= self.tolerance


def check_agreement(
    copy: str,
    original: str,
    *,
    benchmark: Path | None = None,
    preprocessing: str | None = None,
    label_space: str | None = None,
    input_size: int | None = None,
    output: int | str | None = None,
    images: str = _DEFAULT.images.set,
    limit: int = LIMIT,
    tolerance: float = TOLERANCE,
) -> Agreement:
    """Load a converted model and its original, and compare both on the same images.

    Args:
        copy: the converted file, such as `onnx:PATH`.
        original: the model it was converted from.
        benchmark: a benchmark file whose `models` may name both.
        preprocessing: as in `load_model`, for files that no benchmark file describes.
        label_space: likewise.
        input_size: likewise.
        output: likewise.
        images: image set.
        limit: maximum number of images.
        tolerance: as in `compare_models`.

    Raises:
        ArtattackError: a model or the image set is unusable, or as in `compare_models`.
    """
    from artattack.models import load_model

    of_files = {
        "preprocessing": preprocessing,
        "label_space": label_space,
        "input_size": input_size,
        "output": output,
    }
    known = load_benchmark(benchmark).models if benchmark else {}
    specs = [
        known.get(name) or ModelSpec(model=name, **({} if is_registered(name) else of_files))
        for name in (copy, original)
    ]
    for spec in specs:
        check_model(spec.model)
    load_tensorflow()
    ours, theirs = (load_model(**spec.arguments()) for spec in specs)
    loaded = load_images(images, size=theirs.input_size, limit=limit)
    return compare_models(ours, theirs, loaded.x, loaded.ids, tolerance=tolerance)


def compare_models(
    copy: Classifier, original: Classifier, x: Array, ids: Sequence[str], *, tolerance: float = TOLERANCE
) -> Agreement:
    """Compare the outputs of two models on images.

    Args:
        copy: the converted model.
        original: the model it was converted from.
        x: images (N, H, W, 3) float32 in [0, 1].
        ids: N image names.
        tolerance: largest difference attributed to rounding.

    Returns:
        The agreement; if the models do not agree, with advice on the cause.

    Raises:
        ArtattackError: there are no images, the models have different classes, or one fails.
    """
    if not len(x):
        raise ArtattackError("there are no images to compare models on")
    columns = _columns(copy, original)
    probable = copy.probabilities or original.probabilities

    def values(model: Classifier) -> Array:
        found = np.asarray(model.predict_finite(x), np.float64)
        found = found[:, columns] if model is not original else found
        return np.asarray(log_softmax(found, axis=1)) if probable else found

    wanted, found = values(original), values(copy)
    apart = np.abs(found - wanted)
    first = Agreement(
        images=len(x),
        same=int((found.argmax(1) == wanted.argmax(1)).sum()),
        largest=float(apart.max()),
        median=float(np.median(apart)),
        where=ids[int(apart.max(1).argmax())],
        values="log-probabilities" if probable else "logits",
        tolerance=tolerance,
        advice="",
    )
    if first.agree:
        return first
    tried = {how: float(np.abs(values(other) - wanted).max()) for how, other in _variations(copy)}
    return first._replace(advice=_advice(first, found, wanted, tried, copy, original))


def _columns(copy: Classifier, original: Classifier) -> list[int]:
    """Return the copy's output indices in the order of the original's classes."""
    ours, theirs = copy.label_space, original.label_space
    if ours is not None and names_of(ours):
        ours = ours.counted_in(names_of(theirs))
    same = names_of(ours) == names_of(theirs)
    if ours is not None and theirs is not None and same and set(ours) == set(theirs):
        return [ours.index(k) for k in theirs]
    if copy.classes != original.classes:
        raise ArtattackError(
            f"model '{copy.name}' has {copy.classes} classes and '{original.name}' {original.classes}: to compare "
            "them, give label_spaces with the same classes"
        )
    return list(range(copy.classes))


def _variations(copy: Any) -> Iterator[tuple[str, Classifier]]:
    """Yield the model with other preprocessing, each with the setting for a benchmark file."""
    own: Preprocessing = copy.preprocessing
    flipped = replace(own, bgr=not own.bgr)
    order = "blue, green, red" if flipped.bgr else "red, green, blue"
    yield f"channels in the order {order} (bgr: {str(flipped.bgr).lower()})", replace(copy, preprocessing=flipped)
    for name, other in PREPROCESSING.items():
        if other not in (own, flipped):
            yield f"preprocessing: {name}", replace(copy, preprocessing=other)


def _advice(
    first: Agreement,
    found: Array,
    wanted: Array,
    tried: dict[str, float],
    copy: Classifier,
    original: Classifier,
) -> str:
    """Return a one-line hint on the cause of a difference."""
    best = min(tried, key=tried.__getitem__)
    if tried[best] <= first.tolerance:
        return f"With {best} for '{copy.name}' they agree to within {tried[best]:.2g}: use that setting."
    if np.abs(np.sort(found) - np.sort(wanted)).max() <= first.tolerance:
        return "The values are the same in another order: check the order of classes (label_space)."
    if first.same == first.images:
        return (
            f"All predicted classes are the same: quantization or another resizing causes such differences. "
            f"If that is intended, --tolerance {_rounded_up(first.largest):g} accepts them."
        )
    if tried[best] < first.largest / 2:
        return f"The nearest match is {best} for '{copy.name}', off by at most {tried[best]:.2g}: check mean and std."
    if copy.input_size != original.input_size:
        sizes = " and ".join(f"{h} x {w}" for h, w in (copy.input_size, original.input_size))
        return f"The models take images of different sizes, {sizes} pixels: check input_size."
    return "No known channel order or scaling explains the difference: check the weights and the conversion."


def _rounded_up(value: float) -> float:
    """Round up to one significant digit."""
    unit = 10.0 ** np.floor(np.log10(value))
    return float(np.ceil(value / unit) * unit)
