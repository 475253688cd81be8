"""Judges of style in the report: whether they agree, and which styles they tell apart."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from artattack.results.judgements import Agreement, agreements, confusions, judgements_of, paintings
from artattack.results.run_folder import RunFolder


class Confusion(NamedTuple):
    """Which styles a judge tells apart: its name, the styles named, and of each style painted how often each was."""

    judge: str
    nearest: list[str]
    rows: list[tuple[str, list[int]]]


def agreements_in_words(run: RunFolder) -> list[str]:
    """Say of each two judges how far they agree on what attacks painted at their own distances."""
    return [_in_words(found) for found in agreements(paintings(judgements_of(run.records)))]


def _in_words(agreement: Agreement) -> str:
    found = agreement.found
    says = f"{agreement.a} and {agreement.b} name the same style for {found.agree} of {found.n} paintings"
    if pd.isna(found.kappa):
        return f"{says}, and one style for all: no agreement beyond chance can show."
    bounds = "" if pd.isna(found.low) else f" [{found.low:.2f}, {found.high:.2f}], resampling {found.clusters} photos"
    return f"{says}: Cohen's kappa {found.kappa:.2f}{bounds}."


def confusion_tables(run: RunFolder) -> list[Confusion]:
    """Return for each judge which styles it finds what attacks painted nearest to, at their own distances."""
    return [
        Confusion(judge, list(counts.columns), [(str(style), row.tolist()) for style, row in counts.iterrows()])
        for judge, counts in confusions(paintings(judgements_of(run.records)))
    ]
