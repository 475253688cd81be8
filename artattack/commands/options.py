"""Options that several commands share, the options of the style attack, and examples for `--help`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer

from artattack.attacks.options import StyleOptions
from artattack.config import Benchmark
from artattack.errors import ArtattackError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from artattack.evaluation.run import Engine

DEFAULT = Benchmark()
LEAST_SIZE = 32  # px
_LARGEST_SEED = 2**32 - 1

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, then exit.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Start long runs without confirmation.")]
Resume = Annotated[bool, typer.Option("--resume", help="Resume the unfinished run in --out.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.", min=0, max=_LARGEST_SEED)]
SeedOrNone = Annotated[int | None, typer.Option(help="Replace the file's seed.", min=0, max=_LARGEST_SEED)]
Limit = Annotated[int | None, typer.Option(help="Maximum number of images.", min=1)]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run, or its URL.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither read nor write the cache (artattack cache).")]
EngineName = Annotated[
    Literal["local", "ray"], typer.Option("--engine", help="Run in this process or on a Ray cluster.")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Number of Ray workers. Default: one per GPU, or one per two cores.", min=1),
]

_Command = TypeVar("_Command", bound=Callable[..., None])


def examples(*lines: str) -> Callable[[_Command], _Command]:
    """Set the example lines that a command's `--help` shows."""

    def with_examples(command: _Command) -> _Command:
        vars(command)["examples"] = lines
        return command

    return with_examples


def engine_options(engine: Engine, workers: int | None) -> list[str]:
    """Return the command-line words that select a non-default engine."""
    return [f"--engine={engine}"] * (engine != "local") + [f"--workers={workers}"] * (workers is not None)


def read_budgets(texts: Sequence[str]) -> dict[str, list[str] | None]:
    """Parse `l2=5,10` and `ssim` into a map from a distance to budgets, or to None for its default budgets."""
    pairs = [text.partition("=") for text in texts]
    return {name: numbers.split(",") if equals else None for name, equals, numbers in pairs}


def with_style_options(command: Callable[..., None]) -> Callable[..., None]:
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
        metavar="<word>" if choices else None,  # listing all values would take half the screen
        rich_help_panel="Style",
    )
    default = field.default
    if isinstance(default, tuple):  # a distance and its value
        default = f"{default[0]}={default[1]:g}"
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _plain(annotation: Any) -> Any:
    """Return the command line's type for a field: a list of text for a tuple, text for a type that is not plain."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)] or [annotation]
    first = get_args(kinds[0])[0] if get_origin(kinds[0]) is Annotated else kinds[0]
    if get_origin(annotation) is Literal:
        return annotation
    if first in (int, float, bool, Path):
        return first if len(kinds) == 1 and type(None) not in get_args(annotation) else first | None
    several = get_origin(first) is tuple and get_args(first)[-1] is Ellipsis
    return list[str] | None if several else str | None


def read_sides(text: str, also: str = "") -> tuple[int, ...]:
    """Parse `224` or `48x144` into one or two numbers of pixels; `also` ends the error's list of valid values.

    Raises:
        ArtattackError: it is neither.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) >= LEAST_SIZE for side in sides):
        raise ArtattackError(
            f"--size: a number of pixels from {LEAST_SIZE} on, height and width as in 48x144{also}, not '{text}'"
        )
    return tuple(map(int, sides))
