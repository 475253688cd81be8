"""How far a run is: what its folder tells while it runs, after it stopped, and when it is finished."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, median
from typing import Any

from artattack.results.run_folder import RunFolder

STATES = ("finished", "running", "stopped")


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes:
        state: of `STATES`.
        cells: in all, or None for a run of a version that did not note them.
        done: cells done, those that failed left out.
        failed: why cells failed, and how many for each reason; resuming does them again.
        unreadable: images that could not be read.
        next: the first cell that is not done, or "".
        seconds_left: how long the rest is going to take at the pace so far, or None where there is none yet.
    """

    state: str
    cells: int | None
    done: int
    failed: Mapping[str, int]
    unreadable: int
    next: str
    seconds_left: float | None


def read_progress(folder: RunFolder) -> RunProgress:
    """Look at a run folder, which another process may be working in.

    Raises:
        ArtattackError: as `RunFolder.open`.
    """
    info = folder.info
    plan = info.get("cells")
    keys = _keys(plan) if plan else None
    done, failed = set(), Counter[str]()
    unreadable = 0
    for key, rows in folder.cells():
        errors = {str(row["error"]) for row in rows if row.get("error")}
        if key == "images":
            unreadable = len(rows)
        elif errors:
            failed[min(errors)] += 1
        else:
            done.add(key)
    left = [key for key in keys or () if key not in done]
    state = "finished" if info["status"] == "finished" else "running" if folder.is_worked_on else "stopped"
    return RunProgress(
        state,
        len(keys) if keys is not None else None,
        len(done),
        failed,
        unreadable,
        left[0] if left else "",
        _seconds(left, folder.finishing_times()) if left else None,
    )


def _keys(plan: Mapping[str, Any]) -> list[str]:
    every = (f"{variant}-{number:04d}" for variant in plan["variants"] for number in range(plan["batches"]))
    left_out = set(plan.get("left_out", ()))
    return [key for key in every if key not in left_out]


def _seconds(left: Sequence[str], finished: Mapping[str, float]) -> float | None:
    """Return how long cells are going to take: each as long as others of its variant, or as a variant's usually do.

    Args:
        left: keys of the cells that are to do.
        finished: when each cell that is done was finished, in seconds.
    """
    taken = defaultdict(list)
    order = sorted(finished, key=finished.__getitem__)
    for before, key in pairwise(order):
        taken[_variant(key)].append(finished[key] - finished[before])
    if not taken:
        return None
    usual = {variant: median(times) for variant, times in taken.items()}  # blind to the time a run lay still
    otherwise = mean(usual.values())
    return sum(usual.get(_variant(key), otherwise) for key in left)


def _variant(key: str) -> str:
    return key.rpartition("-")[0]
