"""The records of a run, a row for each image x attack x classifier: as a frame, from CSV, and names of attacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from artattack.files import to_path
from artattack.results.columns import RECORDS
from artattack.results.tables import make_table, read_table

CLEAN, CONTROL = "clean", "control"  # kinds of untouched images and of controls; all other kinds are attacks
# Relations of classifiers to attacks, in the order of interest for findings. `unseen` stands for `unrelated` or `kin`
# in runs of earlier versions, which did not record relatives.
RELATIONS = ("unrelated", "unseen", "kin", "seen")
RANDOM = "RANDOM WEIGHTS"  # mark of untrained networks


def records_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Build the records from plain rows; values and errors as in `make_table`.

    Returns:
        A frame with the columns and dtypes of `artattack.results.columns.RECORDS`.
    """
    return make_table(rows, RECORDS)


def read_records(path: str | Path) -> pd.DataFrame:
    """Read a records.csv back, exactly as it was written; errors as in `read_table`."""
    return read_table(to_path(path), RECORDS)


def attack_labels(table: pd.DataFrame) -> pd.Series[str]:
    """Name the attack of each row of a table: ATTACK/STYLE/SOURCE without the missing parts."""
    parts = [("/" + table[name]).fillna("") for name in ("attack", "style", "source")]
    return (parts[0] + parts[1] + parts[2]).str.removeprefix("/")


def variant_labels(table: pd.DataFrame) -> pd.Series[str]:
    """Name the attack of each row of records or of a summary, with its distance.

    Returns:
        The result of `attack_labels`, followed by " as " and the copied attack for a control, or by " at l2=5" at a
        budget; empty for an unreadable image.
    """
    budget = table["budget"].map("{:g}".format).astype("string")
    place = (" as " + table["matched_to"]).fillna("") + (" at " + table["budget_distance"] + "=" + budget).fillna("")
    return attack_labels(table) + place


def kind_in_words(kind: str) -> str:
    """Return a kind in words, in the singular: `style attack`, `control`, `untouched image`."""
    return {CLEAN: "untouched image", CONTROL: "control"}.get(kind, f"{kind} attack")


def untouched_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of untouched images, of records or another table with kinds."""
    return table[(table["kind"] == CLEAN).fillna(False)]


def controls_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of controls."""
    return table[(table["kind"] == CONTROL).fillna(False)]


def perturbed_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of attacks and controls; unreadable images have no kind."""
    return table[(table["kind"] != CLEAN).fillna(False)]


def attacks_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of attacks of any kind."""
    return perturbed_of(table[(table["kind"] != CONTROL).fillna(False)])


def at_own_distance(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without a budget."""
    return table[table["budget"].isna()]


def read_by_attack(table: pd.DataFrame) -> pd.Series[Any]:
    """Return for each row of records or of a summary whether its attack read the classifier: the white-box rule.

    An attack reads its source, its backbone and its guides, and with them every classifier of equal weights under any
    name (column `classifier_seen`). Runs of earlier versions record only the source; there, a classifier counts as read
    if it has the source's name.

    Returns:
        Values of dtype boolean; missing for rows without a source, such as untouched images.
    """
    return table["classifier_seen"].fillna(table["source"] == table["classifier"])


def relation_to_attack(table: pd.DataFrame) -> pd.Series[str]:
    """Return for each row of records or of a summary the relation of the classifier to the attack.

    Returns:
        One of `RELATIONS` (column `classifier_relation`): `seen` or `unseen` for runs of earlier versions, which record
        only the models read. Missing for untouched images.
    """
    read = read_by_attack(table).map({True: "seen", False: "unseen"}).astype("string")
    return table["classifier_relation"].fillna(read)


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Return a summary, or areas, with the name of each row's attack in the column `label`, and its `relation`."""
    labels = variant_labels if "matched_to" in table else attack_labels
    named = table.assign(label=labels(table))
    return named.assign(relation=relation_to_attack(table)) if "classifier_seen" in table else named


def untrained(summary: pd.DataFrame) -> set[str]:
    """Return the names of classifiers with random weights, and of attacks on sources with random weights.

    The control `random-backbone` is not among them: it is untrained on purpose.
    """
    attacks = attacks_of(summary)
    attacks = attacks[attacks["source_weights"] == "random"]
    classifiers = summary.loc[summary["classifier_weights"] == "random", "classifier"]
    return {*classifiers, *variant_labels(attacks), *attack_labels(attacks)}
