"""The summary of a run: records -> a row for each attack x style x source x matched_to x budget x classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from artattack.results import statistics
from artattack.results.columns import RECORD_COLUMNS, SUMMARY, Rate, Sum
from artattack.results.records import at_own_distance, attacks_of
from artattack.results.statistics import Floats, Interval, bootstrap_mean, wilson
from artattack.results.tables import make_table, read_table

Mask = npt.NDArray[np.bool_]

GROUP = ["attack", "style", "source", "matched_to", "budget_distance", "budget", "classifier"]  # of a summary's rows
_SEED = 0  # of the bootstrap: the same records always have the same summary


def summarise(records: pd.DataFrame) -> pd.DataFrame:
    """Sum up records: a row for each combination of `GROUP`, in order of appearance.

    What each number counts stands in `artattack.results.columns.SUMMARY`. A rate of nothing is missing, not 0. Rates
    have Wilson intervals, the mean confidence shift a bootstrap interval, all of 95 %.

    Args:
        records: with the columns of `artattack.results.columns.RECORDS`.

    Returns:
        A frame with the columns and dtypes of `artattack.results.columns.SUMMARY`.
    """
    arrays = {name: _array(records[name]) for name in RECORD_COLUMNS}
    places = pd.Series(range(len(records)), records.index, "int64")
    groups = places.groupby([records[name] for name in GROUP], sort=False, dropna=False)
    sums = [column for column in SUMMARY if isinstance(column, Sum)]
    rows = []
    with np.errstate(all="ignore"):  # infinite distances have infinite means, or none
        for _, members in groups:
            group = Group({name: array[members] for name, array in arrays.items()})
            rows.append({column.name: column.compute(group) for column in sums})
    table = make_table(rows, SUMMARY)
    for column in SUMMARY:
        if isinstance(column, Rate):
            part, whole = table[column.part], table[column.whole]
            table[column.name] = (part / whole.where(whole > 0)).astype("float64")
            table[f"{column.name}_low"], table[f"{column.name}_high"] = wilson(part, whole)
    return table


def read_summary(path: str | Path) -> pd.DataFrame:
    """Read a summary.csv back, exactly as it was written; errors as in `read_table`."""
    return read_table(Path(path), SUMMARY)


def transfer_matrix(summary: pd.DataFrame, rate: Literal["flip_rate", "success_rate"] = "flip_rate") -> pd.DataFrame:
    """Return how attacks made with one model fare on others.

    Args:
        summary: of one run.
        rate: what stands in the matrix.

    Returns:
        float64, a row for each attack at its own distance (index attack, style, source), a column for each
        classifier; NaN where there is no rate.
    """
    attacks = at_own_distance(attacks_of(summary))
    names = ["attack", "style", "source"]
    table = attacks.assign(**{name: attacks[name].fillna("") for name in names}).pivot(
        index=names, columns="classifier", values=rate
    )
    order = pd.MultiIndex.from_frame(attacks[names].fillna("").drop_duplicates())
    return table.reindex(index=order, columns=attacks["classifier"].drop_duplicates())


def _array(column: pd.Series[Any]) -> npt.NDArray[Any]:
    """Return text as objects, and numbers, True and False as float64 with NaN where they are missing."""
    if column.dtype == "string":
        return column.to_numpy(object)
    return column.to_numpy(np.float64, na_value=np.nan)


class Group:
    """The N records that one row of a summary sums up, an image each: what its columns are computed from.

    Args:
        records: their columns, (N,) each, as `_array` returns them.
    """

    def __init__(self, records: Mapping[str, npt.NDArray[Any]]) -> None:
        self._records = records
        self._intervals: dict[str, Interval] = {}

    @cached_property
    def scored(self) -> Mask:
        """Which have a result, (N,)."""
        return pd.isna(self._records["error"])

    @cached_property
    def labelled(self) -> Mask:
        """Which of these have a true class that the classifier knows, (N,)."""
        return self.yes("in_label_space")

    @cached_property
    def correct_before(self) -> Mask:
        """Which of these were classified correctly before the attack, (N,)."""
        return self.labelled & self.yes("correct_before")

    @cached_property
    def correct_after(self) -> Mask:
        """Which of these were classified correctly after it, (N,)."""
        return np.logical_and(self.labelled, self._records["top1_class_after"] == self._records["true_class"])

    def yes(self, name: str) -> Mask:
        """Return which scored records have True in a column, (N,)."""
        return np.logical_and(self.scored, self._records[name] == 1)

    def knows(self, name: str) -> bool:
        """Return whether any scored record has a value in a column of numbers, True or False."""
        return len(self._known(name)) > 0

    def first(self, name: str) -> Any:
        """Return what a column that is the same in all records says; None where it says nothing."""
        known = self._records[name][~pd.isna(self._records[name])]
        return known[0] if len(known) else None

    def mean(self, name: str) -> float:
        """Return the mean of a column over scored records that have a value; NaN if there are none."""
        values = self._known(name)
        return float(values.mean()) if len(values) else math.nan

    def median(self, name: str) -> float:
        """Return the median of a column over scored records that have a value; NaN if there are none."""
        values = self._known(name)
        return float(np.median(values)) if len(values) else math.nan

    def mean_interval(self, name: str) -> Interval:
        """Return the 95 % bootstrap interval of `mean`."""
        if name not in self._intervals:
            self._intervals[name] = bootstrap_mean(self._known(name), seed=_SEED)
        return self._intervals[name]

    def calibration_error(self, when: Literal["before", "after"]) -> float:
        """Return the expected calibration error of the labelled records, before or after the attack."""
        confidences = self._records[f"top1_confidence_{when}"]
        right = self.correct_before if when == "before" else self.correct_after
        known = self.labelled & ~np.isnan(confidences)
        return statistics.calibration_error(confidences[known], right[known])

    def _known(self, name: str) -> Floats:
        """Return the values of a column in scored records, without missing ones."""
        values: Floats = self._records[name][self.scored]
        return values[~np.isnan(values)]
