"""The summary as a table for papers and spreadsheets: CSV, Markdown, LaTeX."""

from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd

from artattack.errors import unknown
from artattack.report.page_tables import (
    PEOPLE_FIELDS,
    SUMMARY_FIELDS,
    Field,
    Filled,
    Row,
    TableCell,
    clean_error,
    fill,
    means,
    number,
    rates,
    words,
)
from artattack.results.order import most_accurate_first
from artattack.results.records import at_own_distance, labelled, untrained
from artattack.results.run_folder import RunFolder
from artattack.results.tables import to_csv


def summary_table(run: RunFolder) -> pd.DataFrame:
    """Return the summary as text, with the columns of the report's first table."""
    ordered = labelled(most_accurate_first(run.summary, run.summary))
    return _as_text(fill(ordered, SUMMARY_FIELDS, untrained(run.summary)))


def _as_text(filled: Filled) -> pd.DataFrame:
    texts = [[cell.whole for cell in row] for row in filled.rows]
    return pd.DataFrame(texts, columns=[field.name for field in filled.columns])


def markdown(run: RunFolder) -> str:
    """Return the summary as a Markdown table, and after a survey that of people, with escaped names."""
    people = run.people
    filled = [] if people is None else [fill(labelled(people), PEOPLE_FIELDS, untrained(run.summary))]
    tables = [summary_table(run), *(_as_text(one) for one in filled if one.rows)]
    return "\n".join(f"{table.map(in_markdown).to_markdown(index=False, disable_numparse=True)}\n" for table in tables)


def in_markdown(text: str) -> str:
    """Return a text escaped for a cell of a Markdown table."""
    return re.sub(r"([\\`*<|&])", r"\\\1", " ".join(text.split()))


def _of_known(row: Row, cell: TableCell) -> TableCell:
    return cell._replace(text=f"{cell.text} of {row['n_labelled']}") if cell.text else cell


# The headings give the unit, percent, so that cells are short: `62 [31, 86]`.
_PAPER = (
    words("Attack", "", "label", named=True),
    words("Classifier", "", "classifier", named=True),
    Field("Clean error (%)", "", lambda row: _of_known(row, clean_error(row, sign=""))),
    number("n", "", "n", "d"),
    rates("Flips (%)", "", "flip_rate", "flips", sign=""),
    number("L2", "", "mean_l2", ".1f"),
    number("n correct", "", "n_correct", "d"),
    rates("Successes (%)", "", "success_rate", "successes", "n_correct", sign=""),
    means("Confidence shift", "", "mean_confidence_shift"),
    number("SSIM", "", "mean_ssim"),
)
_LONG = 40  # rows that fit on a page


def latex(run: RunFolder) -> str:
    """Return the attacks and controls at their own distance as a LaTeX table with booktabs rules, for a paper."""
    summary = most_accurate_first(run.summary, run.summary)
    filled = fill(labelled(at_own_distance(summary)), _PAPER, untrained(summary))
    # Counts have their own columns.
    texts = [[cell._replace(note="").whole for cell in row] for row in filled.rows]
    table = pd.DataFrame(texts, columns=[field.name for field in filled.columns])
    style = table.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    caption = (
        "Clean error of the untouched images whose class the classifier knows, flips (top-1 class changed, of n) and "
        "successes (of the n correct before, wrong after) of each attack and control at its own distance. "
        "Brackets are 95\\,\\% intervals, in percent for rates."
    )
    long = len(table) > _LONG
    name = str(run.info["config"].get("benchmark", {}).get("name", "run"))
    text: str = style.to_latex(
        hrules=True,
        column_format="".join("r" if field.figure else "l" for field in filled.columns),
        caption=caption,
        label="tab:" + (re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-") or "run"),
        environment="longtable" if long else None,
        position="t" if not long else None,
        position_float="centering" if not long else None,
    )
    packages = ("booktabs", "longtable") if long else ("booktabs",)
    return "".join(f"% \\usepackage{{{package}}}\n" for package in packages) + text


FORMATS: dict[str, Callable[[RunFolder], str]] = {
    "csv": lambda run: to_csv(run.summary).decode(),
    "markdown": markdown,
    "latex": latex,
}


def write_tables(run: RunFolder, form: str) -> str:
    """Return the summary in one of `FORMATS`: csv (all columns), markdown or latex.

    Raises:
        ArtattackError: no such format.
    """
    if form not in FORMATS:
        raise unknown("format", form, ["html", *FORMATS])
    return FORMATS[form](run)
