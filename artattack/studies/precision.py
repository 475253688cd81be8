"""Effect of low precision on style transfer, on a network's robustness and on transfer from it."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import pandas as pd

from artattack.report.page_tables import rates
from artattack.results.records import at_own_distance, perturbed_of, untouched_of
from artattack.results.run_folder import RunFolder
from artattack.studies.drawing import draw_dots
from artattack.studies.measures import (
    FLIPS,
    GRID,
    IDENTIFIED,
    L2,
    SEEN,
    by_backbone,
    counted,
    interval_over_photos,
    option_of,
    sum_up,
)
from artattack.studies.quantized import is_quantized, quantized
from artattack.studies.study import FLOAT, Settings, Study

# Bits of weights (w) and activations (a): few in both, in weights alone, and in activations alone.
_BITS = ("w8a8", "w4a4", "w2a2", "w1a1", "w4a8", "w2a8", "w1a8", "w8a4", "w8a2", "w8a1")
_TRAINED = "quicknet_tiny"  # trained at one bit: another architecture than the rounded networks
_RADIUS = 10  # of the l2 ball of attacks that are meant to carry over
_SAID = {"style": "style", "mi-fgsm": "momentum attack", "noise": "noise"}


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    """Return, for each network: style by the default recipe, a momentum attack in a small ball, noise as far away."""
    attacks: list[dict[str, Any]] = [{"attack": "style", "backbone": settings.backbones}]
    attacks.append({"attack": "mi-fgsm", "source": settings.backbones, "norm": 2, "eps": _RADIUS})
    attacks.append({"attack": "noise", "like": "mi-fgsm"})
    return attacks


def _models(settings: Settings) -> dict[str, Any]:
    """Return the requested low-precision networks; others come from the registry or the user."""
    return {name: {"model": str(quantized(name))} for name in settings.backbones if is_quantized(name)}


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    """Add each network's accuracy and the flip rate of attacks on it.

    Noise counts for the network whose momentum attack has the same distance.
    """
    copied = records["matched_to"].str.removeprefix("mi-fgsm/")
    records = records.assign(source=records["source"].fillna(copied))
    table = sum_up(records)
    table.insert(2, "network", table["source"].map(lambda source: PurePath(str(source)).stem).astype("string"))
    own = perturbed_of(at_own_distance(records))
    own = own[(own["classifier"] == own["source"]).fillna(False)]
    untouched = untouched_of(records).assign(source=lambda rows: rows["classifier"])
    for part, whole, rate, rows, outcome, by in (
        ("own_flips", "own_n", "own_flip_rate", own, "flip", ["attack", "source"]),
        ("right", "right_n", "right_rate", untouched, "correct_before", ["source"]),
    ):
        table = table.merge(_rates(part, whole, rate, rows, outcome, by), "left", by)
        table[[part, whole]] = table[[part, whole]].fillna(0).astype(int)
    return table


def _rates(part: str, whole: str, rate: str, rows: pd.DataFrame, outcome: str, by: list[str]) -> pd.DataFrame:
    """Return the rate of an outcome in each group of records, with an interval that accounts for repeated photos."""
    found = []
    for key, own in rows[rows[outcome].notna()].groupby(by, sort=False):
        parts: Any = key
        yes = own[outcome].astype(bool)
        counts = {part: int(yes.sum()), whole: len(own), rate: yes.mean()}
        found.append(
            dict(zip(by, parts, strict=True)) | counts | interval_over_photos(rate, own[outcome], own["image"])
        )
    return pd.DataFrame(found, columns=[*by, part, whole, rate, *interval_over_photos(rate, [], [])])


def _answer(table: pd.DataFrame) -> str:
    parts = []
    for rows in by_backbone(table).values():
        found = {row["attack"]: row for row in rows}
        told = []
        if rows[0]["right_n"]:
            told.append(f"right on {counted(rows[0], 'right', 'right_n')}")
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
    """Draw one row per network and attack; recognition applies to style alone."""
    panels = {
        "right_rate": "right, untouched",
        "style_identified_rate": "style recognised",
        "flip_rate": "flips of another",
        "own_flip_rate": "own flips",
    }
    once = table["right_rate"].where(table["attack"] == "style")
    said = table.assign(done=table["attack"].map(_SAID), right_rate=once)
    draw_dots(drawing, table["network"].tolist(), said, panels, series="done")


STUDY = Study(
    name="precision",
    question="How do few bits of weights and activations change style transfer, robustness and transfer?",
    lesson="It used binarized networks only.",
    minutes=15,
    backbones=(FLOAT, *(f"{FLOAT}-{bits}" for bits in _BITS), _TRAINED),
    limit=8,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        option_of("network", "network", "with its bits of weights and activations; or the name of its file"),
        option_of("attack", "attack", "on the network: style, momentum within an L2 of 10, or noise as far away"),
        rates("right", "of untouched images, what the network itself classifies", "right_rate", "right", "right_n"),
        IDENTIFIED,
        FLIPS,
        rates("own flips", "top-1 class of the network itself changed", "own_flip_rate", "own_flips", "own_n"),
        SEEN,
        GRID,
        L2,
    ),
    draw=_draw,
    caption="Accuracy of the network, style recognised, flips of an unread network, and flips of the network itself. "
    "Bars are 95 % intervals.",
    scores_backbones=True,
    models=_models,
)
