"""Whether images stand at a budget, or at the distance of another attack's images."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from artattack.distances import DISTANCES

TOLERANCE = 0.05  # relative difference up to which two distances count as equal
ENOUGH = 0.8  # least share of an attack's images at the distance of its control, or at its budget, for a comparison

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def moved(values: Any, distance: str) -> Floats:
    """Return the distance from the untouched image for values of a distance; for a similarity, the loss."""
    found: Floats = pd.Series(values, dtype="Float64").to_numpy(np.float64, na_value=np.nan)
    known = DISTANCES.get(distance)
    if known is None or not known.is_similarity:
        return found
    if np.isinf(known.untouched):  # in dB: convert to the root mean squared difference, which is 0 for equal images
        return np.asarray(10.0 ** (-found / 20.0), np.float64)
    return known.untouched - found


def stands_at(values: Any, distance: str, budget: float) -> Mask:
    """Return whether images stand at a budget: within 5 % of its distance from the untouched image.

    Args:
        values: (N,) values of the distance, from the records.
        distance: a name in `artattack.distances.DISTANCES`.
        budget: the budget, in the distance's unit.

    Returns:
        (N,) bool; False for missing values.
    """
    found, wanted = moved(values, distance), float(moved([budget], distance)[0])
    there = equally_far(found, wanted)
    if distance == "linf":  # 8-bit files have multiples of 1/255 only
        there |= equally_far(found, np.floor(255.0 * wanted + 1e-6) / 255.0)
    return there


def equally_far(found: Floats, wanted: Floats | float) -> Mask:
    """Return whether distances from the untouched image are within 5 % of `wanted`; False for missing distances."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(found - wanted) <= TOLERANCE * np.abs(wanted) + 1e-12, np.bool_)


def standing(rows: pd.DataFrame) -> pd.Series[bool]:
    """Return whether each record at one budget stands there.

    Records without a result do not. If a run has not measured the distance, all records with a result do.
    """
    distance, budget = rows["budget_distance"].iloc[0], float(rows["budget"].iloc[0])
    scored = rows["error"].isna()
    if distance not in rows or rows[distance].isna().all():
        return scored
    return scored & stands_at(rows[distance], str(distance), budget)


def copied_distance(parameters: Any) -> str:
    """Return the distance that a control copied, from its parameters in the records; by default L2."""
    try:
        told = json.loads(parameters)
    except (TypeError, ValueError):
        return "l2"
    name = told.get("distance", "l2") if isinstance(told, dict) else "l2"
    return name if name in DISTANCES else "l2"


def budgets_reached(rows: pd.DataFrame) -> list[float]:
    """Return the budgets of one distance that one attack or control reaches, the smallest distance first.

    A budget is reached if at least 80 % of the images with a result stand at it. A minimum-norm attack leaves an image
    at its own distance, or untouched if that exceeds the budget; it reaches all budgets up to the first that contains
    all of its images. If the run has not measured the distance, all budgets count.

    Args:
        rows: the records of one attack and classifier at all budgets of the distance.
    """
    distance = str(rows["budget_distance"].iloc[0])
    scored = rows[rows["error"].isna()]
    budgets = sorted(rows["budget"].unique().tolist(), key=lambda budget: float(moved([budget], distance)[0]))
    if distance not in rows or scored[distance].isna().all():
        return budgets
    far = scored.assign(far=moved(scored[distance], distance))
    table = far.pivot_table(index="budget", columns="image", values="far").reindex(budgets).dropna(axis=1)
    if _seeks_least(table.to_numpy()):
        holding = np.flatnonzero((table.to_numpy() > 0).all(axis=1))
        return budgets[: holding[0] + 1] if len(holding) else budgets
    shares = {budget: standing(at).sum() / len(at) for budget, at in scored.groupby("budget")}
    return [budget for budget in budgets if shares.get(budget, 0.0) >= ENOUGH]


def _seeks_least(far: Floats) -> bool:
    """Whether an attack moves each image by the image's own distance or not at all, and not at every budget.

    Args:
        far: (budgets, images), distances from the untouched images.
    """
    own = far.max(axis=0, initial=0.0)
    settled = np.isclose(far, own, rtol=1e-6) | (far == 0)
    return bool(settled.all() and ((far == 0) & (own > 0)).any())
