"""Summary of curves over budgets: the table `areas`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from artattack.distances import DISTANCES
from artattack.errors import ArtattackError
from artattack.results.columns import AREAS
from artattack.results.records import perturbed_of
from artattack.results.standing import budgets_reached
from artattack.results.statistics import Floats, bootstrap_mean
from artattack.results.tables import make_table

_CURVES = {"flip_area": "flip", "success_area": "success", "confidence_shift_area": "confidence_shift"}
_SEED = 0  # seed of the bootstrap, fixed, so that equal records give equal tables


def sum_up_curves(records: pd.DataFrame) -> pd.DataFrame:
    """Summarize curves over budgets: the area under each, and the budget at which half of the images flip.

    A curve starts at distance 0, where nothing changes, and is straight between budgets (trapezoids). Its area is
    divided by its width, which makes it a mean, such as the mean flip rate over all distances up to the largest budget.
    The area of the mean curve is the mean of the images' areas, and the bootstrap interval (95 %) resamples images.
    Only images with an outcome at every budget of the curve count.

    A curve ends at the largest budget that its attack reaches (`artattack.results.standing.budgets_reached`). Budgets
    that the attack does not reach are not points of the curve.

    Args:
        records: the records of one run.

    Returns:
        A row for each attack or control x distance x classifier with the columns `artattack.results.columns.AREAS`;
        empty for a run without budgets. `half_flip_budget` is missing if the curve stays below one half. An attack that
        reaches no budget has no numbers.

    Raises:
        ArtattackError: an image occurs twice.
    """
    names = ["kind", "attack", "style", "source", "budget_distance", "classifier"]
    at_budgets = perturbed_of(records[records["budget"].notna()])
    rows = []
    for key, group in at_budgets.groupby(names, sort=False, dropna=False):
        parts: Any = key
        columns: dict[str, Any] = {
            name: None if pd.isna(part) else part for name, part in zip(names, parts, strict=True)
        }
        reached = group[group["budget"].isin(budgets_reached(group))]
        rows.append(columns | (_curve_columns(reached, str(columns["budget_distance"])) if len(reached) else {"n": 0}))
    return make_table(rows, AREAS)


def _curve_columns(group: pd.DataFrame, distance: str) -> dict[str, Any]:
    """Return the columns of `sum_up_curves` for one curve."""
    from scipy.integrate import trapezoid  # slow to import, and most readers of a run need no areas

    x, flips = _curve(group, "flip", distance)
    columns: dict[str, Any] = {"n": flips.shape[1], "largest_budget": _budget(x[-1], distance)}
    for area, what in _CURVES.items():
        _, values = _curve(group, what, distance)
        own = np.asarray(trapezoid(values, x, axis=0) / x[-1])
        low, high = bootstrap_mean(own, seed=_SEED)
        columns |= {area: own.mean() if len(own) else math.nan, f"{area}_low": low, f"{area}_high": high}
    half = _first_crossing(x, flips.mean(axis=1)) if flips.size else math.nan
    return columns | {"half_flip_budget": _budget(half, distance)}


def _curve(group: pd.DataFrame, what: str, distance: str) -> tuple[Floats, Floats]:
    """Return increasing distances (B,) from 0, and outcomes (B, N) of the images with an outcome at all of them."""
    values = group[what].where(group["error"].isna()).astype("Float64").astype("float64")
    table = pd.DataFrame({"moved": _budget(group["budget"], distance), "image": group["image"], "value": values})
    if (twice := table.duplicated(["moved", "image"])).any():
        raise ArtattackError(f"image '{table['image'][twice].iloc[0]}' is there twice at one budget")
    curve = table.pivot(index="moved", columns="image", values="value").sort_index().dropna(axis=1)
    start = np.zeros((1, curve.shape[1]))
    return np.append(0.0, curve.index.to_numpy(np.float64)), np.vstack([start, curve.to_numpy(np.float64)])


def _budget(moved: Any, distance: str) -> Any:
    """Convert a budget into a distance from the untouched image, or back."""
    untouched = DISTANCES[distance].untouched if distance in DISTANCES else 0.0
    return untouched - moved if untouched else moved


def _first_crossing(x: Floats, y: Floats, level: float = 0.5) -> float:
    """Return the x at which straight lines through points of increasing x first reach a level; NaN if they do not."""
    reached = np.flatnonzero(y >= level)
    if not len(reached):
        return math.nan
    i = int(reached[0])
    if i == 0:
        return float(x[0])
    share = (level - y[i - 1]) / (y[i] - y[i - 1])
    return float(x[i - 1] + share * (x[i] - x[i - 1]))
