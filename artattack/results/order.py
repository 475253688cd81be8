"""The order of classifiers for readers: highest accuracy first. Files keep the benchmark's order."""

from __future__ import annotations

import numpy as np
import pandas as pd

from artattack.results.columns import VARIANT
from artattack.results.records import untouched_of

# Columns that identify an image, an attack and its distance, in records, summaries and tables made from them.
_PLACE = ("image", "variant", *VARIANT)


def classifiers_by_accuracy(summary: pd.DataFrame) -> list[str]:
    """Return the classifiers of a run, highest accuracy on untouched images first.

    Untrained classifiers come last. Equally accurate classifiers, and classifiers without labels, keep the benchmark's
    order.
    """
    first = untouched_of(summary).drop_duplicates("classifier").set_index("classifier")
    names = summary["classifier"].dropna().drop_duplicates().tolist()
    accuracy = first["clean_accuracy"].reindex(names).fillna(-1.0)
    random = summary.loc[summary["classifier_weights"] == "random", "classifier"].dropna().unique().tolist()
    return sorted(names, key=lambda name: (name in random, -accuracy[name]))


def right_on_none(table: pd.DataFrame) -> set[str]:
    """Return the classifiers that are right on no labelled image, from the records or the summary of a run."""
    right = table["correct_before"] if "correct_before" in table else table["clean_accuracy"]
    known = table[right.notna()]
    return {*known["classifier"]} - {*known.loc[right[known.index] > 0, "classifier"]}


def most_accurate_first(table: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Return a table's rows in the same order of attacks, with the classifiers of each attack sorted by accuracy.

    Args:
        table: records, a summary, or another table of a run with the column `classifier`.
        summary: the summary of that run.
    """
    if table.empty:
        return table
    names = [name for name in _PLACE if name in table]
    attack = table.groupby(names, sort=False, dropna=False).ngroup() if names else pd.Series(0, table.index)
    order = {name: place for place, name in enumerate(classifiers_by_accuracy(summary))}
    place = table["classifier"].map(order).fillna(len(order))
    ordered: pd.DataFrame = table.iloc[np.lexsort((place.to_numpy(np.float64), attack.to_numpy()))]
    return ordered
