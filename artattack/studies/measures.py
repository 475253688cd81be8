"""Tables of studies: records -> one row per attack and backbone, pooled over images and styles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from artattack.report.page_tables import Field, number, rates, words
from artattack.results.records import at_own_distance, perturbed_of, read_by_attack
from artattack.results.statistics import pooled_rate
from artattack.results.summary import summarise

_COUNTED = [  # columns of the summary with the same names
    "attack",
    "source",
    "classifier",
    "n",
    "flips",
    "flip_rate",
    "flip_rate_low",
    "flip_rate_high",
    "styles_judged",
    "styles_identified",
    "style_identified_rate",
    "style_identified_rate_low",
    "style_identified_rate_high",
    "style_chance",
]
_CASE = ["attack", "source", "style"]
_AVERAGED = {  # column of the summary -> column of a study's table
    "mean_total_variation": "total_variation",
    "mean_style_distance_before": "style_distance_before",
    "mean_style_distance_after": "style_distance",
    "mean_style_seen_before": "style_seen_before",
    "mean_style_seen_after": "style_seen",
    "mean_delta_e": "delta_e",
    "mean_l2": "l2",
    "mean_ssim": "ssim",
    "mean_gmsd": "gmsd",
    "seconds_per_image": "seconds",
}

BACKBONE = words("backbone", "model whose features measure style", "source", named=True)
IDENTIFIED = rates(
    "style recognised",
    "nearest to its own style among six, in the features of a network that the attack has not read",
    "style_identified_rate",
    "styles_identified",
    "styles_judged",
)
FLIPS = rates("flips", "top-1 class changed, of a classifier that the attack has not read", "flip_rate", "flips")
GRID = number("grid", "median checkerboard score of the change at 4 px; 1 is no grid", "grid", ".1f")
VARIATION = number("TV", "mean total variation of the change", "total_variation", ".3f")
COLOUR = number("ΔE", "mean colour difference from the original, CIEDE2000", "delta_e", ".1f")
SEEN = number("style left", "mean distance from the style in an independent network's features", "style_seen")
L2 = number("L2", "mean distance from the original, image units", "l2", ".1f")
SSIM = number("SSIM", "mean structural similarity to the original", "ssim")
SECONDS = number("s/image", "seconds of the attack, per image", "seconds", ".1f")


def option_of(key: str, heading: str, meaning: str) -> Field:
    """Return the column of an option's value."""
    return words(heading, meaning, key, named=True)


def sum_up(records: pd.DataFrame, options: Sequence[str] = (), *, by_style: bool = False) -> pd.DataFrame:
    """Summarize a run's records for a study.

    Rates and means are those of `artattack.results.summary.summarise`; the intervals of rates over several styles
    resample photos.

    Args:
        records: the records of a run.
        options: options of the attacks to add as columns; lists are joined by `+`.
        by_style: whether each style has its own row; otherwise an attack's styles are pooled.

    Returns:
        A row for each attack and source (and style) with a result, in order of appearance. Flips are those of the first
        classifier that the attack has not read. Rates are over images and styles.
    """
    attacked = perturbed_of(at_own_distance(records))
    blank = {name: pd.Series(pd.NA, attacked.index, "string") for name in ("style", "matched_to")[by_style:]}
    pooled = summarise(attacked.assign(**blank))
    read = read_by_attack(pooled).fillna(False)
    pooled = pooled[(pooled["n"] > 0) & ~read].drop_duplicates(_CASE if by_style else _CASE[:2])
    table = pooled[[*_COUNTED, *_AVERAGED]].rename(columns=_AVERAGED)
    if not by_style:
        table = _with_intervals_over_photos(table, attacked)
    for place, option in enumerate(options):
        values = [json.loads(text).get(option) for text in pooled["parameters"]]
        table.insert(2 + place, option, ["+".join(value) if isinstance(value, list) else value for value in values])
    if by_style:
        table.insert(2, "style", pooled["style"])
    grids = _grids(attacked.assign(**blank))
    return table.merge(grids, "left", _CASE if by_style else _CASE[:2])


def _with_intervals_over_photos(table: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Replace the intervals of rates over several styles by intervals that resample photos."""
    scored = records[records["error"].isna()]
    names = ["attack", "source", "classifier"]
    groups = dict(list(scored.fillna(dict.fromkeys(names, "")).groupby(names, sort=False)))
    for at, row in table.fillna(dict.fromkeys(names, "")).iterrows():
        own = groups[tuple(row[name] for name in names)]
        if not own["image"].duplicated().any():
            continue
        for rate, outcome in (("flip_rate", "flip"), ("style_identified_rate", "style_identified")):
            for name, value in interval_over_photos(rate, own[outcome], own["image"]).items():
                table.loc[at, name] = value
    return table


def interval_over_photos(rate: str, outcomes: Any, photos: Any) -> dict[str, float]:
    """Return the columns of a rate's interval, which accounts for repeated photos, and of its design effect.

    Args:
        rate: the column of the rate.
        outcomes: (N,) True, False or missing.
        photos: (N,) photo of each outcome.
    """
    found = pooled_rate(outcomes, photos)
    return {f"{rate}_low": found.low, f"{rate}_high": found.high, f"{rate}_design_effect": found.design_effect}


def _grids(records: pd.DataFrame) -> pd.DataFrame:
    """Return each case's median checkerboard score; the median resists a few outliers."""
    pictures = records.drop_duplicates("file").rename(columns={"checkerboard": "grid"})
    return pictures.groupby(_CASE, sort=False, dropna=False)["grid"].median().reset_index()


def by_backbone(table: pd.DataFrame) -> dict[str, list[dict[Any, Any]]]:
    """Return the rows of a table for each backbone."""
    return {backbone: rows for (backbone,), rows in rows_of(table, "source").items()}


def rows_of(table: pd.DataFrame, *columns: str) -> dict[tuple[str, ...], list[dict[Any, Any]]]:
    """Return the rows of a table for each combination of the columns' values, in order of appearance."""
    groups = table.groupby(list(columns), sort=False)
    return {tuple(map(str, key)): rows.to_dict("records") for key, rows in groups}


def counted(row: Any, part: str, whole: str = "n") -> str:
    """Format a rate of a table row: `5 of 6`."""
    return f"{row[part]} of {row[whole]}"
