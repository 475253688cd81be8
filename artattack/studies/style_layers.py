"""Style alone, measured in one layer at a time: the pattern that each layer is tuned to."""

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

_ACROSS = 4  # pictures per row of the sheet
_STARTS = {"content": "the image", "noise": "noise"}
# A start from noise has no photo to stay near, and much noise to remove: pixels, larger steps, more total variation.
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
        for start in _STARTS.values():
            single = [row for row in rows if row["init"] == start and row["style_layers"] != "all"]
            if not single:
                continue
            near, far = (choose(single, key=lambda row: row["style_seen"]) for choose in (min, max))
            parts.append(
                f"{backbone} from {start}: of {len(single)} layers {near['style_layers']} alone comes nearest to the "
                f"style (style left {near['style_seen']:.2f}, recognised on "
                f"{counted(near, 'styles_identified', 'styles_judged')}) and {far['style_layers']} least near "
                f"({far['style_seen']:.2f}, {counted(far, 'styles_identified', 'styles_judged')})"
                + (f", with flips of {_spread([row['flips'] for row in single])} of {near['n']}" * (start != "noise"))
            )
    return "; ".join(parts) + "." if parts else "No layer alone has a result."


def _spread(counts: list[int]) -> str:
    return f"{min(counts)} to {max(counts)}"


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    """Draw the first image of each case, layer after layer, from noise and then from the image for each backbone."""
    records = run.records[run.records["file"].notna()]
    files = dict(zip(records["attack"][::-1], records["file"][::-1], strict=True))  # the first file of each attack
    pictures: list[list[Any]] = []
    captions: list[list[str]] = []
    for backbone, rows in by_backbone(table).items():
        for start in ("noise", "the image"):
            own = [row for row in rows if row["init"] == start]
            for first in range(0, len(own), _ACROSS):
                line = own[first : first + _ACROSS]
                pictures.append([read_image(run.path / files[row["attack"]]) for row in line])
                captions.append([f"{backbone}\nfrom {start}\n{row['style_layers']}" for row in line])
    draw_sheet(drawing, pictures, captions, words=3)


STUDY = Study(
    name="style-layers",
    question="Which features does each layer of a backbone respond to, if style is measured in it alone?",
    lesson="It painted with style alone, one layer after another, to see the features that each responds to.",
    minutes=8,
    backbones=(BNN, FLOAT),
    limit=4,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        BACKBONE,
        option_of("init", "from", "initial image of the descent"),
        option_of("style_layers", "layer", "layer that measures style"),
        IDENTIFIED,
        FLIPS,
        SEEN,
        GRID,
        L2,
    ),
    draw=_draw,
    caption="Each layer's picture from noise and, below, from an image; the last picture of each row uses all layers.",
)
