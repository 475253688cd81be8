"""Comparison of runs with a reference run: differences of rates, their significance and possible causes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from artattack.results.columns import SIDES
from artattack.results.plain_data import differences, short_hash
from artattack.results.records import CLEAN, variant_labels
from artattack.results.run_folder import RunFolder, load_run
from artattack.results.statistics import Interval, holm, mcnemar, newcombe
from artattack.results.tables import make_table

BEYOND_CHANCE = ("higher", "lower")  # values of the column `change` for a difference beyond chance

_RATES = {
    "clean_accuracy": "correct_before",
    "flip_rate": "flip",
    "success_rate": "success",
}  # column of the records for each rate
_PAIRED_SHARE = (
    0.5  # least share of the smaller run's images in both runs, for a paired comparison of shared images only
)
_HASH = re.compile(r"[0-9a-f]{64}")


class Side(NamedTuple):
    """Differences between one run and the reference.

    Attributes:
        run: folder of the run.
        shared: number of images in both runs, by SHA-256.
        images_reference: number of images in the reference.
        images_run: number of images in the run.
        paired: whether the runs are compared image by image.
        differences: differences of config, image labels and versions, a phrase for each.
        only_reference: each `variant on classifier` that only the reference has.
        only_run: each `variant on classifier` that only the run has.
    """

    run: str
    shared: int
    images_reference: int
    images_run: int
    paired: bool
    differences: tuple[str, ...]
    only_reference: tuple[str, ...]
    only_run: tuple[str, ...]


class SideBySide(NamedTuple):
    """Result of `compare_runs`.

    Attributes:
        reference: folder of the reference run.
        table: the rates of both runs, with the columns `artattack.results.columns.SIDES`.
        sides: differences between each run and the reference.
        confidence: confidence level of the intervals and verdicts.
    """

    reference: str
    table: pd.DataFrame
    sides: tuple[Side, ...]
    confidence: float


def compare_runs(
    reference: RunFolder | str | Path, *runs: RunFolder | str | Path, confidence: float = 0.95
) -> SideBySide:
    """Compare runs with a reference: the rates of every attack and control, at every budget, that both have.

    Images are equal if their files have the same SHA-256. If at least half of the smaller run's images are in the
    other, only shared images count, and rates are compared image by image: Newcombe's interval for paired rates, exact
    McNemar test. Otherwise the two sets are independent samples: Newcombe's interval for independent rates, Fisher's
    exact test; a few shared images make these conservative. The success rate is over images that were classified
    correctly before the attack; for paired runs, in both. The clean accuracy is over untouched images, once for each
    classifier. The p values of all rows are adjusted together (Holm).

    Args:
        reference: a finished run, or its folder or URL.
        runs: the other runs, each compared with the reference.
        confidence: confidence level of the intervals; an adjusted p value below 1 - confidence is a change beyond
            chance.

    Returns:
        The side of each run, and a table with a row for each run x attack x classifier x rate. `difference` is the
        run's rate minus the reference's. `change` is "higher", "lower", "no change shown", "identical" (paired, the
        same outcome on every image) or "not tested" (no images). `setup_differs` lists the differences of the attack,
        its source and the classifier.

    Raises:
        ArtattackError: a run is not finished or its tables cannot be read.
    """
    reference = load_run(reference)
    old = _Outcomes(reference)
    rows: list[dict[str, Any]] = []
    sides = []
    for run in dict.fromkeys(map(load_run, runs)):
        new = _Outcomes(run)
        shared = len(old.images.keys() & new.images.keys())
        paired = shared >= _PAIRED_SHARE * min(len(old.images), len(new.images)) > 0
        start = {"reference": str(reference.path), "run": str(run.path), "paired": paired}
        rows += [start | row for row in _rows(old, new, paired, confidence)]
        side = str(run.path), shared, len(old.images), len(new.images), paired
        sides.append(Side(*side, tuple(_reasons(old, new)), _alone(old, new), _alone(new, old)))
    table = make_table(rows, SIDES)
    table["p_holm"] = holm(table["p"])
    shown = table["p_holm"] < 1 - confidence
    table.loc[shown & (table["difference"] > 0), "change"] = "higher"
    table.loc[shown & (table["difference"] < 0), "change"] = "lower"
    return SideBySide(str(reference.path), table, tuple(sides), confidence)


def changes_in_words(table: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each row with a change beyond chance: the change, its size and possible causes."""
    for row in table[table["change"].isin(BEYOND_CHANCE)].to_dict("records"):
        way = "rose" if row["change"] == "higher" else "fell"
        why = "" if pd.isna(row["setup_differs"]) else f" What differs there: {row['setup_differs']}."
        yield (
            f"{row['rate'].replace('_', ' ')} of {row['variant']} on {row['classifier']} {way} from "
            f"{row['rate_reference']:.0%} to {row['rate_run']:.0%} of {images_counted(row)} images, by "
            f"{difference_in_points(row)} points, adjusted p {row['p_holm']:.2g}.{why}"
        )


def images_counted(row: Mapping[Any, Any]) -> str:
    """Return the number of images of a row as text; two numbers, of reference and run, if the row is not paired."""
    return f"{row['n_run']}" if row["paired"] else f"{row['n_reference']}, {row['n_run']}"


def difference_in_points(row: Mapping[Any, Any]) -> str:
    """Return the difference of a row in percentage points with its interval, `+75 [+38, +91]`; empty if missing."""
    if pd.isna(row["difference"]):
        return ""
    points = [100 * row[f"difference{end}"] for end in ("", "_low", "_high")]
    return f"{points[0]:+.0f} [{points[1]:+.0f}, {points[2]:+.0f}]"


class _Outcomes:
    """Outcomes of each variant and classifier of a run, by image.

    Attributes:
        info: content of run.json.
        images: map from an image to its true class (-1 if unlabelled); the SHA-256 of its file and the number of equal
            files before it identify an image.
        groups: map from (variant, classifier) to its scored records, in order of appearance.
    """

    def __init__(self, run: RunFolder) -> None:
        records = run.records
        self.info = run.info
        files = records[["image", "image_sha256", "true_class"]].dropna(subset="image_sha256").drop_duplicates("image")
        keys = files["image_sha256"] + "#" + files.groupby("image_sha256").cumcount().astype("string")
        self.images: dict[str, int] = dict(zip(keys, files["true_class"].fillna(-1).astype(int), strict=True))
        key_of = dict(zip(files["image"], keys, strict=True))
        scored = records.assign(variant=variant_labels(records), key=records["image"].map(key_of))
        groups = scored[records["error"].isna()].groupby(["variant", "classifier"], sort=False)
        self.groups: dict[tuple[str, str], pd.DataFrame] = {}
        for names, group in groups:
            key: Any = names
            self.groups[key] = group.set_index("key")

    def outcomes(self, key: tuple[str, str], rate: str) -> pd.Series[Any]:
        """Return the outcome that a rate counts, by image, for images whose outcome is known."""
        return self.groups[key][_RATES[rate]].dropna().astype(bool)

    def names(self, key: tuple[str, str]) -> dict[str, Any]:
        """Return the columns that identify a group."""
        first = self.groups[key].iloc[0]
        described = {name: first[name] for name in ("kind", "budget_distance", "budget")}
        return described | {"variant": key[0], "classifier": key[1]}

    def setup(self, key: tuple[str, str]) -> dict[str, Any]:
        """Return the parameters of a group's attack, and the recorded facts on its source and its classifier."""
        first = self.groups[key].iloc[0]
        models = _config(self.info, "models")
        used = [str(first[name]) for name in ("source", "classifier") if not pd.isna(first[name])]
        parameters = {} if pd.isna(first["parameters"]) else json.loads(first["parameters"])
        return parameters | {name: models[name] for name in used if name in models}


def _rows(old: _Outcomes, new: _Outcomes, paired: bool, confidence: float) -> Iterator[dict[str, Any]]:
    """Yield the row of each rate, variant and classifier that both runs have."""
    for key in old.groups:
        if key in new.groups:
            setup = "; ".join(differences(_shortened(old.setup(key)), _shortened(new.setup(key))))
            for rate in _rates(old.groups[key]):
                compared = _both_rates(old.outcomes(key, rate), new.outcomes(key, rate), paired, confidence)
                yield old.names(key) | {"rate": rate, "setup_differs": setup or None} | compared


def _alone(run: _Outcomes, other: _Outcomes) -> tuple[str, ...]:
    return tuple(" on ".join(key) for key in run.groups if key not in other.groups)


def _rates(group: pd.DataFrame) -> tuple[str, ...]:
    """Return the rates of a group: the accuracy for untouched images, the others for attacks."""
    return ("clean_accuracy",) if group["kind"].iloc[0] == CLEAN else ("flip_rate", "success_rate")


def _both_rates(old: pd.Series[Any], new: pd.Series[Any], paired: bool, confidence: float) -> dict[str, Any]:
    if paired:
        pairs = pd.concat([old, new], axis=1, join="inner", keys=["old", "new"])
        old, new = pairs["old"], pairs["new"]
    columns: dict[str, Any] = {"n_reference": len(old), "n_run": len(new)}
    columns |= {
        "rate_reference": old.mean() if len(old) else math.nan,
        "rate_run": new.mean() if len(new) else math.nan,
    }
    if not (len(old) and len(new)):
        return columns | {"change": "not tested"}
    columns |= {"difference": columns["rate_run"] - columns["rate_reference"], "change": "no change shown"}
    if not paired:
        (low, high), p = _independent(old, new, confidence)
        return columns | {"difference_low": low, "difference_high": high, "p": p}
    low, high = newcombe(new, old, confidence)
    p, only_run, only_reference = mcnemar(new, old)
    if only_run + only_reference == 0:
        columns["change"] = "identical"
    only = {"only_run": only_run, "only_reference": only_reference}
    return columns | only | {"difference_low": low, "difference_high": high, "p": p}


def _independent(old: pd.Series[Any], new: pd.Series[Any], confidence: float) -> tuple[Interval, float]:
    """Return the interval of rate(new) - rate(old) for different images, and the p value of equal rates."""
    from scipy.stats import fisher_exact
    from statsmodels.stats.proportion import confint_proportions_2indep

    counts = [(int(side.sum()), len(side)) for side in (new, old)]
    low, high = confint_proportions_2indep(*counts[0], *counts[1], method="newcomb", alpha=1 - confidence)
    p = fisher_exact([[yes, n - yes] for yes, n in counts]).pvalue
    return (float(low), float(high)), float(p)


def _reasons(old: _Outcomes, new: _Outcomes) -> Iterator[str]:
    """Yield possible causes of differences; attacks and models that only one run has do not count."""
    was, now = _telling(old.info), _telling(new.info)
    for part in ("attacks", "models", "files"):
        both = was[part].keys() & now[part].keys()
        for side in (was, now):
            side[part] = {name: value for name, value in side[part].items() if name in both}
    yield from differences(was, now)
    relabelled = [key for key, label in old.images.items() if new.images.get(key, label) != label]
    if relabelled:
        yield f"{len(relabelled)} of the images in both have other labels"


def _telling(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of run.json that affect results, in a comparable order."""
    benchmark = {key: value for key, value in _config(info, "benchmark").items() if key not in ("name", "parquet")}
    attacks = {entry["name"]: entry for entry in benchmark.pop("attacks", ())}
    specs = benchmark.get("models", {})
    models = {name: specs.get(name, {}) | model for name, model in _config(info, "models").items()}
    config = {"attacks": attacks, "models": models, "files": _config(info, "files")}
    telling: dict[str, Any] = _shortened(benchmark | config | {"versions": info.get("versions", {})})
    return telling


def _config(info: Mapping[str, Any], part: str) -> dict[str, Any]:
    found: dict[str, Any] = info["config"].get(part, {})
    return found


def _shortened(data: Any) -> Any:
    """Abbreviate hashes for readers."""
    if isinstance(data, Mapping):
        return {key: _shortened(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_shortened(value) for value in data]
    return short_hash(data) if isinstance(data, str) and _HASH.fullmatch(data) else data
