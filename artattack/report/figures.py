"""Figures of a run: interactive ones for the page, PNG and SVG for papers, from the same numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from artattack.comparison import transfer_matrix
from artattack.errors import ArtattackError
from artattack.records import attack_labels
from artattack.report.tables import labelled
from artattack.results import RunFolder

# Okabe & Ito's palette, which people with any colour vision can tell apart; the first seven read on white and black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A")
_MEASURES = {
    "flip_rate": "flip rate",
    "success_rate": "success rate",
    "mean_confidence_shift": "mean confidence shift",
}
_UNITS = {"l2": "L2, image units", "linf": "Linf, image units", "ssim": "SSIM", "delta_e": "CIEDE2000"}


class Series(NamedTuple):
    """Points with their intervals, of one classifier or one attack."""

    name: str
    control: bool
    x: list[Any]
    y: list[float]
    low: list[float]
    high: list[float]


class Figure(NamedTuple):
    """What a figure shows, before any library draws it.

    Attributes:
        id: names its file and its element.
        title: what it is about.
        across, up: what its axes say.
        series: what is drawn; where `categories` is set, `x` are rates and `y` is left to the categories.
        categories: names along the vertical axis of a dot plot, or None for curves.
        falls: whether distance grows as the horizontal axis falls, as for a similarity.
    """

    id: str
    title: str
    across: str
    up: str
    series: list[Series]
    categories: list[str] | None = None
    falls: bool = False


def flip_rates(run: RunFolder) -> Figure:
    """Return the flip rate of each attack and control at its own distance, by classifier."""
    summary = labelled(run.summary)
    rows = summary[summary["budget"].isna() & (summary["kind"] != "clean") & summary["flip_rate"].notna()]
    series = [
        Series(
            str(name),
            False,
            group["label"].tolist(),
            group["flip_rate"].tolist(),
            group["flip_rate_low"].tolist(),
            group["flip_rate_high"].tolist(),
        )
        for name, group in rows.groupby("classifier", sort=False)
    ]
    categories = list(dict.fromkeys(rows["label"]))
    return Figure("flip-rates", "Flip rate of each attack and control", "flip rate", "", series, categories)


def curves(run: RunFolder) -> Iterator[Figure]:
    """Yield a figure for each distance, classifier and measure: what budgets give."""
    table = run.curves.assign(label=attack_labels(run.curves))
    for (distance, classifier), rows in table.groupby(["budget_distance", "classifier"], sort=False):
        for measure, name in _MEASURES.items():
            known = rows[rows[measure].notna()]
            untouched = 1.0 if distance == "ssim" else 0.0
            series = [
                Series(
                    str(label),
                    bool((group["kind"] == "control").all()),
                    [untouched, *group["budget"]],
                    [0.0, *group[measure]],
                    [0.0, *group[f"{measure}_low"]],
                    [0.0, *group[f"{measure}_high"]],
                )
                for label, group in known.sort_values("budget", ascending=distance != "ssim", kind="stable").groupby(
                    "label", sort=False
                )
            ]
            if series:
                yield Figure(
                    f"{measure.replace('_', '-')}-{distance}-{classifier}",
                    f"{name[0].upper()}{name[1:]} of {classifier} against {distance}",
                    _UNITS.get(str(distance), str(distance)),
                    name,
                    series,
                    falls=distance == "ssim",
                )


# ---- interactive, for the page


def to_plotly(figure: Figure) -> str:
    """Return a figure as JSON for Plotly, safe inside a script element."""
    traces = _dots(figure) if figure.categories is not None else list(_lines(figure))
    axis = {"gridcolor": "rgba(128,128,128,0.25)", "zerolinecolor": "rgba(128,128,128,0.5)", "automargin": True}
    across = axis | {"title": {"text": figure.across}}
    up: dict[str, Any] = axis | {"title": {"text": figure.up}}
    height = 560
    if figure.categories is not None:
        across |= {"range": [-0.02, 1.02], "tickformat": ".0%"}
        # A place for each attack, and within it one for each classifier.
        up |= {
            "tickvals": list(range(len(figure.categories))),
            "ticktext": [_plain(name) for name in figure.categories],
            "range": [len(figure.categories) - 0.4, -0.6],
        }
        height = 150 + 34 * len(figure.categories)
    elif figure.up != "mean confidence shift":
        up |= {"range": [-0.02, 1.02], "tickformat": ".0%"}
    if figure.falls:
        across["autorange"] = "reversed"
    layout = {
        "height": height,
        "margin": {"l": 60, "r": 16, "t": 16, "b": 56},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": across,
        "yaxis": up,
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "hovermode": "closest",
        "font": {"family": "system-ui, sans-serif", "size": 12},
    }
    return _for_script({"data": traces, "layout": layout})


def _dots(figure: Figure) -> list[dict[str, Any]]:
    assert figure.categories is not None
    place = {name: n for n, name in enumerate(figure.categories)}
    count = len(figure.series)
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": _plain(series.name),
            "x": series.y,
            "y": [place[name] + 0.18 * (n - (count - 1) / 2) for name in series.x],
            "text": [_plain(name) for name in series.x],
            "customdata": list(zip(series.low, series.high, strict=True)),
            "hovertemplate": "%{text}<br>%{x:.0%} [%{customdata[0]:.0%}, %{customdata[1]:.0%}]",
            "marker": {"size": 9, "color": colour, "symbol": symbol},
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [high - y for high, y in zip(series.high, series.y, strict=True)],
                "arrayminus": [y - low for low, y in zip(series.low, series.y, strict=True)],
                "color": colour,
                "thickness": 1.2,
                "width": 0,
            },
        }
        for n, (series, colour, symbol) in enumerate(zip(figure.series, cycle(COLOURS), cycle(_SYMBOLS), strict=False))
    ]


_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")


def _lines(figure: Figure) -> Iterator[dict[str, Any]]:
    for series, colour, symbol in zip(figure.series, cycle(COLOURS), cycle(_SYMBOLS), strict=False):
        name = _plain(series.name)
        if not series.control:  # bands of them all would hide each other
            yield {
                "type": "scatter",
                "mode": "lines",
                "x": [*series.x, *reversed(series.x)],
                "y": [*series.high, *reversed(series.low)],
                "fill": "toself",
                "fillcolor": colour,
                "opacity": 0.08,
                "line": {"width": 0},
                "hoverinfo": "skip",
                "showlegend": False,
                "legendgroup": name,
            }
        yield {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "legendgroup": name,
            "x": series.x,
            "y": series.y,
            "customdata": list(zip(series.low, series.high, strict=True)),
            "hovertemplate": "%{y:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}] at %{x}",
            "line": {"color": colour, "dash": "dot" if series.control else "solid", "width": 2},
            "marker": {"symbol": symbol, "size": 7},
        }


def _plain(name: str) -> str:
    """Return a name that Plotly shows as it is: it takes some elements of HTML for its own."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _for_script(data: Any) -> str:
    """Return JSON without what could end a script element; JSON has no NaN."""
    text = json.dumps(data, allow_nan=True).replace("NaN", "null")
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# ---- still, for papers


_STYLE = {"font.size": 9, "svg.hashsalt": "artattack", "axes.spines.top": False, "axes.spines.right": False}


def save_figures(run: RunFolder, folder: Path) -> list[Path]:
    """Write all figures of a run as PNG and SVG; return the files.

    Raises:
        ArtattackError: Matplotlib is not installed, or the folder cannot be written.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure as Drawing
    except ModuleNotFoundError as error:
        raise ArtattackError("figures need Matplotlib: pip install 'artattack[figures]'") from error
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with mpl.rc_context(_STYLE):
            drawings = {figure.id: partial(_draw, figure) for figure in (flip_rates(run), *curves(run))}
            for name, draw in (drawings | {"transfer": partial(_draw_transfer, run)}).items():
                drawing = Drawing(layout="constrained")
                draw(drawing)
                for suffix in ("png", "svg"):
                    path = folder / f"{name}.{suffix}"
                    drawing.savefig(path, dpi=200, metadata={"Date": None} if suffix == "svg" else None)
                    written.append(path)
    except OSError as error:
        raise ArtattackError(f"{folder}: cannot be written: {error.strerror}") from error
    return written


def _draw(figure: Figure, drawing: Any) -> None:
    axes = drawing.subplots()
    axes.set_xlabel(figure.across)
    axes.set_ylabel(figure.up)
    axes.grid(alpha=0.25)
    markers = cycle("osD^PX")
    if figure.categories is not None:
        drawing.set_size_inches(7, 1.2 + 0.32 * len(figure.categories))
        place = {name: n for n, name in enumerate(figure.categories)}
        axes.set_yticks(range(len(place)), figure.categories)
        axes.set_ylim(len(place) - 0.4, -0.6)
        axes.set_xlim(-0.02, 1.02)
        for n, (series, colour, marker) in enumerate(zip(figure.series, cycle(COLOURS), markers, strict=False)):
            y = [place[name] + 0.18 * (n - (len(figure.series) - 1) / 2) for name in series.x]
            axes.errorbar(
                series.y,
                y,
                xerr=_errors(series),
                fmt=marker,
                color=colour,
                markersize=5,
                linewidth=1,
                label=series.name,
            )
    else:
        drawing.set_size_inches(6, 4)
        for series, colour, marker in zip(figure.series, cycle(COLOURS), markers, strict=False):
            style = ":" if series.control else "-"
            axes.plot(series.x, series.y, style, color=colour, marker=marker, markersize=4, label=series.name)
            if not series.control:
                axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.1, linewidth=0)
        if figure.falls:
            axes.invert_xaxis()
        if figure.up != "mean confidence shift":
            axes.set_ylim(-0.02, 1.02)
    drawing.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)


def _draw_transfer(run: RunFolder, drawing: Any) -> None:
    """Draw the transfer matrix of flip rates as a heat map."""
    table = transfer_matrix(run.summary)
    drawing.set_size_inches(1.5 + 1.6 * len(table.columns), 1.2 + 0.32 * len(table))
    axes = drawing.subplots()
    shown = axes.imshow(table.to_numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(table.columns)), table.columns)
    axes.set_yticks(range(len(table)), ["/".join(part for part in key if part) for key in table.index])
    axes.set_xlabel("classifier")
    for i, row in enumerate(table.to_numpy()):
        for j, value in enumerate(row):
            if value == value:
                axes.text(j, i, f"{value:.0%}", ha="center", va="center", color="white" if value > 0.6 else "black")
    drawing.colorbar(shown, label="flip rate")


def _errors(series: Series) -> tuple[list[float], list[float]]:
    bounds = list(zip(series.y, series.low, series.high, strict=True))
    return [max(y - low, 0.0) for y, low, _ in bounds], [max(high - y, 0.0) for y, _, high in bounds]
