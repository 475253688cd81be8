"""Cells to adversarial images: attacks are made on demand, and kept as long as consecutive cells share them."""

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

_ESTIMATORS = 4  # number of estimators kept, with their compiled functions


class Perturber:
    """Makes adversarial images, and keeps compiled attacks and estimators.

    Implements `artattack.attacks.entries.Models`, from which entries get estimators.

    Args:
        loaded: the models of the run.
        size: height and width of the images, in pixels.
        run_seed: seed of every random choice.
        folder: the run folder, with the images that variants start from.
        before: cache of adversarial images, or None.
    """

    def __init__(
        self,
        loaded: LoadedModels,
        size: tuple[int, int],
        run_seed: int,
        folder: Path,
        before: MadeBefore | None = None,
    ) -> None:
        self._loaded = loaded
        self._size = size
        self._run_seed = run_seed
        self._folder = folder
        self._before = before
        self._attacks: dict[tuple[str, ...], Any] = {}
        self._estimators: dict[tuple[str, bool], Any] = {}

    def forget(self) -> None:
        """Drop all attacks and estimators, because a failed attack may be in an undefined state."""
        self._attacks.clear()
        self._estimators.clear()

    def check(self, variants: Iterable[Variant]) -> None:
        """Make each attack once, so that an impossible attack ends the run before any work is done.

        Raises:
            ArtattackError: an attack does not accept its options or parameters.
        """
        for variant in {_alike(v): v for v in variants if v.source}.values():
            try:
                self.attack(variant)
            except ArtattackError as error:
                raise ArtattackError(f"attack '{variant.entry.name}' of '{variant.source}': {error}") from error

    def perturb(self, cell: Cell, ids: Iterable[str], x: np.ndarray) -> Made:
        """Return the perturbed images of a cell, computed or from the cache.

        Args:
            cell: the cell.
            ids: ids of the images that could be read.
            x: these images, (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        """
        variant, ids = cell.variant, tuple(ids)
        missing: dict[int, str] = {}
        batch = self._batch(cell, ids, x, missing)
        key = self._before.key(batch) if self._before else None
        if self._before and key and not missing and (found := self._before.get(key, x)):
            return found
        started = time.perf_counter()
        perturbed = variant.entry.perturb(self.attack(variant), batch)
        if missing:
            perturbed = perturbed._replace(failed={**perturbed.failed, **missing})
        made = Made(perturbed, (time.perf_counter() - started) / len(ids), from_cache=False)
        if self._before and key and not perturbed.failed:
            self._before.put(key, made)
        return made

    def columns(self, cell: Cell, ids: Iterable[str], x: np.ndarray, files: np.ndarray) -> Mapping[str, Sequence[Any]]:
        """Return the columns of the records that only the cell's attack knows."""
        batch = self._batch(cell, tuple(ids), x, {})
        return cell.variant.entry.columns(self.attack(cell.variant), batch, files)

    def _batch(self, cell: Cell, ids: Sequence[str], x: np.ndarray, missing: dict[int, str]) -> Batch:
        """Return the batch of a cell; failed images of the variants it starts from are added to `missing`."""
        read: dict[str, np.ndarray] = {}

        def images_of(other: Variant) -> np.ndarray:
            """Return the files of another variant, with the original in place of a missing one."""
            if other.key not in read:
                images = x.copy()
                for i, id_ in enumerate(ids):
                    try:
                        images[i] = to_float(read_image(self._folder / other.file(id_)))
                    except ArtattackError:
                        missing[i] = f"'{other.title}', which this starts from, failed"
                if len(missing) == len(ids):
                    raise ArtattackError(missing[0])
                read[other.key] = images
            return read[other.key]

        named = {sample.id: sample.target for sample in cell.samples}
        seeds, draws = (
            tuple(variant.seed(self._run_seed, id_) for id_ in ids) for variant in (cell.variant, cell.variant.free)
        )
        targets = tuple(named[id_] for id_ in ids)
        return Batch(cell.variant, x, seeds, self, images_of, targets, draws, self._loaded.classes)

    def estimator(self, name: str) -> Any:
        """Return a model of the run as an ART estimator."""
        return self._estimator(name, self._loaded.models[name], untrained=False)

    def untrained(self, name: str) -> Any:
        """Return a network of the run with random weights as an ART estimator."""
        return self._estimator(name, self._loaded.untrained[name], untrained=True)

    def _estimator(self, name: str, model: Classifier, *, untrained: bool) -> Any:
        from artattack.models.estimator import to_estimator

        key = name, untrained
        found = self._estimators.pop(key, None) or to_estimator(model, input_shape=(*self._size, 3))
        self._estimators[key] = found  # the least recently used comes first
        while len(self._estimators) > _ESTIMATORS:
            del self._estimators[next(iter(self._estimators))]
        return found

    def attack(self, variant: Variant) -> Any:
        """Return the attack of a variant; only the latest is kept, with its compiled functions, for all its styles."""
        key = _alike(variant)
        if key not in self._attacks:
            self._attacks = {key: variant.entry.make(variant, self)}
        return self._attacks[key]


def _alike(variant: Variant) -> tuple[str, ...]:
    return variant.entry.made_alike(variant)
