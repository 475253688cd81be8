"""Each attack of a run beside each other: the table `pairs`."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pandas as pd

from artattack.results.columns import PAIRS
from artattack.results.paired import PairedDifference, measure_difference, outcomes_by_case
from artattack.results.records import at_own_distance, attacks_of
from artattack.results.statistics import holm
from artattack.results.tables import make_table


def pair_attacks(records: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Set each attack beside each other, at their own distances, by the rate at which they flip the same images.

    Args:
        records: the records of one run.
        confidence: of the intervals.

    Returns:
        A row for each pair of attacks x classifier with the columns `artattack.results.columns.PAIRS`; p values of
        all rows are adjusted together (Holm).

    Raises:
        ArtattackError: an image is there twice.
    """
    outcomes = outcomes_by_case(at_own_distance(attacks_of(records)))
    rows = [
        {"classifier": seen_by} | _columns(a.label, b.label, measure_difference(outcomes[a], outcomes[b], confidence))
        for seen_by in dict.fromkeys(case.classifier for case in outcomes)
        for a, b in combinations([case for case in outcomes if case.classifier == seen_by], 2)
    ]
    table = make_table(rows, PAIRS)
    table["p_holm"] = holm(table["p"])
    return table


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
