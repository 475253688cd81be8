"""From clean and adversarial logits of one classifier to the outcome columns of the records."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from artattack.inputs.labels import LabelSpace
from artattack.results.columns import RECORDS, Outcome
from artattack.results.scores import Logits, Scores

_OUTCOMES = [column for column in RECORDS if isinstance(column, Outcome)]


def score_batch(
    clean: Logits,
    adversarial: Logits,
    true_classes: npt.NDArray[np.integer[Any]],
    label_space: LabelSpace | None,
    style_class: int | None = None,
    target_classes: npt.NDArray[np.integer[Any]] | None = None,
    own: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    """Score one classifier on a batch of images, before and after an attack.

    Args:
        clean: logits (N, K) for the originals.
        adversarial: logits (N, K) for the adversarial images.
        true_classes: (N,) ImageNet indices or indices in `own`, -1 for unlabelled images.
        label_space: classes of the K outputs, or None if unknown, which makes classes the output indices. Accuracy and
            successes need a label space with the same indices as `true_classes`.
        style_class: ImageNet class of the style image, if known.
        target_classes: (N,) target classes with the same indices, -1 for images without one; None without targets.
        own: the image set's own class names; empty for ImageNet classes.

    Returns:
        For each image, the `Outcome` columns of records.csv; None for missing values.

    Raises:
        ArtattackError: logits are not finite or have fewer than two classes, or shapes do not match each other or the
            label space.
    """
    scores = Scores(clean, adversarial, true_classes, label_space, style_class, target_classes, own)
    columns: dict[str, list[Any]] = {}
    for column in _OUTCOMES:
        values = np.asarray(column.compute(scores), dtype=_NUMPY[column.dtype]).tolist()
        if column.where is not None:
            known = column.where(scores).tolist()
            values = [value if is_known else None for value, is_known in zip(values, known, strict=True)]
        columns[column.name] = values
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


_NUMPY = {"string": object, "Int64": np.int64, "float64": np.float64, "boolean": np.bool_}  # for pandas' dtypes
