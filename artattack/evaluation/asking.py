"""Scores of classifiers on a batch: on its originals, computed once in a run, and on its perturbed images."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from artattack.attacks.entries import Perturbed
from artattack.attacks.failing import not_finite
from artattack.errors import ArtattackError, one_line
from artattack.evaluation.plan import CLEAN, Cell
from artattack.evaluation.record_columns import Row, class_of_style
from artattack.evaluation.scoring import score_batch
from artattack.files import readable, write_file
from artattack.inputs.image_sets import Sample
from artattack.models.classifier import Classifier
from artattack.results.run_folder import RunFolder

_ROUNDING = 1e-3  # of the range of an image's logits: tolerance for two predictions of one image

Clean = dict[str, np.ndarray | str]  # by classifier: logits (N, K) of a batch, or the reason why there are none


class ClassifierAnswers:
    """Queries the classifiers of a run. A failure affects only one classifier, or only one of its images.

    Args:
        models: the classifiers, by name, in the benchmark's order.
        own: the image set's own class names; () for ImageNet classes.
        folder: the run folder, which stores the logits of originals.
        log: called with the cell and the exception if a classifier fails.
    """

    def __init__(
        self,
        models: Mapping[str, Classifier],
        own: tuple[str, ...],
        folder: RunFolder,
        log: Callable[[Cell, Exception], None],
    ) -> None:
        self._models = models
        self._own = own
        self._folder = folder
        self._log = log

    def of_originals(self, cell: Cell, x: np.ndarray) -> Clean:
        """Return the classifiers' logits for the originals, stored beside the cells' records after the first call."""
        path = self._folder.path / "cells" / f"logits-{cell.number:04d}.npz"
        kept: Clean = {}
        if cell.variant != CLEAN:  # the cell of untouched images computes them
            with suppress(Exception), np.load(readable(path)) as stored:  # NumPy may raise anything for damaged files
                kept = {name: stored[str(i)] for i, name in enumerate(self._models) if str(i) in stored}
        logits: Clean = {}
        for name, model in self._models.items():
            try:
                logits[name] = kept[name] if name in kept else model.predict(x)
            except Exception as error:  # a classifier may raise anything; the others continue
                self._log(cell, error)
                logits[name] = f"on the untouched images: {one_line(error, typed=True)}"
        if cell.variant == CLEAN:
            content = io.BytesIO()
            known: dict[str, Any] = {str(i): v for i, v in enumerate(logits.values()) if not isinstance(v, str)}
            np.savez(content, **known)
            write_file(path, content.getvalue())
        return logits

    def of_perturbed(
        self,
        name: str,
        clean: np.ndarray | str,
        cell: Cell,
        samples: Sequence[Sample],
        perturbed: Perturbed,
        targets: Sequence[int | None],
    ) -> list[Row]:
        """Return one classifier's columns for each image.

        Args:
            name: name of the classifier.
            clean: its logits (N, K) for the originals, or the reason why there are none.
            cell: the cell.
            samples: the images.
            perturbed: the perturbed images.
            targets: target classes, with the same indices as labels; () without targets.

        Returns:
            For each image, the outcome columns, or `error` with the reason why there are none.
        """
        if isinstance(clean, str):
            return [{"error": clean} for _ in samples]
        model = self._models[name]
        if cell.variant == CLEAN:  # without an attack, a random defence is compared between two sets of draws
            model = model.as_read()
        truth = np.array([-1 if sample.label is None else sample.label for sample in samples])
        aims = np.array([-1 if aim is None else aim for aim in targets or [None] * len(samples)])
        try:
            logits = model.predict(perturbed.files)
            same = perturbed.made is perturbed.files
            as_made = logits if same else model.predict(np.asarray(perturbed.made, np.float32))
            untouched = {i: f"{why} for the untouched image" for i, why in not_finite(name, clean).items()}
            broken = not_finite(name, logits) | untouched
            if cell.variant == CLEAN and model.draws == 1:
                logits, changed = _steady(name, clean, logits)
                as_made, broken = logits, changed | broken
            sound = [i for i in range(len(samples)) if i not in broken]
            style, space = class_of_style(cell.variant), model.label_space
            scored = score_batch(clean[sound], logits[sound], truth[sound], space, style, aims[sound], self._own)
        except Exception as error:  # as above
            if not isinstance(error, ArtattackError):
                self._log(cell, error)
            return [{"error": one_line(error, typed=True)} for _ in samples]
        rows: list[Row] = [{"error": broken.get(i)} for i in range(len(samples))]
        abstained = {"abstained_before": model.abstains(clean), "abstained_after": model.abstains(logits)}
        flips = as_made.argmax(1) != clean.argmax(1)
        known = np.isfinite(as_made).all(1)
        for i, row in zip(sound, scored, strict=True):
            told = {column: bool(found[i]) for column, found in abstained.items() if found is not None}
            rows[i] = row | {"flip_float": bool(flips[i]) if known[i] else None} | told
        return rows


def _steady(name: str, clean: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
    """Compare two predictions (N, K) for untouched images, which must not flip without an attack.

    Returns:
        The first prediction if the second differs by rounding only, else the second; and from the index of each image
        whose class changed by more than rounding to an error message.
    """
    moved = abs(logits - clean).max(1) > _ROUNDING * (clean.max(1) - clean.min(1))
    flipped = moved & (logits.argmax(1) != clean.argmax(1))
    why = f"model '{name}' answers differently when asked again about the same untouched image; see `random` in models"
    return np.where(moved[:, None], logits, clean), {int(i): why for i in np.flatnonzero(flipped)}
