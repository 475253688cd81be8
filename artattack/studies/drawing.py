"""The figures of studies: curves and dots of a table, and sheets of pictures, by Matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd

from artattack.report.figures import COLOURS
from artattack.report.matplotlib_figures import MARKERS

_PICTURE = 1.35  # inches, the side of a picture on a sheet


def draw_lines(
    drawing: Any, table: pd.DataFrame, lines: tuple[str, ...], across: str, panels: Mapping[str, str], label: str
) -> None:
    """Draw columns of a table against another on a log axis, a panel for each.

    Args:
        drawing: an empty Matplotlib figure.
        table: as `sum_up` returns it; of a rate, its interval is a band.
        lines: columns, of which each combination of values is a line.
        across: the column along the axis.
        panels: columns, and what each is called.
        label: what `across` is called.
    """
    drawing.set_size_inches(2.6 * len(panels), 3.0)
    for axes, (column, title) in zip(drawing.subplots(1, len(panels)), panels.items(), strict=True):
        for (name, rows), colour, marker in zip(
            table.groupby(list(lines), sort=False), cycle(COLOURS), cycle(MARKERS), strict=False
        ):
            own = ", ".join(map(str, name))
            axes.plot(rows[across], rows[column], color=colour, marker=marker, markersize=4, label=own)
            if f"{column}_low" in rows:
                axes.fill_between(
                    rows[across], rows[f"{column}_low"], rows[f"{column}_high"], color=colour, alpha=0.06, linewidth=0
                )
                axes.set_ylim(-0.02, 1.02)
        use_log_axis(axes.xaxis)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel(label)
        axes.grid(alpha=0.25)
    handles, labels = drawing.axes[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)


def use_log_axis(axis: Any) -> None:
    """Make an axis logarithmic once all is drawn, with plain numbers at decades or, if there are few, between them."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.axes.autoscale_view()
    low, high = axis.get_view_interval()
    few = high < 200 * low
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=12 if few else 5))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def draw_dots(drawing: Any, names: Sequence[str], table: pd.DataFrame, panels: Mapping[str, str]) -> None:
    """Draw columns of a table as dots, a panel for each and a line for each row; rates with their intervals.

    Args:
        drawing: an empty Matplotlib figure.
        names: of the rows.
        table: as `sum_up` returns it.
        panels: columns, and what each is called.
    """
    drawing.set_size_inches(2.0 + 1.7 * len(panels), 1.0 + 0.26 * len(names))
    lines = np.arange(len(names))
    for axes, (column, title) in zip(
        drawing.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items(), strict=True
    ):
        for (_, rows), colour, marker in zip(
            table.reset_index(drop=True).groupby("source", sort=False), cycle(COLOURS), cycle(MARKERS), strict=False
        ):
            values = rows[column].to_numpy(float)
            bars = None
            if f"{column}_low" in rows:
                bars = [values - rows[f"{column}_low"], rows[f"{column}_high"] - values]
                axes.set_xlim(-0.04, 1.04)
            axes.errorbar(values, lines[rows.index], xerr=bars, fmt=marker, color=colour, markersize=5, linewidth=1)
        axes.set_title(title, fontsize=9, loc="left")
        axes.grid(alpha=0.25)
    drawing.axes[0].set_yticks(lines, names)
    drawing.axes[0].set_ylim(len(names) - 0.5, -0.5)


def draw_sheet(
    drawing: Any, pictures: Sequence[Sequence[np.ndarray | None]], captions: Sequence[Sequence[str]], words: int = 1
) -> None:
    """Draw a sheet of pictures with a caption over each.

    Args:
        drawing: an empty Matplotlib figure.
        pictures: rows of images, uint8 (H, W, 3) each, or None for an empty place.
        captions: a text for each.
        words: lines that a caption has.
    """
    across = max(map(len, pictures))
    drawing.set_size_inches(_PICTURE * across, (_PICTURE + 0.13 + 0.13 * words) * len(pictures))
    places = drawing.subplots(len(pictures), across, squeeze=False)
    for axes in places.flat:
        axes.set_axis_off()
    for row, line, texts in zip(places, pictures, captions, strict=True):
        for axes, picture, text in zip(row, line, texts, strict=False):
            axes.set_title(text, fontsize=6.5, loc="left")  # a long one may reach over the next, not out of the page
            if picture is not None:
                axes.imshow(picture, interpolation="lanczos")
