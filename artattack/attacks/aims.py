"""The classes that a targeted attack leads images to, as outputs of its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from artattack.attacks.entries import Batch
from artattack.errors import ArtattackError
from artattack.inputs.labels import class_name

TARGET = (
    "ImageNet class that images are led to: its index, wnid or name. A targeted attack without it takes the target "
    "that the image set names for an image or, where it names none, draws another class than the source sees"
)


class Aims(NamedTuple):
    """Where a batch is led to.

    Attributes:
        outputs: (N,) of the source; of an image that cannot be led, any.
        classes: the ImageNet class of each, (N,); None where that is not known.
        unfit: from the place of an image that cannot be led to why.
    """

    outputs: np.ndarray
    classes: list[int | None]
    unfit: dict[int, str]


def find_aims(batch: Batch, estimator: Any, target: int | None, seen: np.ndarray | None = None) -> Aims:
    """Return the classes that images are led to: one for all, those the image set names, or drawn ones.

    Args:
        batch: the images. The classes that the image set names are ImageNet's.
        estimator: the source, as `artattack.models.estimator.to_estimator` gives it.
        target: the ImageNet class for all, or None.
        seen: the outputs (N,) that are largest for the images, if they are known already.
    """
    model, named = estimator.artattack_model, batch.targets or [None] * len(batch.x)
    wanted = [target if target is not None else name for name in named]
    outputs = np.zeros(len(wanted), np.int64)
    classes: list[int | None] = list(wanted)
    unfit = {}
    for i, index in enumerate(wanted):
        if index is not None:
            place = _output(model, index)
            outputs[i] = 0 if place is None else place
            if place is None:
                unfit[i] = _not_among(model, index)
    drawn = [i for i, index in enumerate(wanted) if index is None]
    if drawn:
        seen = estimator.predict(batch.x).argmax(1) if seen is None else seen
        others = other_classes(seen, estimator.nb_classes, batch.draws or batch.seeds)
        for i in drawn:
            outputs[i] = others[i]
            classes[i] = None if model.label_space is None else model.label_space[others[i]]
    return Aims(outputs, classes, unfit)


def check_target(target: int | None, estimator: Any) -> None:
    """Raise ArtattackError unless a class that all images are to be led to is among the source's."""
    if target is not None and _output(estimator.artattack_model, target) is None:
        raise ArtattackError(f"target: {_not_among(estimator.artattack_model, target)}")


def other_classes(seen: np.ndarray, classes: int, seeds: Sequence[int]) -> np.ndarray:
    """Draw for each image a class (N,) other than the one that is seen, each by its own seed."""
    draws = np.array([np.random.default_rng(seed).integers(1, classes) for seed in seeds])
    return np.asarray((seen + draws) % classes)


def _output(model: Any, index: int) -> int | None:
    """Return the output of a model that stands for an ImageNet class, or None."""
    return model.label_space.index(index) if model.label_space and index in model.label_space else None


def _not_among(model: Any, index: int) -> str:
    return f"class {index} ('{class_name(index)}') is not among the classes of source '{model.name}'"
