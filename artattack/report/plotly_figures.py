"""Figures for the page as Plotly's JSON: points, lines and names, with text and numbers as the only values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle
from typing import Any

from artattack.report.figures import COLOURS, GREY, Curves, Dots, Panel

# One more than colours, so that 42 curves differ.
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down")
_AXIS = {"gridcolor": "rgba(128,128,128,0.22)", "zerolinecolor": "rgba(128,128,128,0.22)", "automargin": True}
_LAYOUT = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "hovermode": "closest",
    "font": {"family": "system-ui, sans-serif", "size": 12},
}
_LINE = 30  # px, height of a line of dots
_ENTRY = 19  # px, height of a legend's entry
_PLOT = 290  # px, height of a panel without axes and legend


def dots(figure: Dots) -> str:
    """Return a dot plot, safe inside a script element."""
    count = len(figure.series)
    traces = []
    for n, ((name, points), colour, symbol) in enumerate(
        zip(figure.series.items(), cycle(COLOURS), cycle(_SYMBOLS), strict=False)
    ):
        shift = 0.22 * (n - (count - 1) / 2)
        known = [(line, row, point) for line, (row, point) in enumerate(zip(figure.rows, points, strict=True)) if point]
        if not known:
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": escaped(name),
                "x": [point.value for _, _, point in known],
                "y": [line + shift for line, _, _ in known],
                "text": [escaped(row) for _, (row, _), _ in known],
                "customdata": [point[1:] for _, _, point in known],
                "hovertemplate": "%{text}<br>%{x:.0%} [%{customdata[0]:.0%}, %{customdata[1]:.0%}]",
                # Controls are hollow.
                "marker": {
                    "size": 9,
                    "color": colour,
                    "symbol": [symbol + "-open" * control for _, (_, control), _ in known],
                    "line": {"width": 1.6, "color": colour},
                },
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [point.high - point.value for _, _, point in known],
                    "arrayminus": [point.value - point.low for _, _, point in known],
                    "color": colour,
                    "thickness": 1.3,
                    "width": 0,
                },
            }
        )
    lines = len(figure.rows)
    layout = _LAYOUT | {
        "height": 110 + _LINE * lines,
        "margin": {"l": 60, "r": 16, "t": 50, "b": 60},
        "xaxis": _AXIS
        | {
            "range": [-0.02, 1.02],
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
            "tickformat": ".0%",
            "title": {"text": "flip rate", "standoff": 8},
        },
        # Each line has a whole number, and `shift` separates the classifiers within it.
        "yaxis": _AXIS
        | {
            "tickvals": list(range(lines)),
            "ticktext": [escaped(name) if not control else f"<i>{escaped(name)}</i>" for name, control in figure.rows],
            "range": [lines - 0.4, -0.6],
            "zeroline": False,
        },
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
    }
    return _for_script({"data": traces, "layout": layout})


def panel(figure: Curves, shown: Panel) -> str:
    """Return one panel of curves, safe inside a script element; all panels of a figure share the vertical scale."""
    traces = [*_beside(shown), *_lines(shown)]
    below = 64 + _ENTRY * (len(shown.curves) + bool(shown.beside))
    up: dict[str, Any] = _AXIS | {"title": {"text": figure.up}}
    if figure.share:
        up |= {"range": [-0.02, 1.02], "tickformat": ".0%"}
    else:
        points = [point for each in figure.panels for curve in each.curves.values() for point in curve.values()]
        ends = [end for point in points for end in point if end == end]
        up |= {"range": [min(ends) - 0.03, max(ends) + 0.03], "tickformat": "+.1f"}
    layout = _LAYOUT | {
        "height": _PLOT + 16 + below,
        "margin": {"l": 50, "r": 8, "t": 8, "b": below},
        "xaxis": _AXIS
        | {
            "title": {"text": figure.across, "standoff": 8},
            "autorange": "reversed" if figure.falls else True,
            "zeroline": False,
        },
        "yaxis": up,
        "legend": {"y": -56 / _PLOT, "yanchor": "top", "x": 0, "xanchor": "left", "tracegroupgap": 0},
    }
    return _for_script({"data": traces, "layout": layout})


def _beside(shown: Panel) -> Iterator[dict[str, Any]]:
    if shown.beside:
        yield {
            "type": "scatter",
            "mode": "lines",
            "name": "strongest control at each budget",
            "x": list(shown.beside),
            "y": list(shown.beside.values()),
            "hovertemplate": "strongest control: %{y:.2f} at %{x}<extra></extra>",
            "line": {"color": GREY, "dash": "dot", "width": 2},
        }


def _lines(shown: Panel) -> Iterator[dict[str, Any]]:
    for (name, curve), colour, symbol in zip(shown.curves.items(), cycle(COLOURS), cycle(_SYMBOLS), strict=False):
        known = {x: point for x, point in curve.items() if point.low == point.low}
        yield {
            "type": "scatter",
            "mode": "lines",
            "x": [*known, *reversed(known)],
            "y": [*(point.high for point in known.values()), *(point.low for point in reversed(known.values()))],
            "fill": "toself",
            "fillcolor": colour,
            "opacity": 0.1,
            "line": {"width": 0},
            "hoverinfo": "skip",
            "showlegend": False,
            "legendgroup": escaped(name),
        }
        yield {
            "type": "scatter",
            "mode": "lines+markers",
            "name": escaped(name),
            "legendgroup": escaped(name),
            "x": list(curve),
            "y": [point.value for point in curve.values()],
            "customdata": [point[1:] for point in curve.values()],
            "hovertemplate": "%{y:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}] at %{x}",
            "line": {"color": colour, "width": 2},
            "marker": {"symbol": symbol, "size": 7},
        }


def escaped(name: str) -> str:
    """Return a name escaped for Plotly, which interprets some HTML elements."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _for_script(data: Any) -> str:
    """Return JSON without characters that could end a script element, and without NaN, which JSON lacks."""
    text = json.dumps(_finite(data), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and data != data else data
