"""Comparison of attacks with controls at the same distance: the table `controls` of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from artattack.results.columns import CONTROLS
from artattack.results.paired import Case, PairedDifference, measure_difference, outcomes_by_image, rows_by_case
from artattack.results.records import attack_labels, perturbed_of
from artattack.results.standing import ENOUGH, copied_distance, equally_far, moved, standing
from artattack.results.statistics import holm, mcnemar_one_sided
from artattack.results.tables import make_table


def judge_against_controls(records: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Test for each attack whether it flips more images than every control at the same distance.

    Controls at the same distance copy this attack's distance image by image, or that of another attack that fills the
    same ball (`controls_of_case`); for an attack at a budget, they are at the same budget. An image is compared if
    attack and control stand at that distance, within 5 %. A control that stands there on fewer than 80 % of the
    attack's scored images does not count, because its distance or its choice of images could decide; the column
    `left_out` has the reason. An attack that stands short of a budget has no control there.

    An attack whose own ball is a budget has one row, that of the budget.

    Each attack is tested for two claims:

    - It *beats* its controls: it flips more than every control. The null hypothesis is that some control flips at least
      as many, so the p value is the largest of the one-control p values in the attack's favour: an intersection-union
      test (R. L. Berger, Technometrics 24, 1982), which needs no correction for the number of controls. An additional
      control never lowers this p value.
    - It is *worse*: some control flips more. One control is enough, so the p value is the smallest of the one-control p
      values in the controls' favour, times the number of controls (Bonferroni).

    The one-control tests are one-sided exact McNemar tests. Because both claims are tested, each is tested at half the
    level: `p` is twice the smaller p value, which for a single control is the two-sided exact McNemar test. For
    `p_holm`, the p values of each claim are first adjusted for the number of rows of the table (Holm), with own
    distances, budgets and classifiers together. This bounds the probability of any wrong verdict in the table by
    1 - confidence, under any dependence of outcomes.

    Args:
        records: the records of one run.
        confidence: confidence level of the intervals; an adjusted p value below 1 - confidence is a verdict.

    Returns:
        A row for each attack x budget x classifier, in order of appearance, with the columns
        `artattack.results.columns.CONTROLS`. The deciding control has the largest p value in the attack's favour or, if
        "worse" is the likelier claim, the smallest in its own. The verdict is "beats", "worse", "no better" (neither is
        shown) or "no control" (no control counts at this distance, for the reason in `left_out`, if any).

    Raises:
        ArtattackError: an image occurs twice.
    """
    cases = rows_by_case(perturbed_of(records))
    rows: list[dict[str, Any]] = []
    claims: list[Claims | None] = []
    for attack, own in cases.items():
        if attack.is_control or is_at_a_budget_too(attack, own, cases):
            continue
        columns, claim = _judged(attack, own, controls_of_case(attack, cases), confidence)
        rows.append(attack.columns() | columns)
        claims.append(claim)
    table = make_table(rows, CONTROLS)
    return with_verdicts(table, claims, confidence)


def controls_of_case(attack: Case, cases: Mapping[Case, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the records of the controls for an attack's distance, by label.

    These are the controls that copy the attack's distance. A control that copies another attack serves this one, too,
    if it stands at the same distance, as within one ball, on 80 % of the images, and has the attack's style or none.
    It does so only if no earlier control has the same name, copied distance and style.
    """
    found: dict[str, pd.DataFrame] = {}
    sorts: set[tuple[str, str, str]] = set()
    others: list[tuple[Case, pd.DataFrame]] = []
    for control, rows in cases.items():
        if not control.is_control or control.classifier != attack.classifier:
            continue
        if control.copies == attack.place:
            found[control.label] = rows
            sorts.add(_sort(rows))
        elif control.matched_to and not attack.budget_distance:
            others.append((control, rows))
    own = cases[attack]
    for control, rows in others:
        sort = _sort(rows)
        if sort not in sorts and sort[2] in ("", style_of(own)) and _stands_beside(own, rows):
            found[control.label] = rows
            sorts.add(sort)
    return found


def _sort(control: pd.DataFrame) -> tuple[str, str, str]:
    """Return a control's name, the distance that it copies, and its style."""
    return str(control["attack"].iloc[0]), copied_distance(control["parameters"].iloc[0]), style_of(control)


def style_of(rows: pd.DataFrame) -> str:
    """Return the style of an attack or control; empty without one."""
    style = rows["style"].iloc[0]
    return "" if pd.isna(style) else str(style)


def _stands_beside(attack: pd.DataFrame, control: pd.DataFrame) -> bool:
    """Return whether a control of another attack is at the distance of this one, as measured, on enough images."""
    if attack[copied_distance(control["parameters"].iloc[0])].isna().all():
        return False
    return bool(at_one_distance(attack, control).sum() >= ENOUGH * attack["error"].isna().sum())


def is_at_a_budget_too(attack: Case, rows: pd.DataFrame, cases: Mapping[Case, pd.DataFrame]) -> bool:
    """Return whether the run also has an attack, given at its own distance, at a budget equal to its ball."""
    ball = rows[["eps_norm", "eps"]].dropna().drop_duplicates()
    if attack.budget_distance or len(ball) != 1:
        return False
    norm, eps = ball.iloc[0]
    return any(
        attack_labels(others.iloc[:1]).iloc[0] == attack.label
        for case, others in cases.items()
        if case.classifier == attack.classifier
        and case.budget_distance == norm
        and math.isclose(case.budget, eps, rel_tol=1e-9)
    )


class Claims(NamedTuple):
    """The two claims about an attack and its controls: p values, and the control that decides each.

    Attributes:
        beats: p value of the claim that the attack flips more than every control.
        worse: p value of the claim that some control flips more.
        closest: index of the control with the largest one-control p value in the attack's favour.
        strongest: index of the control with the smallest p value in its own favour.
    """

    beats: float
    worse: float
    closest: int
    strongest: int

    @property
    def p(self) -> float:
        """Twice the p value of the likelier claim, at most 1, because both are tested."""
        return min(1.0, 2 * min(self.beats, self.worse))

    @property
    def decides(self) -> int:
        """The control that decides the likelier claim."""
        return self.closest if self.beats <= self.worse else self.strongest


def claims_of(only_attack: Sequence[int], only_control: Sequence[int]) -> Claims:
    """Return the claims about one attack.

    Args:
        only_attack: for each of one or more controls, the number of images that only the attack flips.
        only_control: for each control, the number of images that only the control flips.
    """
    counts = list(zip(only_attack, only_control, strict=True))
    return claims_from(
        [mcnemar_one_sided(attack, control) for attack, control in counts],
        [mcnemar_one_sided(control, attack) for attack, control in counts],
    )


def claims_from(favour: Sequence[float], against: Sequence[float]) -> Claims:
    """Return the claims of one attack, from the one-sided p values in its favour and in that of each control."""
    each = range(len(favour))
    closest = max(each, key=lambda i: (favour[i], -against[i]))  # ties go to the control with more flips
    strongest = min(each, key=lambda i: (against[i], -favour[i]))
    return Claims(favour[closest], min(1.0, len(favour) * against[strongest]), closest, strongest)


def adjust(claims: Sequence[Claims | None]) -> list[float]:
    """Return `p` of attacks, with each claim adjusted for the number of attacks (Holm).

    Args:
        claims: the claims of each attack; None without a control, which does not count as a test.
    """
    beats = holm([math.nan if claim is None else claim.beats for claim in claims])
    worse = holm([math.nan if claim is None else claim.worse for claim in claims])
    likelier = [worse[i] if claim and claim.worse < claim.beats else beats[i] for i, claim in enumerate(claims)]
    return [min(1.0, 2 * p) if p == p else math.nan for p in likelier]


def with_verdicts(table: pd.DataFrame, claims: Sequence[Claims | None], confidence: float) -> pd.DataFrame:
    """Fill in `p_holm` of a table, and the verdict `beats` or `worse` of each claim beyond chance; return the table.

    Args:
        table: a row for each claim, with the columns `p_holm` and `verdict`.
        claims: as for `adjust`.
        confidence: an adjusted p value below 1 - confidence is a verdict.
    """
    table["p_holm"] = adjust(claims)
    shown = table["p_holm"] < 1 - confidence
    beats = [claim is not None and claim.beats <= claim.worse for claim in claims]
    table.loc[shown, "verdict"] = np.where(beats, "beats", "worse")[shown.to_numpy()]
    return table


def _judged(
    attack: Case, rows: pd.DataFrame, controls: Mapping[str, pd.DataFrame], confidence: float
) -> tuple[dict[str, Any], Claims | None]:
    """Return the columns of one attack's comparison with its controls, and its claims."""
    flips = outcomes_by_image(rows, "flip")
    known = flips.dropna().astype(bool)
    least = ENOUGH * len(known)
    counted: dict[str, PairedDifference] = {}
    left_out = []
    if controls and attack.budget_distance and (stands := int(standing(rows).sum())) < least:
        place = f"{attack.budget_distance}={attack.budget:g}"
        left_out.append(f"the attack itself stands at {place} with {stands} of {len(known)} images")
        controls = {}
    for name, others in controls.items():
        other_flips = outcomes_by_image(others, "flip")
        scored = measure_difference(flips, other_flips, confidence)
        there = at_one_distance(rows, others).reindex(flips.index, fill_value=False)
        compared = measure_difference(flips.where(there), other_flips, confidence)
        if compared.n and compared.n >= least:
            counted[name] = compared
        elif scored.n < least or not scored.n:
            left_out.append(f"{name} was scored on {scored.n} of {len(known)} images")
        else:
            left_out.append(f"{name} is at the attack's distance on {compared.n} of {len(known)} images")
    columns: dict[str, Any] = {"controls": len(counted), "left_out": "; ".join(left_out)}
    if not counted:
        return columns | {"n": len(known), "flip_rate": known.mean(), "verdict": "no control"}, None
    found = list(counted.values())
    claims = claims_of([difference.only_a for difference in found], [difference.only_b for difference in found])
    decides = found[claims.decides]
    return columns | {
        "n": decides.n,
        "flip_rate": decides.rate_a,
        "control": [*counted][claims.decides],
        "control_flip_rate": decides.rate_b,
        "difference": decides.difference,
        "difference_low": decides.low,
        "difference_high": decides.high,
        "only_variant": decides.only_a,
        "only_control": decides.only_b,
        "p": claims.p,
        "verdict": "no better",
    }, claims


def at_one_distance(attack: pd.DataFrame, control: pd.DataFrame) -> pd.Series[bool]:
    """Return whether attack and control stand at the same distance within 5 %, by image."""
    if not pd.isna(attack["budget_distance"].iloc[0]):
        a, b = (standing(rows).set_axis(rows["image"]) for rows in (attack, control))
        return a & b.reindex(a.index, fill_value=False)
    distance = copied_distance(control["parameters"].iloc[0])
    own, other = (pd.Series(moved(rows[distance], distance), rows["image"]) for rows in (attack, control))
    if own.isna().all() or other.isna().all():  # the run has not measured that distance
        return pd.Series(True, own.index)
    return pd.Series(equally_far(other.reindex(own.index).to_numpy(), own.to_numpy()), own.index)


def verdicts_in_words(controls: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each row of `judge_against_controls`."""
    words = {
        "beats": "flips more than every control; the closest is {}",
        "worse": "flips less than a control, {}",
        "no better": "is not shown to flip more than every control; what decides is {}",
    }
    for row in controls.to_dict("records"):
        start = f"{row['variant']} on {row['classifier']}"
        left_out = "" if pd.isna(row["left_out"]) else f" Not compared: {row['left_out']}."
        if row["verdict"] == "no control":
            yield f"{start}: no control at the same distance.{left_out}"
            continue
        yield (
            f"{start} {words[str(row['verdict'])].format(row['control'])}: {row['flip_rate']:.0%} against "
            f"{row['control_flip_rate']:.0%} of {row['n']} images, difference {100 * row['difference']:+.0f} points "
            f"[{100 * row['difference_low']:+.0f}, {100 * row['difference_high']:+.0f}], "
            f"adjusted p {row['p_holm']:.2g}.{left_out}"
        )
