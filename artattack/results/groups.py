"""The records of one row of a summary, and statistics on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from artattack.results import statistics
from artattack.results.standing import stands_at
from artattack.results.statistics import Floats, Interval, bootstrap_mean, newcombe

Mask = npt.NDArray[np.bool_]
_SEED = 0  # seed of the bootstrap, fixed, so that equal records give equal summaries


class Group:
    """The N records of one row of a summary, one for each image.

    Args:
        records: columns of the records, (N,) each.
    """

    def __init__(self, records: Mapping[str, npt.NDArray[Any]]) -> None:
        self._records = records
        self._intervals: dict[str, Interval] = {}

    @cached_property
    def scored(self) -> Mask:
        """Whether each record has a result, (N,) bool."""
        return pd.isna(self._records["error"])

    @cached_property
    def labelled(self) -> Mask:
        """Whether each record is scored, and its true class is one of the classifier's, (N,) bool."""
        return self.yes("in_label_space")

    @cached_property
    def correct_before(self) -> Mask:
        """Whether each record is labelled, and right before the attack, (N,) bool."""
        return self.labelled & self.yes("correct_before")

    @cached_property
    def correct_after(self) -> Mask:
        """Whether each record is labelled, and right after the attack, (N,) bool."""
        return np.logical_and(self.labelled, self._records["top1_class_after"] == self._records["true_class"])

    @cached_property
    def standing(self) -> Mask | None:
        """Whether each record is scored, and stands at its budget, (N,) bool; None without a budget or its distance."""
        distance = self.first("budget_distance")
        values = self._records.get(distance) if distance else None
        if values is None or not self.knows(distance):
            return None
        return np.logical_and(self.scored, stands_at(values, distance, float(self.first("budget"))))

    def yes(self, name: str) -> Mask:
        """Return whether each record is scored, and has True in a column, (N,) bool."""
        return np.logical_and(self.scored, self._records[name] == 1)

    def has(self, name: str) -> Mask:
        """Return whether each record is scored, and has a value in a column of numbers or booleans, (N,) bool."""
        return np.logical_and(self.scored, ~np.isnan(self._records[name]))

    def knows(self, name: str) -> bool:
        """Return whether any scored record has a value in a column of numbers or booleans."""
        return len(self._known(name)) > 0

    def first(self, name: str) -> Any:
        """Return the value of a column that is equal in all records; None if it is missing."""
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

    def style_gain(self) -> tuple[float, float, float]:
        """Return the gain of the recognition rate over untouched images, and the ends of its interval.

        NaN if no record has both.
        """
        known = self.has("style_identified") & self.has("style_identified_before")
        if not known.any():
            return math.nan, math.nan, math.nan
        after, before = self.yes("style_identified")[known], self.yes("style_identified_before")[known]
        return float(after.mean() - before.mean()), *newcombe(after, before)

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
