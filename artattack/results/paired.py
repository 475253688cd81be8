"""Outcomes of the same images under two attacks or controls of one run: taken from the records, and paired."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import pandas as pd

from artattack.errors import ArtattackError, unknown
from artattack.results.records import CONTROL, variant_labels
from artattack.results.statistics import mcnemar, newcombe


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
    """Measure how two attacks differ on the images they share, as one classifier sees them.

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
    outcome_a, outcome_b = (outcomes_by_image(records[seen & (labels == label)], what) for label in (a, b))
    return measure_difference(outcome_a, outcome_b, confidence)


class Case(NamedTuple):
    """One attack or control at one place, as one classifier sees it; what is missing is empty, a budget infinite."""

    label: str
    kind: str
    matched_to: str
    budget_distance: str
    budget: float
    classifier: str

    @property
    def is_control(self) -> bool:
        """Whether it is a control, not an attack."""
        return self.kind == CONTROL

    @property
    def place(self) -> tuple[str, float]:
        """What a control must copy to be at this attack's distance: a budget, or the attack itself."""
        return (self.budget_distance, self.budget) if self.budget_distance else (self.label, math.inf)

    @property
    def copies(self) -> tuple[str, float]:
        """The `place` that a control copies."""
        return (self.matched_to, math.inf) if self.matched_to else self.place

    def columns(self) -> dict[str, Any]:
        """Return the columns that say what is compared, and where it stands."""
        place = {"budget_distance": self.budget_distance, "budget": self.budget} if self.budget_distance else {}
        return {"variant": self.label, "classifier": self.classifier} | place


def outcomes_by_case(records: pd.DataFrame) -> dict[Case, pd.Series[Any]]:
    """Return the flips by image of each attack and control at each place and classifier, in order of appearance.

    Raises:
        ArtattackError: an image is there twice.
    """
    keys = records.assign(label=variant_labels(records))[list(Case._fields)]
    keys["budget"] = keys["budget"].fillna(math.inf)  # NaN is not equal to itself
    keys = keys.fillna("")
    groups = records.groupby([keys[name] for name in Case._fields], sort=False)
    found: dict[Case, pd.Series[Any]] = {}
    for key, group in groups:
        parts: Any = key
        found[Case(*parts)] = outcomes_by_image(group, "flip")
    return found


def outcomes_by_image(rows: pd.DataFrame, what: str) -> pd.Series[Any]:
    """Return an outcome by image, missing where it is not known, of one attack and one classifier.

    Raises:
        ArtattackError: an image is there twice.
    """
    if (twice := rows["image"].duplicated()).any():
        raise ArtattackError(
            f"image '{rows['image'][twice].iloc[0]}' is there twice under '{variant_labels(rows).iloc[0]}', "
            f"classifier '{rows['classifier'].iloc[0]}': compare the records of one run at a time"
        )
    return rows[what].where(rows["error"].isna()).set_axis(rows["image"])


def measure_difference(a: pd.Series[Any], b: pd.Series[Any], confidence: float) -> PairedDifference:
    """Hold two outcomes by image against each other, on the images known under both."""
    pairs = pd.concat([a, b], axis=1, join="inner", keys=["a", "b"]).dropna().astype(bool)
    rate_a, rate_b = float(pairs["a"].mean()), float(pairs["b"].mean())
    low, high = newcombe(pairs["a"], pairs["b"], confidence)
    p_value, only_a, only_b = mcnemar(pairs["a"], pairs["b"])
    difference = (only_a - only_b) / len(pairs) if len(pairs) else math.nan
    return PairedDifference(len(pairs), rate_a, rate_b, difference, low, high, only_a, only_b, p_value)
