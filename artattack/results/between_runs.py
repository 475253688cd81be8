"""Runs side by side: which rates differ from those of a reference run, by how much, beyond chance or not, and why."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from artattack.results.columns import SIDES
from artattack.results.records import CLEAN, variant_labels
from artattack.results.run_folder import RunFolder, differences
from artattack.results.statistics import Interval, holm, mcnemar, newcombe
from artattack.results.tables import make_table

_RATES = {"clean_accuracy": "correct_before", "flip_rate": "flip", "success_rate": "success"}  # rate -> its record
_WORDS = {"clean_accuracy": "clean", "flip_rate": "flips", "success_rate": "success"}
_PAIRED_SHARE = 0.5  # of the images of the smaller run, from which on those in both runs are all that is compared
_HASH = re.compile(r"[0-9a-f]{64}")
_HASH_SHOWN = 12  # characters of a SHA-256 that tell two apart


class Side(NamedTuple):
    """What sets one run apart from the reference.

    Attributes:
        run: its folder.
        shared, images_reference, images_run: images in both runs, by their SHA-256, and in each.
        paired: whether the runs are compared image by image.
        differences: of config, image labels and versions, a phrase for each.
        only_reference, only_run: `variant on classifier` that only one of the two has.
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
    """Result of `compare_runs`: the rates, with the columns `artattack.results.columns.SIDES`, and each run's side."""

    reference: str
    table: pd.DataFrame
    sides: tuple[Side, ...]
    confidence: float


def compare_runs(reference: RunFolder, *runs: RunFolder, confidence: float = 0.95) -> SideBySide:
    """Set runs beside a reference: the rates of every attack and control, at every budget, that two of them share.

    Images are the same where their files have the same SHA-256. Where at least half the images of the smaller run
    are in the other, only those in both count, and rates are compared image by image: Newcombe's interval for paired
    rates, exact McNemar test. Otherwise the two sets are taken for independent samples: Newcombe's interval for
    independent rates, Fisher's exact test; the few images in both make those cautious, not bold. The success rate
    counts images that were right before the attack: where paired, in both runs. The clean accuracy is that of the
    untouched images, once for each classifier. The p values of all rows are adjusted together (Holm).

    Args:
        reference: a finished run.
        runs: others, each compared with it.
        confidence: of the intervals; an adjusted p value below 1 - confidence is a change beyond chance.

    Returns:
        A row for each run x attack x classifier x rate. `difference` is that of the run minus the reference's; the
        verdict is "higher", "lower", "no change shown", "identical" (paired, the same outcome on every image) or "not
        tested" (no images); `changes` says what was changed in the attack itself, its source or its classifier.

    Raises:
        ArtattackError: a run is not finished or its tables cannot be read.
    """
    old = _Outcomes(reference)
    rows: list[dict[str, Any]] = []
    sides = []
    for run in dict.fromkeys(runs):
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
    table.loc[shown & (table["difference"] > 0), "verdict"] = "higher"
    table.loc[shown & (table["difference"] < 0), "verdict"] = "lower"
    return SideBySide(str(reference.path), table, tuple(sides), confidence)


def print_side_by_side(found: SideBySide, console: Console) -> None:
    """Print for each run what differs from the reference, its rates that are not the same, and what they come to.

    Args:
        found: as `compare_runs` returns it.
        console: where to.
    """
    for side in found.sides:
        _say(console, f"{side.run} against {found.reference}", "bold")
        for line in _introduction(side, found.reference):
            _say(console, line)
        _say(console, "")
        rows = found.table[found.table["run"] == side.run]
        changed = rows[~rows["verdict"].isin(["identical", "not tested"])]
        if len(changed):
            console.print(_table(changed))
            _say(console, "")
        for line in _conclusion(rows, 1 - found.confidence):
            _say(console, line)
        _say(console, "")


def verdicts(table: pd.DataFrame) -> Iterator[str]:
    """Say in words of each row with a change beyond chance what has changed, by how much and what may be why."""
    for row in table[table["verdict"].isin(["higher", "lower"])].to_dict("records"):
        way = "rose" if row["verdict"] == "higher" else "fell"
        why = "" if pd.isna(row["changes"]) else f" Changed there: {row['changes']}."
        yield (
            f"{row['rate'].replace('_', ' ')} of {row['variant']} on {row['classifier']} {way} from "
            f"{row['rate_reference']:.0%} to {row['rate_run']:.0%} of {_count(row)} images, by {_points(row)} points, "
            f"adjusted p {row['p_holm']:.2g}.{why}"
        )


class _Outcomes:
    """What the records of a run say of each variant and classifier, by image.

    Attributes:
        info: its run.json.
        images: image -> true class (-1 if unlabelled); an image is the SHA-256 of its file and how many of the same
            came before it.
        groups: (variant, classifier) -> its scored records, in order of appearance.
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
        """Return what a rate counts, by image, without the images it is not known of."""
        return self.groups[key][_RATES[rate]].dropna().astype(bool)

    def names(self, key: tuple[str, str]) -> dict[str, Any]:
        """Return the columns that say what a group is."""
        first = self.groups[key].iloc[0]
        described = {name: first[name] for name in ("kind", "budget_distance", "budget")}
        return described | {"variant": key[0], "classifier": key[1]}

    def described(self, key: tuple[str, str]) -> dict[str, Any]:
        """Return the parameters of a group's attack, and what is known of the models it reads and is seen by."""
        first = self.groups[key].iloc[0]
        models = _config(self.info, "models")
        used = [str(first[name]) for name in ("source", "classifier") if not pd.isna(first[name])]
        parameters = {} if pd.isna(first["parameters"]) else json.loads(first["parameters"])
        return parameters | {name: models[name] for name in used if name in models}


def _rows(old: _Outcomes, new: _Outcomes, paired: bool, confidence: float) -> Iterator[dict[str, Any]]:
    """Yield what a table says of each rate of each variant and classifier in both runs."""
    for key in old.groups:
        if key in new.groups:
            changes = "; ".join(differences(_shortened(old.described(key)), _shortened(new.described(key))))
            for rate in _rates(old.groups[key]):
                compared = _compared(old.outcomes(key, rate), new.outcomes(key, rate), paired, confidence)
                yield old.names(key) | {"rate": rate, "changes": changes or None} | compared


def _alone(run: _Outcomes, other: _Outcomes) -> tuple[str, ...]:
    return tuple(" on ".join(key) for key in run.groups if key not in other.groups)


def _rates(group: pd.DataFrame) -> tuple[str, ...]:
    """Return the rates that say something of a group: untouched images have an accuracy, attacks the others."""
    return ("clean_accuracy",) if group["kind"].iloc[0] == CLEAN else ("flip_rate", "success_rate")


def _compared(old: pd.Series[Any], new: pd.Series[Any], paired: bool, confidence: float) -> dict[str, Any]:
    if paired:
        pairs = pd.concat([old, new], axis=1, join="inner", keys=["old", "new"])
        old, new = pairs["old"], pairs["new"]
    columns: dict[str, Any] = {"n_reference": len(old), "n_run": len(new)}
    columns |= {
        "rate_reference": old.mean() if len(old) else math.nan,
        "rate_run": new.mean() if len(new) else math.nan,
    }
    if not (len(old) and len(new)):
        return columns | {"verdict": "not tested"}
    columns |= {"difference": columns["rate_run"] - columns["rate_reference"], "verdict": "no change shown"}
    if not paired:
        (low, high), p = _independent(old, new, confidence)
        return columns | {"difference_low": low, "difference_high": high, "p": p}
    low, high = newcombe(new, old, confidence)
    p, only_run, only_reference = mcnemar(new, old)
    if only_run + only_reference == 0:
        columns["verdict"] = "identical"
    only = {"only_run": only_run, "only_reference": only_reference}
    return columns | only | {"difference_low": low, "difference_high": high, "p": p}


def _independent(old: pd.Series[Any], new: pd.Series[Any], confidence: float) -> tuple[Interval, float]:
    """Return the interval of rate(new) - rate(old) of different images, and the p value that both are the same."""
    from scipy.stats import fisher_exact
    from statsmodels.stats.proportion import confint_proportions_2indep

    counts = [(int(side.sum()), len(side)) for side in (new, old)]
    low, high = confint_proportions_2indep(*counts[0], *counts[1], method="newcomb", alpha=1 - confidence)
    p = fisher_exact([[yes, n - yes] for yes, n in counts]).pvalue
    return (float(low), float(high)), float(p)


def _reasons(old: _Outcomes, new: _Outcomes) -> Iterator[str]:
    """Yield what may be why rates differ; attacks and models of one run alone are no reason."""
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
    """Return what run.json says that bears on results, so that equal things stand at equal places."""
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
    """Cut hashes to what a reader can tell apart."""
    if isinstance(data, Mapping):
        return {key: _shortened(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_shortened(value) for value in data]
    return data[:_HASH_SHOWN] if isinstance(data, str) and _HASH.fullmatch(data) else data


def _introduction(side: Side, reference: str) -> Iterator[str]:
    how = "image by image (paired)" if side.paired else "as independent samples of images (not paired)"
    yield f"Images: {side.shared} in both, of {side.images_reference} and {side.images_run}; compared {how}"
    yield from _listed("Differs", side.differences) if side.differences else ["Differs: nothing that run.json tells"]
    yield from _listed(f"Only in {reference}", side.only_reference)
    yield from _listed(f"Only in {side.run}", side.only_run)


def _listed(what: str, items: Sequence[str]) -> list[str]:
    return [f"{what}:", *(f"  {item}" for item in items)] if items else []


def _conclusion(rows: pd.DataFrame, level: float) -> Iterator[str]:
    counts = rows["verdict"].value_counts()
    if not len(rows):
        yield "The runs share no attack and classifier."
        return
    if same := counts.get("identical", 0):
        yield f"{same} of {len(rows)} rates are identical, image by image."
    if untested := counts.get("not tested", 0):
        yield f"{untested} of {len(rows)} rates have no images to compare."
    beyond = list(verdicts(rows))
    yield f"{len(beyond)} of {len(rows)} rates differ beyond chance (adjusted p < {level:g})" + (":" if beyond else ".")
    yield from (f"  {line}" for line in beyond)


def _table(rows: pd.DataFrame) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("attack, classifier", overflow="fold")
    for name in ("rate", "n", "was", "is", "difference", "p"):
        table.add_column(name, justify="left" if name == "rate" else "right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for variant, group in rows.groupby("variant", sort=False):
        table.add_row(Text(str(variant), style="bold"))
        for row in group.to_dict("records"):
            shown = row["verdict"] in ("higher", "lower")
            cells = [
                f"  {row['classifier']}",
                _WORDS[row["rate"]],
                _count(row),
                *("" if pd.isna(row[name]) else f"{row[name]:.0%}" for name in ("rate_reference", "rate_run")),
                _points(row),
                "" if pd.isna(row["p_holm"]) else f"{row['p_holm']:.2g}",
                row["verdict"],
            ]
            table.add_row(*map(Text, map(str, cells)), style="bold" if shown else None)
    return table


def _count(row: Mapping[Any, Any]) -> str:
    old, new = row["n_reference"], row["n_run"]
    return f"{new}" if row["paired"] else f"{old}, {new}"


def _points(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["difference"]):
        return ""
    points = [100 * row[f"difference{end}"] for end in ("", "_low", "_high")]
    return f"{points[0]:+.0f} [{points[1]:+.0f}, {points[2]:+.0f}]"


def _say(console: Console, line: str, style: str | None = None) -> None:
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
