"""Does it matter in which layer content is measured? As much as in which style is?"""

from __future__ import annotations

from typing import Any

import pandas as pd

from artattack.results.run_folder import RunFolder
from artattack.studies.drawing import draw_dots
from artattack.studies.layers import layers_in_turn
from artattack.studies.measures import (
    BACKBONE,
    FLIPS,
    IDENTIFIED,
    L2,
    SEEN,
    SSIM,
    by_backbone,
    option_of,
    sum_up,
)
from artattack.studies.study import BNN, Settings, Study

_COMPARED = {"flip_rate": "flips", "style_identified_rate": "recognition", "style_seen": "style left", "ssim": "SSIM"}
_WEIGHT = 10.0  # of content: as much as style has by default


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    """Content as heavy as style and no ball, so that content is kept by its loss alone."""
    return [
        {
            "attack": "style",
            "name": f"{role}-{backbone}-{layer}",
            "backbone": backbone,
            "budget": "none",
            "content_weight": _WEIGHT,
            f"{role}_layers": layer,
        }
        for backbone in settings.backbones
        for role in ("content", "style")
        for layer in layers_in_turn(backbone)
    ]


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    """Add what changes, content or style, and in which layer it is measured."""
    table = sum_up(records, ["content_layers", "style_layers"])
    table.insert(2, "changed", table["attack"].str.split("-").str[0])
    table.insert(3, "layer", table["content_layers"].fillna(table["style_layers"]))
    return table.drop(columns=["content_layers", "style_layers"])


def spread(table: pd.DataFrame) -> pd.DataFrame:
    """Return how far layers differ: the standard deviation over them, one less than their number counting.

    Args:
        table: as the study's `measure` returns it.

    Returns:
        float64, a row for each backbone and what changed, a column for each measure compared.
    """
    return table.groupby(["source", "changed"], sort=False)[list(_COMPARED)].std()


def _answer(table: pd.DataFrame) -> str:
    spreads = spread(table)
    parts = []
    for backbone, rows in by_backbone(table).items():
        told = []
        for column, name in _COMPARED.items():
            content, style = (
                spreads[column].get((backbone, changed), float("nan")) for changed in ("content", "style")
            )
            told.append(f"{content:.2f} against {style:.2f} in {name}")
        counts = [sum(row["changed"] == changed for row in rows) for changed in ("content", "style")]
        parts.append(
            f"{backbone}: the standard deviation over {counts[0]} content layers against that over {counts[1]} style "
            f"layers is {', '.join(told)}"
        )
    return "; ".join(parts) + "."


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    several = table["source"].nunique() > 1
    names = [
        f"{row['changed']} in {row['layer']}" + (f", {row['source']}" if several else "")
        for row in table.to_dict("records")
    ]
    panels = {"style_identified_rate": "style recognised", "flip_rate": "flips", "style_seen": "style left"}
    draw_dots(drawing, names, table, panels | {"ssim": "SSIM"})


STUDY = Study(
    name="content-layers",
    question="Does it matter in which layer content is measured, compared with the layer that style is measured in?",
    lesson="Content layers hardly matter.",
    minutes=6,
    backbones=(BNN,),
    limit=6,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        BACKBONE,
        option_of("changed", "changed", "which of the two is measured in another layer"),
        option_of("layer", "layer", "the one it is measured in; the other stays in its default layers"),
        IDENTIFIED,
        FLIPS,
        SEEN,
        SSIM,
        L2,
    ),
    draw=_draw,
    caption="Above, content in one layer after another; below, style. Bars are 95 % intervals.",
)
