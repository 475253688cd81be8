"""What classifiers make of a batch: of its originals, asked once in a run, and of its perturbed images."""

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

_ROUNDING = 1e-3  # of the range of an image's logits, by which two answers may differ

Clean = dict[str, np.ndarray | str]  # by classifier: logits (N, K) of a batch, or why there are none


class ClassifierAnswers:
    """Asks the classifiers of a run. One that fails does so alone, and so does an image that it fails on.

    Args:
        models: the classifiers, by name, in the benchmark's order.
        own: the image set's own classes; () for ImageNet's.
        folder: of the run, in which logits of originals are kept.
        log: called with the cell and the exception where a classifier fails.
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
        """Return what classifiers make of the originals: asked once, then kept beside the records of the cells."""
        path = self._folder.path / "cells" / f"logits-{cell.number:04d}.npz"
        kept: Clean = {}
        if cell.variant != CLEAN:  # which is the first to be done, or done again
            with suppress(Exception), np.load(readable(path)) as stored:  # NumPy may trip over damage in any way
                kept = {name: stored[str(i)] for i, name in enumerate(self._models) if str(i) in stored}
        logits: Clean = {}
        for name, model in self._models.items():
            try:
                logits[name] = kept[name] if name in kept else model.predict(x)
            except Exception as error:  # whatever a classifier raises: the others go on without it
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
        """Return the columns that say what one classifier makes of each image.

        Args:
            name: of the classifier.
            clean: what it makes of the originals, logits (N, K), or why it makes nothing of them.
            cell: whose images they are.
            samples: the images.
            perturbed: the same, perturbed.
            targets: the classes that images were led to, counted as labels are; () where there are none.
        """
        if isinstance(clean, str):
            return [{"error": clean} for _ in samples]
        model = self._models[name]
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
        flips = as_made.argmax(1) != clean.argmax(1)
        known = np.isfinite(as_made).all(1)
        for i, row in zip(sound, scored, strict=True):
            rows[i] = row | {"flip_float": bool(flips[i]) if known[i] else None}
        return rows


def _steady(name: str, clean: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
    """Compare two answers (N, K) about untouched images: without an attack there is no flip.

    Returns:
        The first answer where the second differs by rounding, else the second; and from the places of images whose
        class has changed beyond that to an error.
    """
    moved = abs(logits - clean).max(1) > _ROUNDING * (clean.max(1) - clean.min(1))
    flipped = moved & (logits.argmax(1) != clean.argmax(1))
    why = f"model '{name}' answers differently when asked again about the same untouched image; see `random` in models"
    return np.where(moved[:, None], logits, clean), {int(i): why for i in np.flatnonzero(flipped)}
