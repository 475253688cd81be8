"""Attacks pooled over styles and classifiers, compared with their controls: the table `pooled` of a run.

A photo in six styles, or shown to six classifiers, counts once: intervals resample photos, and tests flip the sign of
all rows of a photo together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from artattack.results.against_controls import (
    Claims,
    at_one_distance,
    claims_from,
    controls_of_case,
    is_at_a_budget_too,
    style_of,
    with_verdicts,
)
from artattack.results.columns import POOLED
from artattack.results.paired import Case, rows_by_case
from artattack.results.records import RELATIONS, perturbed_of, relation_to_attack
from artattack.results.standing import ENOUGH
from artattack.results.statistics import cluster_bootstrap, pooled_rate, sign_flip
from artattack.results.tables import make_table

_VERDICTS = {
    "beats": "It flips more than every control at the same distance; the closest, {}, flips",
    "worse": "It flips fewer than a control at the same distance: {} flips",
    "no better": "It is not shown to flip more than every control at the same distance: {} flips",
}


class _Member(NamedTuple):
    """One style of an attack on one classifier."""

    case: Case
    rows: pd.DataFrame


def pool_attacks(records: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Pool each attack over its styles and all classifiers of one relation to it, and compare it with its controls.

    Comparisons follow `artattack.results.against_controls.judge_against_controls`: image by image, if attack and
    control stand at one distance. A control counts if that holds for 80 % of the attack's rows. The two claims and
    their p values are the same, with one-sided exact sign-flip tests of photos (`sign_flip`) instead of McNemar tests:
    all rows of a photo are one observation, whatever their dependence.

    Args:
        records: the records of one run.
        confidence: confidence level of the intervals; an adjusted p value below 1 - confidence is a verdict.

    Returns:
        A row for each attack x source x place x relation with several styles or classifiers, in the order of
        `RELATIONS`, with the columns `artattack.results.columns.POOLED`. Classifiers with random weights do not count.

    Raises:
        ArtattackError: an image occurs twice.
    """
    cases = rows_by_case(perturbed_of(records))
    rows: list[dict[str, Any]] = []
    claims: list[Claims | None] = []
    for (attack, source, relation), members in _groups(cases):
        columns, claim = _pooled(members, cases, confidence)
        first = members[0].case
        place = {"budget_distance": first.budget_distance, "budget": first.budget} if first.budget_distance else {}
        named = {"kind": first.kind, "attack": attack, "source": source, "relation": relation}
        rows.append(named | place | columns)
        claims.append(claim)
    table = make_table(rows, POOLED)
    return with_verdicts(table, claims, confidence)


def _groups(cases: Mapping[Case, pd.DataFrame]) -> Iterator[tuple[tuple[str, str, str], list[_Member]]]:
    """Yield attack, source and relation of each group with two or more members, and the members."""
    groups: dict[tuple[str, str, str, str, float], list[_Member]] = {}
    for case, rows in cases.items():
        scored = rows[rows["error"].isna()]  # records without a result lack the relation
        untrained = (rows["classifier_weights"] == "random").any()
        if len(scored) and not (case.is_control or untrained or is_at_a_budget_too(case, rows, cases)):
            relation = relation_to_attack(scored.iloc[:1]).iloc[0]
            source = rows["source"].iloc[0]
            named = (str(rows["attack"].iloc[0]), "" if pd.isna(source) else str(source), str(relation))
            groups.setdefault((*named, case.budget_distance, case.budget), []).append(_Member(case, rows))
    for relation in RELATIONS:
        for key, members in groups.items():
            if key[2] == relation and len(members) > 1:
                yield key[:3], members


def _pooled(
    members: Sequence[_Member], cases: Mapping[Case, pd.DataFrame], confidence: float
) -> tuple[dict[str, Any], Claims | None]:
    """Return the columns of a pooled attack, and its claims."""
    scored = pd.concat([rows[rows["error"].isna()] for _, rows in members])
    found = pooled_rate(scored["flip"], scored["image"], confidence)
    columns: dict[str, Any] = {
        "styles": scored["style"].nunique(),
        "classifiers": scored["classifier"].nunique(),
        "n": found.n,
        "photos": found.clusters,
        "flips": int(scored["flip"].sum()),
        "flip_rate": found.mean,
        "flip_rate_low": found.low,
        "flip_rate_high": found.high,
        "design_effect": found.design_effect,
        "mean_l2": scored["l2"].mean(),
        "verdict": "no control",
    }
    counted = {
        name: pairs for name, pairs in _pairs(members, cases).items() if len(pairs) and len(pairs) >= ENOUGH * found.n
    }
    columns["controls"] = len(counted)
    if not counted:
        return columns, None
    names, found_pairs = list(counted), list(counted.values())
    differences = [pairs["a"] - pairs["b"] for pairs in found_pairs]
    photos = [pairs["image"] for pairs in found_pairs]
    claims = claims_from(
        [sign_flip(d, of, one_sided=True) for d, of in zip(differences, photos, strict=True)],
        [sign_flip(-d, of, one_sided=True) for d, of in zip(differences, photos, strict=True)],
    )
    pairs, difference = found_pairs[claims.decides], differences[claims.decides]
    interval = cluster_bootstrap(difference, pairs["image"], confidence=confidence)
    return columns | {
        "control": names[claims.decides],
        "n_compared": len(pairs),
        "control_flip_rate": pairs["b"].mean(),
        "difference": interval.mean,
        "difference_low": interval.low,
        "difference_high": interval.high,
        "difference_design_effect": interval.design_effect,
        "p": claims.p,
        "verdict": "no better",
    }, claims


def _pairs(members: Sequence[_Member], cases: Mapping[Case, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return for each control the flips of the attack, `a`, and the control, `b`, on images at the same distance."""
    found: dict[str, list[pd.DataFrame]] = {}
    for case, rows in members:
        own = rows.set_index("image")["flip"].where(rows["error"].isna().to_numpy())
        style = style_of(rows)
        for others in controls_of_case(case, cases).values():
            mixed_in = style_of(others)
            if style and mixed_in and mixed_in != style:
                continue  # at a budget, a control may belong to another style
            name = str(others["attack"].iloc[0]) + (f"/{mixed_in}" if mixed_in and not style else "")
            other = others.set_index("image")["flip"].where(others["error"].isna().to_numpy())
            there = at_one_distance(rows, others).reindex(own.index, fill_value=False)
            pairs = pd.concat([own.where(there), other], axis=1, join="inner", keys=["a", "b"]).dropna()
            found.setdefault(name, []).append(pairs.astype(bool).astype(float).reset_index(names="image"))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}


def pooled_in_words(pooled: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence on the attack with the highest pooled flip rate for the first relation in the table.

    Attacks count at their own distances, or at budgets if the table has no other rows.

    Args:
        pooled: the result of `pool_attacks`.
    """
    rows = pooled[pooled["budget"].isna()]
    rows = pooled if rows.empty else rows
    if rows.empty:
        return
    rows = rows[rows["relation"] == rows["relation"].iloc[0]]
    row = rows.sort_values("flip_rate", ascending=False, kind="stable").iloc[0].to_dict()
    name = row["attack"] if pd.isna(row["source"]) else f"{row['attack']}/{row['source']}"
    of = [f"{row[what]} {what[:-1]}{'s' * (row[what] != 1)}" for what in ("styles", "classifiers") if row[what] > 1]
    effect = "" if math.isnan(row["design_effect"]) else f", design effect {row['design_effect']:.1f}"
    yield (
        f"Over {' and '.join(of)} ({row['relation']}), {name} flips {row['flip_rate']:.0%} "
        f"[{100 * row['flip_rate_low']:.0f}, {100 * row['flip_rate_high']:.0f}] of {row['n']} rows of {row['photos']} "
        f"photos{effect}. {_verdict(row)}"
    )


def _verdict(row: Mapping[Any, Any]) -> str:
    if row["verdict"] == "no control":
        return "No control stands at the same distance."
    return (
        f"{_VERDICTS[str(row['verdict'])].format(row['control'])} {row['control_flip_rate']:.0%} (difference "
        f"{100 * row['difference']:+.0f} points [{100 * row['difference_low']:+.0f}, "
        f"{100 * row['difference_high']:+.0f}], adjusted p {row['p_holm']:.2g})."
    )
