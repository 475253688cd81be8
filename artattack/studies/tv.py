"""Total variation: a little of it takes the grid of pixels away, a lot of it takes everything away."""

from __future__ import annotations

from typing import Any

import pandas as pd

from artattack.report.tables import number
from artattack.results.run_folder import RunFolder
from artattack.studies.drawing import draw_lines, use_log_axis
from artattack.studies.measures import (
    BACKBONE,
    FLIPS,
    GRID,
    IDENTIFIED,
    SEEN,
    SSIM,
    VARIATION,
    counted,
    option_of,
    rows_of,
    sum_up,
)
from artattack.studies.study import BNN, FLOAT, Settings, Study

WEIGHTS = tuple(10.0**decade for decade in range(-4, 6))  # the default lies among them, and a million times the default
_RECIPES: dict[str, dict[str, Any]] = {
    "pixels": {"parametrization": "pixel", "jitter": 0},  # as in 2020: noise and a grid to take away
    "spectrum": {"parametrization": "fourier"},  # the default, with random shifts
}


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    return [
        {"attack": "style", "backbone": settings.backbones, "name": f"{recipe}-tv-{weight:g}", "tv_weight": weight}
        | options
        for recipe, options in _RECIPES.items()
        for weight in WEIGHTS
    ]


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    """Add what is optimised, pixels or a spectrum."""
    table = sum_up(records, ["tv_weight"])
    table.insert(2, "optimised", table["attack"].str.split("-").str[0])
    return table


def _answer(table: pd.DataFrame) -> str:
    parts = []
    for (backbone, recipe), rows in rows_of(table, "source", "optimised").items():
        least, last = rows[0], rows[-1]
        best = max(row["styles_identified"] for row in rows)
        half = max((row["tv_weight"] for row in rows if best and 2 * row["styles_identified"] >= best), default=None)
        parts.append(
            f"{backbone}, {recipe}: from a weight of {least['tv_weight']:g} to {last['tv_weight']:g} the grid goes "
            f"from {least['grid']:.1f} to {last['grid']:.1f}, the style recognised from "
            f"{counted(least, 'styles_identified', 'styles_judged')} to "
            f"{counted(last, 'styles_identified', 'styles_judged')}, and flips from {counted(least, 'flips')} to "
            f"{counted(last, 'flips')}"
            + (f"; recognition is at least half of its best up to a weight of {half:g}" if half else "")
        )
    return "; ".join(parts) + "."


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    draw_lines(
        drawing,
        table,
        ("source", "optimised"),
        "tv_weight",
        {
            "style_identified_rate": "style recognised",
            "flip_rate": "flips",
            "grid": "grid score at 4 px",
            "total_variation": "TV of the change",
        },
        "weight of total variation",
    )
    use_log_axis(drawing.axes[2].yaxis)


STUDY = Study(
    name="tv",
    question="How much total variation is right: when does its weight take noise away, and when everything else?",
    lesson="Don't forget total variation, but not too much of it: without it there is noise, with far too much no art.",
    minutes=9,
    backbones=(BNN, FLOAT),
    limit=4,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        BACKBONE,
        option_of("optimised", "optimised", "pixels without shifts, or a Fourier spectrum with them"),
        number("weight", "of total variation", "tv_weight", "g"),
        IDENTIFIED,
        FLIPS,
        SEEN,
        GRID,
        VARIATION,
        SSIM,
    ),
    draw=_draw,
    caption="Style recognised, flips, grid and total variation of the change against the weight of total variation.",
)
