"""Every image in every style, and the most striking flips."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pandas as pd

from artattack.inputs.styles import style_names
from artattack.report.pictures import read_pair
from artattack.report.striking import choose_flips
from artattack.results.run_folder import RunFolder
from artattack.studies.drawing import draw_sheet
from artattack.studies.measures import BACKBONE, FLIPS, GRID, IDENTIFIED, L2, SEEN, SSIM, option_of, sum_up
from artattack.studies.study import BNN, Settings, Study

_SHOWN = 8  # flips on the sheet
_ACROSS = 2


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    return [{"attack": "style", "backbone": settings.backbones}]


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    return sum_up(records, by_style=True)


def _answer(table: pd.DataFrame) -> str:
    flips, judged = int(table["flips"].sum()), int(table["styles_judged"].sum())
    identified = int(table["styles_identified"].sum())
    rows = sorted(table.to_dict("records"), key=lambda row: row["flip_rate"])
    return (
        f"{flips} of {int(table['n'].sum())} paintings flip a classifier that the attack has not read, from "
        f"{rows[0]['flips']} of {rows[0]['n']} in {rows[0]['style']} to {rows[-1]['flips']} of {rows[-1]['n']} in "
        f"{rows[-1]['style']}, and {identified} of {judged} are recognised as their style."
    )


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    """Draw pairs of an image and its painting, chosen by the rule of the report."""
    pictures: list[Any] = []
    captions: list[str] = []
    for row in choose_flips(run.records, _SHOWN).records.to_dict("records"):
        if pair := read_pair(run, row):
            pictures += pair
            captions += [_seen(row, "before"), f"{_seen(row, 'after')}"]
    lines = iter(pictures), iter(captions)
    sheet = [[list(islice(line, 2 * _ACROSS)) for line in lines] for _ in range(0, len(pictures), 2 * _ACROSS)]
    if sheet:
        draw_sheet(drawing, [pixels for pixels, _ in sheet], [texts for _, texts in sheet], words=2)


def _seen(row: dict[Any, Any], when: str) -> str:
    where = row["style"] if when == "after" else "original"
    return f"{where}:\n{row[f'top1_confidence_{when}']:.0%} {row[f'top1_name_{when}']}"  # long names are cut


STUDY = Study(
    name="art-attack",
    question="Which class does each image become, in which style?",
    lesson="A stylised turtle became a post office.",
    minutes=6,
    backbones=(BNN,),
    limit=12,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        option_of("style", "style", "style of the paintings"),
        BACKBONE,
        IDENTIFIED,
        FLIPS,
        SEEN,
        GRID,
        SSIM,
        L2,
    ),
    draw=_draw,
    caption="The most striking flips by the report's rule: original and painting, with a classifier's predictions.",
    styles=style_names(),
)
