"""The transfer matrix: attacks by the model they read, against the classifiers they are shown to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from artattack.report.tables import EMPTY, Cell, rate
from artattack.results.records import attacks_of
from artattack.results.run_folder import RunFolder


class Line(NamedTuple):
    """What one attack does to each classifier.

    Attributes:
        label: ATTACK/STYLE/SOURCE.
        attack, source: the same in two parts, and the style in words.
        squares: a cell for each classifier, sorted by its rate.
        seen: whether the attack read that classifier; where the run does not tell, it is taken not to.
    """

    label: str
    attack: str
    source: str
    squares: list[Cell]
    seen: list[bool]


class Matrix(NamedTuple):
    """One rate of all attacks at one place: at their own distances, or at one budget."""

    place: str
    title: str
    rate: str
    classifiers: list[str]
    lines: list[Line]


OWN = "own distances"  # the place of attacks at no budget
_RATES = {"Flips": ("flip_rate", "flips", "n"), "Successes": ("success_rate", "successes", "n_correct")}


def matrices(run: RunFolder) -> Iterator[Matrix]:
    """Yield the matrix of flips and that of successes for each place where attacks stand; own distances come first."""
    missing = {"style": "", "source": "", "budget_distance": "", "budget": float("inf"), "classifier_seen": False}
    rows = attacks_of(run.summary).fillna(missing)
    classifiers = list(dict.fromkeys(rows["classifier"].dropna()))
    for (distance, budget), group in rows.groupby(["budget_distance", "budget"], sort=False):
        place = f"{distance} = {budget:.3g}" if distance else OWN
        for title, names in _RATES.items():
            known = [name for name in classifiers if group.loc[group["classifier"] == name, names[0]].notna().any()]
            if known:
                yield Matrix(place, title, names[0].replace("_", " "), known, list(_lines(group, known, *names)))


def _lines(rows: pd.DataFrame, classifiers: list[str], *names: str) -> Iterator[Line]:
    for (attack, style, source), group in rows.groupby(["attack", "style", "source"], sort=False):
        rows_of = {row["classifier"]: row for row in group.to_dict("records")}
        yield Line(
            "/".join(part for part in (str(attack), str(style), str(source)) if part),
            f"{attack}, {style}" if style else str(attack),
            str(source),
            [rate(rows_of[name], *names) if name in rows_of else EMPTY for name in classifiers],
            [name in rows_of and rows_of[name]["classifier_seen"] for name in classifiers],
        )
