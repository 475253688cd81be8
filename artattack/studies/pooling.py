"""Where do the blocks come from: from max pooling, from pixels, or from the layers that style is measured in?"""

from __future__ import annotations

from statistics import median
from typing import Any

import pandas as pd

from artattack.results.run_folder import RunFolder
from artattack.studies.drawing import draw_dots, use_log_axis
from artattack.studies.layers import pools_by_maximum, sums_or_convolutions
from artattack.studies.measures import (
    BACKBONE,
    FLIPS,
    GRID,
    IDENTIFIED,
    SEEN,
    by_backbone,
    option_of,
    sum_up,
)
from artattack.studies.study import BNN, FLOAT, Settings, Study

_JITTER = 16  # px, the default's
_CHOICES = {"pooling": ("max", "average"), "parametrization": ("pixel", "fourier"), "layers": ("convolutions", "sums")}


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    """All combinations without shifts, which would hide the blocks; with shifts, pixels and the spectrum alone."""
    entries = []
    for backbone in settings.backbones:
        layers = sums_or_convolutions(backbone)
        poolings = ("max", "average") if pools_by_maximum(backbone) else ("max",)
        cases = [(p, q, kind, 0) for p in poolings for q in ("pixel", "fourier") for kind in layers]
        cases += [("max", q, next(iter(layers)), _JITTER) for q in ("pixel", "fourier")]
        entries += [
            {
                "attack": "style",
                "name": f"{backbone}-{pooling}-{parametrization}-{kind}" + ("-shifted" if jitter else ""),
                "backbone": backbone,
                "pooling": pooling,
                "parametrization": parametrization,
                "style_layers": layers[kind],
                "jitter": jitter,
            }
            for pooling, parametrization, kind, jitter in cases
        ]
    return entries


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    """Add the kind of the layers that style is measured in; a backbone without max pooling has no pooling to tell."""
    table = sum_up(records, ["pooling", "parametrization", "style_layers", "jitter"])
    kinds = {
        "+".join(layers): kind
        for backbone in table["source"].unique()
        for kind, layers in sums_or_convolutions(str(backbone)).items()
    }
    pools = table["source"].map(lambda backbone: pools_by_maximum(str(backbone))).astype(bool)
    return table.assign(layers=table["style_layers"].map(kinds), pooling=table["pooling"].where(pools, "none"))


def _answer(table: pd.DataFrame) -> str:
    parts = []
    for backbone, rows in by_backbone(table).items():
        still = [row for row in rows if not row["jitter"]]
        told = []
        for choice, (one, other) in _CHOICES.items():
            grids = [[row["grid"] for row in still if row[choice] == value] for value in (one, other)]
            if all(grids):
                told.append(f"{median(grids[0]):.1f} with {one} and {median(grids[1]):.1f} with {other}")
        shifted = " and ".join(f"{row['grid']:.1f} ({row['parametrization']})" for row in rows if row["jitter"])
        parts.append(f"{backbone}: the median grid score is {', '.join(told)}; with random shifts it is {shifted}")
    return "; ".join(parts) + "."


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    names = [
        f"{row['source']}: {row['pooling']}, {row['parametrization']}, {row['layers']}"
        + ", shifts" * bool(row["jitter"])
        for row in table.to_dict("records")
    ]
    panels = {"grid": "grid score at 4 px", "style_identified_rate": "style recognised", "flip_rate": "flips"}
    draw_dots(drawing, names, table, panels)
    use_log_axis(drawing.axes[0].xaxis)


STUDY = Study(
    name="pooling",
    question="Where do the blocks come from: max pooling, pixels, or the layers that style is measured in?",
    lesson="Neither average pooling nor leaving total variation out takes the blocks away.",
    minutes=8,
    backbones=(BNN, "quicknet_tiny", FLOAT),
    limit=4,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        BACKBONE,
        option_of("pooling", "pooling", "max, average in its place, or none"),
        option_of("parametrization", "optimised", "pixels, or a Fourier spectrum"),
        option_of("layers", "layers", "that style is measured in: sums of residual branches, or convolutions"),
        option_of("jitter", "shifts", "random, up to so many px"),
        GRID,
        IDENTIFIED,
        FLIPS,
        SEEN,
    ),
    draw=_draw,
    caption="Grid score (log axis; 1 is no grid), style recognised and flips. Bars are 95 % intervals.",
)
