"""Successive halving within one run: all attacks on the first images, and the better half on the rest.

The method is that of K. Jamieson, A. Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization", AISTATS 2016, with images as the budget. Both parts are plans of one benchmark, and the first is a part
of the second. They share a run folder, so that a search resumes like any run, in any engine.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from artattack.evaluation.plan import CLEAN, Cell, Plan


def first_plan(plan: Plan) -> Plan:
    """Return the first part of a plan: all attacks on the first batch of images."""
    return _with(plan, ())


def going_on(plan: Plan, names: Collection[str]) -> Plan:
    """Return the plan whose attacks stop after the first batch of images, except those in `names`."""
    return _with(plan, names)


def _with(plan: Plan, names: Collection[str]) -> Plan:
    def wanted(cell: Cell) -> bool:
        return cell.variant == CLEAN or cell.number == 0 or cell.variant.entry.name in names

    return replace(plan, cells=tuple(cell for cell in plan.cells if wanted(cell)))


def front(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether each point is on the Pareto front, (N,) bool.

    A point dominates another if it is at least as high in every column, and higher in one. Points on the front are not
    dominated.

    Args:
        values: (N, K); higher is better.
    """
    as_good = (values[None] >= values[:, None]).all(-1)
    better = (values[None] > values[:, None]).any(-1)
    return np.asarray(~(as_good & better).any(1))


def ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return each point's rank in non-dominated sorting (Goldberg, 1989), (N,) int64; 0 is the Pareto front.

    Args:
        values: (N, K); higher is better.
    """
    found, left, rank = np.empty(len(values), np.int64), np.arange(len(values)), 0
    while len(left):
        best = front(values[left])
        found[left[best]] = rank
        left, rank = left[~best], rank + 1
    return found
