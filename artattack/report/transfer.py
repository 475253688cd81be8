"""The transfer matrix: attacks by the model they read, against the classifiers they are shown to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from artattack.report.tables import EMPTY, TableCell, rate
from artattack.results.order import classifiers_by_accuracy
from artattack.results.records import RELATIONS, attacks_of, labelled
from artattack.results.run_folder import RunFolder


class Line(NamedTuple):
    """Results of one attack on each classifier.

    Attributes:
        label: ATTACK/STYLE/SOURCE.
        attack, source: the same in two parts, and the style in words.
        squares: a cell for each classifier, sorted by its rate.
    """

    label: str
    attack: str
    source: str
    squares: list[TableCell]


class Matrix(NamedTuple):
    """One rate of all attacks at one place: at their own distances, or at one budget.

    `relation` says of which classifiers, by what they are to an attack.
    """

    place: str
    title: str
    rate: str
    relation: str
    classifiers: list[str]
    lines: list[Line]


OWN = "own distances"  # the place of attacks at no budget
_RATES = {"Flips": ("flip_rate", "flips", "n"), "Successes": ("success_rate", "successes", "n_correct")}


def matrices(run: RunFolder) -> Iterator[Matrix]:
    """Yield the matrices of flips and of successes for each place where attacks stand; own distances come first.

    At each place they come in the order of `RELATIONS`; what a matrix has no cell for, it leaves out.
    """
    missing = {"style": "", "source": "", "budget_distance": "", "budget": float("inf")}
    rows = attacks_of(labelled(run.summary)).fillna(missing)
    classifiers = classifiers_by_accuracy(run.summary)
    for (distance, budget), group in rows.groupby(["budget_distance", "budget"], sort=False):
        place = f"{distance} = {budget:.3g}" if distance else OWN
        for relation in RELATIONS:
            of_kind = group[group["relation"] == relation]
            for title, names in _RATES.items():
                scored = of_kind[of_kind[names[0]].notna()]
                known = [name for name in classifiers if name in set(scored["classifier"])]
                if known:
                    lines = list(_lines(scored, known, *names))
                    yield Matrix(place, title, names[0].replace("_", " "), relation, known, lines)


def _lines(rows: pd.DataFrame, classifiers: list[str], *names: str) -> Iterator[Line]:
    for (attack, style, source), group in rows.groupby(["attack", "style", "source"], sort=False):
        cells = {row["classifier"]: rate(row, *names) for row in group.to_dict("records")}
        yield Line(
            "/".join(part for part in (str(attack), str(style), str(source)) if part),
            f"{attack}, {style}" if style else str(attack),
            str(source),
            [cells.get(classifier, EMPTY) for classifier in classifiers],
        )
