"""Style judges in the report: their agreement and their confusions of styles."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from artattack.results.judgements import Agreement, agreements, confusions, judgements_of, paintings
from artattack.results.run_folder import RunFolder


class Confusion(NamedTuple):
    """Confusion matrix of a style judge.

    Attributes:
        judge: name of the judge.
        nearest: the styles that it names, the matrix's columns.
        rows: each painted style, with the number of images for each named style.
    """

    judge: str
    nearest: list[str]
    rows: list[tuple[str, list[int]]]


def agreements_in_words(run: RunFolder) -> list[str]:
    """Return the agreement of each pair of judges on attacks' paintings at their own distances, in words."""
    return [_in_words(found) for found in agreements(paintings(judgements_of(run.records)))]


def _in_words(agreement: Agreement) -> str:
    found = agreement.found
    says = f"{agreement.a} and {agreement.b} name the same style for {found.agree} of {found.n} paintings"
    if pd.isna(found.kappa):
        return f"{says}, and only one style: agreement beyond chance cannot be measured."
    bounds = "" if pd.isna(found.low) else f" [{found.low:.2f}, {found.high:.2f}], resampling {found.clusters} photos"
    return f"{says}: Cohen's kappa {found.kappa:.2f}{bounds}."


def confusion_tables(run: RunFolder) -> list[Confusion]:
    """Return each judge's confusion matrix of painted and recognised styles, for attacks at their own distances."""
    return [
        Confusion(judge, list(counts.columns), [(str(style), row.tolist()) for style, row in counts.iterrows()])
        for judge, counts in confusions(paintings(judgements_of(run.records)))
    ]
