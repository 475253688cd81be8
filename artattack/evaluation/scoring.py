"""Clean and adversarial logits of one classifier -> what became of each image: the outcome columns of the records."""

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
        clean, adversarial: logits (N, K).
        true_classes: (N,) ImageNet indices or places in `own`, -1 where an image is unlabelled.
        label_space: the classes of the K outputs, or None where nobody has said: then classes are the output's
            indices. About truth something is said only where it counts as `true_classes` do.
        style_class: the ImageNet class that the style image shows, if it is known.
        target_classes: (N,) classes, counted likewise, that a targeted attack led images to, -1 where it led to none;
            None for none at all.
        own: the list of one's own classes that these classes count; empty for ImageNet's.

    Returns:
        For each image the columns of records.csv that are an `Outcome`; None where missing.

    Raises:
        ArtattackError: logits are not finite, are of fewer than two classes, or shapes do not fit each other or the
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
