"""Key figures, verdicts, skipped images and failures of a run, in words."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import pandas as pd

from artattack.report.page_tables import Row, TableCell, clean_error, rate
from artattack.results.order import most_accurate_first
from artattack.results.records import (
    RELATIONS,
    at_own_distance,
    attacks_of,
    controls_of,
    kind_in_words,
    labelled,
    perturbed_of,
    untrained,
)
from artattack.results.run_folder import RunFolder

Strongest = dict[
    str, tuple[str, TableCell] | None
]  # for each kind: the attack or control with most flips, and its rate


class KeyFigures(NamedTuple):
    """The key figures of a classifier.

    Attributes:
        classifier: name of the classifier.
        classes: number of its classes, as text.
        images: number of scored images, as text.
        clean_error: error on untouched images.
        strongest: for each relation of attacks to it, the attack and the control with most flips; in the order of
            `RELATIONS`, without relations that no attack has.
    """

    classifier: str
    classes: str
    images: str
    clean_error: TableCell
    strongest: dict[str, Strongest]


def key_figures(run: RunFolder) -> list[KeyFigures]:
    """Return the key figures of each classifier, every attack at its own distance."""
    summary = labelled(at_own_distance(most_accurate_first(run.summary, run.summary)))
    summary = summary[summary["classifier"].notna()]
    marked = untrained(run.summary)
    kinds = perturbed_of(summary)["kind"].unique()
    found = []
    for classifier, rows in summary.groupby("classifier", sort=False):
        first = _most(rows, "n")
        attacks, controls = attacks_of(rows), controls_of(rows)
        groups = {relation: attacks[(attacks["relation"] == relation).fillna(False)] for relation in RELATIONS}
        there = [relation for relation, own in groups.items() if len(own)] or [RELATIONS[0]]
        found.append(
            KeyFigures(
                str(classifier),
                "" if pd.isna(first["classes"]) else str(first["classes"]),
                str(first["n"]),
                clean_error(first),
                {name: _strongest(pd.concat([groups[name], controls]), kinds, marked) for name in there},
            )
        )
    return found


def by_relation(keys: Collection[KeyFigures]) -> dict[str, list[KeyFigures]]:
    """Return the classifiers under attacks of each relation to them, in the order of `RELATIONS`."""
    groups = {relation: [key for key in keys if relation in key.strongest] for relation in RELATIONS}
    return {relation: group for relation, group in groups.items() if group}


def _strongest(rows: pd.DataFrame, kinds: Collection[str], marked: Collection[str]) -> Strongest:
    """Return for each kind the attack or control with most flips, or None if none of that kind was scored.

    Args:
        rows: rows of the summary, for one classifier.
        kinds: kinds of attacks and controls, as in the summary.
        marked: names of untrained networks.
    """
    strongest: Strongest = {}
    for kind in kinds:
        of_kind = rows[(rows["kind"] == kind) & rows["flip_rate"].notna()]
        strongest[kind_in_words(kind)] = None
        if len(of_kind):
            best = _most(of_kind, "flip_rate")
            cell = rate(best, "flip_rate", "flips")._replace(untrained=best["label"] in marked)
            strongest[kind_in_words(kind)] = str(best["label"]), cell
    return strongest


def _most(rows: pd.DataFrame, column: str) -> Row:
    """Return the first row with the maximum of a column."""
    return rows.sort_values(column, ascending=False, kind="stable").iloc[0].to_dict()


_VERDICTS = {
    "beats": "with more flips than every control",
    "no better": "not shown to have more flips than every control",
    "worse": "with fewer flips than some control",
    "no control": "without a control at the same distance",
}
_CASES = {
    "unrelated": "where the classifier is unrelated to the models that the attack read",
    "unseen": "where the attack did not read the classifier",
    "kin": "where the classifier is kin to a model that the attack read",
    "seen": "where the attack read the classifier (white box)",
}


def count_verdicts(controls: pd.DataFrame) -> list[str]:
    """Count how often attacks beat their controls: part of a sentence for each relation, in the order of `RELATIONS`.

    Args:
        controls: rows of `judge_against_controls` with the column `relation`, as
            `artattack.report.page_tables.with_relations` gives it.
    """
    said = []
    for relation in RELATIONS:
        verdicts = controls.loc[controls["relation"].fillna("unseen") == relation, "verdict"].value_counts()
        counts = [f"{verdicts[verdict]} {words}" for verdict, words in _VERDICTS.items() if verdict in verdicts]
        if counts:
            total = verdicts.sum()
            said.append(f"of {total} case{'s' * (total != 1)} {_CASES[relation]}, {', '.join(counts)}")
    return said


class Skipped(NamedTuple):
    """Numbers of a classifier's images.

    Attributes:
        classifier: name of the classifier.
        scored: images scored.
        unlabelled: scored images without a label.
        outside: scored images whose class is outside the classifier's label space.
        wrong: images classified wrongly before any attack.
        right: images classified correctly before any attack.
    """

    classifier: str
    scored: int
    unlabelled: int
    outside: int
    wrong: int
    right: int


def skipped(run: RunFolder) -> list[Skipped]:
    """Return for each classifier how many images count for accuracy and successes, and how many are skipped."""
    records = most_accurate_first(run.records, run.summary)
    seen = records[records["error"].isna() & records["classifier"].notna()].drop_duplicates(["classifier", "image"])
    return [
        Skipped(
            str(classifier),
            len(rows),
            int(rows["true_class"].isna().sum()),
            int((rows["in_label_space"] == False).fillna(False).sum()),  # noqa: E712
            int((rows["correct_before"] == False).fillna(False).sum()),  # noqa: E712
            int(rows["correct_before"].fillna(False).sum()),
        )
        for classifier, rows in seen.groupby("classifier", sort=False)
    ]


class Failure(NamedTuple):
    """A reason why records have no result.

    Attributes:
        what: label of the attack or control.
        why: the error message.
        records: number of records.
        images: the first few images, as text.
    """

    what: str
    why: str
    records: int
    images: str


FAILURES = 100  # maximum number of reasons on the page
_EXAMPLES = 3


def failures(run: RunFolder) -> tuple[list[Failure], int]:
    """Return the most frequent reasons for failed records, at most `FAILURES`, and the number of failed records."""
    failed = labelled(run.records[run.records["error"].notna()])
    found = []
    for (what, why), rows in failed.groupby(["label", "error"], sort=False):
        images = list(dict.fromkeys(rows["image"].dropna()))
        more = f" and {len(images) - _EXAMPLES} more" if len(images) > _EXAMPLES else ""
        found.append(Failure(str(what), str(why), len(rows), ", ".join(images[:_EXAMPLES]) + more))
    return sorted(found, key=lambda failure: -failure.records)[:FAILURES], len(failed)
