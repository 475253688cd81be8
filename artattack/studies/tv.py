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
    counts = table.groupby("tv_weight")[["n", "flips", "styles_judged", "styles_identified"]].sum()
    known = dict(zip(counts.index.tolist(), counts["styles_identified"].tolist(), strict=True))
    least, most, best = min(known), max(known), max(known, key=lambda weight: known[weight])
    last = max((weight for weight in known if known[weight]), default=least)
    case, rows = max(rows_of(table, "source", "optimised").items(), key=lambda pair: pair[1][0]["grid"])
    return (
        f"Of {counts.loc[least, 'styles_judged']} paintings the style of {known[least]} is recognised at a weight of "
        f"{least:g}, of most at {best:g} ({known[best]})"
        + (f" and of none above {last:g}" if last < most else "")
        + f", while flips are {counts.loc[least, 'flips']} at {least:g} and {counts.loc[most, 'flips']} at "
        f"{most:g}, and the strongest grid, that of {' through '.join(reversed(case))}, goes from a score of "
        f"{rows[0]['grid']:.1f} to {rows[-1]['grid']:.1f}."
    )


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    draw_lines(
        drawing,
        table,
        ("source", "optimised"),
        "tv_weight",
        {
            "style_identified_rate": "style recognised",
            "style_seen": "style left",
            "flip_rate": "flips",
            "grid": "grid score at 4 px",
        },
        "weight of total variation",
    )
    use_log_axis(drawing.axes[3].yaxis)


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
    caption="Style recognised, distance from it that is left, flips and grid against the weight of total variation.",
)
