"""Target classes of a targeted attack, as outputs of its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from artattack.attacks.entries import Batch
from artattack.errors import ArtattackError
from artattack.inputs.labels import class_index, class_name, names_of

TARGET = (
    "target class for all images: ImageNet index, wnid or name; of a source with classes of its own, the name. Without "
    "it, a targeted attack takes each image's target from the image set or, without one, draws a class other than the "
    "source's prediction"
)
Target = int | str  # a class as the user writes it: ImageNet index, wnid or name


class Aims(NamedTuple):
    """Targets of a batch.

    Attributes:
        outputs: (N,) int64, target outputs of the source; arbitrary for an image in `unfit`.
        classes: (N,) target class of each image, with the same indices as labels; None for an unknown one.
        unfit: from the index of an image that cannot be targeted to the reason.
    """

    outputs: np.ndarray
    classes: list[int | None]
    unfit: dict[int, str]


def find_aims(batch: Batch, estimator: Any, target: Target | None, seen: np.ndarray | None = None) -> Aims:
    """Return the target classes of images: one for all, those of the image set, or drawn ones.

    Args:
        batch: the images.
        estimator: the source, from `artattack.models.estimator.to_estimator`.
        target: the class for all images, or None.
        seen: the source's predictions (N,), as outputs, if they are known already.

    Raises:
        ArtattackError: the class for all images is not among the source's.
    """
    model, n = estimator.artattack_model, len(batch.x)
    if target is not None:
        output = output_of(target, model)
        return Aims(np.full(n, output, np.int64), [target_class(target, [model], batch.classes)] * n, {})
    classes = list(batch.targets) or [None] * n
    outputs = np.zeros(n, np.int64)
    unfit = {}
    for i, index in enumerate(classes):
        if index is not None:
            by_name = batch.classes or names_of(model.label_space)
            try:
                outputs[i] = output_of(class_name(index, batch.classes) if by_name else index, model)
            except ArtattackError as error:
                unfit[i] = str(error)
    drawn = [i for i, index in enumerate(classes) if index is None]
    if drawn:
        seen = estimator.predict(batch.x).argmax(1) if seen is None else seen
        others = other_classes(seen, estimator.nb_classes, batch.draws or batch.seeds)
        for i in drawn:
            outputs[i] = others[i]
            classes[i] = model.label_space[others[i]] if _counts(model, batch.classes) else None
    return Aims(outputs, classes, unfit)


def check_target(target: Target | None, estimator: Any) -> None:
    """Raise ArtattackError unless the target class for all images is among the source's classes."""
    if target is not None:
        try:
            output_of(target, estimator.artattack_model)
        except ArtattackError as error:
            raise ArtattackError(f"target: {error}") from error


def check_class(target: Target | None, names: Sequence[str]) -> None:
    """Raise ArtattackError unless a target is an ImageNet class or, where there are `names`, one of these."""
    if target is not None:
        try:
            class_index(str(target), names)
        except ArtattackError as error:
            raise ArtattackError(f"target: {error}") from error


def target_class(target: Target, models: Sequence[Any], own: tuple[str, ...]) -> int | None:
    """Return the index of a target class among the classes of the labels.

    Args:
        target: a class of the models.
        models: the models that the attack reads.
        own: the image set's own classes; empty for ImageNet's.

    Returns:
        The index, or None if no model has the classes of the labels.

    Raises:
        ArtattackError: a model has the classes of the labels, and the target is none of them.
    """
    return class_index(str(target), own) if any(_counts(model, own) for model in models) else None


def output_of(target: Target, model: Any) -> int:
    """Return the index of a model's output for a class.

    Args:
        target: a class of ImageNet or, for a model with classes of its own, one of these.
        model: the model.

    Raises:
        ArtattackError: the class does not exist, or the model does not have it.
    """
    names = names_of(model.label_space)
    index = class_index(str(target), names)
    if model.label_space is None or index not in model.label_space:
        named = f"class {index} ('{class_name(index, names)}')"
        raise ArtattackError(f"{named} is not among the classes of source '{model.name}'")
    return int(model.label_space.index(index))


def other_classes(seen: np.ndarray, classes: int, seeds: Sequence[int]) -> np.ndarray:
    """Draw for each image a class other than the predicted one, with the image's own seed.

    Args:
        seen: predictions (N,), as outputs.
        classes: number of outputs.
        seeds: a seed for each image.

    Returns:
        (N,) int64, drawn outputs.
    """
    draws = np.array([np.random.default_rng(seed).integers(1, classes) for seed in seeds])
    return np.asarray((seen + draws) % classes)


def _counts(model: Any, own: tuple[str, ...]) -> bool:
    """Whether a model's classes have the same indices as labels."""
    return model.label_space is not None and names_of(model.label_space) == own
