"""Figures for papers: PNG and SVG, drawn by Matplotlib from the numbers of the page's figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import Any

from artattack.errors import ArtattackError
from artattack.files import writing
from artattack.report.figures import COLOURS, GREY, Curves, Dots, Panel, curves, flip_rates, marked
from artattack.report.page_tables import RELATED
from artattack.report.transfer import OWN, Matrix, matrices
from artattack.results.records import untrained
from artattack.results.run_folder import RunFolder
from artattack.runtime import silence_libraries

_STYLE = {
    "font.size": 9,
    "svg.hashsalt": "artattack",  # the same run gives the same file
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # names may contain a dollar sign
}
MARKERS = "osD^PXv"  # one more than colours, so that 42 curves differ
_DPI = 200


def save_figures(run: RunFolder, folder: Path) -> list[Path]:
    """Write all figures of a run as PNG and SVG; return the files.

    Raises:
        ArtattackError: Matplotlib is not installed, or the folder cannot be written.
    """
    check_matplotlib()
    drawn: dict[str, Callable[[Any], None]] = {}
    drawn |= {rates.id: partial(_dots, rates) for rates in flip_rates(run)}
    loud = untrained(run.summary)
    for matrix in matrices(run):
        if matrix.place == OWN:
            name = f"{matrix.relation}-{matrix.rate.replace(' ', '-')}"
            drawn[name] = partial(_transfer, matrix, loud)
    drawn |= {figure.id: partial(_curves, figure) for figure in curves(run)}
    return [path for name, draw in drawn.items() for path in save_drawing(draw, folder / name)]


def check_matplotlib() -> None:
    """Raise ArtattackError unless Matplotlib is installed."""
    if find_spec("matplotlib") is None:
        raise ArtattackError("figures need Matplotlib: pip install 'artattack[figures]'")


def save_drawing(draw: Callable[[Any], None], path: Path) -> list[Path]:
    """Write a figure as PNG and SVG; return the files.

    Args:
        draw: function that draws into an empty Matplotlib figure.
        path: path of the files without suffix.

    Raises:
        ArtattackError: the folder cannot be written.
    """
    silence_libraries()  # Matplotlib warns of a home folder that is not writable
    import matplotlib as mpl
    from matplotlib.figure import Figure as Drawing

    files = [path.with_name(f"{path.name}.{suffix}") for suffix in ("png", "svg")]
    with mpl.rc_context(_STYLE):
        drawing = Drawing(layout="constrained")
        draw(drawing)
        for file, metadata in zip(files, (None, {"Date": None}), strict=True):
            with writing(file) as content:
                drawing.savefig(content, format=file.suffix[1:], dpi=_DPI, metadata=metadata)
    return files


def _dots(figure: Dots, drawing: Any) -> None:
    drawing.set_size_inches(7, 1.2 + 0.26 * len(figure.rows))
    axes = drawing.subplots()
    axes.set_xlabel("flip rate")
    axes.grid(alpha=0.25)
    axes.set_yticks(range(len(figure.rows)), [name for name, _ in figure.rows])
    for label, (_, control) in zip(axes.get_yticklabels(), figure.rows, strict=True):
        label.set_style("italic" if control else "normal")
    axes.set_ylim(len(figure.rows) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    for n, ((name, points), colour, marker) in enumerate(
        zip(figure.series.items(), cycle(COLOURS), cycle(MARKERS), strict=False)
    ):
        if not any(points):
            continue
        shift = 0.22 * (n - (len(figure.series) - 1) / 2)
        for control in (False, True):  # controls have hollow markers
            known = [
                (line + shift, point)
                for line, ((_, is_control), point) in enumerate(zip(figure.rows, points, strict=True))
                if point and is_control == control
            ]
            axes.errorbar(
                [point.value for _, point in known],
                [y for y, _ in known],
                xerr=[
                    [point.value - point.low for _, point in known],
                    [point.high - point.value for _, point in known],
                ],
                fmt=marker,
                color=colour,
                markerfacecolor="white" if control else colour,
                markersize=5,
                linewidth=1,
                label=None if control else name,
            )
    drawing.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)


def _curves(figure: Curves, drawing: Any) -> None:
    drawing.set_size_inches(3.1 * len(figure.panels), 3.4 + 0.16 * max(len(panel.curves) for panel in figure.panels))
    for axes, panel in zip(
        drawing.subplots(1, len(figure.panels), sharey=True, squeeze=False)[0], figure.panels, strict=True
    ):
        _panel(figure, panel, axes)
    drawing.axes[0].set_ylabel(figure.up)


def _panel(figure: Curves, panel: Panel, axes: Any) -> None:
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.set_xlabel(figure.across)
    axes.grid(alpha=0.25)
    if panel.beside:
        axes.plot([*panel.beside], [*panel.beside.values()], ":", color=GREY, label="strongest control at each budget")
    for (name, curve), colour, marker in zip(panel.curves.items(), cycle(COLOURS), cycle(MARKERS), strict=False):
        values, low, high = zip(*curve.values(), strict=True)
        axes.fill_between([*curve], low, high, color=colour, alpha=0.1, linewidth=0)
        axes.plot([*curve], values, color=colour, marker=marker, markersize=4, label=name)
    if figure.falls:
        axes.invert_xaxis()
    if figure.share:
        axes.set_ylim(-0.02, 1.02)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), frameon=False, fontsize=7, borderaxespad=0)


def _transfer(matrix: Matrix, loud: set[str], drawing: Any) -> None:
    """Draw a transfer matrix as a heat map."""
    drawing.set_size_inches(3.2 + 1.3 * len(matrix.classifiers), 1.2 + 0.32 * len(matrix.lines))
    axes = drawing.subplots()
    values = [[float(cell.sort) if cell.text else math.nan for cell in line.squares] for line in matrix.lines]
    shown = axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(matrix.classifiers)), [marked(name, loud) for name in matrix.classifiers])
    axes.set_yticks(range(len(matrix.lines)), [marked(line.label, loud) for line in matrix.lines])
    axes.set_xlabel(RELATED[matrix.relation])
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            if value == value:
                axes.text(j, i, f"{value:.0%}", ha="center", va="center", color="white" if value > 0.6 else "black")
    drawing.colorbar(shown, label=matrix.rate)
