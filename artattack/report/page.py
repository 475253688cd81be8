"""The report page: everything of a run in one HTML file that needs no network."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from artattack.comparison import verdicts
from artattack.report import figures, tables
from artattack.report.gallery import pictures
from artattack.report.glossary import glossary
from artattack.results import RunFolder, write_file


class Shown(NamedTuple):
    """A figure of the page: its id, title, data for Plotly, and what it shows in words."""

    id: str
    title: str
    data: Markup
    alt: str


class Table(NamedTuple):
    """A table of the page."""

    id: str
    title: str
    caption: str
    columns: tuple[tables.Column, ...]
    rows: list[list[tables.Cell]]
    open: bool


def write_report(run: RunFolder, path: Path | None = None) -> Path:
    """Write the report of a finished run; return where it is.

    Args:
        run: a finished run.
        path: the file; by default `report.html` in the run folder.

    Raises:
        ArtattackError: the run is not finished, or the file cannot be written.
    """
    path = run.path / "report.html" if path is None else path
    write_file(path, render(run).encode())
    return path


def render(run: RunFolder) -> str:
    """Return the report of a finished run as HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("artattack.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = files("artattack.report") / "templates"
    chosen, total = pictures(run)
    rates = figures.flip_rates(run)
    return environment.get_template("report.html").render(
        info=run.info,
        benchmark=run.info["config"].get("benchmark", {}),
        models=run.info["config"].get("models", {}),
        in_short=_in_short(run),
        verdicts=list(verdicts(run.controls[run.controls["budget"].isna()])),
        rates=_shown(rates) if rates.series else None,
        curves=[_shown(figure) for figure in figures.curves(run)],
        matrix=_matrix(run),
        tables=_tables(run),
        pictures=chosen,
        total_pictures=total,
        checks=_checks(run),
        failures=_failures(run),
        glossary=glossary(),
        untrained=_untrained(run),
        config=json.dumps(run.info["config"].get("benchmark", {}), indent=2),
        style=Markup((own / "report.css").read_text("utf-8")),
        script=Markup((own / "report.js").read_text("utf-8")),
        plotly=Markup(get_plotlyjs()),
        percent=lambda value: "" if pd.isna(value) else f"{value:.0%}",
    )


def _shown(figure: figures.Figure) -> Shown:
    parts = []
    for series in figure.series:
        points = ", ".join(f"{x}: {y:.2f}" for x, y in zip(series.x, series.y, strict=True))
        parts.append(f"{series.name}: {points}")
    return Shown(figure.id, figure.title, Markup(figures.to_plotly(figure)), "; ".join(parts))


def _in_short(run: RunFolder) -> list[str]:
    """Return the run in a few sentences: natural mistakes, and the strongest attacks at their own distance."""
    summary = tables.labelled(run.summary)
    lines = []
    for row in summary[summary["kind"] == "clean"].to_dict("records"):
        error = tables.clean_error(row)
        known = f"gets {error.text} wrong" if error.text else "knows the class of none, so that only flips are counted"
        lines.append(f"Untouched: {row['classifier']}, of {row['n']} images, {known}.")
    free = summary[summary["kind"].isin(["style", "baseline"]) & summary["budget"].isna()]
    free = free[free["flip_rate"].notna()]
    for (classifier, kind), rows in free.groupby(["classifier", "kind"], sort=False):
        best = rows.sort_values("flip_rate", ascending=False, kind="stable").iloc[0]
        what = {"style": "style attack", "baseline": "baseline"}[str(kind)]
        lines.append(
            f"The {what} that flips {classifier} most is {best['label']}: "
            f"{tables.rate('flip_rate', 'flips')(best.to_dict()).text}, at a mean L2 of {best['mean_l2']:.1f} "
            f"and SSIM of {best['mean_ssim']:.2f}."
        )
    return lines


def _untrained(run: RunFolder) -> list[str]:
    models = run.info["config"].get("models", {})
    return [name for name, model in models.items() if model.get("weights") == "random"]


class Square(NamedTuple):
    """A square of the transfer matrix: rates or NaN, and how they are written."""

    flips: str
    flip_rate: float
    successes: str


class Transfer(NamedTuple):
    """A row of the transfer matrix."""

    attack: str
    source: str
    squares: list[Square | None]


class Matrix(NamedTuple):
    """Source against classifier."""

    classifiers: list[str]
    rows: list[Transfer]


def _matrix(run: RunFolder) -> Matrix:
    summary = run.summary
    rows = summary[summary["kind"].isin(["style", "baseline"]) & summary["budget"].isna()]
    classifiers = list(dict.fromkeys(rows["classifier"]))
    found = []
    for (attack, style, source), group in rows.fillna({"style": "", "source": ""}).groupby(
        ["attack", "style", "source"], sort=False
    ):
        by_classifier = {row["classifier"]: row for row in group.to_dict("records")}
        squares = [_square(by_classifier[name]) if name in by_classifier else None for name in classifiers]
        found.append(Transfer(f"{attack}, {style}" if style else str(attack), str(source), squares))
    return Matrix(classifiers, found)


def _square(row: dict[Any, Any]) -> Square | None:
    if pd.isna(row["flip_rate"]):
        return None
    return Square(
        tables.rate("flip_rate", "flips")(row).text,
        float(row["flip_rate"]),
        tables.rate("success_rate", "successes", "n_correct")(row).text,
    )


def _tables(run: RunFolder) -> list[Table]:
    made = [
        Table(
            "summary",
            "All attacks and controls",
            "Rates with their number of images and 95 % Wilson intervals in percent; summary.csv has more columns.",
            tables.SUMMARY,
            tables.cells(tables.labelled(run.summary), tables.SUMMARY),
            True,
        ),
        Table(
            "controls",
            "Attacks against the best control at the same distance",
            "Paired by image: Newcombe's interval of the difference, exact McNemar test, Holm's correction.",
            tables.CONTROLS,
            tables.cells(run.controls, tables.CONTROLS),
            True,
        ),
        Table(
            "areas",
            "Curves summed up",
            "Area under each curve over distance, as a mean over distances from 0 to the largest budget, with 95 % "
            "bootstrap intervals.",
            tables.AREAS,
            tables.cells(tables.labelled(run.areas), tables.AREAS),
            True,
        ),
        Table(
            "pairs",
            "Attacks against each other",
            "At their own distances, which differ: see the distances in the first table.",
            tables.PAIRS,
            tables.cells(run.pairs, tables.PAIRS),
            False,
        ),
    ]
    return [table for table in made if table.rows]


def _checks(run: RunFolder) -> Table | None:
    if run.checks is None:
        return None
    rows = tables.cells(run.checks, tables.CHECKS)
    return Table("checks", "Sanity checks", "", tables.CHECKS, rows, True)


def _failures(run: RunFolder) -> list[tuple[str, int]]:
    """Return why records failed, and how many did."""
    return [(str(why), int(count)) for why, count in run.records["error"].dropna().value_counts().items()]
