"""A run in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from artattack.report.tables import Cell, Row, clean_error, labelled, rate, untrained
from artattack.results.against_controls import verdicts_in_words
from artattack.results.records import at_own_distance, kind_in_words, perturbed_of
from artattack.results.run_folder import RunFolder


class KeyFigures(NamedTuple):
    """The key figures of a classifier: how it does on untouched images, and what flips it most."""

    classifier: str
    classes: str
    images: str
    clean_error: Cell
    strongest: dict[str, tuple[str, Cell] | None]


def key_figures(run: RunFolder) -> list[KeyFigures]:
    """Return the key figures of each classifier, everything at its own distance."""
    summary = labelled(at_own_distance(run.summary))
    summary = summary[summary["classifier"].notna()]
    marked = untrained(run)
    kinds = perturbed_of(summary)["kind"].unique()
    found = []
    for classifier, rows in summary.groupby("classifier", sort=False):
        first = _most(rows, "n")
        strongest: dict[str, tuple[str, Cell] | None] = {}
        for kind in kinds:
            name = kind_in_words(kind)
            of_kind = rows[(rows["kind"] == kind) & rows["flip_rate"].notna()]
            strongest[name] = None
            if len(of_kind):
                best = _most(of_kind, "flip_rate")
                cell = rate(best, "flip_rate", "flips")
                strongest[name] = str(best["label"]), cell._replace(untrained=best["label"] in marked)
        classes: str = "" if pd.isna(first["classes"]) else str(first["classes"])
        found.append(KeyFigures(str(classifier), classes, str(first["n"]), clean_error(first), strongest))
    return found


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


class Verdicts(NamedTuple):
    """Whether attacks beat their controls: how many do, and each in words, by verdict."""

    counts: str
    groups: dict[str, list[str]]


_VERDICTS = {
    "beats": "with more flips than every control",
    "no better": "not shown to have more flips than every control",
    "worse": "with fewer flips than some control",
    "no control": "without a control at the same distance",
}


def against_controls(controls: pd.DataFrame) -> Verdicts:
    """Say of the rows of `judge_against_controls` whether attacks beat their controls."""
    groups = {
        words: list(verdicts_in_words(rows))
        for verdict, words in _VERDICTS.items()
        if len(rows := controls[controls["verdict"] == verdict])
    }
    counts = ", ".join(f"{len(lines)} {words}" for words, lines in groups.items())
    return Verdicts(f"of {len(controls)} cases, {counts}." if counts else "", groups)


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
