"""Search for the weights and layers that transfer style with the smallest change, and the importance of each option.

A Sobol sequence fixes all trials beforehand, so that they are attacks of one benchmark, planned, run and resumed like
any other. All trials paint the first images, and the better half paints the rest. Optuna then measures the importance
of each option, and stores the trials in a journal, from which its samplers can continue.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from artattack.files import write_file
from artattack.report.page_tables import EMPTY, Field, Row, TableCell, number, words
from artattack.results.run_folder import RunFolder
from artattack.studies.drawing import COLOURS, GREY, as_percent
from artattack.studies.halving import front, ranks
from artattack.studies.layers import layer_sets
from artattack.studies.measures import BACKBONE, FLIPS, GRID, IDENTIFIED, L2, SSIM, counted, option_of, sum_up
from artattack.studies.study import BNN, Settings, Study

if TYPE_CHECKING:
    import optuna

TRIALS = 16
FIRST = 2  # images that all trials paint
_RANGES = {  # on log scales
    "style_weight": (1.0, 100.0),
    "content_weight": (0.01, 10.0),
    "tv_weight": (0.001, 100.0),
    "learning_rate": (0.005, 0.08),
}
_FEWEST = 0.25  # minimum share of the settings' steps
_OPTIONS = (*_RANGES, "steps", "layers")
_RECOGNISED = "style_identified_rate"


class _Goal(NamedTuple):
    """A search's second objective: its column, its name, and whether more is better."""

    column: str
    name: str
    more: bool


_GOALS = {"l2": _Goal("l2", "L2", more=False), "flips": _Goal("flip_rate", "flips", more=True)}


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    """Return trials without a ball, so that only the weights decide how far images move."""
    from scipy.stats import qmc

    trials = settings.trials or TRIALS
    entries = []
    # A Sobol sequence is balanced if its length is a power of two; the trials are its first points.
    points = qmc.Sobol(len(_OPTIONS), rng=settings.seed).random_base2(math.ceil(math.log2(trials)))[:trials]
    for n, (*shares, share_of_steps, share_of_layers) in enumerate(points):
        chosen = {
            name: float(f"{low * (high / low) ** share:.3g}")
            for share, (name, (low, high)) in zip(shares, _RANGES.items(), strict=True)
        }
        chosen["steps"] = max(1, round(settings.steps * (_FEWEST + (1 - _FEWEST) * share_of_steps)))
        for backbone in settings.backbones:
            sets = list(layer_sets(backbone).values())
            layers = sets[int(share_of_layers * len(sets))] if sets else None
            of_one = f"-{backbone}" * (len(settings.backbones) > 1)
            entries.append(
                {
                    "attack": "style",
                    "name": f"trial-{n:02d}{of_one}",
                    "backbone": backbone,
                    "budget": "none",
                    "style_layers": layers,
                }
                | chosen
            )
    return entries


def _measured(records: pd.DataFrame) -> pd.DataFrame:
    """Return the table of records, with the names of the layer sets."""
    table = sum_up(records, [*_OPTIONS[:-1], "style_layers"])
    names = {
        (backbone, "+".join(layers)): name
        for backbone in table["source"].unique()
        for name, layers in layer_sets(str(backbone)).items()
    }
    chosen = [names.get(key, "default") for key in zip(table["source"], table["style_layers"], strict=True)]
    return table.assign(layers=pd.Series(chosen, table.index, "string")).drop(columns="style_layers")


def _first(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records of the images that every trial has painted, so that trials are comparable."""
    painted = records[(records["kind"] != "clean") & records["error"].isna()]
    attacks = painted["attack"].nunique()
    by_all = painted.groupby("image")["attack"].nunique()
    return records[records["image"].isin(by_all.index[by_all == attacks])]


def _values(table: pd.DataFrame, goal: _Goal) -> Any:
    """Return recognition and the other goal of each trial, (N, 2); higher is better."""
    other = table[goal.column] if goal.more else -table[goal.column]
    return np.stack([table[_RECOGNISED], other], 1).astype(float)


def better_half(records: pd.DataFrame, goal: str = "l2") -> list[str]:
    """Return the names of the better half of trials, ranked by non-dominated sorting.

    Trials without any recognition come last, however small their change. Within a front, recognition decides.

    Args:
        records: the records of a run.
        goal: name of the second objective.
    """
    table = _measured(_first(records))
    values = _values(table, _GOALS[goal])
    order = np.lexsort([-values[:, 1], -values[:, 0], ranks(values), values[:, 0] == 0])
    names: list[str] = table["attack"].iloc[order[: max(1, math.ceil(len(table) / 2))]].tolist()
    return names


def _measure(records: pd.DataFrame, goal: _Goal) -> pd.DataFrame:
    """Add the trials that continued to all images, their Pareto front, and the results on the first images.

    Trials without any recognition are on the front only if no trial does better.
    """
    table = _measured(records)
    if table.empty:
        return table
    first = _measured(_first(records)).set_index("attack")
    table.insert(2, "went_on", (table["n"] == table["n"].max()).tolist())
    for column in dict.fromkeys((_RECOGNISED, goal.column)):
        table[f"first_{column}"] = table["attack"].map(first[column])
    eligible = table["went_on"] & ((table[_RECOGNISED] > 0) | (table.loc[table["went_on"], _RECOGNISED].max() == 0))
    table.insert(2, "on_front", False)
    table.loc[eligible, "on_front"] = front(_values(table[eligible], goal))
    return table


def _told(table: pd.DataFrame, goal: _Goal, storage: Any = None) -> optuna.Study:
    """Return Optuna's study of all trials' results on the first images, in the order of the table."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, Any] = {
        name: optuna.distributions.FloatDistribution(low, high, log=True) for name, (low, high) in _RANGES.items()
    }
    distributions["steps"] = optuna.distributions.IntDistribution(1, int(table["steps"].max()))
    distributions["layers"] = optuna.distributions.CategoricalDistribution(sorted(table["layers"].unique()))
    directions = ["maximize", "maximize" if goal.more else "minimize"]
    study = optuna.create_study(storage=storage, study_name="weights", directions=directions)
    study.add_trials(
        [
            optuna.create_trial(
                params={name: row[name] for name in _OPTIONS},
                distributions=distributions,
                values=[row[f"first_{column}"] for column in (_RECOGNISED, goal.column)],
                user_attrs={"attack": row["attack"], "backbone": row["source"], "went_on": bool(row["went_on"])},
            )
            for row in table.dropna(subset=[f"first_{_RECOGNISED}", f"first_{goal.column}"]).to_dict("records")
        ]
    )
    return study


def importances(table: pd.DataFrame, goal: str = "l2") -> dict[str, dict[str, float]]:
    """Return the share of each objective's variance that each option explains.

    A random forest measures the shares on the first images: F. Hutter, H. Hoos, K. Leyton-Brown, "An efficient approach
    for assessing hyperparameter importance", ICML 2014.

    Args:
        table: the result of the study's `measure`.
        goal: name of the second objective.

    Returns:
        Shares in [0, 1] by the name of the objective, then of the option. An objective without variance is missing.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    other = _GOALS[goal]
    study, found = _told(table, other), {}
    for place, (column, name) in enumerate(((_RECOGNISED, "recognition"), (other.column, other.name))):
        if table[f"first_{column}"].nunique() > 1:
            found[name] = get_param_importances(
                study,
                evaluator=FanovaImportanceEvaluator(seed=0),
                target=lambda trial, place=place: trial.values[place],
            )
    return found


def _answer(table: pd.DataFrame, goal: str) -> str:
    other = _GOALS[goal]
    best = table[table["on_front"]].sort_values(other.column, ascending=not other.more).to_dict("records")
    shown = ", ".join(
        f"{counted(row, 'styles_identified', 'styles_judged')} at L2 {row['l2']:.0f}, flips "
        f"{counted(row, 'flips')} ({row['attack']}: style {row['style_weight']:g}, content {row['content_weight']:g}, "
        f"TV {row['tv_weight']:g}, rate {row['learning_rate']:g}, {row['steps']} steps, layers {row['layers']})"
        for row in best
    )
    ranked = [
        f"{name} ({', '.join(f'{option} {share:.0%}' for option, share in shares.items())})"
        for name, shares in importances(table, goal).items()
    ]
    return (
        f"Of {len(table)} trials {int(table['went_on'].sum())} went on to all images, and {len(best)} of those are "
        f"beaten by no other in both recognition and {other.name}: {shown}"
        + (f"; what explains {' and '.join(ranked)}" if ranked else "")
        + "."
    )


def _leave(run: RunFolder, table: pd.DataFrame, goal: _Goal) -> None:
    """Write front.yaml, a benchmark of the trials on the front, and search.journal, which Optuna can resume."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    names = set(table.loc[table["on_front"], "attack"])
    benchmark = dict(run.info["config"]["benchmark"])
    benchmark |= {"name": "front", "attacks": [entry for entry in benchmark["attacks"] if entry["name"] in names]}
    write_file(run.path / "front.yaml", yaml.safe_dump(benchmark, sort_keys=False).encode())
    with TemporaryDirectory() as folder:  # Optuna writes to this machine only
        journal = Path(folder) / "search.journal"
        _told(table, goal, JournalStorage(JournalFileBackend(str(journal))))
        write_file(run.path / journal.name, journal.read_bytes())


def _mark(column: str) -> Any:
    def cell(row: Row) -> TableCell:
        return TableCell("yes", "yes") if row[column] else EMPTY

    return cell


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame, goal: str) -> None:
    """Draw recognition against the other goal, and the importances beside it, each goal in its own colour."""
    other = _GOALS[goal]
    drawing.set_size_inches(8.5, 3.6)
    plane, bars = drawing.subplots(1, 2)
    column = other.column
    kinds = {
        "left after the first images": (~table["went_on"], "o", GREY, "none"),
        "on all images": (table["went_on"] & ~table["on_front"], "o", GREY, GREY),
        "beaten by none": (table["on_front"], "s", COLOURS[2], COLOURS[2]),
    }
    best = table[table["on_front"]].sort_values(column)
    where = "pre" if other.more else "post"
    plane.plot(best[column], best[_RECOGNISED], color=COLOURS[2], linewidth=1, drawstyle=f"steps-{where}")
    for name, (rows, marker, colour, face) in kinds.items():
        own = table[rows]
        plane.plot(own[column], own[_RECOGNISED], marker, color=colour, markerfacecolor=face, label=name, alpha=0.8)
    for row in best.to_dict("records"):
        plane.annotate(
            row["attack"].removeprefix("trial-"),
            (row[column], row[_RECOGNISED]),
            xytext=(6, -3),
            textcoords="offset points",
            fontsize=8,
            va="top",
        )
    plane.set_xlabel("L2, image units" if not other.more else other.name)
    plane.set_ylabel("style recognised")
    as_percent(plane.yaxis)
    if other.more:
        as_percent(plane.xaxis)
    plane.set_ylim(-0.06, 1.06)
    plane.margins(x=0.08)
    drawing.legend(*plane.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    for place, (name, shares) in enumerate(importances(table, goal).items()):
        lines = [n + 0.4 * (place - 0.5) for n in range(len(_OPTIONS))]
        bars.barh(lines, [shares.get(option, 0.0) for option in _OPTIONS], 0.38, color=COLOURS[place], label=name)
    bars.set_yticks(range(len(_OPTIONS)), [option.replace("_", " ") for option in _OPTIONS])
    bars.invert_yaxis()
    bars.set_xlabel("share of the variance explained")
    bars.set_xlim(0, 1)
    as_percent(bars.xaxis)
    if bars.get_legend_handles_labels()[0]:
        bars.legend(frameon=False, fontsize=8)


def _study(goal: str) -> Study:
    other = _GOALS[goal]
    return Study(
        name="weights",
        question="Which weights and layers bring the style "
        + ("for the least change" if goal == "l2" else "and flip most")
        + ", and which of them matter?",
        lesson="It searched for weights.",
        minutes=6,
        backbones=(BNN,),
        limit=4,
        attacks=_attacks,
        measure=lambda records: _measure(records, other),
        answer=lambda table: _answer(table, goal),
        fields=(
            words("trial", "name in the benchmark", "attack", named=True),
            BACKBONE,
            Field("on the front", f"no other trial beats it in both recognition and {other.name}", _mark("on_front")),
            Field("went on", "continued from the first images to all images", _mark("went_on")),
            number("style", "weight of style", "style_weight", "g"),
            number("content", "weight of content", "content_weight", "g"),
            number("TV", "weight of total variation", "tv_weight", "g"),
            number("rate", "learning rate", "learning_rate", "g"),
            number("steps", "optimiser steps", "steps", "d"),
            option_of(
                "layers",
                "layers",
                "layers for style",
            ),
            IDENTIFIED,
            L2,
            FLIPS,
            SSIM,
            GRID,
        ),
        draw=lambda drawing, run, table: _draw(drawing, run, table, goal),
        caption=f"Style recognised against {other.name} of each trial, and how much each option explains of either.",
        leave=lambda run, table: _leave(run, table, other),
        needs="optuna",
        trials=TRIALS,
        first=FIRST,
        going_on=lambda records: better_half(records, goal),
    )


STUDY = replace(_study("l2"), objectives={goal: _study(goal) for goal in _GOALS})
