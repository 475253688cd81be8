"""Total variation: enough weight removes the grid of a descent on pixels, too much removes the style."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from artattack.inputs.images import read_image
from artattack.report.page_tables import number
from artattack.results.run_folder import RunFolder
from artattack.studies.drawing import draw_lines, fill_row, use_log_axis
from artattack.studies.measures import (
    BACKBONE,
    COLOUR,
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

WEIGHTS = tuple(10.0**decade for decade in range(-4, 6))  # from a thousandth to a million times the default
_SHOWN = 5  # weights at which a photo is shown
_RECIPES: dict[str, dict[str, Any]] = {
    "pixels": {"parametrization": "pixel", "jitter": 0},  # as in 2020, with noise and a grid
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
    """Add the parametrization: pixels or a spectrum."""
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
    """Draw the measures against the weight, and below them the paintings of one photo at five weights."""
    drawing.set_size_inches(7.5, 7.4)
    above, below = drawing.subfigures(2, 1, height_ratios=(5.4, 2.0))
    panels = {
        "style_identified_rate": "style recognised",
        "style_seen": "style left",
        "flip_rate": "flips",
        "grid": "grid score at 4 px",
    }
    axes = draw_lines(above, table, ("source", "optimised"), "tv_weight", panels, "weight of total variation")
    use_log_axis(axes[3].yaxis)
    case = table[(table["source"] == table["source"].iloc[0]) & (table["optimised"] == table["optimised"].iloc[0])]
    rows = case.iloc[np.linspace(0, len(case) - 1, min(_SHOWN, len(case))).round().astype(int)].to_dict("records")
    records = run.records[(run.records["source"] == rows[0]["source"]) & run.records["file"].notna()]
    first = records["image"].iloc[0]
    files = dict(records.loc[records["image"] == first, ["attack", "file"]].itertuples(index=False, name=None))
    below.suptitle(f"{rows[0]['source']}, {rows[0]['optimised']}: one photo at weights of", fontsize=9, ha="left", x=0)
    fill_row(
        below.subplots(1, len(rows), squeeze=False)[0],
        [read_image(run.path / files[row["attack"]]) for row in rows],
        [f"{row['tv_weight']:g}" for row in rows],
    )


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
        option_of("optimised", "optimised", "parameters: pixels without shifts, or a Fourier spectrum with shifts"),
        number("weight", "weight of total variation", "tv_weight", "g"),
        IDENTIFIED,
        FLIPS,
        SEEN,
        GRID,
        VARIATION,
        COLOUR,
        SSIM,
    ),
    draw=_draw,
    caption="Style recognised, distance from it that is left, flips and grid against the weight of total variation "
    "(bars are 95 % intervals), and one photo at five of the weights.",
    meant="The study tries weights of total variation up to a million times the default on purpose.",
)
