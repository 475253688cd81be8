"""The command line: thin commands over the library."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer
from rich.console import Console
from typer.core import TyperGroup

from artattack.attacks.options import StyleOptions, parse_options
from artattack.attacks.registry import own_attacks
from artattack.attacks.style_entry import StyleEntry
from artattack.checks import defaults as check_defaults
from artattack.commands.printing import (
    complain,
    in_bytes,
    in_time,
    lay_out,
    print_agreement,
    print_cache,
    print_checks,
    print_efficiency,
    print_plan,
    print_progress,
    print_side_by_side,
    print_summary,
    print_view,
    say,
    show_progress,
    warn,
)
from artattack.commands.training import distil, train
from artattack.config import Benchmark, ModelSpec, load_benchmark, parse_benchmark
from artattack.errors import ArtattackError, unknown
from artattack.files import names_folder, to_path
from artattack.remote import without_secret
from artattack.runtime import silence_libraries
from artattack.version import __version__

if TYPE_CHECKING:
    import pandas as pd
    from pydantic.fields import FieldInfo

    from artattack.evaluation.plan import Plan
    from artattack.evaluation.run import Engine
    from artattack.results.run_folder import RunFolder

_DEFAULT = Benchmark()
_DEFAULT_BACKBONE = StyleEntry(attack="style").backbone[0]

_LEAST_SIZE = 32
_LONG = 24 * 3600  # seconds: a run that may take longer is asked about
_LARGEST_SEED = 2**32 - 1
_REASONS = 3  # reasons of failure printed; the records have them all


class _Commands(TyperGroup):
    """The commands; a user's mistake ends in one line and exit code 2, an interruption in 130."""

    def invoke(self, ctx: Any) -> Any:
        silence_libraries()
        try:
            return super().invoke(ctx)
        except ArtattackError as error:
            complain(str(error))
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            complain("interrupted")
            raise typer.Exit(130) from error


def _examples(*commands: str) -> str:
    return "\n\n".join(["Examples:", *(f"  [bold]{command}[/]" for command in commands)])


app = typer.Typer(
    name="artattack",
    help="Measure how robust image classifiers are to art: style-transfer perturbations made with "
    "binarized neural networks, beside ART's baseline attacks.",
    epilog=_examples("artattack run", "artattack attack photo.jpg --style waves -o painted.png"),
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
datasets_app = typer.Typer(
    help="List image sets, or fetch one.",
    epilog=_examples("artattack datasets", "artattack datasets fetch imagenet-sample"),
    invoke_without_command=True,
)
app.add_typer(datasets_app, name="datasets")
cache_app = typer.Typer(
    help="Show how much is kept of adversarial images that runs have made, and where; or clear it.",
    epilog=_examples("artattack cache", "artattack cache clear", "ARTATTACK_CACHE_SIZE=20GB artattack run"),
    invoke_without_command=True,
)
app.add_typer(cache_app, name="cache")
console = Console()
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Make all images anew, and keep none for other runs (artattack cache).")
]


EngineName = Annotated[
    Literal["local", "ray"], typer.Option("--engine", help="Where: in this process, or on a Ray cluster.")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Workers of the cluster. Default: one a GPU, or for each two cores.", min=1),
]


def main() -> None:
    """Run the command line."""
    app(prog_name="artattack")


def _say(text: str, style: str | None = None) -> None:
    say(console, text, style)


def _version(wanted: bool) -> None:
    if wanted:
        _say(f"artattack {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(
    epilog=_examples(
        "artattack run",
        "artattack run mine.yaml --dry-run",
        "artattack run --budgets l2=5,10,20 --budgets ssim",
        "artattack run mine.yaml --limit 4 -o out",
        "artattack run mine.yaml --limit 4 -o out --resume",
        "artattack run mine.yaml --engine ray --workers 2",
    )
)
def run(
    file: Annotated[Path | None, typer.Argument(help="Benchmark file (YAML). Default: the built-in benchmark.")] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "-o", "--out", metavar="FOLDER", help="Run folder, or its URL (s3://...). Default: results/NAME-DATE-TIME."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the unfinished run in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its size, do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start without asking, however long it may take.")] = False,
    seed: Annotated[int | None, typer.Option(help="Replace the file's seed.", min=0, max=_LARGEST_SEED)] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many images.", min=1)] = None,
    budgets: Annotated[
        list[str] | None,
        typer.Option(help="Bring all attacks and controls to these, too: l2=5,10 or ssim; repeat for more distances."),
    ] = None,
    engine: EngineName = "local",
    workers: Workers = None,
    no_cache: NoCache = False,
) -> None:
    """Run a benchmark: perturb images, score classifiers, write records, summary and pictures.

    Exit codes: 0 all done; 1 done, but some cells or images failed (column `error`); 2 bad input; 130 interrupted.
    """
    from artattack.evaluation.plan import make_plan

    benchmark = _overridden(load_benchmark(file), seed, limit, budgets or [])
    if resume and out is None:
        raise ArtattackError("--resume needs --out FOLDER, the run to go on with")
    plan = make_plan(benchmark)
    _warn_of(plan)
    if dry_run:
        print_plan(plan, console)
        return
    _ask_if_long(plan, yes)
    same = [str(file)] if file else []
    same += [f"--{name}={value}" for name, value in (("seed", seed), ("limit", limit)) if value is not None]
    same += [f"--budgets={text}" for text in budgets or []]
    same += _engine_options(engine, workers) + ["--no-cache"] * no_cache
    _carry_out(plan, out, resume, ["artattack", "run", *same], engine=engine, workers=workers, cache=not no_cache)


def _warn_of(plan: Plan) -> None:
    """Warn of what the attacks of a plan are asked for and hardly meant to do."""
    for doubt in plan.doubts:
        warn(doubt)


def _engine_options(engine: Engine, workers: int | None) -> list[str]:
    return [f"--engine={engine}"] * (engine != "local") + [f"--workers={workers}"] * (workers is not None)


def _ask_if_long(plan: Plan, yes: bool) -> None:
    """Ask whether to start a run that may take very long; where nobody can be asked, it needs `--yes`.

    Raises:
        ArtattackError: it is not wanted, or nobody can be asked.
    """
    if yes or plan.seconds <= _LONG:
        return
    told = f"{plan.passes:.3g} passes of an image through a network, about {in_time(plan.seconds)}"
    if not _can_be_asked():
        raise ArtattackError(f"{told}: start it with --yes, or look at it with --dry-run")
    if not typer.confirm(f"{told}. Start?", err=True):
        raise ArtattackError("not started")


def _can_be_asked() -> bool:
    return sys.stdin.isatty()


def _carry_out(
    plan: Plan,
    out: str | None,
    resume: bool,
    same: Sequence[str],
    tell: Callable[[RunFolder], None] = lambda run: None,
    *,
    then: Callable[[pd.DataFrame], Plan] | None = None,
    engine: Engine = "local",
    workers: int | None = None,
    cache: bool = True,
) -> None:
    """Run a plan, and print and report what came of it.

    Args:
        plan: what to do.
        out: the run folder or its URL, or None for one of the benchmark's name.
        resume: whether to go on with the run in it.
        same: the command that asks for the same plan, for whoever is interrupted.
        tell: called with the finished run, before its report is written.
        then: from the records to a larger plan of the same benchmark, with which the run goes on.
        engine, workers, cache: as in `run_benchmark`.
    """
    from artattack.evaluation.run import run_path, run_plan

    path = run_path(plan.benchmark, out)
    try:
        with show_progress() as on_progress:
            how: dict[str, Any] = {"engine": engine, "workers": workers, "cache": cache}
            how |= {"on_progress": on_progress, "on_doubt": warn}
            records, summary = run_plan(plan, path, resume=resume, **how)
            if then:
                records, summary = run_plan(then(records), path, resume=True, **how)
    except KeyboardInterrupt as error:
        again = shlex.join([*same, "--resume", "--out", without_secret(out or str(path))])
        complain(f"interrupted; to go on: {again}" if (path / "run.json").exists() else "interrupted")
        raise typer.Exit(130) from error
    _tell_results(plan, path, records, summary, tell)


def _tell_results(
    plan: Plan,
    path: Path,
    records: pd.DataFrame,
    summary: pd.DataFrame,
    tell: Callable[[RunFolder], None] = lambda run: None,
) -> None:
    """Print what a run came to, and write its report; exit code 1 where something failed."""
    from artattack.report import write_report
    from artattack.results.run_folder import load_run

    print_summary(summary, console)
    tell(load_run(path))
    if plan.image_set.note:
        _say(f"Image set {plan.image_set.name}: {plan.image_set.note}")
    perturbed = records[records["from_cache"].notna()]
    if reused := perturbed.loc[perturbed["from_cache"], "file"].nunique():
        _say(f"Taken from the cache: {reused} of {perturbed['file'].nunique()} perturbed images (artattack cache)")
    _say(f"Run folder: {path}  (records.csv, summary.csv, run.json, images/)")
    _say(f"Report: {write_report(load_run(path))}")
    errors = records["error"].dropna()
    if len(errors):
        log = " and errors.log" if (path / "errors.log").exists() else ""
        _say(f"{len(errors)} of {len(records)} records failed; see the column `error` of records.csv{log}:", "red")
        for reason, count in errors.value_counts().head(_REASONS).items():
            _say(f"  {count} x {reason}", "red")
        raise typer.Exit(1)


@app.command(
    epilog=_examples(
        "artattack extend results/mine --classifier efficientnet_lite2",
        "artattack extend results/mine --budgets l2=5,10",
        "artattack extend results/mine with-more-attacks.yaml",
        "artattack extend results/of-an-earlier-version",
    )
)
def extend(
    folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run, or its URL.")],
    file: Annotated[
        Path | None, typer.Argument(help="Benchmark file: what the run holds, and more. Default: as it is.")
    ] = None,
    classifier: Annotated[
        list[str] | None, typer.Option("-c", "--classifier", help="One more to score; repeat for more.")
    ] = None,
    style_judge: Annotated[
        list[str] | None,
        typer.Option("--style-judge", help="One more, for images of attacks that have read all the others."),
    ] = None,
    budgets: Annotated[
        list[str] | None, typer.Option(help="Bring attacks and controls to these, too: l2=5,10 or ssim.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its size, do nothing.")] = False,
    engine: EngineName = "local",
    workers: Workers = None,
    no_cache: NoCache = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start without asking, however long it may take.")] = False,
) -> None:
    """Add classifiers, style judges, budgets, attacks or controls to a run: only what is new is computed.

    Columns that are younger than the run are measured on its files.

    Exit codes: as of `artattack run`.
    """
    from artattack.evaluation.extending import extended
    from artattack.evaluation.plan import make_plan

    benchmark = load_benchmark(file) if file else None
    asked = _budgets(budgets or [])
    path = to_path(folder)
    more = extended(path, benchmark, classifiers=classifier or [], style_judges=style_judge or [], budgets=asked)
    plan = make_plan(more)
    _warn_of(plan)
    if dry_run:
        print_plan(plan, console)
        return
    _ask_if_long(plan, yes)
    from artattack.evaluation.run import run_plan

    how: dict[str, Any] = {"engine": engine, "workers": workers, "cache": not no_cache}
    with show_progress() as on_progress:
        records, summary = run_plan(plan, path, extend=True, on_progress=on_progress, on_doubt=warn, **how)
    _tell_results(plan, path, records, summary)


def _budgets(texts: Sequence[str]) -> dict[str, list[str] | None]:
    """Read `l2=5,10` and `ssim`."""
    pairs = [text.partition("=") for text in texts]
    return {name: numbers.split(",") if equals else None for name, equals, numbers in pairs}


def _overridden(benchmark: Benchmark, seed: int | None, limit: int | None, budgets: Sequence[str]) -> Benchmark:
    """Return the benchmark with what the command line says in the place of what the file says."""
    given = benchmark.model_dump(mode="json")
    if seed is not None:
        given["seed"] = seed
    if limit is not None:
        given["images"]["limit"] = limit
    if budgets:
        given["budgets"] = _budgets(budgets)
    return parse_benchmark(given, where="command line")


def _with_style_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of `StyleOptions`, with its type, default and description."""
    signature = inspect.signature(command, eval_str=True)
    kept = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    added = [_option(name, field) for name, field in StyleOptions.model_fields.items()]
    vars(command)["__signature__"] = signature.replace(parameters=[*kept, *added])
    return command


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    kind, description = _plain(field.annotation), field.description or ""
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    option = typer.Option(
        f"--{name.replace('_', '-')}",  # without a --no- form beside it
        help=f"{description} ({', '.join(choices)})" if choices else description,
        metavar="<word>" if choices else None,  # the words themselves would take half the screen
        rich_help_panel="Style",
    )
    default = field.default
    if isinstance(default, tuple):  # a distance and how far
        default = f"{default[0]}={default[1]:g}"
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _plain(annotation: Any) -> Any:
    """Return what the command line reads for a field: words for a tuple, one word for what is no plain type."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)] or [annotation]
    first = get_args(kinds[0])[0] if get_origin(kinds[0]) is Annotated else kinds[0]
    if get_origin(annotation) is Literal or first in (int, float, bool, Path):
        return annotation if len(kinds) == 1 or get_origin(annotation) is Literal else first | None
    several = get_origin(first) is tuple and get_args(first)[-1] is Ellipsis
    return list[str] | None if several else str | None


@app.command(
    epilog=_examples(
        "artattack attack turtle.jpg --style waves -o turtle-waves.png",
        "artattack attack turtle.jpg -s marble --guide efficientnet_lite0 -o fooled.png",
        "artattack attack poster.jpg -s woodcut --size original --tile 512 -o large.png",
    )
)
@_with_style_options
def attack(
    photo: Annotated[Path, typer.Argument(help="The image to paint.")],
    style: Annotated[str, typer.Option("--style", "-s", help="A style's name or an image file; a+b blends two.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="PNG to write.")],
    backbone: Annotated[str, typer.Option(help="Model whose features say what style is.")] = _DEFAULT_BACKBONE,
    classifier: Annotated[
        list[str] | None,
        typer.Option("-c", "--classifier", help="Model to ask; repeat for more. Default: both built in."),
    ] = None,
    guide: Annotated[
        list[str] | None, typer.Option("--guide", help="Classifier to lead astray meanwhile; repeat for more.")
    ] = None,
    size: Annotated[
        str, typer.Option(help="Side in pixels of the square cut from the photo, or `original` to keep all of it.")
    ] = str(_DEFAULT.images.size),
    tile: Annotated[
        int | None, typer.Option(help="Paint in tiles of so many pixels a side, for photos too large at once.", min=32)
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Every random choice follows from it.", min=0, max=_LARGEST_SEED)
    ] = _DEFAULT.seed,
    **options: Any,
) -> None:
    """Paint one photo in a style, and print what each classifier sees before and after.

    Beside the painted photo, NAME-before-after.png shows both with the labels and confidences below each.
    """
    from artattack.photo.attack import attack_photo

    if size != "original" and not (size.isdigit() and int(size) >= _LEAST_SIZE):
        raise ArtattackError(f"--size: a number of pixels from {_LEAST_SIZE} on, or original, not '{size}'")
    chosen = parse_options({key: value for key, value in options.items() if value not in (None, [])})
    if doubt := chosen.doubt():
        warn(doubt)
    painted = attack_photo(
        photo,
        out,
        style=style,
        backbone=backbone,
        guides=guide or [],
        classifiers=classifier or _DEFAULT.classifiers,
        size=None if size == "original" else int(size),
        tile=tile,
        images=_DEFAULT.images,
        seed=seed,
        options=chosen,
    )
    for view in painted.views:
        print_view(view, console)
    _say(f"Written: {out} and {painted.side_by_side}")


@app.command(
    "study",
    epilog=_examples(
        "artattack study",
        "artattack study tv --dry-run",
        "artattack study tv --backbone quicknet_tiny --limit 2 -o tv",
        "artattack study tv --backbone quicknet_tiny --limit 2 -o tv --resume",
        "artattack study weights --trials 32 --objective flips --engine ray --workers 2",
    ),
)
def study_command(
    name: Annotated[str | None, typer.Argument(help="Which study. Without one, they are listed.")] = None,
    backbone: Annotated[
        list[str] | None, typer.Option(help="Model whose features say what style is; repeat for more.")
    ] = None,
    images: Annotated[
        str, typer.Option(help="Image set: a name, a folder or a CSV manifest. Default: the study's.")
    ] = "",
    limit: Annotated[int | None, typer.Option(help="At most so many images. Default: the study's.", min=1)] = None,
    size: Annotated[int, typer.Option(help="Side of the images, in pixels.", min=_LEAST_SIZE)] = _DEFAULT.images.size,
    steps: Annotated[int, typer.Option(help="Optimiser steps of each attack.", min=1)] = StyleOptions().steps,
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", metavar="FOLDER", help="Run folder. Default: results/study-NAME-DATE-TIME."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the unfinished run in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its size, do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start without asking, however long it may take.")] = False,
    seed: Annotated[
        int, typer.Option(help="Every random choice follows from it.", min=0, max=_LARGEST_SEED)
    ] = _DEFAULT.seed,
    trials: Annotated[
        int | None, typer.Option(help="Of a search: how many settings are tried. Default: the study's.", min=1)
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="Of a search: what counts beside recognition, l2 (the default) or flips.")
    ] = None,
    engine: EngineName = "local",
    workers: Workers = None,
    no_cache: NoCache = False,
) -> None:
    """Ask one question of style transfer again: a benchmark, and one table, one figure and one sentence made of it.

    Exit codes: as of artattack run.
    """
    from artattack.studies import Settings, check_packages, find_study, studies, study_benchmark, write_study

    if name is None:
        rows = [[study.name, f"{study.minutes} min", study.question] for study in studies()]
        console.print(lay_out(["name", "takes", "asks"], rows))
        _say("")
        _say("Times are rough, on two processor cores with the study's own number of images.")
        return
    study = find_study(name)
    if resume and out is None:
        raise ArtattackError("--resume needs --out FOLDER, the run to go on with")
    if trials is not None and not study.trials:
        raise ArtattackError(f"--trials: the study {name} is no search")
    if objective is not None:
        if not study.objectives:
            raise ArtattackError(f"--objective: the study {name} has no choice of one")
        if objective not in study.objectives:
            raise unknown("objective", objective, study.objectives)
        study = study.objectives[objective]
    check_packages(study)
    from artattack.evaluation.plan import make_plan
    from artattack.studies.halving import first_plan, going_on

    settings = Settings(
        backbones=tuple(backbone or ()),
        images=images,
        limit=limit,
        size=size,
        steps=steps,
        seed=seed,
        trials=trials,
    )
    plan = make_plan(study_benchmark(study, settings))
    if plan.doubts and study.meant:
        _say(study.meant)
    else:
        _warn_of(plan)
    if dry_run:
        print_plan(plan, console)
        return
    _ask_if_long(plan, yes)
    same = ["artattack", "study", name, *(f"--backbone={word}" for word in backbone or [])]
    same += [
        f"--{option}={value}"
        for option, value in settings.model_dump(exclude={"backbones"}).items()
        if value != Settings.model_fields[option].default
    ]
    same += [f"--objective={objective}"] if objective else []
    same += _engine_options(engine, workers) + ["--no-cache"] * no_cache

    def tell(run: RunFolder) -> None:
        _say(f"{study.question}\n{write_study(study, run)}")

    how: dict[str, Any] = {"engine": engine, "workers": workers, "cache": not no_cache}
    if study.going_on is None:
        _carry_out(plan, out, resume, same, tell, **how)
        return
    better = study.going_on
    _carry_out(first_plan(plan), out, resume, same, tell, then=lambda records: going_on(plan, better(records)), **how)


@app.command(
    epilog=_examples(
        "artattack check results/default-20260101-120000",
        "artattack check quicknet_tiny efficientnet_lite0 -o checks.csv",
        "artattack check quicknet_tiny --eps 4/255 --steps 50",
    )
)
def check(
    what: Annotated[list[str], typer.Argument(help="The folder of a finished run or its URL, or names of models.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="CSV to write. Default for a run: checks.csv in its folder.")
    ] = None,
    limit: Annotated[
        int, typer.Option(help="At most so many images.", min=check_defaults.FEWEST)
    ] = check_defaults.LIMIT,
    eps: Annotated[str, typer.Option(help="Radius of the linf ball attacks are held to.")] = check_defaults.EPS,
    steps: Annotated[int, typer.Option(help="Iterations of PGD.", min=1)] = check_defaults.STEPS,
    seed: Annotated[
        int, typer.Option(help="Every random choice follows from it.", min=0, max=_LARGEST_SEED)
    ] = _DEFAULT.seed,
) -> None:
    """Check that classifiers are attacked as they should be: gradients, budgets, convergence and more.

    Of a run, the checks go to its folder and into its report.

    Exit codes: 0 all passed or do not apply; 1 some failed or broke down; 2 bad input; 130 interrupted.
    """
    from artattack.checks import all_sound, run_checks, targets_by_name, targets_of_run, write_checks
    from artattack.validation import parse_number

    radius = parse_number(eps)
    if not 0 < radius <= 1:
        raise ArtattackError(f"--eps: a radius above 0 and up to 1, such as 8/255, not '{eps}'")
    of_run = len(what) == 1 and names_folder(what[0])
    folder = to_path(what[0]) if of_run else None
    path = out or (folder / "checks.csv" if folder else None)
    with show_progress() as on_progress:
        on_progress("loading", 0, 1)
        targets = targets_of_run(folder, limit) if folder else targets_by_name(what, limit, seed)
        checks = run_checks(targets.models, targets.x, eps=radius, steps=steps, seed=seed, on_progress=on_progress)
    print_checks(checks, console)
    if path:
        write_checks(checks, path)
        _say(f"Written: {path}")
    if folder and out is None:
        from artattack.report import write_report
        from artattack.results.run_folder import load_run

        _say(f"Report: {write_report(load_run(folder))}")
    if not all_sound(checks):
        raise typer.Exit(1)


@app.command(
    epilog=_examples(
        "artattack agree mine.onnx mine.keras --preprocessing tf",
        "artattack agree phone server --benchmark mine.yaml --tolerance 0.5",
    )
)
def agree(
    copy: Annotated[str, typer.Argument(metavar="FILE", help="A model's file, say a converted one, onnx:PATH.")],
    original: Annotated[str, typer.Argument(metavar="ORIGINAL", help="The model that it was made from.")],
    benchmark: Annotated[
        Path | None, typer.Option(help="Benchmark file in whose `models` both may be named. Default: none.")
    ] = None,
    preprocessing: Annotated[
        str | None, typer.Option(help="What files expect of images: imagenet, caffe, tf, unit, byte or lite.")
    ] = None,
    label_space: Annotated[str | None, typer.Option(help="Classes of files: imagenet, or a text file.")] = None,
    input_size: Annotated[int | None, typer.Option(help="Side of images, for files that fix none.", min=1)] = None,
    images: Annotated[str, typer.Option(help="Image set: a name, a folder or a CSV manifest.")] = _DEFAULT.images.set,
    limit: Annotated[int, typer.Option(help="At most so many images.", min=1)] = check_defaults.LIMIT,
    tolerance: Annotated[
        float, typer.Option(help="Largest difference of logits that is taken for rounding.", min=0)
    ] = check_defaults.TOLERANCE,
) -> None:
    """Ask a model's file and its original about the same images: do they see the same?

    Exit codes: 0 they do; 1 they do not; 2 bad input; 130 interrupted.
    """
    from artattack.inputs.image_sets import load_images
    from artattack.models import load_model
    from artattack.models.registry import check_model, model_infos
    from artattack.networks.agreement import compare_models
    from artattack.runtime import load_tensorflow

    of_files = {"preprocessing": preprocessing, "label_space": label_space, "input_size": input_size}
    known = load_benchmark(benchmark).models if benchmark else {}
    registered = {info.name for info in model_infos()}
    specs = [
        known.get(name) or ModelSpec(model=name, **({} if name in registered else of_files))
        for name in (copy, original)
    ]
    for spec in specs:
        check_model(spec.model)
    load_tensorflow()
    ours, theirs = (load_model(**spec.arguments()) for spec in specs)
    loaded = load_images(images, size=theirs.input_size, limit=limit)
    found = compare_models(ours, theirs, loaded.x, loaded.ids, tolerance=tolerance)
    print_agreement(found, copy, original, console)
    if not found.agree:
        raise typer.Exit(1)


@app.command(
    "compare",
    epilog=_examples(
        "artattack compare results/before results/after",
        "artattack compare results/seed-0 results/seed-1 results/seed-2 --csv seeds.csv",
    ),
)
def compare_command(
    runs: Annotated[
        list[str], typer.Argument(help="Folders of finished runs, or their URLs; the first is the reference.")
    ],
    table: Annotated[Path | None, typer.Option("--csv", help="CSV to write, a row for each rate.")] = None,
) -> None:
    """Set runs side by side: which rates differ from the first run's, by how much, beyond chance or not, and why."""
    from artattack.files import write_file
    from artattack.results.between_runs import compare_runs
    from artattack.results.run_folder import load_run
    from artattack.results.tables import to_csv

    if len(runs) < 2:
        raise ArtattackError("compare: give two or more run folders, the reference first")
    found = compare_runs(*map(load_run, runs))
    print_side_by_side(found, console)
    if table:
        write_file(table, to_csv(found.table))
        _say(f"Written: {table}")


@app.command(
    epilog=_examples(
        "artattack export results/mine --format textattack -o log.csv",
        "artattack export results/mine --format robustbench -o model_info",
    )
)
def export(
    run: Annotated[str, typer.Argument(help="Folder of a finished run, or its URL.")],
    name: Annotated[
        str, typer.Option("--format", help="robustbench (JSON, one for each classifier), textattack (CSV) or parquet.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write; for robustbench, the folder.")],
) -> None:
    """Write a run in another project's format, for the tools that read it."""
    from artattack.results.exports import export as write_export
    from artattack.results.run_folder import load_run

    for path in write_export(load_run(run), name, out):
        _say(f"Written: {path}")


@app.command(epilog=_examples("artattack status results/mine", "watch artattack status results/mine"))
def status(folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run, or its URL.")]) -> None:
    """Say how far a run is: what is done, what failed and why, what is next, and how long the rest will take.

    Exit codes: 0 finished and nothing failed; 1 running, stopped, or something failed; 2 bad input.
    """
    from artattack.results.progress import read_progress
    from artattack.results.run_folder import load_run

    run = load_run(folder)
    progress = read_progress(run)
    print_progress(progress, console)
    if progress.state == "stopped":
        place = without_secret(folder)
        again = f"the `artattack run` that started it, with --resume --out {place}"
        if "extended" in run.info:
            again = f"artattack extend {place}"
        _say(f"To go on: {again}")
    if progress.state != "finished" or progress.failed or progress.unreadable:
        raise typer.Exit(1)


app.command(
    epilog=_examples(
        "artattack train photos/ -o nets",
        "artattack train cifar-10-batches-py.tar.gz --dry-run -o nets",
        "artattack train photos/ --precision w1a1 --precision w4a4 --precision float -o nets",
        "artattack attack cat.jpg -s waves --backbone nets/w1a1.keras -o painted.png",
    )
)(train)
app.command(
    epilog=_examples(
        "artattack distil efficientnet_lite0 --images photos/ -o student",
        "artattack distil onnx:mine.onnx --preprocessing tf --images photos/ --logits-only -o surrogate",
    )
)(distil)


@app.command(
    "models",
    epilog=_examples(
        "artattack models | grep binary",
        "artattack models --measure",
        "artattack models quicknet vgg19 --measure --csv efficiency.csv",
    ),
)
def models_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Which to measure. Default: those whose weights are here, quicknet and vgg19."),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure size, accuracy, latency and memory; minutes for each.")
    ] = False,
    table: Annotated[Path | None, typer.Option("--csv", help="CSV to write, a row for each network.")] = None,
    images: Annotated[str, typer.Option(help="Image set for accuracy: a name, a folder or a CSV manifest.")] = (
        _DEFAULT.images.set
    ),
    limit: Annotated[int | None, typer.Option(help="At most so many images.", min=1)] = None,
    repeats: Annotated[int, typer.Option(help="Runs of each network in each runtime; the median counts.", min=1)] = 20,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --csv: networks that stand in it are not measured again.")
    ] = False,
) -> None:
    """List the models by name, each of which can be backbone or classifier; or measure what they cost and are worth."""
    if measure:
        _measure_models(names, table, images, limit, repeats, resume)
        return
    if names or table or resume:
        raise ArtattackError("names, --csv and --resume go with --measure")
    from artattack.models import model_infos

    rows = [
        [m.name, "binary" if m.binary else "float", str(m.input_size[0]), m.default_weights, m.needs]
        for m in model_infos()
    ]
    console.print(lay_out(["name", "kind", "px", "weights", "needs"], rows))
    _say("")
    _say("In a benchmark file's `models`, each takes weights: random or a path as well;")
    _say("so does a network of one's own: a .keras, .h5 or SavedModel file.")
    _say("As classifiers, sources and guides: torch:PATH, timm:NAME.")
    _say("As classifiers alone, attacked by queries:")
    _say("onnx:PATH, tflite:PATH, lce:PATH, http(s)://ADDRESS.")


def _measure_models(
    names: list[str] | None, table: Path | None, images: str, limit: int | None, repeats: int, resume: bool
) -> None:
    if resume and table is None:
        raise ArtattackError("--resume needs --csv FILE, the table to go on with")
    from artattack.files import write_file
    from artattack.networks.efficiency import measure_efficiency, measured_by_default
    from artattack.results.columns import EFFICIENCY
    from artattack.results.tables import read_table, to_csv

    def keep(found: pd.DataFrame) -> None:
        if table:
            write_file(table, to_csv(found))

    with show_progress() as on_progress:
        found = measure_efficiency(
            names or measured_by_default(),
            images=images,
            limit=limit,
            repeats=repeats,
            known=read_table(table, EFFICIENCY) if resume and table and table.exists() else None,
            on_row=keep,
            on_progress=on_progress,
        )
    print_efficiency(found, console)
    if table:
        _say(f"Written: {table}")


@app.command(
    "export-model",
    epilog=_examples(
        "artattack export-model efficientnet_lite0 --to tflite lite0.tflite",
        "artattack export-model quicknet_tiny --to lce tiny.tflite",
    ),
)
def export_model_command(
    name: Annotated[str, typer.Argument(help="A model of `artattack models`.")],
    file: Annotated[Path, typer.Argument(help="File to write.")],
    to: Annotated[str, typer.Option("--to", help="tflite, or lce: Larq Compute Engine, binary weights packed.")],
    weights: Annotated[
        str | None, typer.Option(help="imagenet, bundled, random, or a path. Default: the model's own.")
    ] = None,
) -> None:
    """Write a network to a file for TensorFlow Lite or Larq Compute Engine, and print its size."""
    from artattack.models.registry import load_registered, model_info
    from artattack.runtime import load_tensorflow

    model_info(name)  # before TensorFlow, which takes its time
    load_tensorflow()
    from artattack.models.export import export_model

    size = export_model(load_registered(name, weights), to, file)
    _say(f"Written: {file}, {size / 2**20:.2f} MiB ({size} bytes)")
    _say(f"In a benchmark file: {{model: '{to}:{file}'}}")


@app.command(
    epilog=_examples(
        "artattack atlas quicknet_distilled -o atlas.png",
        "artattack atlas efficientnet_lite0 --layer block3a_expand_relu6 --channels 36 -o atlas.png",
    )
)
def atlas(
    backbone: Annotated[str, typer.Argument(help="A model of `artattack models`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="PNG to write.")],
    layer: Annotated[
        str | None,
        typer.Option(
            help="A name, or binary:K, conv:K, sum:K, activation:K. Default: the last that style is measured in."
        ),
    ] = None,
    channels: Annotated[int, typer.Option(help="At most so many, evenly spread over the layer.", min=4)] = 64,
    size: Annotated[int, typer.Option(help="Side of each picture, in pixels.", min=_LEAST_SIZE)] = 96,
    steps: Annotated[int, typer.Option(help="Optimiser steps.", min=1)] = 60,
    seed: Annotated[
        int, typer.Option(help="Every random choice follows from it.", min=0, max=_LARGEST_SEED)
    ] = _DEFAULT.seed,
) -> None:
    """Draw what each channel of a layer responds to, with those side by side that see alike."""
    from artattack.inputs.images import save_png
    from artattack.networks.atlas import make_atlas

    with show_progress() as on_progress:
        drawn = make_atlas(
            backbone, layer=layer, channels=channels, size=size, steps=steps, seed=seed, on_progress=on_progress
        )
    save_png(out, drawn.picture)
    _say(f"Written: {out}; {int((drawn.channels >= 0).sum())} channels of {drawn.layer}, row by row:")
    for row in drawn.channels:
        _say("  ".join(f"{channel:4d}" if channel >= 0 else "    " for channel in row))


@app.command("attacks", epilog=_examples("artattack attacks | grep decisions"))
def attacks_command() -> None:
    """List the attacks and controls a benchmark file can name."""
    from artattack.attacks.art_attacks import baseline_infos

    rows = [[name, entry.kind, entry.reads] for name, entry in own_attacks().items()]
    rows += [
        [b.name, b.art_class, b.reads + "*" * b.minimum_norm + (f", package {b.package}" if b.package else "")]
        for b in baseline_infos()
    ]
    console.print(lay_out(["name", "class", "reads"], rows))
    _say("")
    _say("*  seeks the smallest change that flips, where others stay within eps")
    _say("Attacks of ART take ART's parameters by ART's names.")
    _say("The options of style: artattack attack --help")


@app.command(
    epilog=_examples(
        "artattack report results/default-20261123-120000",
        "artattack report out -o share/report.html",
        "artattack report out --format latex > table.tex",
        "artattack report out --figures figures/",
    )
)
def report(
    folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run, or its URL.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write; default: report.html in RUN.")] = None,
    form: Annotated[
        str, typer.Option("--format", help="html, or the summary as csv, markdown or latex, printed unless --out.")
    ] = "html",
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Write PNG and SVG figures to this folder instead.")
    ] = None,
) -> None:
    """Write a finished run's report: one HTML file that opens without a network; or tables, or figures."""
    from artattack.files import write_file
    from artattack.report import save_figures, write_report, write_tables
    from artattack.results.run_folder import load_run

    opened = load_run(folder)
    if figures is not None:
        _say(f"Written: {len(save_figures(opened, figures))} files in {figures}")
    elif form == "html":
        _say(f"Written: {write_report(opened, out)}")
    elif out is None:
        typer.echo(write_tables(opened, form), nl=False)
    else:
        write_file(out, write_tables(opened, form).encode())
        _say(f"Written: {out}")


@app.command("styles", epilog=_examples("artattack styles"))
def styles_command() -> None:
    """List the styles that come with the package."""
    from artattack.inputs.styles import style_names

    for name in style_names():
        _say(name)
    _say("")
    _say("Any image file works too; a+b blends two styles.")


@datasets_app.callback()
def datasets_command(context: typer.Context) -> None:
    """List image sets, or fetch one with `artattack datasets fetch NAME`."""
    if context.invoked_subcommand is None:
        from artattack.inputs.image_sets import image_set_infos

        rows = [[i.name, "yes" if i.available else "no", i.description, i.needs] for i in image_set_infos()]
        console.print(lay_out(["name", "here", "what", "needs"], rows, prose=2))
        _say("")
        _say("Any folder of images or CSV manifest works too.")


@datasets_app.command(
    epilog=_examples(
        "artattack datasets fetch imagenet-sample",
        "artattack datasets fetch imagenet-sample --from ~/imagenet-sample-images",
        "artattack datasets fetch cue-conflict --from texture-vs-shape/stimuli/style-transfer-preprocessed-512",
    )
)
def fetch(
    name: Annotated[str, typer.Argument(help="Image set to fetch: imagenet-sample or cue-conflict.")],
    source: Annotated[Path | None, typer.Option("--from", help="Take the files from a local copy.")] = None,
) -> None:
    """Download an image set, with checksums; run again to resume."""
    from artattack.inputs.image_sets import fetch_image_set

    _say(fetch_image_set(name, source))


@cache_app.callback()
def cache_command(context: typer.Context) -> None:
    """Show how much the cache holds, and where; or clear it with `artattack cache clear`."""
    if context.invoked_subcommand is None:
        from artattack.cache import cache_settings

        print_cache(cache_settings(), console)


@cache_app.command(epilog=_examples("artattack cache clear"))
def clear() -> None:
    """Let go of all that is kept. Run folders stay as they are."""
    from artattack.cache import cache_settings

    cache = cache_settings()
    was = cache.clear()
    _say(f"Cleared: {was.entries} batches of images, {in_bytes(was.size)}, from {cache.folder}")
