"""Is a file the network it was made from? Some images through both, and what to look at where they differ."""

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
from artattack.models.classifier import Classifier
from artattack.models.model import PREPROCESSING, Preprocessing
from artattack.models.registry import check_model, model_infos
from artattack.runtime import load_tensorflow

Array = NDArray[Any]
_DEFAULT = Benchmark()


class Agreement(NamedTuple):
    """How two models answer about the same images.

    Attributes:
        images: how many.
        same: of how many both see the same most likely class.
        largest, median: difference of their values, over all images and classes.
        where: the image with the largest difference.
        values: what was compared: logits, or logarithms of probabilities where one model gives those.
        tolerance: the largest difference that is taken for rounding.
        advice: what to look at; empty where they agree.
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
        """Whether all classes are the same, and values but for rounding."""
        return self.same == self.images and self.largest <= self.tolerance


def check_agreement(
    copy: str,
    original: str,
    *,
    benchmark: Path | None = None,
    preprocessing: str | None = None,
    label_space: str | None = None,
    input_size: int | None = None,
    images: str = _DEFAULT.images.set,
    limit: int = LIMIT,
    tolerance: float = TOLERANCE,
) -> Agreement:
    """Load a model's file and its original, and ask both about the same images.

    Args:
        copy: the file that was made, say `onnx:PATH`.
        original: the model it was made from.
        benchmark: a benchmark file in whose `models` both may be named.
        preprocessing, label_space, input_size: of files that no benchmark file describes, as `load_model` takes them.
        images: image set.
        limit: at most so many images.
        tolerance: as in `compare_models`.

    Raises:
        ArtattackError: a model or the image set is not usable, or as in `compare_models`.
    """
    from artattack.models import load_model

    of_files = {"preprocessing": preprocessing, "label_space": label_space, "input_size": input_size}
    known = load_benchmark(benchmark).models if benchmark else {}
    registered = {info.name for info in model_infos()}
    specs = [
        known.get(name) or ModelSpec(model=name, **({} if name in registered else of_files))
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
    """Ask two models about images, and find out how far their answers are apart.

    Args:
        copy: the file that was made, say by a converter.
        original: what it was made from.
        x: images (N, H, W, 3) float32 in [0, 1].
        ids: their names, N.
        tolerance: the largest difference that is taken for rounding.

    Raises:
        ArtattackError: there are no images, the models have other classes, or one fails.
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
        values="logarithms of probabilities" if probable else "logits",
        tolerance=tolerance,
        advice="",
    )
    if first.agree:
        return first
    tried = {how: float(np.abs(values(other) - wanted).max()) for how, other in _variations(copy)}
    return first._replace(advice=_advice(first, found, wanted, tried, copy, original))


def _columns(copy: Classifier, original: Classifier) -> list[int]:
    """Return which of the copy's classes stand for the original's, in their order."""
    ours, theirs = copy.label_space, original.label_space
    if ours is not None and theirs is not None and set(ours) == set(theirs):
        return [ours.index(k) for k in theirs]
    if copy.classes != original.classes:
        raise ArtattackError(
            f"model '{copy.name}' has {copy.classes} classes and '{original.name}' {original.classes}: they can be "
            "compared if label_space says that both know the same ones"
        )
    return list(range(copy.classes))


def _variations(copy: Any) -> Iterator[tuple[str, Classifier]]:
    """Yield the model as it would be with other preprocessing, each with what to say in a benchmark file."""
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
    """Return in one line what to look at."""
    best = min(tried, key=tried.__getitem__)
    if tried[best] <= first.tolerance:
        return f"With {best} for '{copy.name}' they agree, but for {tried[best]:.2g}: say that."
    if np.abs(np.sort(found) - np.sort(wanted)).max() <= first.tolerance:
        return "The values are the same, in another order: look at the order of classes (label_space)."
    if first.same == first.images:
        return (
            f"All classes are the same: differences like that are a quantized file's, or those of another resizing. "
            f"Where they are meant, --tolerance {_rounded_up(first.largest):g} takes them for rounding."
        )
    if tried[best] < first.largest / 2:
        return f"Nearest comes {best} for '{copy.name}', with {tried[best]:.2g} at most: look at mean and std."
    if copy.input_size != original.input_size:
        sizes = " and ".join(f"{h} x {w}" for h, w in (copy.input_size, original.input_size))
        return f"They see images at other sizes, {sizes} pixels: look at input_size."
    return (
        "No order of channels and no scaling known here explains it: look at weights, and at what the file was made of."
    )


def _rounded_up(value: float) -> float:
    """Return a number with one digit that is no smaller."""
    unit = 10.0 ** np.floor(np.log10(value))
    return float(np.ceil(value / unit) * unit)
