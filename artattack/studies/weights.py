"""A search for weights: which bring the style for the least change, and which of them matter?

The trials are laid out beforehand, by a Sobol sequence, so that they are attacks of one benchmark: planned, run and
resumed as any other. Optuna then tells which of them no other beats and how much each option matters, and keeps them in
a journal with which its own samplers can go on.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from artattack.files import write_file
from artattack.report.tables import EMPTY, Cell, Field, Row, number, words
from artattack.results.run_folder import RunFolder
from artattack.studies.measures import BACKBONE, FLIPS, GRID, IDENTIFIED, L2, SSIM, counted, sum_up
from artattack.studies.study import BNN, Settings, Study

if TYPE_CHECKING:
    import optuna

TRIALS = 16  # a power of two, for which a Sobol sequence is even
_RANGES = {  # on log scales
    "style_weight": (1.0, 100.0),
    "tv_weight": (0.001, 100.0),
    "learning_rate": (0.005, 0.08),
}
_FEWEST = 0.25  # of the settings' steps
_OPTIONS = (*_RANGES, "steps")
_GOALS = {"style_identified_rate": "recognition", "l2": "L2"}  # the most of one, the least of the other


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    """No ball, so that weights alone decide how far images move; content counts, so that they need not."""
    from scipy.stats import qmc

    entries = []
    for n, (*shares, share_of_steps) in enumerate(qmc.Sobol(len(_OPTIONS), rng=settings.seed).random(TRIALS)):
        chosen = {
            name: float(f"{low * (high / low) ** share:.3g}")
            for share, (name, (low, high)) in zip(shares, _RANGES.items(), strict=True)
        }
        steps = max(1, round(settings.steps * (_FEWEST + (1 - _FEWEST) * share_of_steps)))
        entries.append(
            {
                "attack": "style",
                "name": f"trial-{n:02d}",
                "backbone": settings.backbones,
                "budget": "none",
                "content_weight": 1.0,
                "steps": steps,
            }
            | chosen
        )
    return entries


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    """Add which trials no other beats in both goals."""
    table = sum_up(records, _OPTIONS)
    best = {trial.number for trial in _told(table).best_trials} if len(table) else set()
    table.insert(2, "on_front", [n in best for n in range(len(table))])
    return table


def _told(table: pd.DataFrame, storage: Any = None) -> optuna.Study:
    """Return Optuna's study of the trials, in the order of the table."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, Any] = {
        name: optuna.distributions.FloatDistribution(low, high, log=True) for name, (low, high) in _RANGES.items()
    }
    distributions["steps"] = optuna.distributions.IntDistribution(1, int(table["steps"].max()))
    study = optuna.create_study(storage=storage, study_name="weights", directions=["maximize", "minimize"])
    study.add_trials(
        [
            optuna.create_trial(
                params={name: row[name] for name in _OPTIONS},
                distributions=distributions,
                values=[row[goal] for goal in _GOALS],
                user_attrs={"attack": row["attack"], "backbone": row["source"]},
            )
            for row in table.to_dict("records")
        ]
    )
    return study


def importances(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return for each goal how much of its variance each option explains, in [0, 1]; nothing where it has none.

    By a random forest: F. Hutter, H. Hoos, K. Leyton-Brown, "An efficient approach for assessing hyperparameter
    importance", ICML 2014.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    study, found = _told(table), {}
    for place, goal in enumerate(_GOALS):
        if table[goal].nunique() > 1:
            found[goal] = get_param_importances(
                study,
                evaluator=FanovaImportanceEvaluator(seed=0),
                target=lambda trial, place=place: trial.values[place],
            )
    return found


def _answer(table: pd.DataFrame) -> str:
    front = sorted(table[table["on_front"]].to_dict("records"), key=lambda row: row["l2"])
    shown = ", ".join(
        f"{counted(row, 'styles_identified', 'styles_judged')} at L2 {row['l2']:.0f} ({row['attack']}: style "
        f"{row['style_weight']:g}, TV {row['tv_weight']:g}, learning rate {row['learning_rate']:g}, "
        f"{row['steps']} steps)"
        for row in front
    )
    ranked = [
        f"{_GOALS[goal]} ({', '.join(f'{name} {share:.0%}' for name, share in shares.items())})"
        for goal, shares in importances(table).items()
    ]
    return (
        f"{len(front)} of {len(table)} trials are beaten by no other in both recognition and L2: {shown}"
        + (f"; what explains {' and '.join(ranked)}" if ranked else "")
        + "."
    )


def _leave(run: RunFolder, table: pd.DataFrame) -> None:
    """Write front.yaml, a benchmark of the trials on the front, and search.journal, which Optuna can go on with."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    names = set(table.loc[table["on_front"], "attack"])
    benchmark = dict(run.info["config"]["benchmark"])
    benchmark |= {"name": "front", "attacks": [entry for entry in benchmark["attacks"] if entry["name"] in names]}
    write_file(run.path / "front.yaml", yaml.safe_dump(benchmark, sort_keys=False).encode())
    with TemporaryDirectory() as folder:  # Optuna writes to this machine only
        journal = Path(folder) / "search.journal"
        _told(table, JournalStorage(JournalFileBackend(str(journal))))
        write_file(run.path / journal.name, journal.read_bytes())


def _mark_front(row: Row) -> Cell:
    return Cell("yes", "yes") if row["on_front"] else EMPTY


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    """Draw recognition against L2, and the importances beside it."""
    drawing.set_size_inches(7.5, 3.2)
    plane, bars = drawing.subplots(1, 2)
    rest, front = table[~table["on_front"]], table[table["on_front"]].sort_values("l2")
    plane.plot(rest["l2"], rest["style_identified_rate"], "o", color="#8A8A8A", label="other trials")
    plane.plot(front["l2"], front["style_identified_rate"], "s-", color="#0072B2", label="beaten by none")
    for row in front.to_dict("records"):
        plane.annotate(row["attack"], (row["l2"], row["style_identified_rate"]), fontsize=6, ha="right", va="bottom")
    plane.set_xlabel("L2, image units")
    plane.set_ylabel("style recognised")
    plane.legend(frameon=False, fontsize=8)
    for place, (goal, shares) in enumerate(importances(table).items()):
        lines = [n + 0.4 * (place - 0.5) for n in range(len(_OPTIONS))]
        bars.barh(lines, [shares.get(name, 0.0) for name in _OPTIONS], 0.38, label=_GOALS[goal])
    bars.set_yticks(range(len(_OPTIONS)), _OPTIONS)
    bars.set_xlabel("share of the variance explained")
    if bars.get_legend_handles_labels()[0]:
        bars.legend(frameon=False, fontsize=8)


STUDY = Study(
    name="weights",
    question="Which weights bring the style for the least change, and which of them matter?",
    lesson="It searched for weights.",
    minutes=5,
    backbones=(BNN,),
    limit=4,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        words("trial", "its name in the benchmark", "attack", named=True),
        BACKBONE,
        Field("on the front", "no other trial beats it in both recognition and L2", _mark_front),
        number("style", "weight of style", "style_weight", "g"),
        number("TV", "weight of total variation", "tv_weight", "g"),
        number("rate", "learning rate", "learning_rate", "g"),
        number("steps", "of the optimiser", "steps", "d"),
        IDENTIFIED,
        L2,
        FLIPS,
        SSIM,
        GRID,
    ),
    draw=_draw,
    caption="Style recognised against L2 of each trial, and how much each option explains of either.",
    leave=_leave,
    needs="optuna",
)
