"""Contents of a run's figures: names and numbers, independent of the plotting library."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pandas as pd

from artattack.distances import DISTANCES
from artattack.report.page_tables import RELATED, attacks_then_controls
from artattack.results.order import classifiers_by_accuracy, most_accurate_first
from artattack.results.records import (
    CONTROL,
    RANDOM,
    RELATIONS,
    at_own_distance,
    attack_labels,
    controls_of,
    kind_in_words,
    labelled,
    perturbed_of,
    relation_to_attack,
    untrained,
)
from artattack.results.run_folder import RunFolder
from artattack.results.standing import budgets_reached

# Distinct for any colour vision, with a contrast of at least 3 to 1 in light and dark mode; grey is for controls.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#C0679A", "#AD7D00", "#7B6FD0")
GREY = "#8A8A8A"
_RATES = {
    "flip_rate": "flip rate",
    "success_rate": "success rate",
    "mean_confidence_shift": "mean confidence shift",
}


class Point(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


class Dots(NamedTuple):
    """A dot plot of rates.

    Attributes:
        id: name of its file and of its HTML element.
        title: title of the figure.
        rows: for each line, the attack's name and whether it is a control.
        series: map from a classifier to a point for each line, None for a missing point. Figures of a run have the same
            classifiers in the same order, so that each keeps its colour; some may have no points.
    """

    id: str
    title: str
    rows: list[tuple[str, bool]]
    series: dict[str, list[Point | None]]


class Panel(NamedTuple):
    """Curves of one kind of attack.

    Attributes:
        title: title of the panel.
        curves: map from an attack's name to its points by distance.
        beside: the strongest control's values by distance; empty without a control.
    """

    title: str
    curves: dict[str, dict[float, Point]]
    beside: dict[float, float]


class Curves(NamedTuple):
    """A measure of one classifier against budgets of one distance.

    Attributes:
        id: name of its file and of its HTML element.
        title: title of the figure.
        across: label of the horizontal axis.
        up: label of the vertical axis.
        panels: a panel for each kind of attack.
        falls: whether the budget decreases with distance, as for a similarity.
        share: whether the measure is a rate, from 0 to 1.
    """

    id: str
    title: str
    across: str
    up: str
    panels: list[Panel]
    falls: bool
    share: bool


def flip_rates(run: RunFolder) -> Iterator[Dots]:
    """Yield the flip rates at each attack's own distance, each attack followed by the controls matched to it.

    Each relation of classifiers to attacks has a figure, in the order of `RELATIONS`. The id of the first figure is
    `flip-rates`; the others add the relation.
    """
    rows = perturbed_of(labelled(at_own_distance(run.summary)))
    rows = attacks_then_controls(rows[rows["flip_rate"].notna()])
    rows = rows.assign(of=rows["matched_to"].fillna(rows["label"]))
    cases = rows[["label", "classifier", "relation"]].itertuples(index=False, name=None)
    relations = {(label, classifier): relation for label, classifier, relation in cases}
    copied = [relations.get(case) for case in zip(rows["of"], rows["classifier"], strict=True)]
    rows["relation"] = pd.Series(copied, rows.index, "string").fillna(rows["relation"])
    classifiers = [name for name in classifiers_by_accuracy(run.summary) if name in {*rows["classifier"]}]
    loud = untrained(run.summary)
    there = [relation for relation in RELATIONS if (rows["relation"] == relation).any()]
    for place, relation in enumerate(there):
        title = f"Flip rate of each attack, and of the controls at its distance, on {RELATED[relation]}"
        name = f"flip-rates-{relation}" if place else "flip-rates"
        yield _dots(name, title, rows[rows["relation"] == relation], classifiers, loud)


def _dots(id: str, title: str, rows: pd.DataFrame, classifiers: Iterable[str], loud: set[str]) -> Dots:
    rows = rows.assign(attack_label=attack_labels(rows), control=rows["kind"] == CONTROL)
    lines = rows.drop_duplicates("label").set_index("label")
    series: dict[str, list[Point | None]] = {}
    for classifier in classifiers:
        group = rows[rows["classifier"] == classifier]
        points = dict(zip(group["label"], _points(group, "flip_rate"), strict=True))
        series[marked(str(classifier), loud)] = [points.get(label) for label in lines.index]
    names = [
        (own if control else marked(str(label), loud), bool(control))
        for label, own, control in zip(lines.index, lines["attack_label"], lines["control"], strict=True)
    ]
    return Dots(id, title, names, series)


def curves(run: RunFolder) -> Iterator[Curves]:
    """Yield the curves of measures against budgets: a figure for each distance, classifier and measure.

    A curve has no points at budgets that its attack does not reach.
    """
    loud = untrained(run.summary)
    named = attack_labels(run.curves).map(lambda label: marked(str(label), loud))
    named += relation_to_attack(run.curves).map({"seen": " (white box)", "kin": " (kin)"}).fillna("")
    table = perturbed_of(most_accurate_first(run.curves.assign(label=named), run.summary))
    table = table[_is_reached(table, run.records)]
    kinds = table["kind"].unique()
    taken: set[str] = set()
    for (distance, classifier), rows in table.groupby(["budget_distance", "classifier"], sort=False):
        known_distance = DISTANCES.get(str(distance))
        untouched = known_distance.untouched if known_distance else 0.0
        falls = untouched > 0
        for measure, name in _RATES.items():
            known = rows[rows[measure].notna()].sort_values("budget", ascending=not falls, kind="stable")
            if known.empty:
                continue
            start = {untouched: Point(0.0, 0.0, 0.0)}
            controls = controls_of(known).groupby("budget", sort=False)[measure]
            # A control is stronger the more the confidence falls.
            strongest = controls.min() if measure == "mean_confidence_shift" else controls.max()
            beside = {untouched: 0.0, **dict(zip(strongest.index.tolist(), strongest.tolist(), strict=True))}
            beside = beside if len(strongest) else {}
            panels = [
                Panel(
                    f"{kind_in_words(kind).capitalize()}s",
                    {
                        str(label): start | dict(zip(group["budget"], _points(group, measure), strict=True))
                        for label, group in of_kind.groupby("label", sort=False)
                    },
                    {} if kind == CONTROL else beside,
                )
                for kind in kinds
                if len(of_kind := known[known["kind"] == kind])
            ]
            yield Curves(
                _file_name(f"{measure}-{distance}-{classifier}", taken),
                f"{name[0].upper()}{name[1:]} of {marked(str(classifier), loud)} against {distance}",
                known_distance.axis if known_distance else str(distance),
                name,
                panels,
                falls,
                measure != "mean_confidence_shift",
            )


def _is_reached(table: pd.DataFrame, records: pd.DataFrame) -> pd.Series[bool]:
    """Return for each row of a summary at budgets whether its attack or control reaches the budget."""
    names = ["attack", "style", "source", "budget_distance", "classifier"]
    at_budgets = records[records["budget"].notna()].fillna(dict.fromkeys(names, ""))
    groups = at_budgets.groupby(names, sort=False)
    reached = {(key, budget) for key, rows in groups for budget in budgets_reached(rows)}
    keys = table[names].fillna("").itertuples(index=False, name=None)
    return pd.Series(
        [(key, b) in reached for key, b in zip(keys, table["budget"], strict=True)], table.index, dtype=bool
    )


def numbers(figure: Dots | Curves) -> tuple[list[str], list[list[str]]]:
    """Return a figure's numbers as a table: headings, and rows of text."""
    if isinstance(figure, Dots):
        lines = [f"– {name}" if control else name for name, control in figure.rows]
        series = {name: points for name, points in figure.series.items() if any(points)}
        columns = [[_shown(point, share=True) for point in points] for points in series.values()]
        return ["attack", *series], [list(row) for row in zip(lines, *columns, strict=True)]
    found = {x for panel in figure.panels for curve in panel.curves.values() for x in curve}
    budgets = sorted(found, reverse=figure.falls)[1:]  # without the untouched image
    rows = [
        [name, *(_shown(curve.get(x), share=figure.share) for x in budgets)]
        for panel in figure.panels
        for name, curve in panel.curves.items()
    ]
    return ["attack", *(f"{x:.3g}" for x in budgets)], rows


def _shown(point: Point | None, *, share: bool) -> str:
    if point is None:
        return ""
    value, low, high = point
    if share:
        return f"{value:.0%} [{100 * low:.0f}, {100 * high:.0f}]"
    return f"{value:+.2f}" + ("" if low != low else f" [{low:+.2f}, {high:+.2f}]")


def _points(rows: pd.DataFrame, measure: str) -> Iterable[Point]:
    columns = (rows[f"{measure}{end}"].tolist() for end in ("", "_low", "_high"))
    return (Point(*map(float, values)) for values in zip(*columns, strict=True))


def marked(name: str, names: set[str]) -> str:
    """Return a name, with a mark behind it if it is in `names`, the names of untrained networks."""
    return f"{name} ({RANDOM})" if name in names else name


def _file_name(text: str, taken: set[str]) -> str:
    """Return a unique name for a file and an HTML element."""
    name = safe = re.sub(r"[^A-Za-z0-9.]+", "-", text.replace("_rate", "-rate")).strip("-.")
    count = 1
    while name.lower() in taken:
        count += 1
        name = f"{safe}-{count}"
    taken.add(name.lower())
    return name
