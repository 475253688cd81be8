"""What do few bits do: to style transfer, to a network's own robustness, and to what carries over from it?"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import pandas as pd

from artattack.report.tables import rates
from artattack.results.records import at_own_distance, perturbed_of
from artattack.results.run_folder import RunFolder
from artattack.results.statistics import wilson
from artattack.studies.drawing import draw_dots
from artattack.studies.measures import (
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
from artattack.studies.study import Settings, Study

_RADIUS = 10  # of the l2 ball of attacks that are meant to carry over
_SAID = {"style": "style", "mi-fgsm": "momentum attack", "noise": "noise"}


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    """Style with the default recipe; a momentum attack on each network in a small ball, and noise as far away."""
    attacks: list[dict[str, Any]] = [{"attack": "style", "backbone": settings.backbones}]
    attacks.append({"attack": "mi-fgsm", "source": settings.backbones, "norm": 2, "eps": _RADIUS})
    attacks.append({"attack": "noise", "like": "mi-fgsm"})
    return attacks


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    """Add how often an attack flips the network that it is on; noise is on the network whose attack it is as far as."""
    copied = records["matched_to"].str.removeprefix("mi-fgsm/")
    records = records.assign(source=records["source"].fillna(copied))
    table = sum_up(records)
    table.insert(2, "network", table["source"].map(lambda source: PurePath(str(source)).stem).astype("string"))
    own = perturbed_of(at_own_distance(records))
    own = own[(own["classifier"] == own["source"]).fillna(False) & own["flip"].notna()]
    counts = own.groupby(["attack", "source"], sort=False)["flip"].agg(own_flips="sum", own_n="count").reset_index()
    table = table.merge(counts, "left", ["attack", "source"])
    table[["own_flips", "own_n"]] = table[["own_flips", "own_n"]].fillna(0).astype(int)
    low, high = wilson(table["own_flips"], table["own_n"])
    rate = table["own_flips"] / table["own_n"].where(table["own_n"] > 0)
    return table.assign(own_flip_rate=rate, own_flip_rate_low=low, own_flip_rate_high=high)


def _answer(table: pd.DataFrame) -> str:
    parts = []
    for rows in by_backbone(table).values():
        found = {row["attack"]: row for row in rows}
        told = []
        if style := found.get("style"):
            told.append(f"style recognised in {counted(style, 'styles_identified', 'styles_judged')}")
        if attack := found.get("mi-fgsm"):
            told.append(f"momentum attacks flip another network in {counted(attack, 'flips')}")
            told.append(f"and itself in {counted(attack, 'own_flips', 'own_n')}")
        if noise := found.get("noise"):
            told.append(f"noise {counted(noise, 'flips')} and {counted(noise, 'own_flips', 'own_n')}")
        parts.append(f"{rows[0]['network']}: {', '.join(told)}")
    return "; ".join(parts) + "."


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    """Draw a line for each network and what was done to it under one another; only style is recognised or not."""
    panels = {
        "style_identified_rate": "style recognised",
        "flip_rate": "flips of another",
        "own_flip_rate": "own flips",
    }
    said = table.assign(done=table["attack"].map(_SAID))
    draw_dots(drawing, table["network"].tolist(), said, panels, series="done")


STUDY = Study(
    name="precision",
    question="What do few bits of weights and activations do to style transfer, to robustness and to transfer?",
    lesson="It took binarization as it was.",
    minutes=8,
    backbones=(),
    limit=8,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        option_of("network", "network", "by its file: artattack train calls it after its bits, w1a1 or float"),
        option_of("attack", "attack", "on the network: style, momentum within an L2 of 10, or noise as far away"),
        IDENTIFIED,
        FLIPS,
        rates("own flips", "top-1 class of the network itself changed", "own_flip_rate", "own_flips", "own_n"),
        SEEN,
        GRID,
        L2,
    ),
    draw=_draw,
    caption="Style recognised, flips of a network that was not read, and own flips. Bars are 95 % intervals.",
    scores_backbones=True,
    trained_by="artattack train IMAGES --precision w1a1 --precision w2a2 --precision float -o nets",
)
