"""Progress of a run, read from its folder while it runs, after it stopped, or when it is finished."""

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

_AGAIN = ("resumed", "extended")  # keys of run.json for continued runs


@dataclass(frozen=True)
class RunProgress:
    """Progress of a run.

    Attributes:
        state: one of `STATES`; a finished run with an incomplete cell is `incomplete`.
        cells: total number of cells, or None for a run of a version that did not record it.
        done: number of cells done, without failed and incomplete ones.
        failed: number of failed cells for each reason; resuming repeats them.
        unreadable: number of images that could not be read.
        next: key of the first cell that is not done, or "".
        seconds_left: estimated time of the other cells, or None if unknown.
        overdue: whether the time is unknown because the current cell takes longer than any before.
        amiss: from the key of a cell whose images differ from the plan to a description; resuming repeats the cell.
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
    """Return the progress of a run, in whose folder another process may be working.

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
    """Return a description of each cell whose images differ from the plan, by key."""
    planned = planned_images(info)
    if not planned and planned_keys(info):
        planned = images_by_batch({key: found[key] for key in planned_keys(info) or () if key in found})
    checked = {key: amiss(planned[key], unreadable, images) for key, images in found.items() if key in planned}
    return {key: words for key, words in sorted(checked.items()) if words}


def _begun(info: Mapping[str, Any]) -> list[float]:
    """Return the recorded times at which a run was started and resumed, in seconds since 1970."""
    moments = [info.get("started"), *(each.get("at") for part in _AGAIN for each in info.get(part, ()))]
    return [datetime.fromisoformat(moment).timestamp() for moment in moments if moment]


def _times(finished: Mapping[str, float], begun: Sequence[float]) -> tuple[dict[str, list[float]], float]:
    """Return the durations of cells in seconds: of finished ones by variant, and of the current one so far.

    Args:
        finished: end time of each finished cell, in seconds since 1970.
        begun: times at which the run was started and resumed; pauses before them belong to no cell.
    """
    moments = sorted([(moment, "") for moment in begun] + [(moment, key) for key, moment in finished.items()])
    taken = defaultdict(list)
    for (before, _), (moment, key) in pairwise(moments):
        if key and key != "images":
            taken[_variant(key)].append(moment - before)
    return taken, time.time() - moments[-1][0] if moments else 0.0


def _seconds(left: Sequence[str], taken: Mapping[str, Sequence[float]]) -> float:
    """Return the estimated duration of cells: the mean of their variant's cells, else the median over variants.

    Args:
        left: keys of the cells to do.
        taken: durations of finished cells in seconds, by variant.
    """
    usual = {variant: median(times) for variant, times in taken.items()}
    otherwise = mean(usual.values())
    return sum(usual.get(_variant(key), otherwise) for key in left)


def _variant(key: str) -> str:
    return key.rpartition("-")[0]
