"""The report page of a run: one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
from markupsafe import Markup

from artattack.files import write_file
from artattack.report import findings, page_tables, plotly_figures, styles, transfer
from artattack.report.figures import Curves, Dots, curves, flip_rates, numbers
from artattack.report.gallery import gallery
from artattack.report.striking import striking_flips
from artattack.results.columns import TABLES
from artattack.results.defended import defences_in_words
from artattack.results.glossary import Entry, entries
from artattack.results.order import most_accurate_first
from artattack.results.people import in_sentences
from artattack.results.records import at_own_distance, kind_in_words, labelled, perturbed_of, untrained
from artattack.results.run_folder import RunFolder

if TYPE_CHECKING:
    from jinja2 import Environment, Template

_OF_SURVEYS = ("answers.csv", "people.csv")
_HASHES = 1000  # maximum number of image hashes on the page


class ShownFigure(NamedTuple):
    """A figure of the page: id, title, each panel's title and Plotly data, and the numbers as a table."""

    id: str
    title: str
    panels: list[tuple[str, Markup]]
    headings: list[str]
    rows: list[list[str]]


class ShownTable(NamedTuple):
    """A table of the page."""

    id: str
    title: str
    caption: str
    columns: list[page_tables.Field]
    rows: list[list[page_tables.TableCell]]
    open: bool = True


def write_report(run: RunFolder, path: Path | None = None) -> Path:
    """Write the report of a finished run; return its path.

    Args:
        run: a finished run.
        path: the file; by default `report.html` in the run folder.

    Raises:
        ArtattackError: the run is not finished, or the file cannot be written.
    """
    path = run.path / "report.html" if path is None else path
    write_file(path, render(run).encode())
    return path


def template(name: str) -> Template:
    """Return a template of this package, in which everything is escaped."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    """Return the environment, which keeps compiled templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("artattack.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(run: RunFolder) -> str:
    """Return the report of a finished run as HTML.

    The template escapes all names and messages, and scripts read JSON. The page's content security policy admits only
    its own two scripts, by their hashes, and no requests.
    """
    from plotly.offline import get_plotlyjs

    own = files("artattack.report") / "templates"
    scripts = [get_plotlyjs(), (own / "report.js").read_text("utf-8")]
    info = run.info
    config = info["config"]
    keys = findings.key_figures(run)
    flips, rule = striking_flips(run)
    verdicts = page_tables.with_relations(most_accurate_first(run.controls, run.summary), run.summary)
    failures, failed = findings.failures(run)
    hashes = config.get("images", {})
    return template("report.html").render(
        info=info,
        benchmark=config.get("benchmark", {}),
        models=config.get("models", {}),
        files=config.get("files", {}),
        hashes=dict(list(hashes.items())[:_HASHES]),
        hashed=len(hashes),
        records=len(run.records),
        images=run.records.loc[run.records["error"].isna(), "image"].nunique(),
        attacks=_attacks(run),
        keys=keys,
        key_groups=findings.by_relation(keys),
        study=run.study,
        study_figure=_study_figure(run),
        striking=flips,
        rule=rule,
        counts=findings.count_verdicts(verdicts[verdicts["budget"].isna()]),
        budget_counts=findings.count_verdicts(verdicts[verdicts["budget"].notna()]),
        verdicts=_verdicts(run, verdicts),
        related=page_tables.RELATED,
        defences=_defences(run),
        defended=list(defences_in_words(run.defences)),
        judges=_judges(run),
        agreements=styles.agreements_in_words(run),
        confusions=styles.confusion_tables(run),
        rates=[_shown(figure) for figure in flip_rates(run)],
        curves=[_shown(figure) for figure in curves(run)],
        matrices=list(transfer.matrices(run)),
        tables=_tables(run),
        gallery=gallery(run),
        checks=_checks(run),
        people=_people(run),
        people_sentences=[] if run.people is None else list(in_sentences(run.people)),
        skipped=findings.skipped(run),
        failures=failures,
        failed=failed,
        glossary=_glossary(asked=run.people is not None),
        untrained=[name for name, model in config.get("models", {}).items() if model.get("weights") == "random"],
        doubts=[*run.doubts_after, *run.doubts_before],
        config=json.dumps(config.get("benchmark", {}), indent=2, ensure_ascii=False),
        style=Markup("".join((own / name).read_text("utf-8") for name in ("colours.css", "report.css"))),
        scripts=[Markup(script) for script in scripts],
        script_hashes=[policy_hash(script) for script in scripts],
    )


def _study_figure(run: RunFolder) -> str:
    """Return the figure of a run's study as a data URI; empty without one."""
    if run.study is None or run.study.figure is None:
        return ""
    return "data:image/png;base64," + base64.b64encode(run.study.figure.read_bytes()).decode()


def _glossary(*, asked: bool) -> dict[str, list[Entry]]:
    """Return the meanings of the columns in a run's files, by file."""
    files = [name for name in TABLES if name.endswith(".csv") and (asked or name not in _OF_SURVEYS)]
    return {name: entries(columns) for name, columns in TABLES.items() if name in files}


def policy_hash(script: str) -> str:
    """Return a script's hash as the page's policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _attacks(run: RunFolder) -> str:
    """Return the numbers of attacks of each kind at their own distance in words: `2 style attacks and 1 control`."""
    rows = perturbed_of(labelled(at_own_distance(run.summary))).drop_duplicates("label")
    counts = rows["kind"].value_counts(sort=False)
    parts = [f"{count} {kind_in_words(str(kind))}{'s' * (count != 1)}" for kind, count in counts.items()]
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part) or "no attack"


def _shown(figure: Dots | Curves) -> ShownFigure:
    if isinstance(figure, Dots):
        panels = [("", Markup(plotly_figures.dots(figure)))]
    else:
        panels = [(panel.title, Markup(plotly_figures.panel(figure, panel))) for panel in figure.panels]
    return ShownFigure(figure.id, figure.title, panels, *numbers(figure))


def _table(
    run: RunFolder,
    id: str,
    title: str,
    caption: str,
    rows: pd.DataFrame,
    fields: tuple[page_tables.Field, ...],
    *,
    is_open: bool = True,
) -> ShownTable:
    return ShownTable(id, title, caption, *page_tables.fill(rows, fields, untrained(run.summary)), is_open)


def _tables(run: RunFolder) -> list[ShownTable]:
    made = [
        _table(
            run,
            "summary",
            "All attacks and controls",
            "Rates in percent with 95 % Wilson intervals and counts; summary.csv has more columns.",
            labelled(most_accurate_first(run.summary, run.summary)),
            page_tables.SUMMARY_FIELDS,
        ),
        _table(
            run,
            "pooled",
            "Pooled over styles and classifiers",
            "Each attack, pooled over all its styles and all classifiers of one relation to it. Photos are the "
            "independent units: intervals resample photos with all their rows, and tests flip the sign of all rows "
            "of a photo together.",
            page_tables.with_place(run.pooled),
            page_tables.POOLED_FIELDS,
        ),
        _table(
            run,
            "areas",
            "Areas under the curves",
            "Area under each curve, divided by its width: the mean over distances from 0 to the largest budget that "
            "the attack reaches, with 95 % bootstrap intervals. Areas up to different budgets are not comparable.",
            labelled(most_accurate_first(run.areas, run.summary)),
            page_tables.AREA_FIELDS,
        ),
        _table(
            run,
            "pairs",
            "Pairs of attacks",
            "Two attacks on the same images, at their own distances, which differ (see the first table), and at each "
            "budget that both reach.",
            most_accurate_first(run.pairs, run.summary),
            page_tables.PAIR_FIELDS,
            is_open=False,
        ),
    ]
    return [table for table in made if table.rows]


def _verdicts(run: RunFolder, verdicts: pd.DataFrame) -> ShownTable | None:
    """Return the verdicts as a table, or None if no attack has a control, not even a control left out."""
    if ((verdicts["verdict"] == "no control") & verdicts["left_out"].isna()).all():
        return None
    caption = (
        "The deciding control is the one whose p value decides the verdict. Paired by image: Newcombe's interval of "
        "the difference, exact McNemar tests, Holm's correction for the number of rows. An image counts if attack and "
        "control have the same distance, within 5 %."
    )
    return _table(
        run,
        "controls",
        "Attacks against the controls at the same distance",
        caption,
        verdicts,
        page_tables.CONTROL_FIELDS,
    )


def _defences(run: RunFolder) -> ShownTable | None:
    """Return defended classifiers beside their undefended selves, or None where the run has no such pair."""
    if not len(run.defences):
        return None
    caption = (
        "Both are scored on the same images; where another attack is named under which the undefended one stands, each "
        "saw the images of the attack that read itself. Newcombe's interval of the paired difference, exact McNemar "
        "tests, Holm's correction for the number of rows."
    )
    return _table(
        run,
        "defended",
        "Defended classifiers beside their undefended selves",
        caption,
        run.defences,
        page_tables.DEFENCE_FIELDS,
    )


def _judges(run: RunFolder) -> ShownTable | None:
    """Return how many images each judge recognises as their style, as a table; None if no image was judged."""
    if not len(run.judges):
        return None
    caption = (
        "For each attack and control, the share of images that a judge recognises as their style, and the gain over "
        "the untouched photos. Rates with 95 % Wilson intervals; gains with Newcombe's intervals for paired rates."
    )
    return _table(run, "judges", "Styles recognised, by judge", caption, labelled(run.judges), page_tables.JUDGE_FIELDS)


def _people(run: RunFolder) -> ShownTable | None:
    """Return the comparison of people and classifiers, or None without answers of people."""
    people = run.people
    if people is None or people.empty:
        return None
    caption = (
        "Intervals of people resample people and photos, those of classifiers photos (Wilson). Kappa is the error "
        "consistency of a classifier with people (Geirhos et al., NeurIPS 2020): 1 where both err on the same "
        "pictures, 0 as by chance."
    )
    return _table(
        run, "people-table", "People beside classifiers", caption, labelled(people), page_tables.PEOPLE_FIELDS
    )


def _checks(run: RunFolder) -> ShownTable | None:
    if run.checks is None:
        return None
    return _table(
        run,
        "check-results",
        "Sanity checks",
        "docs/checks.md explains each check.",
        run.checks,
        page_tables.CHECK_FIELDS,
    )
