"""What an engine is given: the cells of a run that are left to do, and where they go."""

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
        plan: whose cells are to be done, each after those it needs.
        folder: of the run, in which the originals lie and the records of each cell are kept.
        hashes: SHA-256 of the image files, by image.
        worker: does cells in this process.
        done: keys of the cells that are done.
        tell: called with what was started last, and how many cells are done.
        cache: where adversarial images are kept from run to run, or None.
    """

    plan: Plan
    folder: RunFolder
    hashes: Mapping[str, str]
    worker: CellWorker
    done: AbstractSet[str]
    tell: Callable[[str, int], None]
    cache: Cache | None = None
