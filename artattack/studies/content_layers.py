"""Effect of the content layer, compared with the effect of the style layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from artattack.report.page_tables import number
from artattack.results.records import at_own_distance, perturbed_of
from artattack.results.run_folder import RunFolder
from artattack.studies.drawing import draw_dots
from artattack.studies.layers import layers_in_turn
from artattack.studies.measures import (
    BACKBONE,
    FLIPS,
    IDENTIFIED,
    L2,
    SEEN,
    SSIM,
    by_backbone,
    option_of,
    sum_up,
)
from artattack.studies.study import BNN, Settings, Study

_OF_AN_IMAGE = {  # column of the table -> column of the records
    "flip_rate": "flip",
    "style_identified_rate": "style_identified",
    "style_seen": "style_seen_after",
    "ssim": "ssim",
}
_FOLDS = 5
_RESAMPLES = 2000
_COMPARED = {"flip_rate": "flips", "style_identified_rate": "recognition", "style_seen": "style left", "ssim": "SSIM"}
_WEIGHT = 10.0  # of content: the default weight of style


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    """Return attacks with equal weights of content and style, without a ball: only the loss keeps content."""
    return [
        {
            "attack": "style",
            "name": f"{role}-{backbone}-{layer}",
            "backbone": backbone,
            "budget": "none",
            "content_weight": _WEIGHT,
            f"{role}_layers": layer,
        }
        for backbone in settings.backbones
        for role in ("content", "style")
        for layer in layers_in_turn(backbone)
    ]


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    """Add the changed loss (content or style), its layer, and the layers' scores and spreads over images."""
    table = sum_up(records, ["content_layers", "style_layers"])
    table.insert(2, "changed", table["attack"].str.split("-").str[0])
    table.insert(3, "layer", table["content_layers"].fillna(table["style_layers"]))
    table = table.drop(columns=["content_layers", "style_layers"])
    if table.empty:
        return table
    own = perturbed_of(at_own_distance(records))
    own = own.merge(
        table[["attack", "source", "classifier", "changed", "layer"]], on=["attack", "source", "classifier"]
    )
    own = own[own["error"].isna()]
    found = [_among_images(rows) for _, rows in own.groupby("source", sort=False)]
    return table.merge(pd.concat(found), "left", ["attack", "source"])


def _among_images(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, for each attack of a backbone, the number of folds that choose its layer, and the backbone's statistics.

    The statistics are the ratios of spreads with their intervals, the score of the chosen layers on held-out images,
    and the mean score over layers.
    """
    cases = rows[["attack", "source", "changed"]].drop_duplicates().reset_index(drop=True)
    is_content = (cases["changed"] == "content").to_numpy()
    measured = {column: _by_image(rows, name, cases) for column, name in _OF_AN_IMAGE.items()}
    for column, values in measured.items():
        ratio, low, high = spread_ratio(values[:, is_content], values[:, ~is_content])
        cases = cases.assign(**{f"ratio_{column}": ratio, f"ratio_{column}_low": low, f"ratio_{column}_high": high})
    cases = cases.assign(chosen=0, folds=0, held_out=math.nan, mean_layer=math.nan)
    scores = measured["style_identified_rate"] + measured["ssim"]
    for on in (is_content, ~is_content):
        if on.any():
            chosen, held_out, folds = choose_by_folds(scores[:, on])
            cases.loc[on, "chosen"] = chosen
            cases.loc[on, ["folds", "held_out", "mean_layer"]] = [folds, held_out, scores[:, on].mean()]
    return cases.drop(columns="changed")


def _by_image(rows: pd.DataFrame, column: str, cases: pd.DataFrame) -> NDArray[np.float64]:
    """Return a column of records as (images, attacks), for the images with a result of every attack."""
    values = rows.assign(value=rows[column].to_numpy(float, na_value=math.nan)).pivot(
        index="image", columns="attack", values="value"
    )
    found = values[cases["attack"]].to_numpy()
    return np.asarray(found[~np.isnan(found).any(1)])


def choose_by_folds(scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], float, int]:
    """Choose a layer by cross-validation over images: each fold is held out once and scored.

    Args:
        scores: (images, layers); higher is better.

    Returns:
        The number of folds that choose each layer, (layers,); the mean score of the chosen layers on held-out images;
        and the number of folds, at most five. A single image cannot be held out: zeros, NaN, 0.
    """
    from sklearn.model_selection import KFold

    images, layers = scores.shape
    folds = min(_FOLDS, images)
    chosen, found = np.zeros(layers, np.int64), np.full(images, np.nan)
    if folds < 2:
        return chosen, math.nan, 0
    for others, own in KFold(folds).split(scores):
        best = int(scores[others].mean(0).argmax())
        chosen[best] += 1
        found[own] = scores[own, best]
    return chosen, float(found.mean()), folds


def spread_ratio(content: NDArray[np.float64], style: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the spread over content layers divided by that over style layers, with a 95 % interval.

    The spread is the sample standard deviation over layers of the mean over images. The interval is a percentile
    bootstrap over images (Efron & Tibshirani, 1993).

    Args:
        content: (images, layers), a measure with each content layer.
        style: (images, layers), the measure with each style layer, for the same images.

    Returns:
        The ratio and its bounds; NaN if all style layers are equal, or with fewer than two content or style layers;
        bounds of NaN for a single image.
    """
    from scipy.stats import bootstrap

    def ratio(images: NDArray[np.int64]) -> float:
        above, below = (values[images].mean(0).std(ddof=1) for values in (content, style))
        return float(above / below) if below > 0 else math.nan

    images = np.arange(len(content))
    if min(content.shape[1], style.shape[1]) < 2:
        return math.nan, math.nan, math.nan
    if len(images) < 2:
        return ratio(images), math.nan, math.nan
    drawn = bootstrap((images,), ratio, n_resamples=_RESAMPLES, vectorized=False, method="percentile", rng=0)
    known = drawn.bootstrap_distribution[np.isfinite(drawn.bootstrap_distribution)]
    low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (math.nan, math.nan)
    return ratio(images), float(low), float(high)


def spread(table: pd.DataFrame) -> pd.DataFrame:
    """Return the sample standard deviation over layers (n - 1 degrees of freedom).

    Args:
        table: the result of the study's `measure`.

    Returns:
        float64, a row for each backbone and changed loss, a column for each measure.
    """
    return table.groupby(["source", "changed"], sort=False)[list(_OF_AN_IMAGE)].std()


def _answer(table: pd.DataFrame) -> str:
    spreads = spread(table)
    parts = []
    for backbone, rows in by_backbone(table).items():
        told = []
        for column, name in _COMPARED.items():
            content, style = (
                spreads[column].get((backbone, changed), float("nan")) for changed in ("content", "style")
            )
            ratio, low, high = (rows[0][f"ratio_{column}{end}"] for end in ("", "_low", "_high"))
            beside = "" if math.isnan(low) else f" (ratio {ratio:.1f} [{low:.1f}, {high:.1f}])"
            told.append(f"{content:.2f} against {style:.2f} in {name}{beside}")
        counts = [sum(row["changed"] == changed for row in rows) for changed in ("content", "style")]
        parts.append(
            f"{backbone}: the standard deviation over {counts[0]} content layers against that over {counts[1]} style "
            f"layers is {', '.join(told)}{_choice(rows)}"
        )
    return "; ".join(parts) + "."


def _choice(rows: list[dict[Any, Any]]) -> str:
    """State the chosen content layer and its score on held-out images."""
    own = [row for row in rows if row["changed"] == "content" and row["folds"]]
    if not own:
        return ""
    chosen = ", ".join(
        f"{row['layer']} in {row['chosen']:.0f}" for row in sorted(own, key=lambda row: -row["chosen"]) if row["chosen"]
    )
    return (
        f"; of {own[0]['folds']:.0f} folds of the images the others choose to measure content in {chosen}, which "
        f"scores {own[0]['held_out']:.2f} (recognised, 0 or 1, and SSIM) on images left out, and the mean over layers "
        f"{own[0]['mean_layer']:.2f}"
    )


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    several = table["source"].nunique() > 1
    names = [f"{row['layer']}" + (f", {row['source']}" if several else "") for row in table.to_dict("records")]
    panels = {"style_identified_rate": "style recognised", "flip_rate": "flips", "style_seen": "style left"}
    draw_dots(drawing, names, table, panels | {"ssim": "SSIM"}, series="changed")


STUDY = Study(
    name="content-layers",
    question="Does it matter in which layer content is measured, compared with the layer that style is measured in?",
    lesson="Content layers hardly matter.",
    minutes=6,
    backbones=(BNN,),
    limit=6,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        BACKBONE,
        option_of("changed", "changed", "which of the two is measured in another layer"),
        option_of("layer", "layer", "the one it is measured in; the other stays in its default layers"),
        IDENTIFIED,
        FLIPS,
        SEEN,
        SSIM,
        L2,
        number(
            "chosen", "folds of the images in which the others choose it, by style recognised and SSIM", "chosen", ".0f"
        ),
    ),
    draw=_draw,
    caption="Content, and style, measured in one layer after another. Bars are 95 % intervals.",
)
