"""Scores of one classifier on images before and after an attack, from which the outcome columns are computed."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax, softmax

from artattack.errors import ArtattackError
from artattack.inputs.entry_classes import ENTRY_CLASSES
from artattack.inputs.labels import LabelSpace, class_name, names_of

Logits = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]
Outputs = npt.NDArray[np.integer[Any]]  # indices of a classifier's outputs
Mask = npt.NDArray[np.bool_]
Guess = tuple[int, str, float]  # class, name, confidence

TOP = 5  # classes kept in the columns top5_before and top5_after


class Scores:
    """Scores of one classifier on N images before and after an attack.

    Attributes:
        logits_before: logits before the attack, (N, K) float64.
        logits_after: logits after the attack, (N, K) float64.
        before: confidences (softmax probabilities) before the attack, (N, K) float64.
        after: confidences after the attack, (N, K) float64.
        top_before: top-1 output of each image before the attack, (N,).
        top_after: top-1 output of each image after the attack, (N,).
        labelled: whether each image has a true class, (N,) bool.
        known: whether the true class is among the classifier's, (N,) bool.
        true: output of the true class, (N,); 0 unless `known`.
        style: output of the style image's class, (N,); 0 unless `style_known`.
        style_known: whether the classifier has that class and it is not the true class, (N,) bool.
        target: output of the target class, (N,); 0 unless `target_known`.
        target_known: whether the classifier has the target class and it is not the true class, (N,) bool.
    """

    def __init__(
        self,
        clean: Logits,
        adversarial: Logits,
        true_classes: npt.NDArray[np.integer[Any]],
        label_space: LabelSpace | None,
        style_class: int | None = None,
        target_classes: npt.NDArray[np.integer[Any]] | None = None,
        own: tuple[str, ...] = (),
    ) -> None:
        if not (clean.shape == adversarial.shape and clean.shape[:1] == true_classes.shape):
            raise ArtattackError(
                "clean logits, adversarial logits and true classes must be of the same images, got shapes "
                f"{clean.shape}, {adversarial.shape} and {true_classes.shape}"
            )
        self._label_space = label_space
        self.logits_before: Floats = _checked(clean, label_space)
        self.logits_after: Floats = _checked(adversarial, label_space)
        self.before: Floats = softmax(self.logits_before, axis=1)
        self.after: Floats = softmax(self.logits_after, axis=1)
        # Of logits: two confidences may round to one number.
        self.top_before: Outputs = self.logits_before.argmax(axis=1)
        self.top_after: Outputs = self.logits_after.argmax(axis=1)
        self._names = names_of(label_space)
        # Of ImageNet's classes: those of another list have other numbers.
        of_imagenet = {} if self._names else {index: output for output, index in enumerate(label_space or ())}
        self._of_imagenet = of_imagenet
        outputs = {index: output for output, index in enumerate(label_space or ())} if self._names == own else {}
        found = np.array([outputs.get(index, -1) for index in true_classes.tolist()], np.int64)
        self.labelled: Mask = true_classes >= 0
        self.known: Mask = found >= 0
        self.true: Outputs = np.maximum(found, 0)
        style = of_imagenet.get(-1 if style_class is None else style_class, -1)
        self.style: Outputs = np.full(len(found), max(style, 0), np.int64)
        self.style_known: Mask = ((true_classes != style_class) | bool(own)) & (style >= 0)
        targets = np.full(len(found), -1) if target_classes is None else target_classes
        led = np.array([outputs.get(index, -1) for index in targets.tolist()], np.int64)
        self.target: Outputs = np.maximum(led, 0)
        self.target_known: Mask = (led >= 0) & (targets != true_classes)

    @staticmethod
    def at(values: Floats, outputs: Outputs) -> Floats:
        """Return each image's value at the image's own output, (N,), from values (N, K) and outputs (N,)."""
        return np.take_along_axis(values, outputs[:, None], axis=1)[:, 0]

    @cached_property
    def classes(self) -> npt.NDArray[np.int64]:
        """The class of each output, (K,), in the label space; without one, the index of the output."""
        return np.array(self._label_space or range(self.before.shape[1]), np.int64)

    def names(self, outputs: Outputs) -> list[str]:
        """Return the names of outputs (N,)."""
        return [_class(output, self._label_space)[1] for output in outputs.tolist()]

    @cached_property
    def _entry_classes(self) -> dict[str, list[int]]:
        """The outputs of each entry-level class."""
        outputs = self._of_imagenet
        return {
            name: [outputs[index] for index in indices if index in outputs] for name, indices in ENTRY_CLASSES.items()
        }

    @cached_property
    def knows_entry_classes(self) -> Mask:
        """Whether the classifier has classes of every entry-level class, (N,) bool, equal for all images."""
        return np.full(len(self.before), all(self._entry_classes.values()))

    def entry_classes(self, confidences: Floats) -> list[str]:
        """Return each image's entry-level class: the one whose ImageNet classes have the highest mean confidence.

        Geirhos et al. recommend this rule (rgeirhos/texture-vs-shape, README; arXiv:1808.08750, appendix). Among
        equals, the first in alphabetical order.
        """
        names = [name for name, outputs in self._entry_classes.items() if outputs]
        if not names:
            return [""] * len(confidences)
        means = np.stack([confidences[:, self._entry_classes[name]].mean(axis=1) for name in names], axis=1)
        return [names[k] for k in means.argmax(axis=1)]

    @cached_property
    def rank_after(self) -> npt.NDArray[np.int64]:
        """The rank after the attack of the class predicted before, from 1, (N,)."""
        value = self.at(self.logits_after, self.top_before)[:, None]
        earlier = np.arange(self.before.shape[1]) < self.top_before[:, None]  # of equals, the earlier output first
        ahead = (self.logits_after > value) | ((self.logits_after == value) & earlier)
        return np.asarray(1 + np.count_nonzero(ahead, axis=1), np.int64)

    @cached_property
    def kl_divergence(self) -> Floats:
        """The KL divergence of the confidences, from the function `kl_divergence`, (N,)."""
        return kl_divergence(self.logits_before, self.logits_after)

    def best_as_json(self, logits: Floats) -> list[str]:
        """Return the result of `top_k` for each image as JSON."""
        return [json.dumps(guesses, ensure_ascii=False) for guesses in top_k(logits, self._label_space)]


def top_k(logits: Logits, label_space: LabelSpace | None, k: int = TOP) -> list[list[Guess]]:
    """Return each image's most likely classes, best first; among equals, the earlier output first.

    Args:
        logits: (N, K) of one classifier.
        label_space: the classes of the K outputs, or None if they are unknown.
        k: maximum number of classes.

    Returns:
        For each image, up to k of (class, name, confidence): indices and names of the label space or, without one,
        output indices and "output 7"; confidences are softmax probabilities over the K outputs.

    Raises:
        ArtattackError: logits are not finite, are of fewer than two classes, or do not fit the label space.
    """
    logits = _checked(logits, label_space)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :k]  # of logits: confidences may round to equals
    return [
        [(*_class(output, label_space), float(confidences[output])) for output in outputs]
        for outputs, confidences in zip(best.tolist(), softmax(logits, axis=1), strict=True)
    ]


def kl_divergence(clean: Logits, adversarial: Logits) -> npt.NDArray[np.float64]:
    """Return KL(softmax(clean) || softmax(adversarial)).

    Args:
        clean, adversarial: logits (N, K).

    Returns:
        (N,) float64 in nats, 0 for equal confidences.
    """
    p, q = (np.asarray(logits, np.float64) for logits in (clean, adversarial))
    # Of logarithms, since a confidence may be too small for a float but not for its logarithm.
    terms = softmax(p, axis=1) * (log_softmax(p, axis=1) - log_softmax(q, axis=1))
    return np.asarray(np.maximum(terms.sum(axis=1), 0.0))  # rounding may take it below


def _class(output: int, label_space: LabelSpace | None) -> tuple[int, str]:
    if label_space is None:
        return output, f"output {output}"
    return label_space[output], class_name(label_space[output], names_of(label_space))


def _checked(logits: Logits, label_space: LabelSpace | None) -> npt.NDArray[np.float64]:
    if logits.ndim != 2:
        raise ArtattackError(f"logits are of shape (images, classes), got {logits.shape}")
    images, outputs = logits.shape
    if outputs < 2:
        raise ArtattackError(
            f"a classifier has a logit for each of two or more classes, got {outputs} for each image: a single output "
            "cannot flip; give the network one output for each class"
        )
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
