"""Target classes of a targeted attack, as outputs of its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from artattack.attacks.entries import Batch
from artattack.errors import ArtattackError
from artattack.inputs.labels import class_name

TARGET = (
    "target class for all images: ImageNet index, wnid or name. Without it, a targeted attack takes each image's "
    "target from the image set or, without one, draws a class other than the source's prediction"
)


class Aims(NamedTuple):
    """Targets of a batch.

    Attributes:
        outputs: (N,) target outputs of the source; arbitrary for an image in `unfit`.
        classes: the target class of each image, (N,), an ImageNet index, or None if unknown.
        unfit: from the index of an image that cannot be targeted to the reason.
    """

    outputs: np.ndarray
    classes: list[int | None]
    unfit: dict[int, str]


def find_aims(batch: Batch, estimator: Any, target: int | None, seen: np.ndarray | None = None) -> Aims:
    """Return the target classes of images: one for all, those of the image set, or drawn ones.

    Args:
        batch: the images. Targets of the image set are ImageNet classes.
        estimator: the source, from `artattack.models.estimator.to_estimator`.
        target: the ImageNet class for all images, or None.
        seen: the source's predictions (N,), if they are known already.
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
    """Raise ArtattackError unless the target class for all images is among the source's classes."""
    if target is not None and _output(estimator.artattack_model, target) is None:
        raise ArtattackError(f"target: {_not_among(estimator.artattack_model, target)}")


def other_classes(seen: np.ndarray, classes: int, seeds: Sequence[int]) -> np.ndarray:
    """Draw for each image a class (N,) other than the predicted one, by the image's own seed."""
    draws = np.array([np.random.default_rng(seed).integers(1, classes) for seed in seeds])
    return np.asarray((seen + draws) % classes)


def _output(model: Any, index: int) -> int | None:
    """Return the model's output for an ImageNet class, or None."""
    return model.label_space.index(index) if model.label_space and index in model.label_space else None


def _not_among(model: Any, index: int) -> str:
    return f"class {index} ('{class_name(index)}') is not among the classes of source '{model.name}'"
