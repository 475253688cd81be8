"""Pairwise comparison of a run's attacks: the table `pairs`."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pandas as pd

from artattack.results.columns import PAIRS
from artattack.results.paired import Case, PairedDifference, measure_difference, outcomes_by_image, rows_by_case
from artattack.results.records import attacks_of
from artattack.results.standing import ENOUGH, standing
from artattack.results.statistics import holm
from artattack.results.tables import make_table


def pair_attacks(records: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Compare attacks pairwise by the rate at which they flip the same images.

    Attacks are compared at their own distances, which differ, and at each budget that both reach: there, images count
    that stand at the budget under both attacks, and an attack with fewer than 80 % of its images there is left out.

    Args:
        records: the records of one run.
        confidence: confidence level of the intervals.

    Returns:
        A row for each pair of attacks x classifier, at their own distances and then at each budget, with the columns
        `artattack.results.columns.PAIRS`; p values of all rows are adjusted together (Holm).

    Raises:
        ArtattackError: an image occurs twice.
    """
    found = {case: _flips(case, rows) for case, rows in rows_by_case(attacks_of(records)).items()}
    outcomes = {case: flips for case, flips in found.items() if flips is not None}
    places = dict.fromkeys(_place(case) for case in outcomes)
    rows = [
        {"classifier": place[0]} | _columns(a.label, b.label, measure_difference(outcomes[a], outcomes[b], confidence))
        for place in sorted(places, key=lambda place: bool(place[1]))  # stable: own distances first
        for a, b in combinations([case for case in outcomes if _place(case) == place], 2)
    ]
    table = make_table(rows, PAIRS)
    table["p_holm"] = holm(table["p"])
    return table


def _place(case: Case) -> tuple[str, str, float]:
    """Return the classifier and the budget at which an attack can be compared; no budget at its own distance."""
    return case.classifier, case.budget_distance, case.budget


def _flips(case: Case, rows: pd.DataFrame) -> pd.Series[Any] | None:
    """Return an attack's flips by image, missing where an image stands short of a budget; None if too many do."""
    flips = outcomes_by_image(rows, "flip")
    if not case.budget_distance:
        return flips
    there = standing(rows).set_axis(rows["image"])
    return flips.where(there) if there.sum() >= ENOUGH * flips.notna().sum() else None


def _columns(a: str, b: str, found: PairedDifference) -> dict[str, Any]:
    return {
        "a": a,
        "b": b,
        "n": found.n,
        "rate_a": found.rate_a,
        "rate_b": found.rate_b,
        "difference": found.difference,
        "difference_low": found.low,
        "difference_high": found.high,
        "only_a": found.only_a,
        "only_b": found.only_b,
        "p": found.p_value,
    }
