"""The transfer matrix: attacks with the models that they read in rows, scored classifiers in columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from artattack.report.page_tables import EMPTY, TableCell, rate
from artattack.results.order import classifiers_by_accuracy
from artattack.results.records import RELATIONS, attacks_of, labelled
from artattack.results.run_folder import RunFolder


class Line(NamedTuple):
    """Results of one attack on each classifier.

    Attributes:
        label: ATTACK/STYLE/SOURCE.
        attack: name of the attack and, if any, its style.
        source: name of the source.
        squares: a cell for each classifier, with its rate as sort key.
    """

    label: str
    attack: str
    source: str
    squares: list[TableCell]


class Matrix(NamedTuple):
    """One rate of all attacks on classifiers of one relation, at own distances or at one budget.

    Attributes:
        place: the budget, such as `l2 = 5`, or `OWN`.
        title: `Flips` or `Successes`.
        rate: name of the rate in words, such as `flip rate`.
        relation: relation of the classifiers to the attacks.
        classifiers: names of the classifiers, the columns.
        lines: results of each attack, the rows.
    """

    place: str
    title: str
    rate: str
    relation: str
    classifiers: list[str]
    lines: list[Line]


OWN = "own distances"  # the place of attacks without a budget
_RATES = {"Flips": ("flip_rate", "flips", "n"), "Successes": ("success_rate", "successes", "n_correct")}


def matrices(run: RunFolder) -> Iterator[Matrix]:
    """Yield the matrices of flips and of successes for each place, own distances first.

    At each place, matrices are in the order of `RELATIONS`, without empty matrices, rows and columns.
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
