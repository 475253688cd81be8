"""The transfer matrix: attacks by the model they read, against the classifiers they are shown to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from artattack.report.tables import EMPTY, Cell, rate
from artattack.results.records import attacks_of
from artattack.results.run_folder import RunFolder


class Line(NamedTuple):
    """An attack, the model it read, and a cell for each classifier; the cells are sorted by their rates."""

    attack: str
    source: str
    squares: list[Cell]


class Matrix(NamedTuple):
    """One rate of all attacks at one place: at their own distances, or at one budget."""

    place: str
    title: str
    classifiers: list[str]
    lines: list[Line]


_RATES = {"Flips": ("flip_rate", "flips", "n"), "Successes": ("success_rate", "successes", "n_correct")}


def matrices(run: RunFolder) -> Iterator[Matrix]:
    """Yield the matrix of flips and that of successes for each place where attacks stand; own distances come first."""
    rows = attacks_of(run.summary).fillna({"style": "", "source": "", "budget_distance": "", "budget": float("inf")})
    classifiers = list(dict.fromkeys(rows["classifier"].dropna()))
    for (distance, budget), group in rows.groupby(["budget_distance", "budget"], sort=False):
        place = f"{distance} = {budget:.3g}" if distance else "own distances"
        for title, names in _RATES.items():
            known = [name for name in classifiers if group.loc[group["classifier"] == name, names[0]].notna().any()]
            if known:
                yield Matrix(place, title, known, list(_lines(group, known, *names)))


def _lines(rows: pd.DataFrame, classifiers: list[str], *names: str) -> Iterator[Line]:
    for (attack, style, source), group in rows.groupby(["attack", "style", "source"], sort=False):
        seen = {row["classifier"]: rate(row, *names) for row in group.to_dict("records")}
        name = f"{attack}, {style}" if style else str(attack)
        yield Line(name, str(source), [seen.get(classifier, EMPTY) for classifier in classifiers])
