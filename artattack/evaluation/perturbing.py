"""Cells -> adversarial images: attacks are made when their cells come, and kept while their cells last."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artattack.attacks.entries import Batch, Variant
from artattack.errors import ArtattackError
from artattack.evaluation.loading import LoadedModels
from artattack.evaluation.made_before import Made, MadeBefore
from artattack.evaluation.plan import Cell
from artattack.inputs.images import read_image, to_float

if TYPE_CHECKING:
    from artattack.models.classifier import Classifier

_ESTIMATORS = 4  # kept, with what they have compiled


class Perturber:
    """Makes adversarial images, and keeps what is costly to make: compiled attacks and estimators.

    It is what entries ask for estimators (`artattack.attacks.entries.Models`).

    Args:
        loaded: models of the run.
        size: side of the images, in pixels.
        run_seed: every random choice follows from it.
        folder: of the run, in which variants find the images of those they start from.
        before: where batches made before are found, and new ones kept; None makes all anew.
    """

    def __init__(
        self, loaded: LoadedModels, size: int, run_seed: int, folder: Path, before: MadeBefore | None = None
    ) -> None:
        self._loaded = loaded
        self._size = size
        self._run_seed = run_seed
        self._folder = folder
        self._before = before
        self._attacks: dict[tuple[str, ...], Any] = {}
        self._estimators: dict[tuple[str, bool], Any] = {}

    def forget(self) -> None:
        """Let go of all attacks: one that has failed may not be as it was made."""
        self._attacks.clear()
        self._estimators.clear()

    def check(self, variants: Iterable[Variant]) -> None:
        """Make each attack once, so that what no cell could do ends the run before any work is done.

        Raises:
            ArtattackError: an attack does not accept its options or parameters.
        """
        for variant in {_alike(v): v for v in variants if v.source}.values():
            try:
                self._attack(variant)
            except ArtattackError as error:
                raise ArtattackError(f"attack '{variant.entry.name}' of '{variant.source}': {error}") from error

    def perturb(self, cell: Cell, ids: Iterable[str], x: np.ndarray) -> Made:
        """Return what a cell's variant makes of some of its images, or has made of them before.

        Args:
            cell: whose variant counts.
            ids: of the images that could be read.
            x: these, (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        """
        variant, ids = cell.variant, tuple(ids)
        missing: dict[int, str] = {}
        batch = self._batch(cell, ids, x, missing)
        key = self._before.key(batch) if self._before else None
        if self._before and key and not missing and (found := self._before.get(key, x)):
            return found
        started = time.perf_counter()
        perturbed = variant.entry.perturb(self._attack(variant), batch)
        if missing:
            perturbed = perturbed._replace(failed={**perturbed.failed, **missing})
        made = Made(perturbed, (time.perf_counter() - started) / len(ids), from_cache=False)
        if self._before and key and not perturbed.failed:
            self._before.put(key, made)
        return made

    def columns(self, cell: Cell, ids: Iterable[str], x: np.ndarray, files: np.ndarray) -> Mapping[str, Sequence[Any]]:
        """Return the columns of the records that only the attack of a cell's variant can tell."""
        batch = self._batch(cell, tuple(ids), x, {})
        return cell.variant.entry.columns(self._attack(cell.variant), batch, files)

    def _batch(self, cell: Cell, ids: Sequence[str], x: np.ndarray, missing: dict[int, str]) -> Batch:
        """Return what a cell's variant is given; images of other variants that are not there go to `missing`."""
        read: dict[str, np.ndarray] = {}

        def images_of(other: Variant) -> np.ndarray:
            """Return the files of another variant; the original stands for one that is not there."""
            if other.key not in read:
                images = x.copy()
                for i, id_ in enumerate(ids):
                    try:
                        images[i] = to_float(read_image(self._folder / other.file(id_)))
                    except ArtattackError:
                        missing[i] = f"'{other.title}', which this starts from, failed"
                if len(missing) == len(ids):
                    raise ArtattackError(missing[0])  # and nothing is done
                read[other.key] = images
            return read[other.key]

        named = {sample.id: sample.target for sample in cell.samples}
        seeds, draws = (
            tuple(variant.seed(self._run_seed, id_) for id_ in ids) for variant in (cell.variant, cell.variant.free)
        )
        targets = tuple(named[id_] for id_ in ids)
        return Batch(cell.variant, x, seeds, self, images_of, targets, draws, self._loaded.classes)

    def estimator(self, name: str) -> Any:
        """Return a model of the run as ART's estimator."""
        return self._estimator(name, self._loaded.models[name], untrained=False)

    def untrained(self, name: str) -> Any:
        """Return a network of the run, with random weights, as ART's estimator."""
        return self._estimator(name, self._loaded.untrained[name], untrained=True)

    def _estimator(self, name: str, model: Classifier, *, untrained: bool) -> Any:
        from artattack.models.estimator import to_estimator

        key = name, untrained
        found = self._estimators.pop(key, None) or to_estimator(model, input_shape=(self._size, self._size, 3))
        self._estimators[key] = found  # the last one used is let go of last
        while len(self._estimators) > _ESTIMATORS:
            del self._estimators[next(iter(self._estimators))]
        return found

    def _attack(self, variant: Variant) -> Any:
        """Return the attack of a variant; only the last is kept, with what it has compiled, for all its styles."""
        key = _alike(variant)
        if key not in self._attacks:
            self._attacks = {key: variant.entry.make(variant, self)}
        return self._attacks[key]


def _alike(variant: Variant) -> tuple[str, ...]:
    return variant.entry.made_alike(variant)
