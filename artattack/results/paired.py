"""Paired comparison of two attacks or controls of one run, image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from artattack.errors import ArtattackError, unknown
from artattack.results.records import CONTROL, variant_labels
from artattack.results.statistics import cluster_bootstrap, mcnemar, newcombe, sign_flip


class PairedDifference(NamedTuple):
    """Result of `paired_difference`.

    Attributes:
        n: number of images with an outcome under both a and b.
        rate_a: rate of a over these images.
        rate_b: rate of b over these images.
        difference: rate_a - rate_b.
        low: lower bound of the difference.
        high: upper bound of the difference.
        only_a: number of images with a True outcome under a only.
        only_b: number of images with a True outcome under b only.
        p_value: two-sided exact McNemar p value.
    """

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
    """Return the difference of two attacks on their shared images, for one classifier.

    Args:
        records: the records of one run.
        a, b: names of attacks, from `variant_labels`.
        classifier: name of the classifier.
        what: outcome whose rate is compared.
        confidence: confidence level of the interval.

    Returns:
        The number of images with an outcome under both; the two rates over them (NaN without images); their difference
        a - b with its `newcombe` interval; the numbers of discordant images and the p value of `mcnemar`.

    Raises:
        ArtattackError: an attack or the classifier is not in the records, or an image occurs twice.
    """
    labels = variant_labels(records)
    for label in (a, b):
        if not (labels == label).any():
            raise unknown("attack", label, set(labels) - {""})
    seen = records["classifier"] == classifier
    if not seen.any():
        raise unknown("classifier", classifier, set(records["classifier"].dropna()))
    outcome_a, outcome_b = (outcomes_by_image(records[seen & (labels == label)], what) for label in (a, b))
    return measure_difference(outcome_a, outcome_b, confidence)


class Case(NamedTuple):
    """One attack or control at one distance, for one classifier.

    Attributes:
        label: name from `variant_labels`.
        kind: kind of the attack, as in the records.
        matched_to: label of the attack that a control copies; otherwise empty.
        budget_distance: distance of the budget; empty at its own distance.
        budget: the budget; infinite at its own distance.
        classifier: name of the classifier.
    """

    label: str
    kind: str
    matched_to: str
    budget_distance: str
    budget: float
    classifier: str

    @property
    def is_control(self) -> bool:
        """Whether the case is a control, not an attack."""
        return self.kind == CONTROL

    @property
    def place(self) -> tuple[str, float]:
        """Key of the distance: the budget or, at its own distance, the attack's label."""
        return (self.budget_distance, self.budget) if self.budget_distance else (self.label, math.inf)

    @property
    def copies(self) -> tuple[str, float]:
        """The `place` of the attack that a control copies; for an attack, its own."""
        return (self.matched_to, math.inf) if self.matched_to else self.place

    def columns(self) -> dict[str, Any]:
        """Return the columns of the attack, its budget and the classifier."""
        place = {"budget_distance": self.budget_distance, "budget": self.budget} if self.budget_distance else {}
        return {"variant": self.label, "classifier": self.classifier} | place


def rows_by_case(records: pd.DataFrame) -> dict[Case, pd.DataFrame]:
    """Return the records of each attack and control at each distance, for each classifier, in order of appearance.

    Raises:
        ArtattackError: an image occurs twice.
    """
    keys = records.assign(label=variant_labels(records))[list(Case._fields)]
    keys["budget"] = keys["budget"].fillna(math.inf)  # NaN is not equal to itself
    keys = keys.fillna("")
    groups = records.groupby([keys[name] for name in Case._fields], sort=False)
    found: dict[Case, pd.DataFrame] = {}
    for key, group in groups:
        parts: Any = key
        _refuse_twice(group)
        found[Case(*parts)] = group
    return found


def outcomes_by_image(rows: pd.DataFrame, what: str) -> pd.Series[Any]:
    """Return the outcomes of one attack and classifier by image, missing if unknown.

    Raises:
        ArtattackError: an image occurs twice.
    """
    _refuse_twice(rows)
    return rows[what].where(rows["error"].isna()).set_axis(rows["image"])


def _refuse_twice(rows: pd.DataFrame) -> None:
    if (twice := rows["image"].duplicated()).any():
        raise ArtattackError(
            f"image '{rows['image'][twice].iloc[0]}' is there twice under '{variant_labels(rows).iloc[0]}', "
            f"classifier '{rows['classifier'].iloc[0]}': compare the records of one run at a time"
        )


def measure_difference(a: pd.Series[Any], b: pd.Series[Any], confidence: float) -> PairedDifference:
    """Compare two outcomes by image, on the images whose outcome is known under both."""
    pairs = pd.concat([a, b], axis=1, join="inner", keys=["a", "b"]).dropna().astype(bool)
    rate_a, rate_b = float(pairs["a"].mean()), float(pairs["b"].mean())
    low, high = newcombe(pairs["a"], pairs["b"], confidence)
    p_value, only_a, only_b = mcnemar(pairs["a"], pairs["b"])
    difference = (only_a - only_b) / len(pairs) if len(pairs) else math.nan
    return PairedDifference(len(pairs), rate_a, rate_b, difference, low, high, only_a, only_b, p_value)


class PooledDifference(NamedTuple):
    """Result of `pooled_difference`.

    Attributes:
        n: number of pairs of rows with an outcome under both a and b.
        photos: number of photos of these pairs.
        rate_a: rate of a over the pairs.
        rate_b: rate of b over the pairs.
        difference: rate_a - rate_b.
        low: lower bound of the difference.
        high: upper bound of the difference.
        design_effect: square of the factor by which repeated photos widen the interval.
        p_value: two-sided p value of `sign_flip`, which accounts for repeated photos.
    """

    n: int
    photos: int
    rate_a: float
    rate_b: float
    difference: float
    low: float
    high: float
    design_effect: float
    p_value: float


def pooled_difference(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    what: str = "flip",
    by: Sequence[str] = ("image", "style", "classifier"),
    crossed: str | None = None,
    confidence: float = 0.95,
) -> PooledDifference:
    """Measure the difference of two attacks over several styles or classifiers, which repeat the same photos.

    A photo in six styles has six rows but counts once: the interval resamples photos (`cluster_bootstrap`), and the
    test flips the sign of all rows of a photo together (`sign_flip`).

    Args:
        a, b: records of the two attacks, at one distance.
        what: the outcome whose rate is compared: a column of True and False.
        by: columns that match rows of a and b; missing values are equal to each other. Without `style`, a control
            without a style matches each style of an attack.
        crossed: a second column to resample, such as `style`, if the claim is about other styles, too. The test remains
            about the given ones.
        confidence: confidence level of the interval.

    Returns:
        The numbers of pairs with both outcomes known and of their photos; the two rates over them; their difference
        a - b with its interval; the design effect; the exact two-sided p value.

    Raises:
        ArtattackError: b has several rows for one of a.
    """
    names = list(by)
    sides = []
    for rows in (a, b):
        known = rows[rows["error"].isna() & rows[what].notna()]
        sides.append(known.assign(**{name: known[name].fillna("") for name in names}))
    if sides[1].duplicated(names).any():
        raise ArtattackError(
            f"rows are there twice that {', '.join(names)} do not tell apart: compare one run at a time"
        )
    wanted = list(dict.fromkeys([*names, *([crossed] if crossed else []), what]))
    pairs = sides[0][wanted].merge(sides[1][[*names, what]], on=names, suffixes=("", "_b"))
    first, second = (pairs[name].to_numpy(np.float64) for name in (what, f"{what}_b"))
    differences = first - second
    others = pairs[crossed] if crossed else None
    found = cluster_bootstrap(differences, pairs["image"], others, confidence=confidence)
    return PooledDifference(
        len(pairs),
        found.clusters,
        float(first.mean()) if len(pairs) else math.nan,
        float(second.mean()) if len(pairs) else math.nan,
        found.mean,
        found.low,
        found.high,
        found.design_effect,
        sign_flip(differences, pairs["image"]),
    )
