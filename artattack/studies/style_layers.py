"""Style alone, one layer at a time: what each layer is tuned to."""

from __future__ import annotations

from typing import Any

import pandas as pd

from artattack.inputs.images import read_image
from artattack.results.run_folder import RunFolder
from artattack.studies.drawing import draw_sheet
from artattack.studies.layers import layers_in_turn
from artattack.studies.measures import (
    BACKBONE,
    FLIPS,
    GRID,
    IDENTIFIED,
    L2,
    SEEN,
    by_backbone,
    counted,
    option_of,
    sum_up,
)
from artattack.studies.study import BNN, FLOAT, Settings, Study

_STARTS = {"content": "the image", "noise": "noise"}
# From noise there is no photo to stay near, and much noise to take away: pixels, larger steps, more total variation.
_FROM_NOISE = {"budget": "none", "parametrization": "pixel", "learning_rate": 0.05, "tv_weight": 10.0}


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    entries = []
    for backbone in settings.backbones:
        layers = layers_in_turn(backbone)
        for start in _STARTS:
            entries += [
                {
                    "attack": "style",
                    "name": f"{start}-{backbone}-{name}",
                    "backbone": backbone,
                    "style_layers": chosen,
                    "init": start,
                    **(_FROM_NOISE if start == "noise" else {}),
                }
                for name, chosen in [*((layer, (layer,)) for layer in layers), ("all", layers)]
            ]
    return entries


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    table = sum_up(records, ["init", "style_layers"])
    layers = table["style_layers"].astype("string")
    return table.assign(
        init=table["init"].map(_STARTS), style_layers=layers.mask(layers.str.contains("+", regex=False), "all")
    )


def _answer(table: pd.DataFrame) -> str:
    parts = []
    for backbone, rows in by_backbone(table).items():
        single = [row for row in rows if row["init"] == "the image" and row["style_layers"] != "all"]
        if not single:
            continue
        best = max(single, key=lambda row: row["styles_identified"])
        worst = min(single, key=lambda row: row["styles_identified"])
        noise = [row for row in rows if row["init"] == "noise" and row["style_layers"] != "all"]
        told = sum(2 * row["styles_identified"] > row["styles_judged"] for row in noise)
        flips = [row["flip_rate"] for row in single]
        parts.append(
            f"{backbone}: painted on the image, {best['style_layers']} alone brings recognition of "
            f"{counted(best, 'styles_identified', 'styles_judged')} and {worst['style_layers']} of "
            f"{counted(worst, 'styles_identified', 'styles_judged')}, with flips from {min(flips):.0%} to "
            f"{max(flips):.0%}; from noise {told} of {len(noise)} layers alone make a picture that is recognised"
        )
    return "; ".join(parts) + "."


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    """Draw the first image of each case: a line for each backbone and start, a column for each layer."""
    records = run.records[run.records["file"].notna()]
    files = dict(zip(records["attack"][::-1], records["file"][::-1], strict=True))  # of each, the first
    pictures, captions = [], []
    for backbone, rows in by_backbone(table).items():
        for start in ("noise", "the image"):
            own = [row for row in rows if row["init"] == start]
            pictures.append([read_image(run.path / files[row["attack"]]) for row in own])
            captions.append([f"{backbone if n == 0 else ''}\n{row['style_layers']}" for n, row in enumerate(own)])
    draw_sheet(drawing, pictures, captions, words=2)


STUDY = Study(
    name="style-layers",
    question="What is each layer of a backbone tuned to, when style is measured in it alone?",
    lesson="It painted with style alone, one layer after another, to see what each is tuned to.",
    minutes=8,
    backbones=(BNN, FLOAT),
    limit=4,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        BACKBONE,
        option_of("init", "from", "what the descent starts from"),
        option_of("style_layers", "layer", "the one that style is measured in"),
        IDENTIFIED,
        FLIPS,
        SEEN,
        GRID,
        L2,
    ),
    draw=_draw,
    caption="What each layer makes of noise and, below it, of an image; the last column takes all of these layers.",
)
