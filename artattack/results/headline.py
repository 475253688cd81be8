"""The headline of a run: its verdict in two sentences, and its strongest attacks and controls on one screen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from artattack.results.order import classifiers_by_accuracy, right_on_none
from artattack.results.records import (
    CONTROL,
    RANDOM,
    RELATIONS,
    at_own_distance,
    attack_labels,
    attacks_of,
    labelled,
    perturbed_of,
    untouched_of,
)

ROWS = 20  # rows of the table: one screen
_VERDICTS = {
    "beats": "It flips more than every control at the same distance; the closest, {}, flips {:.0%} "
    "(adjusted p {:.2g}).",
    "worse": "It flips fewer than a control at the same distance: {} flips {:.0%} (adjusted p {:.2g}).",
    "no better": "It is not shown to flip more than every control at the same distance: {} flips {:.0%} "
    "(adjusted p {:.2g}).",
}
_AMONG = {
    "unrelated": "attacks that read no relative of it",
    "unseen": "attacks that did not read it",
    "kin": "attacks that read a relative of it, not itself",
    "seen": "attacks, which all read it (white box)",
}
_SHOWN = {"unrelated": "unrelated", "unseen": "", "kin": "kin", "seen": "white box"}
_NO_CONTROL = "No control stands at the same distance, so nothing shows that the attack does more than a plain change."


class Headline(NamedTuple):
    """The verdict of a run and its best rows.

    Attributes:
        sentences: the verdict: the strongest attack, and how it compares with its controls.
        caption: the classifier that the table is sorted by, and its accuracy on untouched images.
        table: text, a row for each attack and control, best first, at most `ROWS`. The columns are, from the most
            important on, the name, the flips, the verdict, L2 and more; the last are flips of other classifiers.
        left_out: number of attacks and controls, at any distance, that the table leaves out.
    """

    sentences: tuple[str, ...]
    caption: str
    table: pd.DataFrame
    left_out: int


def headline_of(summary: pd.DataFrame, controls: pd.DataFrame) -> Headline:
    """Return the headline of a run.

    The headline is about the classifier with the highest accuracy on untouched images among the classifiers that are
    unrelated to some attack, or among all if there are none. A classifier that is right on no untouched image counts
    only if every classifier is. The strongest attack has the highest flip rate on this classifier among the attacks of
    one relation to it: the first of `RELATIONS` that an attack has. Attacks count at their own distance, or at their
    budgets if the run has budgets only.

    Args:
        summary: the result of `summarise`.
        controls: the result of `judge_against_controls`.
    """
    names = _unrelated_first(classifiers_by_accuracy(summary), summary)
    rows = labelled(perturbed_of(summary))
    rows = rows[rows["classifier"].notna()]
    shown = at_own_distance(rows)
    shown = rows if shown.empty else shown
    everything = rows["label"].nunique()
    if not names or shown["flip_rate"].isna().all():
        return Headline(("No attack was scored.",), "", pd.DataFrame(), everything)
    best = names[0]
    own = shown[(shown["classifier"] == best) & shown["flip_rate"].notna()]
    own = own.sort_values(["flip_rate", "mean_l2"], ascending=[False, True], kind="stable")
    table = pd.DataFrame([_cells(row, shown, controls, names[1:]) for row in own.to_dict("records")], dtype="string")
    table = table.loc[:, [name for name in table if name in ("attack or control", "flips") or table[name].ne("").any()]]
    sentences = _sentences(own[own["kind"] != CONTROL], controls, best)
    table = table.head(ROWS)
    return Headline(sentences, _caption(summary, best), table, everything - len(table))


def _unrelated_first(names: list[str], summary: pd.DataFrame) -> list[str]:
    """Return classifiers, those unrelated to some attack first, if the run records relations.

    Classifiers that are right on no untouched image come last.
    """
    attacks = attacks_of(summary)
    unrelated = set(attacks.loc[attacks["classifier_relation"] == "unrelated", "classifier"])
    hopeless = right_on_none(untouched_of(summary))
    return sorted(names, key=lambda name: (name in hopeless, name not in unrelated))


def _sentences(attacks: pd.DataFrame, controls: pd.DataFrame, classifier: str) -> tuple[str, ...]:
    if attacks.empty:
        return (f"No attack was scored on {classifier}.",)
    relation = next(name for name in RELATIONS if (attacks["relation"] == name).any())
    row = attacks[attacks["relation"] == relation].iloc[0].to_dict()
    among = _AMONG[relation]
    sentence = f"On {classifier}, {row['label']} flips most among the {among}: {_rate(row, 'flip_rate')} of {row['n']} "
    sentence += "images" + ("." if pd.isna(row["mean_l2"]) else f", at a mean L2 of {row['mean_l2']:.1f}.")
    judged = _judged(row, controls)
    if judged is None or judged["verdict"] == "no control":
        return sentence, _NO_CONTROL
    told = _VERDICTS[judged["verdict"]]
    return sentence, told.format(judged["control"], judged["control_flip_rate"], judged["p_holm"])


def _caption(summary: pd.DataFrame, classifier: str) -> str:
    rows = summary[summary["classifier"] == classifier]
    caption = _named(classifier, rows["classifier_weights"].iloc[0])
    for row in untouched_of(rows).to_dict("records"):
        if not pd.isna(row["clean_accuracy"]):
            caption += f", right on {_rate(row, 'clean_accuracy')} of {row['n_labelled']} untouched images"
    return f"{caption}; flips with 95 % intervals, most first:"


def _cells(row: Mapping[Any, Any], shown: pd.DataFrame, controls: pd.DataFrame, others: list[str]) -> dict[str, str]:
    """Return the cells of one attack or control as text; cells may be empty."""
    is_control = row["kind"] == CONTROL
    judged = _judged(row, controls)
    label = _named(
        row["label"], None if is_control else row["source_weights"]
    )  # the control `random-backbone` is untrained on purpose
    cells = {
        "attack or control": label,
        "flips": _rate(row, "flip_rate"),
        "verdict": "control" if is_control else "" if judged is None else str(judged["verdict"]),
        "relation": "" if is_control else _SHOWN[row["relation"]],
        "L2": "" if pd.isna(row["mean_l2"]) else f"{row['mean_l2']:.1f}",
        "to target": "" if pd.isna(row["target_hit_rate"]) else _rate(row, "target_hit_rate"),
        "style": "" if pd.isna(row["style_identified_rate"]) else f"{row['style_identified_rate']:.0%}",
    }
    same = shown[shown["label"] == row["label"]]
    for name in others:
        rate = same.loc[same["classifier"] == name, "flip_rate"]
        weights = same.loc[same["classifier"] == name, "classifier_weights"]
        heading = _named(name, weights.iloc[0] if len(weights) else None)
        cells[heading] = "" if rate.empty or pd.isna(rate.iloc[0]) else f"{rate.iloc[0]:.0%}"
    return cells


def _judged(row: Mapping[Any, Any], controls: pd.DataFrame) -> dict[str, Any] | None:
    """Return an attack's row of the table `controls`.

    An attack whose own ball is one of the budgets has only the row of that budget: the one nearest to its distance.
    """
    judged = controls[controls["classifier"] == row["classifier"]]
    exact = judged[judged["variant"] == row["label"]]
    if exact.empty and pd.isna(row["budget"]):
        label = attack_labels(pd.DataFrame([row]).astype(dict.fromkeys(("attack", "style", "source"), "string")))
        at_budgets = judged[judged["variant"].str.startswith(f"{label.iloc[0]} at ")]
        own = [row.get(f"mean_{distance}", math.nan) for distance in at_budgets["budget_distance"]]
        away = ((at_budgets["budget"] - own) / at_budgets["budget"]).abs().dropna()
        exact = at_budgets.loc[[away.idxmin()]] if len(away) else exact
    return None if len(exact) != 1 else exact.iloc[0].to_dict()


def _rate(row: Mapping[Any, Any], rate: str) -> str:
    return f"{row[rate]:.0%} [{100 * row[f'{rate}_low']:.0f}, {100 * row[f'{rate}_high']:.0f}]"


def _named(name: Any, weights: Any) -> str:
    return f"{name} {RANDOM}" if not pd.isna(weights) and weights == "random" else str(name)
