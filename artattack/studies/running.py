"""Run a study: its benchmark (a search by successive halving), then its table, figure and answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from artattack.config import load_benchmark
from artattack.errors import ArtattackError, unknown
from artattack.evaluation.plan import Plan, make_plan
from artattack.evaluation.run import Engine, announced, run_path, run_plan, warn_of_results
from artattack.progress import Progress
from artattack.results.run_folder import RunFolder, load_run
from artattack.studies.all_studies import find_study
from artattack.studies.halving import first_plan, going_on
from artattack.studies.study import Settings, Study, study_benchmark
from artattack.studies.writing import check_packages, write_study

_NONE = Settings()


def run_study(
    name: str,
    *,
    models: str | Path | None = None,
    backbones: Sequence[str] = (),
    images: str = "",
    limit: int | None = None,
    size: int = _NONE.size,
    steps: int = _NONE.steps,
    seed: int = _NONE.seed,
    trials: int | None = None,
    objective: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    engine: Engine = "local",
    workers: int | None = None,
    cache: bool = True,
    on_progress: Progress | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_doubt: Callable[[str], None] | None = None,
) -> RunFolder:
    """Run a study, and write its table, figure and answer into the run folder.

    Args:
        name: name of the study, from the list of `artattack study`.
        models: benchmark file whose `classifiers` are scored instead of the study's. Classifiers and backbones may be
            any of its `models`.
        backbones: models whose features measure style; by default the study's.
        images: image set: a name, a folder or a CSV manifest; by default the study's.
        limit: maximum number of images; by default the study's.
        size: side of the images, in pixels.
        steps: optimiser steps of each attack.
        seed: seed of every random choice.
        trials: number of trials of a search; by default the study's.
        objective: second objective of a search, beside recognition, if the study has a choice.
        out: the run folder, or its URL; by default `results/study-NAME-DATE-TIME`.
        resume: whether to resume the run in `out`, instead of starting a new one.
        engine: as in `run_benchmark`.
        workers: as in `run_benchmark`.
        cache: as in `run_benchmark`.
        on_progress: as in `run_benchmark`.
        on_plan: as in `run_benchmark`.
        on_doubt: as in `run_benchmark`.

    Returns:
        The finished run; its `study` holds question, table and answer.

    Raises:
        ArtattackError: the file is invalid, there is no such study, backbone or image set, the study does not have an
            option, or a required package is not installed.
    """
    study = with_objective(find_study(name), objective)
    if trials is not None and not study.trials:
        raise ArtattackError(f"trials: the study {name} is not a search")
    check_packages(study)
    own = load_benchmark(Path(models)) if models is not None else None
    settings = Settings(
        backbones=tuple(backbones),
        images=images,
        limit=limit,
        size=size,
        steps=steps,
        seed=seed,
        trials=trials,
        models=own.models if own else {},
        classifiers=own.classifiers if own else (),
    )
    plan = make_plan(study_benchmark(study, settings))
    tell = announced(plan, on_plan, on_doubt, doubted=not study.meant)
    path = run_path(plan.benchmark.name, out)
    how: dict[str, Any] = {"engine": engine, "workers": workers, "cache": cache, "on_progress": on_progress}
    if study.going_on is None:
        run_plan(plan, path, resume=resume, on_doubt=tell, **how)
    else:
        records, _ = run_plan(first_plan(plan), path, resume=resume, on_doubt=tell, **how)
        run_plan(going_on(plan, study.going_on(records)), path, resume=True, on_doubt=tell, **how)
    warn_of_results(path, on_doubt)
    run = load_run(path)
    write_study(study, run)
    return run


def with_objective(study: Study, objective: str | None) -> Study:
    """Return the variant of a study with an objective, or the study itself for None.

    Raises:
        ArtattackError: the study has no such objective, or no choice of one.
    """
    if objective is None:
        return study
    if not study.objectives:
        raise ArtattackError(f"objective: the study {study.name} has no choice of one")
    if objective not in study.objectives:
        raise unknown("objective", objective, study.objectives)
    return study.objectives[objective]
