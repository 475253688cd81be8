"""Clean and adversarial logits of one classifier -> what became of each image: the classifier's columns."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax, softmax

from artattack.errors import ArtattackError
from artattack.inputs.labels import LabelSpace, class_name

Logits = npt.NDArray[np.floating[Any]]
Guess = tuple[int, str, float]  # class, name, confidence

TOP = 5  # classes kept in the columns top5_before and top5_after


def top_k(logits: Logits, label_space: LabelSpace | None, k: int = TOP) -> list[list[Guess]]:
    """Return each image's most likely classes, best first; of equals, the earlier output first.

    Args:
        logits: (N, K) of one classifier.
        label_space: the ImageNet indices of its K outputs, or None where its classes are others.
        k: how many classes; a classifier with fewer gives fewer.

    Returns:
        For each image, up to k of (class, name, confidence): ImageNet indices and names, or the classifier's
        own output indices and "output 7"; confidences are softmax probabilities over the K outputs.

    Raises:
        ArtattackError: logits are not finite, or do not fit the label space.
    """
    logits = _checked(logits, label_space)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :k]  # of logits: confidences may round to equals
    return [
        [(*_class(output, label_space), float(confidences[output])) for output in outputs]
        for outputs, confidences in zip(best.tolist(), softmax(logits, axis=1), strict=True)
    ]


def score_batch(
    clean: Logits,
    adversarial: Logits,
    true_classes: npt.NDArray[np.integer[Any]],
    label_space: LabelSpace | None,
) -> list[dict[str, Any]]:
    """Score one classifier on a batch of images, before and after an attack.

    Args:
        clean, adversarial: logits (N, K).
        true_classes: (N,) ImageNet indices, -1 where an image is unlabelled.
        label_space: the ImageNet indices of the K outputs, or None where the classifier's classes are others:
            then classes are its own output indices and nothing is said about truth.

    Returns:
        For each image the columns of records.csv from `classes` to `top5_after`; None where missing.

    Raises:
        ArtattackError: logits are not finite, or shapes do not fit each other or the label space.
    """
    if not (clean.shape == adversarial.shape and clean.shape[:1] == true_classes.shape):
        raise ArtattackError(
            "clean logits, adversarial logits and true classes must be of the same images, got shapes "
            f"{clean.shape}, {adversarial.shape} and {true_classes.shape}"
        )
    before, after = top_k(clean, label_space), top_k(adversarial, label_space)
    p, q = (softmax(np.asarray(logits, np.float64), axis=1) for logits in (clean, adversarial))
    divergence = kl_divergence(clean, adversarial)
    ranks = np.argsort(np.argsort(-adversarial, axis=1, kind="stable"), axis=1) + 1
    classes = range(clean.shape[1]) if label_space is None else label_space
    output_of = {index: output for output, index in enumerate(classes)}
    rows = []
    for i, true in enumerate(true_classes.tolist()):
        top = output_of[before[i][0][0]]
        row = _top1_columns(before[i], after[i], shift=float(q[i, top] - p[i, top])) | {
            "classes": len(output_of),
            "rank_after": int(ranks[i, top]),
            "top5_flip": bool(ranks[i, top] > TOP),
            "kl_divergence": float(divergence[i]),
        }
        row["in_label_space"] = None if true < 0 else label_space is not None and true in output_of
        if row["in_label_space"]:
            row |= _truth_columns(true, row, float(p[i, output_of[true]]), float(q[i, output_of[true]]))
        rows.append(row)
    return rows


def kl_divergence(clean: Logits, adversarial: Logits) -> npt.NDArray[np.float64]:
    """Return how far confidences have moved: KL(softmax(clean) || softmax(adversarial)).

    Args:
        clean, adversarial: logits (N, K).

    Returns:
        (N,) float64 in nats, 0 where they are the same.
    """
    p, q = (np.asarray(logits, np.float64) for logits in (clean, adversarial))
    # Of logarithms, since a confidence may be too small for a float but not for its logarithm.
    terms = softmax(p, axis=1) * (log_softmax(p, axis=1) - log_softmax(q, axis=1))
    return np.asarray(np.maximum(terms.sum(axis=1), 0.0))  # rounding may take it below


def restricted(logits: Logits, label_space: LabelSpace | None, shared: LabelSpace | None) -> Logits:
    """Keep the logits of some classes, the convention of ImageNet-A and -R (Hendrycks et al., CVPR and ICCV 2021).

    Args:
        logits: (N, K) of one classifier.
        label_space: the ImageNet indices of its K outputs, or None where its classes are others.
        shared: the classes of `label_space` to keep, or None for all.

    Returns:
        (N, len(shared)), in the order of `shared`; all of them where either is None.
    """
    if label_space is None or shared is None or shared == label_space:
        return logits
    return logits[:, [label_space.index(index) for index in shared]]


def _top1_columns(before: list[Guess], after: list[Guess], shift: float) -> dict[str, Any]:
    (class_before, name_before, confidence_before), (class_after, name_after, confidence_after) = (
        before[0],
        after[0],
    )
    return {
        "in_label_space": None,
        "top1_class_before": class_before,
        "top1_name_before": name_before,
        "top1_confidence_before": confidence_before,
        "top1_class_after": class_after,
        "top1_name_after": name_after,
        "top1_confidence_after": confidence_after,
        "true_confidence_before": None,
        "true_confidence_after": None,
        "correct_before": None,
        "flip": class_before != class_after,
        "success": None,
        "confidence_shift": shift,
        "true_confidence_shift": None,
        "top5_before": json.dumps(before, ensure_ascii=False),
        "top5_after": json.dumps(after, ensure_ascii=False),
    }


def _truth_columns(true: int, row: dict[str, Any], before: float, after: float) -> dict[str, Any]:
    correct = row["top1_class_before"] == true
    return {
        "true_confidence_before": before,
        "true_confidence_after": after,
        "correct_before": correct,
        "success": row["top1_class_after"] != true if correct else None,  # already wrong: skipped
        "true_confidence_shift": after - before,
    }


def _class(output: int, label_space: LabelSpace | None) -> tuple[int, str]:
    if label_space is None:
        return output, f"output {output}"
    return label_space[output], class_name(label_space[output])


def _checked(logits: Logits, label_space: LabelSpace | None) -> npt.NDArray[np.float64]:
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ArtattackError(f"logits are of shape (images, classes), got {logits.shape}")
    images, outputs = logits.shape
    if label_space is not None and len(label_space) != outputs:
        raise ArtattackError(
            f"the classifier has {outputs} outputs, its label space {len(label_space)} classes: "
            "give the label space in the order of the outputs"
        )
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(bad):
        raise ArtattackError(
            f"the classifier's logits are not finite for {len(bad)} of {images} images "
            f"(first: number {bad[0]} of the batch): check its weights and preprocessing"
        )
    return logits.astype(np.float64)
