"""Origin of blocks in paintings: max pooling, pixels, the layers for style, or the stem's strides."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from artattack.distances import checkerboard
from artattack.errors import ArtattackError
from artattack.inputs.images import read_image, to_float
from artattack.report.page_tables import number
from artattack.results.run_folder import RunFolder
from artattack.studies.drawing import draw_dots, use_log_axis
from artattack.studies.layers import pools_by_maximum, steps_in_its_stem, sums_or_convolutions
from artattack.studies.measures import (
    BACKBONE,
    FLIPS,
    IDENTIFIED,
    SEEN,
    by_backbone,
    option_of,
    sum_up,
)
from artattack.studies.study import BNN, FLOAT, Settings, Study
from artattack.studies.unstrided import unstrided

_JITTER = 16  # px, the default's
_PERIODS = (2, 4, 8, 16)  # px, grid periods: a network's cumulative strides, stage by stage
_STEM = "-stem-1"  # suffix of a backbone with an unstrided stem
_CHOICES = {"pooling": ("max", "average"), "parametrization": ("pixel", "fourier"), "layers": ("convolutions", "sums")}


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    """Return all combinations without shifts, which hide the blocks, and a few with shifts or an unstrided stem."""
    entries = []
    for backbone in settings.backbones:
        layers = sums_or_convolutions(backbone)
        first = next(iter(layers))
        poolings = ("max", "average") if pools_by_maximum(backbone) else ("max",)
        cases = [(backbone, p, q, kind, 0) for p in poolings for q in ("pixel", "fourier") for kind in layers]
        cases += [(backbone, "max", q, first, _JITTER) for q in ("pixel", "fourier")]
        if steps_in_its_stem(backbone):
            cases += [(backbone + _STEM, "max", q, first, 0) for q in ("pixel", "fourier")]
        entries += [
            {
                "attack": "style",
                "name": f"{source}-{pooling}-{parametrization}-{kind}" + ("-shifted" if jitter else ""),
                "backbone": source,
                "pooling": pooling,
                "parametrization": parametrization,
                "style_layers": layers[kind] or None,  # of a file, its own
                "jitter": jitter,
            }
            for source, pooling, parametrization, kind, jitter in cases
        ]
    return entries


def _models(settings: Settings) -> dict[str, Any]:
    """Return unstrided copies of the backbones that have a strided stem."""
    stepping = [backbone for backbone in settings.backbones if steps_in_its_stem(backbone)]
    return {backbone + _STEM: {"model": str(unstrided(backbone))} for backbone in stepping}


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    """Add the kind of the style layers; `pooling` is `none` for a backbone without max pooling."""
    table = sum_up(records, ["pooling", "parametrization", "style_layers", "jitter"])
    backbones = table["source"].astype("string").str.removesuffix(_STEM)
    kinds = {
        "+".join(layers): kind
        for backbone in backbones.unique()
        for kind, layers in sums_or_convolutions(str(backbone)).items()
    }
    pools = backbones.map(lambda backbone: pools_by_maximum(str(backbone))).astype(bool)
    return table.assign(
        layers=table["style_layers"].map(kinds).fillna("default"), pooling=table["pooling"].where(pools, "none")
    )


def _look(run: RunFolder, table: pd.DataFrame) -> pd.DataFrame:
    """Add the median grid score of the pictures at each period."""
    records = run.records[(run.records["kind"] == "style") & run.records["file"].notna()].drop_duplicates("file")
    scores: dict[int, list[float]] = {period: [] for period in _PERIODS}
    for (attack,) in table[["attack"]].itertuples(index=False, name=None):
        own = records[records["attack"] == attack]
        changes = np.stack(
            [
                to_float(read_image(run.path / file)) - to_float(read_image(run.original(image)))
                for file, image in own[["file", "image"]].itertuples(index=False, name=None)
            ]
        )
        for period in _PERIODS:
            scores[period].append(_score(changes, period))
    return table.assign(**{f"grid_{period}": values for period, values in scores.items()})


def _score(changes: np.ndarray, period: int) -> float:
    """Return the median grid score of changes; NaN if images are too small for that period."""
    try:
        return float(np.median(checkerboard(changes, period)))
    except ArtattackError:
        return float("nan")


def _answer(table: pd.DataFrame) -> str:
    parts = []
    for backbone, rows in by_backbone(table).items():
        if backbone.endswith(_STEM):
            continue
        still = [row for row in rows if not row["jitter"]]
        told = []
        for choice, (one, other) in _CHOICES.items():
            grids = [[row["grid"] for row in still if row[choice] == value] for value in (one, other)]
            if all(grids):
                told.append(f"{median(grids[0]):.1f} with {one} and {median(grids[1]):.1f} with {other}")
        shifted = " and ".join(f"{row['grid']:.1f} ({row['parametrization']})" for row in rows if row["jitter"])
        parts.append(f"{backbone}: the median grid score is {', '.join(told)}; with random shifts it is {shifted}")
        beside = by_backbone(table).get(backbone + _STEM, [])
        if beside:
            at = ", ".join(f"{_all_periods(row)} ({row['parametrization']})" for row in beside)
            like = [
                row
                for row in still
                for other in beside
                if all(row[key] == other[key] for key in ("pooling", "parametrization", "layers"))
            ]
            was = ", ".join(f"{_all_periods(row)} ({row['parametrization']})" for row in like)
            periods = ", ".join(str(period) for period in _PERIODS if pd.notna(beside[0][f"grid_{period}"]))
            with_them = f", and with them {was}" * bool(was)
            parts.append(f"without strides in the stem it is at {periods} px {at}{with_them}")
    return "; ".join(parts) + "."


def _all_periods(row: dict[Any, Any]) -> str:
    scores = [row[f"grid_{period}"] for period in _PERIODS]
    return ", ".join(f"{score:.1f}" for score in scores if pd.notna(score))


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    names = [
        f"{row['source']}: {row['pooling']}, {row['parametrization']}, {row['layers']}"
        + ", shifts" * bool(row["jitter"])
        for row in table.to_dict("records")
    ]
    periods = [period for period in _PERIODS if table[f"grid_{period}"].notna().any()]
    panels = {f"grid_{period}": f"grid at {period} px" for period in periods}
    axes = draw_dots(drawing, names, table, panels | {"style_identified_rate": "recognised", "flip_rate": "flips"})
    for panel in axes[: len(periods)]:
        use_log_axis(panel.xaxis)


STUDY = Study(
    name="pooling",
    question="Where do the blocks come from: max pooling, pixels, the layers that style is measured in, or the stem's "
    "strides?",
    lesson="Neither average pooling nor leaving total variation out takes the blocks away.",
    minutes=20,
    backbones=(BNN, "quicknet_tiny", FLOAT),
    limit=4,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        BACKBONE,
        option_of("pooling", "pooling", "max, average instead, or none"),
        option_of("parametrization", "optimised", "parameters: pixels, or a Fourier spectrum"),
        option_of("layers", "layers", "layers for style: sums of residual branches, convolutions, or both"),
        option_of("jitter", "shifts", "maximum random shift, px"),
        *(
            number(
                f"grid {period}",
                f"median checkerboard score of the change at {period} px; 1 is no grid",
                f"grid_{period}",
                ".1f",
            )
            for period in _PERIODS
        ),
        IDENTIFIED,
        FLIPS,
        SEEN,
    ),
    draw=_draw,
    caption="Grid score at four periods (log axes; 1 is no grid), style recognised and flips. Bars are 95 % intervals.",
    models=_models,
    look=_look,
)
