"""Figures of studies, drawn with Matplotlib: curves and dots of a table, and sheets of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd

from artattack.report.figures import COLOURS, GREY
from artattack.report.matplotlib_figures import MARKERS

__all__ = ["COLOURS", "GREY", "as_percent", "draw_dots", "draw_lines", "draw_sheet", "fill_row", "use_log_axis"]

_PICTURE = 1.6  # inches, the side of a picture on a sheet
_CAPTION = 8  # points, font size of captions
_LETTERS = 26  # letters that fit over a picture
_ACROSS = 2  # panels of curves per row
_DODGE = 1.3  # offset factor between curves on a log axis, so that none hides another
_STROKES = ("-", "--", "-.", ":")


def draw_lines(
    drawing: Any, table: pd.DataFrame, lines: tuple[str, ...], across: str, panels: Mapping[str, str], label: str
) -> list[Any]:
    """Draw columns of a table against another on a log axis, one panel per column, two panels per row.

    Args:
        drawing: an empty Matplotlib figure, or a subfigure, of the final size.
        table: the result of `sum_up`; rates have their intervals as bars.
        lines: columns whose combinations of values each make a curve.
        across: column of the x axis.
        panels: from each column to its title.
        label: label of the x axis.

    Returns:
        The panels' axes.
    """
    places = drawing.subplots(-(-len(panels) // _ACROSS), _ACROSS, squeeze=False, sharex=True).ravel()
    for axes, (column, title) in zip(places, panels.items(), strict=False):
        groups = list(table.groupby(list(lines), sort=False))
        for place, ((name, rows), colour, marker, stroke) in enumerate(
            zip(groups, cycle(COLOURS), cycle(MARKERS), cycle(_STROKES), strict=False)
        ):
            beside = rows[across] * _DODGE ** (place - (len(groups) - 1) / 2)
            bars = None
            if f"{column}_low" in rows:
                values = rows[column]
                bars = [values - rows[f"{column}_low"], rows[f"{column}_high"] - values]
            axes.errorbar(
                beside,
                rows[column],
                yerr=bars,
                color=colour,
                marker=marker,
                markersize=4,
                linestyle=stroke,
                linewidth=1.2,
                elinewidth=0.6,
                label=", ".join(map(str, name)),
            )
        if f"{column}_low" in table:
            axes.set_ylim(-0.04, 1.04)
            as_percent(axes.yaxis)
        use_log_axis(axes.xaxis)
        axes.set_title(title, fontsize=9, loc="left")
        axes.grid(alpha=0.25)
    for axes in places[-_ACROSS:]:
        axes.set_xlabel(label)
    handles, labels = places[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return list(places)


def as_percent(axis: Any) -> None:
    """Write the numbers of an axis from 0 to 1 as percent."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def use_log_axis(axis: Any) -> None:
    """Make an axis logarithmic after drawing, with plain numbers at decades or, if there are few, between them."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.axes.autoscale_view()
    low, high = axis.get_view_interval()
    few = high < 200 * low
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=12 if few else 5))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def draw_dots(
    drawing: Any, names: Sequence[str], table: pd.DataFrame, panels: Mapping[str, str], series: str = "source"
) -> list[Any]:
    """Draw columns of a table as dots, a panel for each; rates with their intervals.

    Args:
        drawing: an empty Matplotlib figure.
        names: names of the rows; rows of equal names share a line, one below the other.
        table: the result of `sum_up`.
        panels: from each column to its title.
        series: column whose values are told apart by colour.

    Returns:
        The panels' axes.
    """
    lines = list(dict.fromkeys(names))
    table = table.reset_index(drop=True)
    groups = list(table.groupby(series, sort=False))
    shared = len(lines) < len(names)
    drawing.set_size_inches(2.0 + 1.7 * len(panels), 1.0 + (0.14 * len(groups) + 0.16 if shared else 0.26) * len(lines))
    heights = np.array([lines.index(name) for name in names], float)
    axes_of = drawing.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (column, title) in zip(axes_of, panels.items(), strict=True):
        for place, ((name, rows), colour, marker) in enumerate(
            zip(groups, cycle(COLOURS), cycle(MARKERS), strict=False)
        ):
            values = rows[column].to_numpy(float)
            bars = None
            if f"{column}_low" in rows:
                bars = [values - rows[f"{column}_low"], rows[f"{column}_high"] - values]
            under = 0.7 / len(groups) * (place - (len(groups) - 1) / 2) if shared else 0.0
            axes.errorbar(
                values,
                heights[rows.index] + under,
                xerr=bars,
                fmt=marker,
                color=colour,
                markersize=4.5,
                linewidth=1,
                label=str(name),
            )
        if f"{column}_low" in table:
            axes.set_xlim(-0.06, 1.06)
            axes.set_xticks([0, 0.5, 1])
            as_percent(axes.xaxis)
        axes.set_title(title, fontsize=9, loc="left")
        axes.grid(alpha=0.25)
    axes_of[0].set_yticks(range(len(lines)), lines)
    axes_of[0].set_ylim(len(lines) - 0.5, -0.5)
    if shared:
        handles, labels = axes_of[-1].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return list(axes_of)


def draw_sheet(
    drawing: Any, pictures: Sequence[Sequence[np.ndarray | None]], captions: Sequence[Sequence[str]], words: int = 1
) -> None:
    """Draw a sheet of pictures with a caption over each.

    Args:
        drawing: an empty Matplotlib figure.
        pictures: rows of images, uint8 (H, W, 3) each, or None for an empty cell.
        captions: a caption for each; lines that are wider than their picture are cut.
        words: number of lines of a caption.
    """
    across = max(map(len, pictures))
    drawing.set_size_inches(_PICTURE * across, (_PICTURE + 0.13 + 0.16 * words) * len(pictures))
    places = drawing.subplots(len(pictures), across, squeeze=False)
    for row, line, texts in zip(places, pictures, captions, strict=True):
        fill_row(row, line, texts)


def fill_row(places: Sequence[Any], pictures: Sequence[np.ndarray | None], captions: Sequence[str]) -> None:
    """Draw pictures into axes side by side, each under its caption."""
    for axes in places:
        axes.set_axis_off()
    for axes, picture, text in zip(places, pictures, captions, strict=False):
        lines = [shorten(line, _LETTERS, placeholder="…") for line in text.split("\n")]
        axes.set_title("\n".join(lines), fontsize=_CAPTION, loc="left")
        if picture is not None:
            axes.imshow(picture, interpolation="lanczos")
