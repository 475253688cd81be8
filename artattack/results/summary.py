"""The summary of a run: records -> a row for each attack x style x source x matched_to x budget x classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from artattack.files import to_path
from artattack.results.columns import RECORD_COLUMNS, SUMMARY, Rate, Sum
from artattack.results.groups import Group
from artattack.results.records import at_own_distance, attacks_of
from artattack.results.statistics import wilson
from artattack.results.tables import make_table, read_table

Mask = npt.NDArray[np.bool_]

GROUP = [
    "attack",
    "style",
    "source",
    "matched_to",
    "budget_distance",
    "budget",
    "classifier",
]  # columns that identify a row of a summary
_SEED = 0  # seed of the bootstrap, fixed, so that equal records give equal summaries


def summarise(records: pd.DataFrame) -> pd.DataFrame:
    """Summarize records: a row for each combination of `GROUP`, in order of appearance.

    `artattack.results.columns.SUMMARY` describes each column. A rate over no images is missing, not 0. Rates have
    Wilson intervals, the mean confidence shift a bootstrap interval, all at 95 %.

    Args:
        records: frame with the columns of `artattack.results.columns.RECORDS`.

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
            part, whole = table[column.part].fillna(0), table[column.whole].fillna(0)  # counts of nothing known
            table[column.name] = (part / whole.where(whole > 0)).astype("float64")
            table[f"{column.name}_low"], table[f"{column.name}_high"] = wilson(part, whole)
    return table


def read_summary(path: str | Path) -> pd.DataFrame:
    """Read a summary.csv back, exactly as it was written; errors as in `read_table`."""
    return read_table(to_path(path), SUMMARY)


def transfer_matrix(summary: pd.DataFrame, rate: Literal["flip_rate", "success_rate"] = "flip_rate") -> pd.DataFrame:
    """Return the transfer matrix: the rate of each attack on each classifier.

    Args:
        summary: the summary of one run.
        rate: column of the summary.

    Returns:
        float64, a row for each attack at its own distance (index attack, style, source), a column for each
        classifier; NaN for missing rates.
    """
    attacks = at_own_distance(attacks_of(summary))
    names = ["attack", "style", "source"]
    table = attacks.assign(**{name: attacks[name].fillna("") for name in names}).pivot(
        index=names, columns="classifier", values=rate
    )
    order = pd.MultiIndex.from_frame(attacks[names].fillna("").drop_duplicates())
    return table.reindex(index=order, columns=attacks["classifier"].drop_duplicates())


def _array(column: pd.Series[Any]) -> npt.NDArray[Any]:
    """Return text as objects, and numbers and booleans as float64 with NaN for missing values."""
    if column.dtype == "string":
        return column.to_numpy(object)
    return column.to_numpy(np.float64, na_value=np.nan)
