"""Total variation: a little of it takes noise away, a lot of it takes everything away."""

from __future__ import annotations

from typing import Any

import pandas as pd

from artattack.report.tables import number
from artattack.results.run_folder import RunFolder
from artattack.studies.drawing import draw_lines
from artattack.studies.measures import BACKBONE, FLIPS, GRID, IDENTIFIED, L2, NOISE, SSIM, by_backbone, counted, sum_up
from artattack.studies.study import BNN, FLOAT, Study

WEIGHTS = tuple(10.0**decade for decade in range(-4, 6))  # the default lies among them, and a million times the default


def _attacks(backbones: tuple[str, ...]) -> list[dict[str, Any]]:
    """Pixels without shifts, where there is noise and a grid to take away."""
    plain = {"attack": "style", "backbone": backbones, "parametrization": "pixel", "jitter": 0}
    return [plain | {"name": f"tv-{weight:g}", "tv_weight": weight} for weight in WEIGHTS]


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    return sum_up(records, ["tv_weight"])


def _answer(table: pd.DataFrame) -> str:
    parts = []
    for backbone, rows in by_backbone(table).items():
        least, last = rows[0], rows[-1]
        half = max(row["styles_identified"] for row in rows) / 2
        most = max(row["tv_weight"] for row in rows if row["styles_identified"] >= half)
        parts.append(
            f"{backbone}: noise falls from {least['noise']:.3f} at a weight of {least['tv_weight']:g} to "
            f"{last['noise']:.3f} at {last['tv_weight']:g}, the style is recognised on "
            f"{counted(least, 'styles_identified', 'styles_judged')} and "
            f"{counted(last, 'styles_identified', 'styles_judged')} images, flips are {counted(least, 'flips')} and "
            f"{counted(last, 'flips')}, and up to a weight of {most:g} at least half of the best "
            "recognition is left"
        )
    return "; ".join(parts) + "."


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    draw_lines(
        drawing,
        table,
        "tv_weight",
        {
            "style_identified_rate": "style recognised",
            "flip_rate": "flips",
            "noise": "noise: TV of the change",
            "grid": "grid score at 4 px",
        },
        "weight of total variation",
    )


STUDY = Study(
    name="tv",
    question="How much total variation is right: when does its weight take noise away, and when everything else?",
    lesson="Don't forget total variation, but don't overdo it: without it noise, with far too much of it no style.",
    minutes=6,
    backbones=(BNN, FLOAT),
    limit=6,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        BACKBONE,
        number("weight", "of total variation", "tv_weight", "g"),
        IDENTIFIED,
        FLIPS,
        NOISE,
        GRID,
        L2,
        SSIM,
    ),
    draw=_draw,
    caption="Style recognised, flips, noise and grid against the weight of total variation; bands are 95 % intervals.",
)
