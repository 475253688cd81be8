"""A run in plain words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from artattack.report.tables import Cell, Row, attacks_then_controls, clean_error, labelled, rate, untrained
from artattack.results.records import CONTROL, at_own_distance, attacks_of, kind_in_words, perturbed_of, variant_labels
from artattack.results.run_folder import RunFolder


Strongest = dict[str, tuple[str, Cell] | None]  # of each kind, in words: what flips most and its flip rate


class KeyFigures(NamedTuple):
    """The key figures of a classifier.

    Attributes:
        classifier: its name.
        classes, images: how many it chose among, and how many it saw.
        clean_error: how it does on untouched images.
        strongest: what flips it most, of controls and of attacks that did not read it; where the run does not tell
            which attacks did, of all.
        white_box: what flips it most of the attacks that read it.
    """

    classifier: str
    classes: str
    images: str
    clean_error: Cell
    strongest: Strongest
    white_box: Strongest


def key_figures(run: RunFolder) -> list[KeyFigures]:
    """Return the key figures of each classifier, everything at its own distance."""
    summary = labelled(at_own_distance(run.summary))
    summary = summary[summary["classifier"].notna()]
    marked = untrained(run)
    told = summary["classifier_seen"].notna().any()  # runs of earlier versions do not say who was read
    kinds = {kind: kind_in_words(kind) for kind in perturbed_of(summary)["kind"].unique()}
    unread = {kind: words + " that did not read it" * (told and kind != CONTROL) for kind, words in kinds.items()}
    found = []
    for classifier, rows in summary.groupby("classifier", sort=False):
        first = _most(rows, "n")
        read = rows["classifier_seen"].fillna(False)
        found.append(
            KeyFigures(
                str(classifier),
                "" if pd.isna(first["classes"]) else str(first["classes"]),
                str(first["n"]),
                clean_error(first),
                _strongest(rows[~read], unread, marked),
                _strongest(attacks_of(rows[read]), kinds, marked),
            )
        )
    return found


def _strongest(rows: pd.DataFrame, kinds: Mapping[str, str], marked: Collection[str]) -> Strongest:
    """Return of each kind what flips most, None where there is nothing of it; no kinds at all without rows.

    Args:
        rows: of the summary, of one classifier.
        kinds: from a kind to the words for it.
        marked: names of untrained networks.
    """
    strongest: Strongest = {}
    for kind, words in kinds.items() if len(rows) else ():
        of_kind = rows[(rows["kind"] == kind) & rows["flip_rate"].notna()]
        strongest[words] = None
        if len(of_kind):
            best = _most(of_kind, "flip_rate")
            strongest[words] = str(best["label"]), rate(best, "flip_rate", "flips")._replace(
                untrained=best["label"] in marked
            )
    return strongest


def _most(rows: pd.DataFrame, column: str) -> Row:
    """Return the first of the rows that have most of something."""
    return rows.sort_values(column, ascending=False, kind="stable").iloc[0].to_dict()


def in_words(keys: list[KeyFigures]) -> Iterator[str]:
    """Say of each classifier how it does on untouched images and what flips it most."""
    for key in keys:
        if key.clean_error.text:
            start = (
                f"Untouched, {key.classifier} is wrong on {key.clean_error.note} images whose class it knows: "
                f"{key.clean_error.text}."
            )
        else:
            start = f"{key.classifier} knows the class of no image, so that only flips are counted."
        most = [
            f"the strongest {name}, {label}, flips {cell.note}, {cell.text}"
            for name, found in key.strongest.items()
            if found
            for label, cell in [found]
        ]
        yield f"{start} {_sentence(most)}".strip()


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return text and f"{text[0].upper()}{text[1:]}."


def recognised_styles(run: RunFolder) -> pd.DataFrame:
    """Return how often styles are recognised: rows of the summary, each style attack followed by its controls.

    Returns:
        At their own distance, one of each; its name is in the column `label`, and who recognises styles, or why
        nobody does, in `style_judge`. Empty where the run does not tell.
    """
    records = run.records
    judges = records.assign(label=variant_labels(records)).dropna(subset="style_judge").drop_duplicates("label")
    rows = attacks_then_controls(labelled(perturbed_of(at_own_distance(run.summary))))
    return rows.drop_duplicates("label").merge(judges[["label", "style_judge"]], on="label")


_VERDICTS = {
    "beats": "with more flips than every control",
    "no better": "not shown to have more flips than every control",
    "worse": "with fewer flips than some control",
    "no control": "without a control at the same distance",
}
_CASES = {"unseen": " where the attack did not read the classifier", "seen": " where it did", "": ""}


def count_verdicts(controls: pd.DataFrame) -> str:
    """Say in one sentence how often attacks beat their controls; of nothing, say nothing.

    Args:
        controls: rows of `judge_against_controls` with the column `seen`, as `artattack.report.tables.with_seen`
            gives it. Where the attack did not read the classifier comes first.
    """
    parts = []
    for seen, where in _CASES.items():
        verdicts = controls.loc[controls["seen"].fillna("") == seen, "verdict"].value_counts()
        counts = [f"{verdicts[verdict]} {words}" for verdict, words in _VERDICTS.items() if verdict in verdicts]
        if counts:
            cases = verdicts.sum()
            parts.append(f"of {cases} case{'s' * (cases != 1)}{where}, {', '.join(counts)}")
    return _sentence(parts)


class Skipped(NamedTuple):
    """How many images of a classifier count where."""

    classifier: str
    scored: int
    unlabelled: int
    outside: int
    wrong: int
    right: int


def skipped(run: RunFolder) -> list[Skipped]:
    """Return for each classifier which images are skipped where accuracy and successes are counted."""
    records = run.records
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
    """Why records have no result."""

    what: str
    why: str
    records: int
    images: str


FAILURES = 100  # that the page tells apart
_EXAMPLES = 3


def failures(run: RunFolder) -> tuple[list[Failure], int]:
    """Return why records failed, most first, at most `FAILURES`, and how many records did in all."""
    failed = labelled(run.records[run.records["error"].notna()])
    found = []
    for (what, why), rows in failed.groupby(["label", "error"], sort=False):
        images = list(dict.fromkeys(rows["image"].dropna()))
        more = f" and {len(images) - _EXAMPLES} more" if len(images) > _EXAMPLES else ""
        found.append(Failure(str(what), str(why), len(rows), ", ".join(images[:_EXAMPLES]) + more))
    return sorted(found, key=lambda failure: -failure.records)[:FAILURES], len(failed)
