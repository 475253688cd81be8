"""The commands that run cells: `run`, `extend` and `study`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from artattack.attacks.options import StyleOptions
from artattack.commands.options import (
    DEFAULT,
    LEAST_SIZE,
    DryRun,
    EngineName,
    Limit,
    NoCache,
    Resume,
    RunArgument,
    Seed,
    SeedOrNone,
    Workers,
    Yes,
    engine_options,
    examples,
    read_budgets,
)
from artattack.commands.printing import (
    complain,
    in_time,
    lay_out,
    print_headline,
    print_plan,
    say,
    show_progress,
    warn,
)
from artattack.config import benchmark_names
from artattack.errors import ArtattackError
from artattack.files import shown, to_path
from artattack.remote import without_secret

if TYPE_CHECKING:
    from artattack.evaluation.plan import Plan

_LONG = 24 * 3600  # seconds; a longer run asks for confirmation
_REASONS = 3  # reasons of failure printed; the records have them all

console = Console()


@examples(
    "artattack run",
    "artattack run transfer --dry-run",
    "artattack run mine.yaml --dry-run",
    "artattack run --budgets l2=5,10,20 --budgets ssim",
    "artattack run mine.yaml --limit 4 -o out",
    "artattack run mine.yaml --limit 4 -o out --resume",
    "artattack run mine.yaml --engine ray --workers 2",
)
def run(
    file: Annotated[
        Path | None,
        typer.Argument(
            help=f"Benchmark file (YAML), or a name: {', '.join(benchmark_names())}. Default: the default benchmark."
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "-o", "--out", metavar="FOLDER", help="Run folder, or its URL (s3://...). Default: results/NAME-DATE-TIME."
        ),
    ] = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    seed: SeedOrNone = None,
    limit: Limit = None,
    budgets: Annotated[
        list[str] | None,
        typer.Option(help="Also scale attacks and controls to these budgets: l2=5,10 or ssim; repeatable."),
    ] = None,
    engine: EngineName = "local",
    workers: Workers = None,
    no_cache: NoCache = False,
) -> None:
    """Run a benchmark: perturb images, score classifiers, write records, summary and pictures.

    Exit codes: 0 all done; 1 done, but some cells or images failed (column `error`); 2 bad input; 130 interrupted.
    """
    from artattack.evaluation.run import opened_benchmark, run_benchmark

    benchmark = opened_benchmark(file)
    path = _run_path(benchmark.name, out, resume)
    same = ["artattack", "run", *([str(file)] if file else [])]
    same += [f"--{name}={value}" for name, value in (("seed", seed), ("limit", limit)) if value is not None]
    same += [f"--budgets={text}" for text in budgets or []]
    same += engine_options(engine, workers) + ["--no-cache"] * no_cache
    with (
        _resumable(path, [*same, "--resume", "--out", without_secret(out or shown(path))]),
        show_progress() as progress,
    ):
        run_benchmark(
            benchmark,
            out=path,
            seed=seed,
            limit=limit,
            budgets=read_budgets(budgets or []),
            resume=resume,
            engine=engine,
            workers=workers,
            cache=not no_cache,
            on_progress=progress,
            on_plan=_gate(dry_run, yes),
            on_doubt=warn,
        )
    _tell_results(path)


@examples(
    "artattack extend results/mine --classifier efficientnet_lite2",
    "artattack extend results/mine --budgets l2=5,10",
    "artattack extend results/mine with-more-attacks.yaml",
    "artattack extend results/of-an-earlier-version",
)
def extend(
    folder: RunArgument,
    file: Annotated[
        Path | None, typer.Argument(help="Benchmark file: the run's own, with additions. Default: the run's own.")
    ] = None,
    classifier: Annotated[
        list[str] | None, typer.Option("-c", "--classifier", help="Classifier to add; repeatable.")
    ] = None,
    style_judge: Annotated[
        list[str] | None,
        typer.Option("--style-judge", help="Style judge to add; repeatable."),
    ] = None,
    budgets: Annotated[
        list[str] | None, typer.Option(help="Also scale attacks and controls to these budgets: l2=5,10 or ssim.")
    ] = None,
    dry_run: DryRun = False,
    engine: EngineName = "local",
    workers: Workers = None,
    no_cache: NoCache = False,
    yes: Yes = False,
) -> None:
    """Add classifiers, style judges, budgets, attacks or controls to a run: only the new cells are computed.

    Columns newer than the run are measured on its files.

    Exit codes: those of `artattack run`.
    """
    from artattack.evaluation.extending import extend_run

    with show_progress() as progress:
        extend_run(
            folder,
            file,
            classifiers=classifier or [],
            style_judges=style_judge or [],
            budgets=read_budgets(budgets or []),
            engine=engine,
            workers=workers,
            cache=not no_cache,
            on_progress=progress,
            on_plan=_gate(dry_run, yes),
            on_doubt=warn,
        )
    _tell_results(to_path(folder))


@examples(
    "artattack study",
    "artattack study tv --dry-run",
    "artattack study tv --backbone quicknet_tiny --limit 2 -o tv",
    "artattack study tv --backbone quicknet_tiny --limit 2 -o tv --resume",
    "artattack study shape-bias --models mine.yaml",
    "artattack study weights --trials 32 --objective flips --engine ray --workers 2",
)
def study(
    name: Annotated[str | None, typer.Argument(help="Study to run. Without a name, list the studies.")] = None,
    models: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Benchmark file whose models and classifiers replace the study's."),
    ] = None,
    backbone: Annotated[list[str] | None, typer.Option(help="Model whose features define style; repeatable.")] = None,
    images: Annotated[
        str, typer.Option(help="Image set: a name, a folder or a CSV manifest. Default: the study's.")
    ] = "",
    limit: Annotated[int | None, typer.Option(help="Maximum number of images. Default: the study's.", min=1)] = None,
    size: Annotated[int, typer.Option(help="Side of the images, in pixels.", min=LEAST_SIZE)] = 224,
    steps: Annotated[int, typer.Option(help="Optimiser steps of each attack.", min=1)] = StyleOptions().steps,
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", metavar="FOLDER", help="Run folder. Default: results/study-NAME-DATE-TIME."),
    ] = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    seed: Seed = DEFAULT.seed,
    trials: Annotated[
        int | None, typer.Option(help="Number of settings a search tries. Default: the study's.", min=1)
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="Second objective of a search, beside recognition: l2 (default) or flips.")
    ] = None,
    engine: EngineName = "local",
    workers: Workers = None,
    no_cache: NoCache = False,
) -> None:
    """Run a study: a benchmark that answers one question with a table, a figure and a sentence.

    Exit codes: those of artattack run.
    """
    from artattack.studies import Settings, find_study, run_study, studies

    if name is None:
        rows = [[study.name, f"{study.minutes} min", study.question] for study in studies()]
        console.print(lay_out(["name", "takes", "asks"], rows))
        say(console, "")
        say(console, "Times are rough, on two processor cores with the study's own number of images.")
        return
    meant = find_study(name).meant
    path = _run_path(f"study-{name}", out, resume)
    given = {"images": images, "limit": limit, "size": size, "steps": steps, "seed": seed, "trials": trials}
    same = ["artattack", "study", name, *([f"--models={models}"] if models else [])]
    same += [f"--backbone={word}" for word in backbone or []]
    same += [f"--{key}={value}" for key, value in given.items() if value != Settings.model_fields[key].default]
    same += [f"--objective={objective}"] if objective else []
    same += engine_options(engine, workers) + ["--no-cache"] * no_cache

    def gate(plan: Plan) -> None:
        if plan.doubts and meant:
            say(console, meant)
        _gate(dry_run, yes)(plan)

    with (
        _resumable(path, [*same, "--resume", "--out", without_secret(out or shown(path))]),
        show_progress() as progress,
    ):
        done = run_study(
            name,
            models=models,
            backbones=backbone or (),
            images=images,
            limit=limit,
            size=size,
            steps=steps,
            seed=seed,
            trials=trials,
            objective=objective,
            out=path,
            resume=resume,
            engine=engine,
            workers=workers,
            cache=not no_cache,
            on_progress=progress,
            on_plan=gate,
            on_doubt=warn,
        )
    told = done.study
    _tell_results(path, f"{told.question}\n{told.answer}" if told else "")


def _run_path(name: str, out: str | None, resume: bool) -> Path:
    if resume and out is None:
        raise ArtattackError("--resume needs --out FOLDER, the run to go on with")
    from artattack.evaluation.run import run_path

    return run_path(name, out)


def _gate(dry_run: bool, yes: bool) -> Callable[[Plan], None]:
    """Return a callback that prints the plan and ends a dry run, or confirms a long run."""

    def gate(plan: Plan) -> None:
        if dry_run:
            print_plan(plan, console)
            raise typer.Exit
        _ask_if_long(plan, yes)

    return gate


def _ask_if_long(plan: Plan, yes: bool) -> None:
    """Ask for confirmation before a very long run; without a terminal, require `--yes`.

    Raises:
        ArtattackError: the user declines, or there is no terminal to ask on.
    """
    if yes or plan.seconds <= _LONG:
        return
    told = f"{plan.passes:.3g} passes of an image through a network, about {in_time(plan.seconds)}"
    if not can_be_asked():
        raise ArtattackError(f"{told}: start it with --yes, or look at it with --dry-run")
    if not typer.confirm(f"{told}. Start?", err=True):
        raise ArtattackError("not started")


def can_be_asked() -> bool:
    """Return whether a person at a terminal can answer a question."""
    return sys.stdin.isatty()


@contextmanager
def _resumable(path: Path, again: Sequence[str]) -> Iterator[None]:
    """After an interruption, print the command that resumes the run in `path`; exit code 130."""
    try:
        yield
    except KeyboardInterrupt as error:
        complain(f"interrupted; to go on: {shlex.join(again)}" if (path / "run.json").exists() else "interrupted")
        raise typer.Exit(130) from error


def _tell_results(path: Path, answer: str = "") -> None:
    """Print a finished run's results and write its report; exit with 1 if a record failed."""
    from artattack.report import write_report
    from artattack.report.styles import agreements_in_words
    from artattack.results.defended import defences_in_words
    from artattack.results.pooled import pooled_in_words
    from artattack.results.run_folder import load_run

    run = load_run(path)
    records = run.records
    for doubt in run.doubts_after:
        say(console, f"Doubtful: {doubt}", "bold yellow")
    print_headline(run.headline, console)
    for line in pooled_in_words(run.pooled):
        say(console, line)
    for line in defences_in_words(run.defences):
        say(console, f"Defended: {line}")
    for line in agreements_in_words(run):
        say(console, f"Judges of style: {line}")
    if answer:
        say(console, answer)
    image_set = run.info.get("image_set", {})
    if image_set.get("note"):
        say(console, f"Image set {image_set['name']}: {image_set['note']}")
    perturbed = records[records["from_cache"].notna()]
    if reused := perturbed.loc[perturbed["from_cache"], "file"].nunique():
        of = perturbed["file"].nunique()
        say(console, f"Taken from the cache: {reused} of {of} perturbed images (artattack cache)")
    say(console, f"Run folder: {shown(path)}  (records.csv, summary.csv, run.json, images/)")
    say(console, f"Report: {shown(write_report(run))}")
    errors = records["error"].dropna()
    if len(errors):
        log = " and errors.log" if (path / "errors.log").exists() else ""
        say(
            console,
            f"{len(errors)} of {len(records)} records failed; see the column `error` of records.csv{log}:",
            "red",
        )
        for reason, count in errors.value_counts().head(_REASONS).items():
            say(console, f"  {count} x {reason}", "red")
        raise typer.Exit(1)
