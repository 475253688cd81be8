"""All that is printed as tables in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from artattack.results.columns import SUMMARY
from artattack.results.records import CONTROL, RANDOM, variant_labels

_WIDE = 120  # columns of a terminal that hold a summary with all its columns


def print_summary(summary: pd.DataFrame, console: Console) -> None:
    """Print a summary as a table, the classifiers under each attack; untrained networks say RANDOM WEIGHTS.

    Rates stand with their intervals: `62% [31, 86]`. Where rounding to 8 bits undid flips, the column `lost` says how
    many.

    Args:
        summary: as `summarise` returns it.
        console: where to; one of less than 120 columns is not told distances and seconds.
    """
    lost = summary["lost_to_rounding"].sum()
    columns: dict[str, Callable[[Mapping[Any, Any]], str]] = {
        "n": lambda row: str(row["n"]),
        **({"errors": lambda row: str(row["errors"])} if (summary["errors"] > 0).any() else {}),
        "clean": lambda row: _interval(row, "clean_accuracy"),
        "flips": lambda row: _interval(row, "flip_rate"),
        **({"lost": lambda row: _number(row["lost_to_rounding"], "d")} if lost else {}),
        "success": lambda row: _interval(row, "success_rate"),
        "shift": lambda row: _number(row["mean_confidence_shift"], "+.2f"),
    }
    if console.width >= _WIDE:
        columns |= {
            "L2": lambda row: _number(row["mean_l2"], ".2f"),
            "SSIM": lambda row: _number(row["mean_ssim"], ".2f"),
            "s/img": lambda row: _number(row["seconds_per_image"], ".2f"),
        }
    texts = {column.name: "" for column in SUMMARY if column.dtype == "string"}
    rows = summary.fillna(texts).to_dict("records")
    cells = [[f"  {row['classifier']}", *(cell(row) for cell in columns.values())] for row in rows]
    header = ["attack, classifier", *columns]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    widths[0] += 1 + max((len(RANDOM) for row in rows if row["classifier_weights"] == "random"), default=-1)
    console.print(_line(header, widths, "bold"), no_wrap=True, overflow="ellipsis")
    above = ""
    for label, row, line in zip(variant_labels(summary), rows, cells, strict=True):
        if (attack := label or "(images not read)") != above:
            untrained = row["kind"] != CONTROL and row["source_weights"] == "random"
            console.print(Text(attack + f" {RANDOM}" * untrained, style="bold red" if untrained else "bold"))
        above = attack
        untrained = row["classifier_weights"] == "random"
        line[0] += f" {RANDOM}" * untrained
        console.print(_line(line, widths, "bold red" if untrained else ""), no_wrap=True, overflow="ellipsis")
    if lost:
        console.print("lost: flips of the image as the attack made it that rounding to 8 bits undid")
    attacks = summary[(summary["kind"] != CONTROL).fillna(True)]  # one of the controls is untrained on purpose
    if (attacks[["source_weights", "classifier_weights"]] == "random").any(axis=None):
        console.print(Text(f"{RANDOM}: networks never trained; their numbers say nothing.", style="bold red"))


def _line(cells: Sequence[str], widths: Sequence[int], style: str) -> Text:
    """Lay out a line: the first cell from the left, the others from the right."""
    first, *others = zip(cells, widths, strict=True)
    return Text("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]), style=style)


def _number(value: float, form: str) -> str:
    return "" if pd.isna(value) else format(value, form)


def _interval(row: Mapping[Any, Any], rate: str) -> str:
    if pd.isna(row[rate]):
        return ""
    return f"{row[rate]:.0%} [{100 * row[f'{rate}_low']:.0f}, {100 * row[f'{rate}_high']:.0f}]"
