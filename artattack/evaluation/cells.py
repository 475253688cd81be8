"""Cells to records: perturb a batch of images, write the files, and score the files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from traceback import format_exception
from typing import Any

import numpy as np

from artattack.attacks.entries import Perturbed
from artattack.cache import Cache
from artattack.errors import ArtattackError, DiskError, one_line
from artattack.evaluation.asking import ClassifierAnswers
from artattack.evaluation.cell_images import CellImages, Originals
from artattack.evaluation.loading import LoadedModels
from artattack.evaluation.made_before import Made, MadeBefore
from artattack.evaluation.perturbing import Perturber
from artattack.evaluation.plan import CLEAN, Cell, Plan
from artattack.evaluation.record_columns import RecordColumns, Row
from artattack.evaluation.style_judging import StyleJudges
from artattack.files import append_text
from artattack.inputs.image_sets import Sample
from artattack.inputs.images import to_float
from artattack.inputs.styles import style_names
from artattack.results.columns import CLASSIFIER_COLUMNS, MEASURED_COLUMNS, OUTCOME_COLUMNS
from artattack.results.judgements import from_json
from artattack.results.records import CONTROL
from artattack.results.run_folder import RunFolder


class CellWorker:
    """Perturbs and scores cells, in any order in which each follows the cells it needs.

    Workers share only the run folder.

    Args:
        plan: the plan of the run.
        loaded: the models of the run.
        folder: the run folder, which holds the originals as PNG.
        hashes: SHA-256 of the image files, by image.
        cache: cache of adversarial images of earlier runs, or None.

    Raises:
        ArtattackError: an attack does not accept its options or parameters.
    """

    def __init__(
        self,
        plan: Plan,
        loaded: LoadedModels,
        folder: RunFolder,
        hashes: Mapping[str, str],
        cache: Cache | None = None,
    ) -> None:
        benchmark, size = plan.benchmark, plan.benchmark.images.shape
        self._classifiers = benchmark.classifiers
        self._folder = folder
        self._images = CellImages(folder)
        self._columns = RecordColumns(plan, loaded, hashes)
        scored = {name: loaded.models[name] for name in benchmark.classifiers}
        self._answers = ClassifierAnswers(scored, plan.image_set.classes, folder, self._log)
        bank = tuple(dict.fromkeys((*style_names(), *benchmark.styles())))
        self._judges = StyleJudges(loaded.models, benchmark.style_judges, loaded.kinship, bank, size)
        before = MadeBefore(cache, loaded, plan) if cache else None
        self._perturber = Perturber(loaded, size, benchmark.seed, folder.path, before)
        self._perturber.check(plan.variants)

    def read(self, cell: Cell) -> Originals:
        """Read the originals of a cell; thread-safe.

        Raises:
            ArtattackError: the copy of an original is missing or damaged; resuming the run restores it.
        """
        return self._images.originals(cell)

    def __call__(self, cell: Cell, originals: Originals | None = None) -> list[Row]:
        """Return the records of a cell; an attack's failure becomes error records.

        Args:
            cell: the cell.
            originals: the originals of the cell, if they have been read.

        Raises:
            ArtattackError: as for `read`.
            DiskError: the images cannot be written.
        """
        samples, images = originals or self.read(cell)
        if not samples:
            return []
        x = to_float(np.stack(images))
        try:
            made = self._perturber.perturb(cell, (sample.id for sample in samples), x)
            if cell.variant != CLEAN:
                self._images.write(cell.variant, samples, made.perturbed.files, made.perturbed.failed)
            return self._scored(cell, samples, x, made)
        except DiskError:
            raise
        except Exception as error:  # attacks may raise anything; the run continues with error records
            self._perturber.forget()
            self._log(cell, error)
            return self.failed(cell, one_line(error, typed=True))

    def completed(self, cell: Cell, rows: list[Row]) -> list[Row]:
        """Return the records of a finished cell, completed for an extended run.

        Added are records of new classifiers, columns that are newer than the run, and columns of new style judges,
        all computed from the files. `flip_float` is missing for new classifiers, because images before rounding to 8
        bits are not kept.

        Args:
            cell: a cell without failures.
            rows: its records; the same list is returned if nothing is missing.
        """
        variant = cell.variant
        asked = {row["classifier"] for row in rows}
        further = [name for name in self._classifiers if name not in asked]
        younger = MEASURED_COLUMNS - rows[0].keys() if rows else frozenset()
        judge = bool(rows) and self._judges.independent_of(variant) != _judges_of(rows[0])
        if any("classifier_network" not in row for row in rows):
            rows = [self._columns.of_classifier(str(row["classifier"])) | row for row in rows]
        if variant != CLEAN and any("classifier_relation" not in row for row in rows):
            rows = [self._columns.of_relation(variant, str(row["classifier"])) | row for row in rows]
        samples = self._images.readable(cell) if further or younger or judge else []
        if not samples:
            return rows
        x = to_float(np.stack(self.read(cell).images))
        files = self._images.perturbed(variant, samples)
        measured: dict[str, Any] = self._judges.columns(variant, x, files) if judge else {}
        if younger - OUTCOME_COLUMNS:
            every = self._columns.distances(x, files)
            measured |= {name: every[name] for name in younger - OUTCOME_COLUMNS}
        again = asked if younger & OUTCOME_COLUMNS else ()
        led = {row["image"]: row.get("target_class") for row in rows}
        targets = [led.get(sample.id) for sample in samples]
        views = self._views((*again, *further), cell, samples, x, Perturbed(files, files), targets)
        unknown = {} if variant.kind in (CLEAN.kind, CONTROL) else {"flip_float": None}
        complete: list[Row] = []
        for i, sample in enumerate(samples):
            told = {name: values[i] for name, values in measured.items()}
            mine = [row | told for row in rows if row["image"] == sample.id]
            if again:
                mine = [row | _only(views[row["classifier"]][i], younger) for row in mine]
            common = {key: value for key, value in mine[0].items() if key not in CLASSIFIER_COLUMNS}
            complete += mine
            complete += [common | self._of_view(cell, name, views[name][i]) | unknown for name in further]
        return complete

    def failed(self, cell: Cell, why: str) -> list[Row]:
        """Return the records of a cell that failed."""
        return [row for sample in self._images.readable(cell) for row in self._failed(cell, sample, why)]

    def image_columns(self, sample: Sample) -> Row:
        """Return the columns that identify an image."""
        return self._columns.of_image(sample)

    def _failed(self, cell: Cell, sample: Sample, why: str) -> list[Row]:
        """Return the records of an image on which an attack failed."""
        columns = self._columns.of_image(sample) | self._columns.of_attack(cell.variant, sample)
        return [columns | self._columns.of_classifier(name) | {"error": why} for name in self._classifiers]

    def _log(self, cell: Cell, error: Exception) -> None:
        """Append the traceback of a failed cell to errors.log."""
        path = self._folder.path / "errors.log"
        told = f"{datetime.now():%Y-%m-%d %H:%M:%S} {cell.key}\n{''.join(format_exception(error))}\n"
        with suppress(OSError, ArtattackError):  # the records have the message
            append_text(path, told)

    def _scored(self, cell: Cell, samples: Sequence[Sample], x: np.ndarray, made: Made) -> list[Row]:
        """Return the records of perturbed images: distances, and the scores of every classifier."""
        perturbed, variant = made.perturbed, cell.variant
        columns: dict[str, Any] = {
            **self._columns.distances(x, perturbed.files),
            **self._perturber.columns(cell, (sample.id for sample in samples), x, perturbed.files),
            **self._judges.columns(variant, x, perturbed.files),
            **self._columns.ball(x, perturbed),
            **({} if perturbed.queries is None else {"queries": perturbed.queries.tolist()}),
        }
        views = self._views(self._classifiers, cell, samples, x, perturbed, columns.get("target_class", ()))
        every: list[Row] = []
        for i, sample in enumerate(samples):
            if i in perturbed.failed:
                every += self._failed(cell, sample, perturbed.failed[i])
                continue
            start = (
                self._columns.of_image(sample)
                | self._columns.of_attack(variant, sample)
                | {name: values[i] for name, values in columns.items()}
                | {"file": variant.file(sample.id).as_posix(), "seconds": made.seconds}
                | ({} if variant == CLEAN else {"from_cache": made.from_cache})
            )
            every += [start | self._of_view(cell, name, views[name][i]) for name in self._classifiers]
        return every

    def _views(
        self,
        names: Collection[str],
        cell: Cell,
        samples: Sequence[Sample],
        x: np.ndarray,
        perturbed: Perturbed,
        targets: Sequence[int | None],
    ) -> dict[str, list[Row]]:
        """Return each classifier's columns for each image, by classifier."""
        clean = self._answers.of_originals(cell, x)
        return {
            name: self._answers.of_perturbed(name, clean[name], cell, samples, perturbed, targets) for name in names
        }

    def _of_view(self, cell: Cell, name: str, view: Row) -> Row:
        """Return all columns of a record that belong to its classifier."""
        return self._columns.of_classifier(name) | self._columns.of_relation(cell.variant, name) | view


def _judges_of(row: Row) -> tuple[str, ...]:
    """Return the style judges with a judgement on a record's image."""
    return tuple(judgement.judge for judgement in from_json(row.get("style_judgements")))


def _only(view: Row, names: Collection[str]) -> Row:
    """Return the named columns of a classifier's view of an image, and its error, if any."""
    return {name: value for name, value in view.items() if name in names or (name == "error" and value)}
