"""One cell -> its records: perturb a batch of images, write the files, and score them as a user would receive them."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from traceback import format_exception
from typing import Any, NamedTuple

import numpy as np

from artattack.attacks.entries import Perturbed
from artattack.attacks.failing import not_finite
from artattack.cache import Cache
from artattack.distances import distance_columns
from artattack.errors import ArtattackError, DiskError, one_line
from artattack.evaluation.loading import LoadedModels
from artattack.evaluation.made_before import Made, MadeBefore
from artattack.evaluation.perturbing import Perturber
from artattack.evaluation.plan import CLEAN, Cell, Plan
from artattack.evaluation.scoring import score_batch
from artattack.evaluation.style_judging import StyleJudges
from artattack.files import append_text, readable, write_file
from artattack.inputs.image_sets import Sample
from artattack.inputs.images import as_measured, read_image, saving, to_float, to_uint8
from artattack.inputs.labels import class_name
from artattack.inputs.styles import style_class, style_names
from artattack.results.columns import CLASSIFIER_COLUMNS, MEASURED_COLUMNS, OUTCOME_COLUMNS
from artattack.results.judgements import from_json
from artattack.results.records import CONTROL
from artattack.results.run_folder import RunFolder

_ROUNDING = 1e-3  # of the range of an image's logits, by which two answers may differ

Clean = dict[str, np.ndarray | str]  # by classifier: logits (N, K) of a batch, or why there are none
Row = dict[str, Any]


class Originals(NamedTuple):
    """The images of a cell that could be read, uint8 (H, W, 3) each."""

    samples: list[Sample]
    images: list[np.ndarray]


class CellWorker:
    """Does cells, in any order that has each after those it needs. All it shares with other workers is the folder.

    Args:
        plan: whose cells it is given.
        loaded: models of the run.
        folder: of the run; the originals lie in it as PNG.
        hashes: SHA-256 of the image files, by image.
        cache: where adversarial images are kept from run to run; None makes all anew.
    """

    def __init__(
        self,
        plan: Plan,
        loaded: LoadedModels,
        folder: RunFolder,
        hashes: Mapping[str, str],
        cache: Cache | None = None,
    ) -> None:
        self._benchmark = plan.benchmark
        self._own = plan.image_set.classes
        self._models = loaded.models
        self._feature_distance = loaded.feature_distance
        self._folder = folder
        self._hashes = hashes
        bank = tuple(dict.fromkeys((*style_names(), *self._benchmark.styles())))
        self._judges = StyleJudges(
            loaded.models, self._benchmark.style_judges, loaded.kinship, bank, self._benchmark.images.size
        )
        self._kinship = loaded.kinship
        images = self._benchmark.images
        before = MadeBefore(cache, loaded, plan) if cache else None
        self._perturber = Perturber(loaded, images.size, self._benchmark.seed, folder.path, before)
        self._perturber.check(plan.variants)

    def read(self, cell: Cell) -> Originals:
        """Read the originals of a cell, which another thread may do while this one is at another cell.

        Raises:
            ArtattackError: the copy of an original is missing or damaged: resuming the run makes it anew.
        """
        samples = self._readable(cell)
        return Originals(samples, [self._original(sample) for sample in samples])

    def __call__(self, cell: Cell, originals: Originals | None = None) -> list[Row]:
        """Return the records of a cell; what goes wrong becomes records that say so.

        Args:
            cell: what to do.
            originals: of the cell, if they have been read.

        Raises:
            ArtattackError: as `read`.
            DiskError: the disk does not take the images.
        """
        samples, images = originals or self.read(cell)
        if not samples:
            return []
        x = to_float(np.stack(images))
        try:
            made = self._perturber.perturb(cell, (sample.id for sample in samples), x)
            return self._scored(cell, samples, x, made)
        except DiskError:
            raise
        except Exception as error:  # whatever an attack raises: the run goes on, the records tell
            self._perturber.forget()
            self._log(cell, error)
            return self.failed(cell, one_line(error, typed=True))

    def completed(self, cell: Cell, rows: list[Row]) -> list[Row]:
        """Return the records of a cell that is done with what it was not asked for then.

        That is: records of further classifiers, columns that are younger than the run, and what further style judges
        say. All see the files. What a further classifier would have made of an attack's images before
        rounding to 8 bits, `flip_float`, is not known: those images were not kept.

        Args:
            cell: without failures.
            rows: its records; the same list is returned where nothing is missing.
        """
        asked = {row["classifier"] for row in rows}
        further = [name for name in self._benchmark.classifiers if name not in asked]
        younger = MEASURED_COLUMNS - rows[0].keys() if rows else frozenset()
        judge = bool(rows) and self._judges.independent_of(cell.variant) != _judges_of(rows[0])
        if cell.variant != CLEAN and any("classifier_relation" not in row for row in rows):
            rows = [self._relation(cell, str(row["classifier"])) | row for row in rows]
        samples = self._readable(cell) if further or younger or judge else []
        if not samples:
            return rows
        x = to_float(np.stack([self._original(sample) for sample in samples]))
        files = to_float(np.stack([read_image(self._folder.path / cell.variant.file(s.id)) for s in samples]))
        measured: dict[str, Any] = self._judges.columns(cell.variant, x, files) if judge else {}
        if younger - OUTCOME_COLUMNS:
            every = self._distances(x, files)
            measured |= {name: every[name] for name in younger - OUTCOME_COLUMNS}
        again = asked if younger & OUTCOME_COLUMNS else ()
        clean = self._clean_logits(cell, x)
        led = {row["image"]: row.get("target_class") for row in rows}
        targets = [led.get(sample.id) for sample in samples]
        views = {
            name: self._views(name, clean[name], cell, samples, Perturbed(files, files), targets)
            for name in (*again, *further)
        }
        unknown = {} if cell.variant.kind in (CLEAN.kind, CONTROL) else {"flip_float": None}
        complete: list[Row] = []
        for i, sample in enumerate(samples):
            told = {name: values[i] for name, values in measured.items()}
            mine = [row | told for row in rows if row["image"] == sample.id]
            if again:
                mine = [row | _only(views[row["classifier"]][i], younger) for row in mine]
            common = {key: value for key, value in mine[0].items() if key not in CLASSIFIER_COLUMNS}
            complete += mine
            complete += [
                common | self._classifier_columns(name) | self._relation(cell, name) | views[name][i] | unknown
                for name in further
            ]
        return complete

    def failed(self, cell: Cell, why: str) -> list[Row]:
        """Return the records of a cell that failed."""
        return [row for sample in self._readable(cell) for row in self._failed(cell, sample, why)]

    def _failed(self, cell: Cell, sample: Sample, why: str) -> list[Row]:
        """Return the records of an image on which an attack failed."""
        columns = self.image_columns(sample) | self._attack_columns(cell, sample)
        return [columns | self._classifier_columns(name) | {"error": why} for name in self._benchmark.classifiers]

    def image_columns(self, sample: Sample) -> Row:
        """Return the columns that say which image a record is of."""
        return {
            "image": sample.id,
            "image_sha256": self._hashes.get(sample.id),
            "true_class": sample.label,
            "true_name": None if sample.label is None else class_name(sample.label, self._own),
        }

    def _readable(self, cell: Cell) -> list[Sample]:
        """Return the images of a cell, but for those that the run has noted as unreadable."""
        return [sample for sample in cell.samples if sample.id not in self._unreadable]

    @cached_property
    def _unreadable(self) -> frozenset[str]:
        rows = self._folder.cell("images")
        if rows is None:
            raise ArtattackError(f"{self._folder.path}: cell 'images' is missing or damaged: resume the run (--resume)")
        return frozenset(row["image"] for row in rows)

    def _original(self, sample: Sample) -> np.ndarray:
        """Return the copy of an original, uint8 (H, W, 3)."""
        try:
            return read_image(original(self._folder, sample))
        except ArtattackError as error:
            raise ArtattackError(f"{error}: the run has copied it there: resume the run (--resume)") from error

    def _log(self, cell: Cell, error: Exception) -> None:
        """Keep the traceback, for whoever looks for the cause of a failed cell."""
        path = self._folder.path / "errors.log"
        told = f"{datetime.now():%Y-%m-%d %H:%M:%S} {cell.key}\n{''.join(format_exception(error))}\n"
        with suppress(OSError, ArtattackError):  # the records tell it in short
            append_text(path, told)

    def _scored(self, cell: Cell, samples: Sequence[Sample], x: np.ndarray, made: Made) -> list[Row]:
        """Write the files, measure them, and ask every classifier."""
        perturbed = made.perturbed
        files = perturbed.files
        if cell.variant != CLEAN:
            with saving() as save:
                for i, (sample, image) in enumerate(zip(samples, to_uint8(files), strict=True)):
                    path = self._folder.path / cell.variant.file(sample.id)
                    if i in perturbed.failed:
                        path.unlink(missing_ok=True)  # of a time when it did not fail
                    else:
                        save(path, image)
        columns: dict[str, Any] = {
            **self._distances(x, files),
            **self._perturber.columns(cell, (sample.id for sample in samples), x, files),
            **self._judges.columns(cell.variant, x, files),
            **_held_to(x, perturbed),
            **({} if perturbed.queries is None else {"queries": perturbed.queries.tolist()}),
        }
        rows = [
            self.image_columns(sample)
            | self._attack_columns(cell, sample)
            | {name: values[i] for name, values in columns.items()}
            | {"file": cell.variant.file(sample.id).as_posix(), "seconds": made.seconds}
            | ({} if cell.variant == CLEAN else {"from_cache": made.from_cache})
            for i, sample in enumerate(samples)
        ]
        clean = self._clean_logits(cell, x)
        targets = columns.get("target_class", ())
        views = {
            name: self._views(name, clean[name], cell, samples, perturbed, targets)
            for name in self._benchmark.classifiers
        }
        every: list[Row] = []
        for i, (sample, start) in enumerate(zip(samples, rows, strict=True)):
            if i in perturbed.failed:
                every += self._failed(cell, sample, perturbed.failed[i])
                continue
            every += [
                start | self._classifier_columns(name) | self._relation(cell, name) | views[name][i]
                for name in self._benchmark.classifiers
            ]
        return every

    def _distances(self, x: np.ndarray, files: np.ndarray) -> dict[str, Any]:
        """Return the columns that say how far files are from their originals."""
        return {
            **distance_columns(as_measured(x), as_measured(files)),
            "feature_distance": self._feature_distance(x, files),
        }

    def _clean_logits(self, cell: Cell, x: np.ndarray) -> Clean:
        """Return what classifiers make of the originals: asked once, then kept beside the records of the cells."""
        path = self._folder.path / "cells" / f"logits-{cell.number:04d}.npz"
        kept: Clean = {}
        if cell.variant != CLEAN:  # which is the first to be done, or done again
            with suppress(Exception), np.load(readable(path)) as stored:  # NumPy may trip over damage in any way
                names = enumerate(self._benchmark.classifiers)
                kept = {name: stored[str(i)] for i, name in names if str(i) in stored}
        logits: Clean = {}
        for name in self._benchmark.classifiers:
            try:
                logits[name] = kept[name] if name in kept else self._models[name].predict(x)
            except Exception as error:  # whatever a classifier raises: the others go on without it
                self._log(cell, error)
                logits[name] = f"on the untouched images: {one_line(error, typed=True)}"
        if cell.variant == CLEAN:
            content = io.BytesIO()
            known = {str(i): found for i, found in enumerate(logits.values()) if not isinstance(found, str)}
            np.savez(content, **known)
            write_file(path, content.getvalue())
        return logits

    def _views(
        self,
        name: str,
        clean: np.ndarray | str,
        cell: Cell,
        samples: Sequence[Sample],
        perturbed: Perturbed,
        targets: Sequence[int | None],
    ) -> list[Row]:
        """Return what one classifier makes of each image; it fails alone, and so does an image that it fails on.

        `targets` are the ImageNet classes that images were led to; () where there are none.
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
            style, space = _class_of_style(cell), model.label_space
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

    def _attack_columns(self, cell: Cell, sample: Sample) -> Row:
        variant = cell.variant
        moved = variant.entry.starts_from(variant) == variant.free  # then the seed is that of the images moved
        return {
            "kind": variant.kind,
            "attack": variant.entry.name,
            "parameters": _json(variant.entry.parameters),
            "backbone": variant.source if variant.style and variant.source else None,
            "style": variant.style or None,
            "style_class": _class_of_style(cell),
            "source": variant.source or None,
            "source_weights": self._source_weights(cell),
            "matched_to": variant.matched.label if variant.matched and not variant.budget else None,
            "budget_distance": variant.budget.distance if variant.budget else None,
            "budget": variant.budget.value if variant.budget else None,
            "seed": (variant.free if moved else variant).seed(self._benchmark.seed, sample.id),
        }

    def _source_weights(self, cell: Cell) -> str | None:
        if not cell.variant.source:
            return None
        untrained = any(reading.untrained for reading in cell.variant.reads)
        return "random" if untrained else self._models[cell.variant.source].weights

    def _relation(self, cell: Cell, name: str) -> Row:
        """Return the columns that say how a classifier is related to the attack."""
        if cell.variant == CLEAN:
            return {}
        relation = self._kinship.relation(name, cell.variant.models_seen)
        return {"classifier_seen": relation == "seen", "classifier_relation": relation}

    def _classifier_columns(self, name: str) -> Row:
        model = self._models[name]
        draws = {"classifier_draws": model.draws} if model.draws > 1 else {}
        return {"classifier": name, "classifier_weights": model.weights, **draws}


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


def _judges_of(row: Row) -> tuple[str, ...]:
    """Return the judges of style that were asked about a record's image."""
    return tuple(judgement.judge for judgement in from_json(row.get("style_judgements")))


def _only(view: Row, names: Collection[str]) -> Row:
    """Return those columns of what a classifier makes of an image, and why there are none where it failed."""
    return {name: value for name, value in view.items() if name in names or (name == "error" and value)}


def original(folder: RunFolder, sample: Sample) -> Path:
    """Return where an image lies in a run folder as it was cut, if it could be read."""
    return folder.images / "original" / f"{sample.id}.png"


def _class_of_style(cell: Cell) -> int | None:
    return style_class(cell.variant.style) if cell.variant.style else None


def _held_to(x: np.ndarray, perturbed: Perturbed) -> dict[str, Any]:
    """Return the columns that say what ball files were held to, and whether they lie in it."""
    if perturbed.held_to is None:
        return {}
    held_to = perturbed.held_to
    return {
        "eps_norm": [held_to.distance] * len(x),
        "eps": [held_to.value] * len(x),
        "outside_eps": (~held_to.contains(x, perturbed.files)).tolist(),
    }


def _json(parameters: dict[str, Any]) -> str:
    """Return parameters as JSON, which has no infinity: ART's `norm: inf` is the word."""
    known = {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in parameters.items()
    }
    return json.dumps(known, sort_keys=True, allow_nan=False)
