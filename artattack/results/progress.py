"""How far a run is: what its folder tells while it runs, after it stopped, and when it is finished."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from statistics import mean, median
from typing import Any

from artattack.results.planned import amiss, images_by_batch, planned_images, planned_keys
from artattack.results.run_folder import RunFolder

STATES = ("finished", "incomplete", "running", "stopped")

_AGAIN = ("resumed", "extended")  # where run.json notes that a run was gone on with


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes:
        state: of `STATES`; a run that calls itself finished and has a cell amiss is incomplete.
        cells: in all, or None for a run of a version that did not note them.
        done: cells done, those that failed or are amiss left out.
        failed: why cells failed, and how many for each reason; resuming does them again.
        unreadable: images that could not be read.
        next: the first cell that is not done, or "".
        seconds_left: how long the rest is going to take at the pace so far, or None where nobody knows.
        overdue: whether that is so because the cell under way takes longer than any before.
        amiss: from a cell that has other images than planned to words for it; resuming does it again.
    """

    state: str
    cells: int | None
    done: int
    failed: Mapping[str, int]
    unreadable: int
    next: str
    seconds_left: float | None
    overdue: bool = False
    amiss: Mapping[str, str] = field(default_factory=dict)


def read_progress(folder: RunFolder) -> RunProgress:
    """Look at a run folder, which another process may be working in.

    Raises:
        ArtattackError: as `RunFolder.open`.
    """
    info = folder.info
    keys = planned_keys(info)
    found: dict[str, set[str]] = {}
    failed = Counter[str]()
    unreadable: set[str] = set()
    for key, rows in folder.cells():
        errors = {str(row["error"]) for row in rows if row.get("error")}
        if key == "images":
            unreadable = {row["image"] for row in rows}
        elif errors:
            failed[min(errors)] += 1
        else:
            found[key] = {row["image"] for row in rows}
    wrong = _amiss(info, found, unreadable)
    done = found.keys() - wrong.keys()
    left = [key for key in keys or () if key not in done]
    state = "running" if folder.is_worked_on else "stopped"
    if info["status"] == "finished":
        state = "incomplete" if wrong else "finished"
    seconds, overdue = None, False
    if left:
        taken, elapsed = _times(folder.finishing_times(), _begun(info))
        longest = max((each for times in taken.values() for each in times), default=None)
        overdue = state == "running" and longest is not None and elapsed > longest
        seconds = None if overdue or longest is None else _seconds(left, taken)
    return RunProgress(
        state,
        len(keys) if keys is not None else None,
        len(done),
        failed,
        len(unreadable),
        left[0] if left else "",
        seconds,
        overdue,
        wrong,
    )


def _amiss(info: Mapping[str, Any], found: Mapping[str, set[str]], unreadable: set[str]) -> dict[str, str]:
    """Return what is wrong with the images of cells, by key, of those where anything is."""
    planned = planned_images(info)
    if not planned and planned_keys(info):
        planned = images_by_batch({key: found[key] for key in planned_keys(info) or () if key in found})
    checked = {key: amiss(planned[key], unreadable, images) for key, images in found.items() if key in planned}
    return {key: words for key, words in sorted(checked.items()) if words}


def _begun(info: Mapping[str, Any]) -> list[float]:
    """Return when a run was begun and gone on with, in seconds since 1970, as far as it has noted that."""
    moments = [info.get("started"), *(each.get("at") for part in _AGAIN for each in info.get(part, ()))]
    return [datetime.fromisoformat(moment).timestamp() for moment in moments if moment]


def _times(finished: Mapping[str, float], begun: Sequence[float]) -> tuple[dict[str, list[float]], float]:
    """Return how long cells took, in seconds: by variant those that are done, and so far the one under way.

    Args:
        finished: when each cell that is done was finished, in seconds since 1970.
        begun: when the run was begun and gone on with: time between what was done last and then is no cell's.
    """
    moments = sorted([(moment, "") for moment in begun] + [(moment, key) for key, moment in finished.items()])
    taken = defaultdict(list)
    for (before, _), (moment, key) in pairwise(moments):
        if key and key != "images":
            taken[_variant(key)].append(moment - before)
    return taken, time.time() - moments[-1][0] if moments else 0.0


def _seconds(left: Sequence[str], taken: Mapping[str, Sequence[float]]) -> float:
    """Return how long cells are going to take: each as long as others of its variant, or as a variant's usually do.

    Args:
        left: keys of the cells that are to do.
        taken: how long cells took, in seconds, by variant.
    """
    usual = {variant: median(times) for variant, times in taken.items()}
    otherwise = mean(usual.values())
    return sum(usual.get(_variant(key), otherwise) for key in left)


def _variant(key: str) -> str:
    return key.rpartition("-")[0]
