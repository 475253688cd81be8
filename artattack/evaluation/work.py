"""The work of an engine: the remaining cells of a run, and the run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artattack.cache import Cache
from artattack.evaluation.plan import Plan

if TYPE_CHECKING:
    from artattack.evaluation.cells import CellWorker
    from artattack.results.run_folder import RunFolder


@dataclass(frozen=True)
class Work:
    """The work of a run.

    Attributes:
        plan: the plan, whose cells each follow the cells they need.
        folder: the run folder, with the originals and the records of each cell.
        hashes: SHA-256 of the image files, by image.
        worker: does cells in this process.
        done: keys of finished cells.
        tell: called with the title of the current cell's variant and the number of finished cells.
        cache: cache of adversarial images of earlier runs, or None.
    """

    plan: Plan
    folder: RunFolder
    hashes: Mapping[str, str]
    worker: CellWorker
    done: AbstractSet[str]
    tell: Callable[[str, int], None]
    cache: Cache | None = None
