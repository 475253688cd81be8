"""The summary as people read it: rates with their intervals, in HTML, CSV, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from artattack.errors import unknown
from artattack.records import attack_labels, to_csv, variant_labels
from artattack.results import RunFolder

Row = Mapping[Any, Any]


class Cell(NamedTuple):
    """What a table shows, and what it is sorted by."""

    text: str
    sort: float | str


class Column(NamedTuple):
    """A column of a table: its heading, what that means in a few words, and its cell in a row."""

    name: str
    title: str
    cell: Callable[[Row], Cell]


def number(name: str, form: str = ".2f") -> Callable[[Row], Cell]:
    """Return how a column of numbers is shown; a missing one is empty and stands last."""

    def cell(row: Row) -> Cell:
        value = row[name]
        return Cell("", float("inf")) if pd.isna(value) else Cell(format(value, form), float(value))

    return cell


def word(name: str) -> Callable[[Row], Cell]:
    """Return how a column of text is shown."""

    def cell(row: Row) -> Cell:
        text: str = "" if pd.isna(row[name]) else str(row[name])
        return Cell(text, text)

    return cell


def rate(name: str, part: str | None = None, whole: str = "n") -> Callable[[Row], Cell]:
    """Return how a rate is shown: `14 of 20, 70% [48, 85]`; without a count, with its interval alone."""

    def cell(row: Row) -> Cell:
        if pd.isna(row[name]):
            return Cell("", float("inf"))
        shown = f"{row[name]:.0%} [{100 * row[f'{name}_low']:.0f}, {100 * row[f'{name}_high']:.0f}]"
        return Cell(f"{row[part]} of {row[whole]}, {shown}" if part else shown, float(row[name]))

    return cell


def interval(name: str, form: str = "+.2f") -> Callable[[Row], Cell]:
    """Return how a mean is shown: `-0.46 [-0.61, -0.31]`."""

    def cell(row: Row) -> Cell:
        if pd.isna(row[name]):
            return Cell("", float("inf"))
        value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
        bounds = "" if pd.isna(low) else f" [{low:{form}}, {high:{form}}]"
        return Cell(f"{value:{form}}{bounds}", float(value))

    return cell


def clean_error(row: Row) -> Cell:
    """Return natural mistakes: of the images whose class the classifier knows, those it gets wrong untouched."""
    if pd.isna(row["clean_accuracy"]):
        return Cell("", float("inf"))
    wrong, low, high = (1 - row[f"clean_accuracy{end}"] for end in ("", "_high", "_low"))
    count = row["n_labelled"] - row["n_correct"]
    return Cell(f"{count} of {row['n_labelled']}, {wrong:.0%} [{100 * low:.0f}, {100 * high:.0f}]", float(wrong))


SUMMARY = (
    Column("attack", "ATTACK/STYLE/SOURCE; clean is the untouched images", word("label")),
    Column("classifier", "who is scored", word("classifier")),
    Column("classes", "classes it chose among", number("classes", "d")),
    Column("clean error", "natural mistakes, without any attack", clean_error),
    Column("flips", "images whose top-1 class changed", rate("flip_rate", "flips")),
    Column("success", "correct before, wrong after", rate("success_rate", "successes", "n_correct")),
    Column("top-5 flips", "the class seen before is not among the five first", rate("top5_flip_rate", "top5_flips")),
    Column("confidence shift", "mean, of the class seen before", interval("mean_confidence_shift")),
    Column("KL", "divergence of the confidences, nats", number("mean_kl_divergence")),
    Column("L2", "mean distance, image units", number("mean_l2", ".1f")),
    Column("Linf", "mean distance, image units", number("mean_linf", ".3f")),
    Column("SSIM", "mean structural similarity", number("mean_ssim")),
    Column("dE", "mean colour difference, CIEDE2000", number("mean_delta_e", ".1f")),
    Column("grid", "checkerboard energy, 1 is none", number("mean_checkerboard", ".1f")),
    Column("s/image", "seconds of attack per image", number("seconds_per_image")),
)
CONTROLS = (
    Column("attack", "ATTACK/STYLE/SOURCE", word("variant")),
    Column("classifier", "who is scored", word("classifier")),
    Column("n", "images scored under both", number("n", "d")),
    Column("flip rate", "of the attack", number("flip_rate", ".0%")),
    Column("best control", "that at the same distance which flips most", word("control")),
    Column("its flip rate", "of the control, on the same images", number("control_flip_rate", ".0%")),
    Column("difference", "attack - control, 95 % interval", interval("difference")),
    Column("p, adjusted", "exact McNemar test, Holm's correction", number("p_holm", ".2g")),
    Column("verdict", "does the attack beat the best control", word("verdict")),
)
PAIRS = (
    Column("classifier", "who is scored", word("classifier")),
    Column("a", "an attack", word("a")),
    Column("b", "another", word("b")),
    Column("n", "images scored under both", number("n", "d")),
    Column("flip rate a", "", number("rate_a", ".0%")),
    Column("flip rate b", "", number("rate_b", ".0%")),
    Column("difference", "a - b, 95 % interval", interval("difference")),
    Column("p, adjusted", "exact McNemar test, Holm over the table", number("p_holm", ".2g")),
)
AREAS = (
    Column("attack", "ATTACK/STYLE/SOURCE", word("label")),
    Column("kind", "style, baseline or control", word("kind")),
    Column("classifier", "who is scored", word("classifier")),
    Column("distance", "what is bounded", word("budget_distance")),
    Column("up to", "the largest budget", number("largest_budget", "g")),
    Column("n", "images scored at every budget", number("n", "d")),
    Column("flips", "mean flip rate over distances", interval("flip_area", ".2f")),
    Column("successes", "mean success rate over distances", interval("success_area", ".2f")),
    Column("confidence shift", "mean shift over distances", interval("confidence_shift_area")),
    Column("half flip at", "where half the images flip; empty: never", number("half_flip_budget", ".3g")),
)
CHECKS = tuple(
    Column(name, title, word(name))
    for name, title in (
        ("check", "what is checked"),
        ("classifier", "of whom"),
        ("status", "pass, fail or not run"),
        ("figures", "the numbers"),
        ("meaning", "what it shows"),
    )
)


def cells(table: pd.DataFrame, columns: tuple[Column, ...]) -> list[list[Cell]]:
    """Return the cells of a table, row by row."""
    return [[column.cell(row) for column in columns] for row in table.to_dict("records")]


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Return a summary, or areas, with the name of each row's attack in the column `label`."""
    labels = variant_labels if "matched_to" in table else attack_labels
    return table.assign(label=labels(table))


def summary_table(run: RunFolder) -> pd.DataFrame:
    """Return the summary as people read it: text, with the columns of the report's first table."""
    rows = cells(labelled(run.summary), SUMMARY)
    return pd.DataFrame([[cell.text for cell in row] for row in rows], columns=[column.name for column in SUMMARY])


def markdown(run: RunFolder) -> str:
    """Return the summary as a Markdown table."""
    return str(summary_table(run).map(lambda text: text.replace("|", "\\|")).to_markdown(index=False)) + "\n"


_PAPER = ["attack", "classifier", "clean error", "flips", "success", "confidence shift", "L2", "SSIM"]


def latex(run: RunFolder) -> str:
    """Return the summary as a LaTeX table with booktabs rules, ready for a paper."""
    table = summary_table(run)[_PAPER]
    style = table.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    name = run.info["config"].get("benchmark", {}).get("name", "run")
    caption = (
        "Flips (top-1 class changed) and successes (correct before, wrong after) of each attack and classifier; "
        "brackets are 95\\,\\% intervals, in percent for rates."
    )
    text = style.to_latex(
        hrules=True, column_format="ll" + "r" * (len(_PAPER) - 2), caption=caption, label=f"tab:{name}", position="t"
    )
    return "% \\usepackage{booktabs}\n" + str(text)


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
        raise unknown("format", form, FORMATS)
    return FORMATS[form](run)
