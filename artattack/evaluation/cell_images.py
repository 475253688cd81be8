"""The images of a cell in the run folder: reading originals, and writing and reading perturbed images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from artattack.attacks.entries import Variant
from artattack.errors import ArtattackError
from artattack.evaluation.plan import Cell
from artattack.inputs.image_sets import Sample
from artattack.inputs.images import read_image, saving, to_float, to_uint8
from artattack.results.run_folder import RunFolder


class Originals(NamedTuple):
    """The images of a cell that could be read, uint8 (H, W, 3) each."""

    samples: list[Sample]
    images: list[np.ndarray]


class CellImages:
    """Reads and writes the images of cells.

    Args:
        folder: the run folder, with originals and perturbed images as PNG.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def readable(self, cell: Cell) -> list[Sample]:
        """Return the images of a cell, without those recorded as unreadable."""
        return [sample for sample in cell.samples if sample.id not in self._unreadable]

    def originals(self, cell: Cell) -> Originals:
        """Read the originals of a cell.

        Raises:
            ArtattackError: the copy of an original is missing or damaged; resuming the run restores it.
        """
        samples = self.readable(cell)
        return Originals(samples, [self._original(sample) for sample in samples])

    def perturbed(self, variant: Variant, samples: Sequence[Sample]) -> np.ndarray:
        """Read the files of a variant, (N, H, W, 3) float32.

        Raises:
            ArtattackError: a file is missing or damaged.
        """
        return to_float(np.stack([read_image(self._folder.path / variant.file(sample.id)) for sample in samples]))

    def write(self, variant: Variant, samples: Sequence[Sample], files: np.ndarray, failed: Mapping[int, str]) -> None:
        """Write the files of a variant, (N, H, W, 3) float32 on the 8-bit grid, except failed images.

        Raises:
            DiskError: a file cannot be written.
        """
        with saving() as save:
            for i, (sample, image) in enumerate(zip(samples, to_uint8(files), strict=True)):
                path = self._folder.path / variant.file(sample.id)
                if i in failed:
                    path.unlink(missing_ok=True)  # from an earlier attempt
                else:
                    save(path, image)

    @cached_property
    def _unreadable(self) -> frozenset[str]:
        rows = self._folder.cell("images")
        if rows is None:
            raise ArtattackError(f"{self._folder.path}: cell 'images' is missing or damaged: resume the run (--resume)")
        return frozenset(row["image"] for row in rows)

    def _original(self, sample: Sample) -> np.ndarray:
        """Return the copy of an original, uint8 (H, W, 3)."""
        try:
            return read_image(self._folder.original(sample.id))
        except ArtattackError as error:
            raise ArtattackError(f"{error}: the run has copied it there: resume the run (--resume)") from error
