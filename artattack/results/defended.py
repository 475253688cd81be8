"""Defended classifiers beside their undefended selves: the table `defences` of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from artattack.results.columns import DEFENCES
from artattack.results.paired import Case, measure_difference, outcomes_by_image, rows_by_case
from artattack.results.records import CLEAN, relation_to_attack
from artattack.results.statistics import holm
from artattack.results.tables import make_table

_COUNTED = {"flip_rate": "flip", "clean_accuracy": "correct_before", "robust_accuracy": "right_after"}


def compare_defences(records: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Compare each defended classifier with the scored classifier of the same network without defences.

    Both are compared on the same images: the originals, and those of each attack and control. If the run has an attack
    on each of the two, further rows compare each classifier on the images of the attack that read it: there, a defence
    gains nothing by not being read.

    Args:
        records: the records of one run.
        confidence: confidence level of the intervals.

    Returns:
        A row for each defended classifier x images x rate, with the columns `artattack.results.columns.DEFENCES`; empty
        without a defended classifier whose undefended self is scored. p values of all rows are adjusted together
        (Holm).

    Raises:
        ArtattackError: an image occurs twice.
    """
    twins = _twins(records)
    cases = rows_by_case(records[records["kind"].notna()]) if twins else {}
    rows: list[dict[str, Any]] = []
    for defended, undefended in twins.items():
        for case, own in cases.items():
            if case.classifier != defended:
                continue
            for other in _beside(case, undefended, cases):
                found = _compared(case, own, other, cases[other], confidence)
                rows += [{"classifier": defended, "undefended": undefended, **row} for row in found]
    table = make_table(rows, DEFENCES)
    table["p_holm"] = holm(table["p"])
    return table


def _twins(records: pd.DataFrame) -> dict[str, str]:
    """Return the undefended classifier of each defended one, by name; only pairs that are both scored."""
    named = ["classifier", "classifier_network", "classifier_defences"]
    known = records[named].dropna(subset=["classifier_network"]).drop_duplicates("classifier")
    bare = known[known["classifier_defences"].isna()].drop_duplicates("classifier_network")
    plain = dict(zip(bare["classifier_network"], bare["classifier"], strict=True))
    guarded = known[known["classifier_defences"].notna()]
    pairs = zip(guarded["classifier"], guarded["classifier_network"], strict=True)
    return {str(name): str(plain[network]) for name, network in pairs if network in plain}


def _beside(case: Case, undefended: str, cases: Mapping[Case, pd.DataFrame]) -> Iterator[Case]:
    """Yield the undefended cases to compare with a defended case.

    They are the case on the same images and, if the attack read the defended classifier, that of the same attack on the
    undefended one.
    """
    same = case._replace(classifier=undefended)
    if same in cases:
        yield same
    rows = cases[case]
    if case.kind == CLEAN or (rows["source"] != case.classifier).fillna(True).any():
        return
    first = rows.iloc[0]
    for other, others in cases.items():
        beside = others.iloc[0]
        alike = all(_equal(beside[name], first[name]) for name in ("attack", "style", "matched_to"))
        at = (other.budget_distance, other.budget) == (case.budget_distance, case.budget)
        if other.classifier == undefended and at and alike and _equal(beside["source"], undefended):
            yield other


def _equal(a: Any, b: Any) -> bool:
    return (pd.isna(a) and pd.isna(b)) or (not pd.isna(a) and not pd.isna(b) and bool(a == b))


def _compared(
    case: Case, own: pd.DataFrame, other: Case, others: pd.DataFrame, confidence: float
) -> Iterator[dict[str, Any]]:
    """Yield a row for each rate of a defended case and of the one beside it."""
    rates = ["clean_accuracy"] if case.kind == CLEAN else ["flip_rate", "robust_accuracy"]
    first = own.iloc[0]
    place = {"budget_distance": case.budget_distance, "budget": case.budget} if case.budget_distance else {}
    told = {
        "defences": first["classifier_defences"],
        "kind": case.kind,
        "variant": case.label or CLEAN,
        "variant_undefended": other.label or CLEAN,
        "relation": _relation(own),
        "relation_undefended": _relation(others),
        "source_gradient": first["source_gradient"],
        **place,
    }
    for rate in rates:
        a, b = (_outcomes(rows, rate) for rows in (own, others))
        found = measure_difference(a, b, confidence)
        both = a.dropna().index.intersection(b.dropna().index)
        abstained = own.set_index("image")["abstained_after"].reindex(both)
        yield told | {
            "rate": rate,
            "n": found.n,
            "rate_undefended": found.rate_b,
            "rate_defended": found.rate_a,
            "difference": found.difference,
            "difference_low": found.low,
            "difference_high": found.high,
            "only_undefended": found.only_b,
            "only_defended": found.only_a,
            "abstentions": None if abstained.isna().all() else int(abstained.fillna(False).sum()),
            "p": found.p_value,
        }


def _relation(rows: pd.DataFrame) -> str | None:
    known = relation_to_attack(rows).dropna()
    return str(known.iloc[0]) if len(known) else None


def _outcomes(rows: pd.DataFrame, rate: str) -> pd.Series[Any]:
    """Return the outcome that a rate counts, by image; missing if unknown."""
    right = (rows["top1_class_after"] == rows["true_class"]).where(rows["in_label_space"].fillna(False))
    return outcomes_by_image(rows.assign(right_after=right), _COUNTED[rate])


def defences_in_words(table: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each defended classifier: accuracy given up, and flips under the attack that flips most.

    Among attacks, those count that read the defended classifier, if there are any, each beside the attack that read the
    undefended one.
    """
    for name, rows in table.groupby("classifier", sort=False):
        first = rows.iloc[0]
        clean = rows[rows["rate"] == "clean_accuracy"]
        flips = rows[(rows["rate"] == "flip_rate") & (rows["kind"] != "control") & (rows["n"] > 0)]
        parts = []
        if len(clean) and clean["n"].iloc[0]:
            row = clean.iloc[0]
            parts.append(
                f"is right on {row['rate_defended']:.0%} of {row['n']} untouched images "
                f"({row['undefended']}: {row['rate_undefended']:.0%}, {_points(row)})"
            )
        read = flips[(flips["relation"] == "seen") & (flips["variant"] != flips["variant_undefended"])]
        read = read if len(read) else flips[flips["relation"] == "seen"]
        flips = read if len(read) else flips
        if len(flips):
            row = flips.iloc[int(flips["rate_defended"].to_numpy().argmax())]
            beside = "" if row["variant"] == row["variant_undefended"] else f" under {row['variant_undefended']}"
            unread = "" if len(read) else "; no attack read it"
            parts.append(
                f"flips on {row['rate_defended']:.0%} of {row['n']} under {row['variant']} "
                f"({row['undefended']}{beside}: {row['rate_undefended']:.0%}, {_points(row)}){unread}"
            )
        if parts:
            yield f"{name}, {first['defences']}, {' and '.join(parts)}."


def _points(row: Mapping[str, Any] | pd.Series[Any]) -> str:
    """Return a difference in points with its interval: `-10 points [-22, 3]`."""
    low, high = (100 * row[f"difference_{end}"] for end in ("low", "high"))
    return f"{100 * row['difference']:+.0f} points [{low:+.0f}, {high:+.0f}]"
