"""Attack against control, attack against attack, and whole curves: tables worked out from the records of a run.

Comparisons are paired: the same images, seen by the same classifier, under both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from artattack.distances import DISTANCES
from artattack.errors import ArtattackError, unknown
from artattack.results.columns import AREAS, CONTROLS, PAIRS
from artattack.results.records import variant_labels
from artattack.results.statistics import Floats, bootstrap_mean, holm, mcnemar, newcombe
from artattack.results.tables import make_table

_CURVES = {"flip_area": "flip", "success_area": "success", "confidence_shift_area": "confidence_shift"}
_ATTACKS = ("style", "baseline")  # kinds with an adversary
_SEED = 0  # of the bootstrap: the same records always have the same tables


class PairedDifference(NamedTuple):
    """Result of `paired_difference`: rates of a and b over the n images known under both."""

    n: int
    rate_a: float
    rate_b: float
    difference: float
    low: float
    high: float
    only_a: int
    only_b: int
    p_value: float


def paired_difference(
    records: pd.DataFrame,
    a: str,
    b: str,
    *,
    classifier: str,
    what: Literal["flip", "success"] = "flip",
    confidence: float = 0.95,
) -> PairedDifference:
    """Compare two attacks on the images they share, as one classifier sees them.

    Args:
        records: the records of one run.
        a, b: attacks by their names in `variant_labels`, which are those of the printed summary.
        classifier: its name.
        what: the outcome whose rate is compared.
        confidence: of the interval.

    Returns:
        n images with a known outcome under both; the two rates over them (NaN if there are none); their
        difference a - b with its `newcombe` interval; discordant images and the p value of `mcnemar`.

    Raises:
        ArtattackError: an attack or the classifier is not in the records, or an image is there twice.
    """
    labels = variant_labels(records)
    for label in (a, b):
        if not (labels == label).any():
            raise unknown("attack", label, set(labels) - {""})
    seen = records["classifier"] == classifier
    if not seen.any():
        raise unknown("classifier", classifier, set(records["classifier"].dropna()))
    outcome_a, outcome_b = (_outcomes(records[seen & (labels == label)], what) for label in (a, b))
    return _compared(outcome_a, outcome_b, confidence)


def compare_to_controls(records: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Ask of each attack whether it flips more images than the best control at the same distance.

    Controls at the same distance are those that copy this attack's, image by image, or, for an attack brought to a
    budget, those brought to the same. The best is the one that flips most, so that having several makes an attack's
    case harder, never easier; of equals, the first. The p values of attacks at their own distance are adjusted
    together, and so are those at the budgets of each distance.

    Args:
        records: the records of one run.
        confidence: of the intervals; an adjusted p value below 1 - confidence is a verdict.

    Returns:
        A row for each attack x budget x classifier, in order of appearance, with the columns
        `artattack.results.columns.CONTROLS`. The verdict is "beats", "worse", "no better" (no difference shown) or
        "no control": none is at this attack's distance, or none has an image in common with it.

    Raises:
        ArtattackError: an image is there twice.
    """
    outcomes = _by_variant(records[records["kind"].isin([*_ATTACKS, "control"])])
    rows: list[dict[str, Any]] = []
    for variant, flips in outcomes.items():
        if variant.kind == "control":
            continue
        comparisons = {
            other.label: _compared(flips, others, confidence)
            for other, others in outcomes.items()
            if other.kind == "control" and other.classifier == variant.classifier and other.distance == variant.place
        }
        names = {"variant": variant.label, "classifier": variant.classifier}
        place = {
            "budget_distance": variant.budget_distance or None,
            "budget": variant.budget if variant.budget_distance else None,
        }
        rows.append(names | place | _against_best(flips, comparisons))
    table = make_table(rows, CONTROLS)
    for _, family in table.groupby(table["budget_distance"].fillna("")):
        table.loc[family.index, "p_holm"] = holm(family["p"])
    shown = table["p_holm"] < 1 - confidence
    table.loc[table["control"].notna(), "verdict"] = "no better"
    table.loc[shown & (table["difference"] > 0), "verdict"] = "beats"
    table.loc[shown & (table["difference"] < 0), "verdict"] = "worse"
    return table


def compare_attacks(records: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Compare each attack with each other, at their own distances, by the rate at which they flip the same images.

    Args:
        records: the records of one run.
        confidence: of the intervals.

    Returns:
        A row for each pair of attacks x classifier with the columns `artattack.results.columns.PAIRS`; p values of
        all rows are adjusted together.

    Raises:
        ArtattackError: an image is there twice.
    """
    outcomes = _by_variant(records[records["kind"].isin(_ATTACKS) & records["budget"].isna()])
    rows = [
        _difference_columns(a.label, b.label, _compared(outcomes[a], outcomes[b], confidence)) | {"classifier": seen_by}
        for seen_by in dict.fromkeys(variant.classifier for variant in outcomes)
        for a, b in combinations([variant for variant in outcomes if variant.classifier == seen_by], 2)
    ]
    table = make_table(rows, PAIRS)
    table["p_holm"] = holm(table["p"])
    return table


def areas(records: pd.DataFrame) -> pd.DataFrame:
    """Sum up curves over budgets: the area under each, and the budget at which half the images flip.

    A curve starts at distance 0, where nothing is changed, and is straight between budgets (trapezoids). Its area is
    divided by its width, so that it is a mean: of the flip rate, say, over all distances up to the largest budget.
    The area of the mean curve is the mean over images of their own curves' areas, which is what is resampled for
    its interval (bootstrap, 95 %). Only images known at every budget count.

    Args:
        records: the records of one run.

    Returns:
        A row for each attack or control x distance x classifier with the columns `artattack.results.columns.AREAS`;
        none where the run has no budgets. `half_flip_budget` is missing where the curve stays below one half.

    Raises:
        ArtattackError: an image is there twice.
    """
    names = ["kind", "attack", "style", "source", "budget_distance", "classifier"]
    at_budgets = records[records["budget"].notna() & records["kind"].isin([*_ATTACKS, "control"])]
    rows = []
    for key, group in at_budgets.groupby(names, sort=False, dropna=False):
        parts: Any = key
        columns: dict[str, Any] = {
            name: None if pd.isna(part) else part for name, part in zip(names, parts, strict=True)
        }
        rows.append(columns | _curve_columns(group, str(columns["budget_distance"])))
    return make_table(rows, AREAS)


def transfer_matrix(summary: pd.DataFrame, rate: Literal["flip_rate", "success_rate"] = "flip_rate") -> pd.DataFrame:
    """Return how attacks made with one model fare on others.

    Args:
        summary: of one run.
        rate: what stands in the matrix.

    Returns:
        float64, a row for each attack at its own distance (index attack, style, source), a column for each
        classifier; NaN where there is no rate.
    """
    attacks = summary[summary["kind"].isin(_ATTACKS) & summary["budget"].isna()]
    names = ["attack", "style", "source"]
    table = attacks.assign(**{name: attacks[name].fillna("") for name in names}).pivot(
        index=names, columns="classifier", values=rate
    )
    order = pd.MultiIndex.from_frame(attacks[names].fillna("").drop_duplicates())
    return table.reindex(index=order, columns=attacks["classifier"].drop_duplicates())


class _Variant(NamedTuple):
    """One attack or control as one classifier sees it; missing parts are empty."""

    label: str
    kind: str
    matched_to: str
    budget_distance: str
    budget: float
    classifier: str

    @property
    def place(self) -> str:
        """Return what a control must copy to be at this attack's distance."""
        return f"{self.budget_distance}={self.budget:g}" if self.budget_distance else self.label

    @property
    def distance(self) -> str:
        """Return what a control copies."""
        return self.matched_to or self.place


def _by_variant(records: pd.DataFrame) -> dict[_Variant, pd.Series[Any]]:
    """Return the flips by image of each variant and classifier, in order of appearance."""
    keys = records.assign(label=variant_labels(records))[list(_Variant._fields)]
    keys["budget"] = keys["budget"].fillna(math.inf)  # NaN is not equal to itself
    keys = keys.fillna("")
    groups = records.groupby([keys[name] for name in _Variant._fields], sort=False)
    found: dict[_Variant, pd.Series[Any]] = {}
    for key, group in groups:
        parts: Any = key
        found[_Variant(*parts)] = _outcomes(group, "flip")
    return found


def _outcomes(rows: pd.DataFrame, what: str) -> pd.Series[Any]:
    """Return an outcome by image, missing where it is not known, of one attack and one classifier."""
    if (twice := rows["image"].duplicated()).any():
        raise ArtattackError(
            f"image '{rows['image'][twice].iloc[0]}' is there twice under '{variant_labels(rows).iloc[0]}', "
            f"classifier '{rows['classifier'].iloc[0]}': compare the records of one run at a time"
        )
    return rows[what].where(rows["error"].isna()).set_axis(rows["image"])


def _compared(a: pd.Series[Any], b: pd.Series[Any], confidence: float) -> PairedDifference:
    pairs = pd.concat([a, b], axis=1, join="inner", keys=["a", "b"]).dropna().astype(bool)
    rate_a, rate_b = float(pairs["a"].mean()), float(pairs["b"].mean())
    low, high = newcombe(pairs["a"], pairs["b"], confidence)
    p_value, only_a, only_b = mcnemar(pairs["a"], pairs["b"])
    difference = (only_a - only_b) / len(pairs) if len(pairs) else math.nan
    return PairedDifference(len(pairs), rate_a, rate_b, difference, low, high, only_a, only_b, p_value)


def _difference_columns(a: str, b: str, found: PairedDifference) -> dict[str, Any]:
    return {
        "a": a,
        "b": b,
        "n": found.n,
        "rate_a": found.rate_a,
        "rate_b": found.rate_b,
        "difference": found.difference,
        "difference_low": found.low,
        "difference_high": found.high,
        "only_a": found.only_a,
        "only_b": found.only_b,
        "p": found.p_value,
    }


def _against_best(flips: pd.Series[Any], comparisons: dict[str, PairedDifference]) -> dict[str, Any]:
    """Return the columns of `compare_to_controls` that one attack's comparisons decide."""
    comparisons = {control: found for control, found in comparisons.items() if found.n}
    if not comparisons:
        known = flips.dropna().astype(bool)
        return {"n": len(known), "flip_rate": known.mean(), "verdict": "no control"}
    control = max(comparisons, key=lambda name: comparisons[name].rate_b)
    best = _difference_columns("", control, comparisons[control])
    names = {
        "b": "control",
        "rate_a": "flip_rate",
        "rate_b": "control_flip_rate",
        "only_a": "only_variant",
        "only_b": "only_control",
    }
    return {names.get(name, name): value for name, value in best.items() if name != "a"}


def _curve_columns(group: pd.DataFrame, distance: str) -> dict[str, Any]:
    """Return the columns of `areas` that one curve decides."""
    from scipy.integrate import trapezoid  # takes long to import, and most who read a run need no areas

    x, flips = _curve(group, "flip", distance)
    columns: dict[str, Any] = {"n": flips.shape[1], "largest_budget": _budget(x[-1], distance)}
    for area, what in _CURVES.items():
        _, values = _curve(group, what, distance)
        own = np.asarray(trapezoid(values, x, axis=0) / x[-1])
        low, high = bootstrap_mean(own, seed=_SEED)
        columns |= {area: own.mean() if len(own) else math.nan, f"{area}_low": low, f"{area}_high": high}
    half = _first_crossing(x, flips.mean(axis=1)) if flips.size else math.nan
    return columns | {"half_flip_budget": _budget(half, distance)}


def _curve(group: pd.DataFrame, what: str, distance: str) -> tuple[Floats, Floats]:
    """Return growing distances (B,) from 0, and an outcome (B, N) there of each image known at all of them."""
    values = group[what].where(group["error"].isna()).astype("Float64").astype("float64")
    table = pd.DataFrame({"moved": _budget(group["budget"], distance), "image": group["image"], "value": values})
    if (twice := table.duplicated(["moved", "image"])).any():
        raise ArtattackError(f"image '{table['image'][twice].iloc[0]}' is there twice at one budget")
    curve = table.pivot(index="moved", columns="image", values="value").sort_index().dropna(axis=1)
    start = np.zeros((1, curve.shape[1]))
    return np.append(0.0, curve.index.to_numpy(np.float64)), np.vstack([start, curve.to_numpy(np.float64)])


def _budget(moved: Any, distance: str) -> Any:
    """Turn a budget into how far that is from the untouched image, or back."""
    untouched = DISTANCES[distance].untouched
    return untouched - moved if untouched else moved


def _first_crossing(x: Floats, y: Floats, level: float = 0.5) -> float:
    """Return where straight lines through points of growing x first reach a level; NaN if nowhere."""
    reached = np.flatnonzero(y >= level)
    if not len(reached):
        return math.nan
    i = int(reached[0])
    if i == 0:
        return float(x[0])
    share = (level - y[i - 1]) / (y[i] - y[i - 1])
    return float(x[i - 1] + share * (x[i] - x[i - 1]))


def verdicts(controls: pd.DataFrame) -> Iterator[str]:
    """Say of each row of `compare_to_controls` in words whether the attack beats the best control."""
    words = {
        "beats": "flips more than the best control",
        "worse": "flips less than the best control",
        "no better": "is not shown to flip more than the best control",
    }
    for row in controls.to_dict("records"):
        start = f"{row['variant']} on {row['classifier']}"
        if row["verdict"] == "no control":
            yield f"{start}: no control at the same distance."
            continue
        yield (
            f"{start} {words[str(row['verdict'])]}, {row['control']}: {row['flip_rate']:.0%} against "
            f"{row['control_flip_rate']:.0%} of {row['n']}, difference {100 * row['difference']:+.0f} points "
            f"[{100 * row['difference_low']:+.0f}, {100 * row['difference_high']:+.0f}], "
            f"adjusted p {row['p_holm']:.2g}."
        )
