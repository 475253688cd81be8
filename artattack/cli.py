"""The command line: thin commands over the library."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from artattack import __version__
from artattack.config import Benchmark, StyleEntry, StyleOptions, load_benchmark, parse_options
from artattack.errors import ArtattackError, unknown

if TYPE_CHECKING:
    from artattack.plan import Plan

_DEFAULT = Benchmark()
_DEFAULT_BACKBONE = next(entry.backbone[0] for entry in _DEFAULT.attacks if isinstance(entry, StyleEntry))

_LEAST_SIZE = 32

app = typer.Typer(
    name="artattack",
    help="Measure how robust image classifiers are to art: style-transfer perturbations made with "
    "binarized neural networks, beside ART's baseline attacks.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
datasets_app = typer.Typer(help="List image sets, or fetch one.", invoke_without_command=True)
app.add_typer(datasets_app, name="datasets")
console = Console()


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit code 2."""
    try:
        app()
    except ArtattackError as error:
        Console(stderr=True).print(f"artattack: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("artattack: interrupted", style="red")
        sys.exit(130)


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"artattack {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Examples:  artattack run  ·  artattack run mine.yaml --dry-run  ·  artattack run --limit 4 -o out")
def run(
    file: Annotated[Path | None, typer.Argument(help="Benchmark file (YAML). Default: the built-in benchmark.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run folder. Default: results/NAME-DATE-TIME.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the unfinished run in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its size, do nothing.")] = False,
    seed: Annotated[int | None, typer.Option(help="Replace the file's seed.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many images.", min=1)] = None,
) -> None:
    """Run a benchmark: perturb images, score classifiers, write records, summary and pictures.

    Exit code 0: all done. 1: done, but some cells or images failed (see the column `error`). 2: bad input.
    """
    from artattack.benchmark import Run, run_path
    from artattack.plan import make_plan

    benchmark = _overridden(load_benchmark(file), seed, limit)
    if resume and out is None:
        raise ArtattackError("--resume needs --out FOLDER, the run to go on with")
    plan = make_plan(benchmark)
    if dry_run:
        _print_plan(plan)
        return
    from artattack.results import print_summary
    from artattack.runtime import load_tensorflow

    load_tensorflow()
    path = run_path(benchmark, out)
    with _progress() as on_progress:
        records, summary = Run(plan, path, resume=resume, on_progress=on_progress)()
    print_summary(summary, console)
    console.print(f"Run folder: {path}  (records.csv, summary.csv, run.json, images/)", highlight=False)
    failed = int(records["error"].notna().sum())
    if failed:
        console.print(f"{failed} of {len(records)} records failed; see the column `error` of records.csv", style="red")
        raise typer.Exit(1)


def _overridden(benchmark: Benchmark, seed: int | None, limit: int | None) -> Benchmark:
    images = benchmark.images if limit is None else benchmark.images.model_copy(update={"limit": limit})
    return benchmark.model_copy(update={"images": images} | ({} if seed is None else {"seed": seed}))


@contextmanager
def _progress() -> Iterator:  # type: ignore[type-arg]
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("starting", total=None)

        def on_progress(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield on_progress


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _print_plan(plan: Plan) -> None:
    benchmark = plan.benchmark
    rows = [
        [v.entry.name, v.style, v.source, v.matched.label if v.matched else "", str(len(plan.samples))]
        for v in plan.variants
    ]
    _table(f"Plan of '{benchmark.name}'", ["attack", "style", "source", "distance of", "images"], rows)
    images = len(plan.samples)
    console.print(
        f"{images} images of '{plan.image_set.name}' at {benchmark.images.size} x {benchmark.images.size}, "
        f"{len(plan.variants)} attack variants in {len(plan.cells)} cells of up to {benchmark.batch_size} images, "
        f"{images * len(plan.variants)} adversarial images, {len(benchmark.classifiers)} classifiers "
        f"({', '.join(benchmark.classifiers)}): {images * len(plan.variants) * len(benchmark.classifiers)} records. "
        f"Seed {benchmark.seed}.",
        highlight=False,
    )


def _with_style_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of `StyleOptions`, with its type, default and description."""
    signature = inspect.signature(command, eval_str=True)
    kept = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=Annotated[_plain(field.annotation), typer.Option(help=field.description)],
        )
        for name, field in StyleOptions.model_fields.items()
    ]
    command.__signature__ = signature.replace(parameters=[*kept, *added])
    return command


def _plain(annotation: Any) -> Any:
    """Return what the command line reads for a field: words for a tuple of names, one word for what is no plain type."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)] or [annotation]
    first = get_args(kinds[0])[0] if get_origin(kinds[0]) is Annotated else kinds[0]
    if get_origin(annotation) is Literal or first in (int, float, bool, Path):
        return annotation if len(kinds) == 1 or get_origin(annotation) is Literal else first | None
    several = get_origin(first) is tuple and get_args(first)[-1] is Ellipsis
    return list[str] | None if several else str | None


@app.command(epilog="Example:  artattack attack turtle.jpg --style waves -o turtle-waves.png")
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
    seed: Annotated[int, typer.Option(help="Every random choice follows from it.", min=0)] = _DEFAULT.seed,
    **options: Any,
) -> None:
    """Paint one photo in a style, and print what each classifier sees before and after."""
    from artattack.runtime import load_tensorflow

    load_tensorflow()
    from artattack.photo import attack_photo

    if size != "original" and not (size.isdigit() and int(size) >= _LEAST_SIZE):
        raise ArtattackError(f"--size: a number of pixels from {_LEAST_SIZE} on, or original, not '{size}'")
    views = attack_photo(
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
        options=parse_options({key: value for key, value in options.items() if value not in (None, [])}),
    )
    for view in views:
        marked = f"{view.classifier} (RANDOM WEIGHTS)" if view.weights == "random" else view.classifier
        rows = [
            [f"{name}", f"{confidence:.1%}", f"{name_after}", f"{confidence_after:.1%}"]
            for (_, name, confidence), (_, name_after, confidence_after) in zip(view.before, view.after, strict=True)
        ]
        _table(marked, ["before", "", "after", ""], rows)
    console.print(f"Written: {out}", highlight=False)


@app.command("models")
def models_command() -> None:
    """List the models: each can be backbone or classifier."""
    from artattack.models import model_infos

    rows = [
        [
            m.name,
            m.family,
            "binary" if m.binary else "float",
            str(m.input_size[0]),
            ", ".join(m.weights),
            m.needs,
        ]
        for m in model_infos()
    ]
    _table("Models", ["name", "family", "kind", "px", "weights", "needs"], rows)
    console.print("A local .keras, .h5 or SavedModel file works too: see `models:` in the README.", highlight=False)


@app.command("attacks")
def attacks_command() -> None:
    """List the attacks and controls a benchmark file can name."""
    from artattack.attacks.baselines import baseline_infos
    from artattack.attacks.controls import CONTROLS

    rows = [
        [
            "style",
            "StyleTransferAttack",
            "a backbone and a style; options: " + ", ".join(StyleOptions.model_fields),
        ]
    ]
    rows += [[name, "control", "another attack, whose distance it copies"] for name in CONTROLS]
    rows += [[b.name, b.art_class, b.needs] for b in baseline_infos()]
    _table("Attacks", ["name", "class", "needs"], rows)


@app.command("styles")
def styles_command() -> None:
    """List the styles that come with the package."""
    from artattack.styles import style_names

    _table("Styles", ["name"], [[name] for name in style_names()])
    console.print("Any image file works too; a+b blends two styles.", highlight=False)


@datasets_app.callback()
def datasets_command(context: typer.Context) -> None:
    """List image sets, or fetch one with `artattack datasets fetch NAME`."""
    if context.invoked_subcommand is None:
        from artattack.datasets import image_set_infos

        rows = [[i.name, i.description, i.needs, "yes" if i.available else "no"] for i in image_set_infos()]
        _table("Image sets", ["name", "what", "needs", "here"], rows)
        console.print("Any folder of images or CSV manifest works too.", highlight=False)


@datasets_app.command(epilog="Example:  artattack datasets fetch imagenet-sample --from ~/imagenet-sample-images")
def fetch(
    name: Annotated[str, typer.Argument(help="Image set to fetch: imagenet-sample.")],
    source: Annotated[Path | None, typer.Option("--from", help="Take the files from a local copy.")] = None,
) -> None:
    """Download an image set, with checksums; run again to resume."""
    from artattack.datasets import fetch_imagenet_sample

    if name != "imagenet-sample":
        raise unknown("image set to fetch", name, ["imagenet-sample"])
    console.print(fetch_imagenet_sample(source), highlight=False)
