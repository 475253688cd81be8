"""The command-line app: command groups, error messages and exit codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup, TyperOption

from artattack.commands import lists, models, photo, results, running, survey, training
from artattack.commands.printing import complain, say
from artattack.errors import ArtattackError
from artattack.runtime import silence_libraries
from artattack.version import __version__

_PANELS: Mapping[str, Mapping[str, Callable[..., None]]] = {
    "Attack": {"run": running.run, "extend": running.extend, "study": running.study, "attack": photo.attack},
    "Runs": {
        "status": results.status,
        "report": results.report,
        "compare": results.compare,
        "check": results.check,
        "export": results.export,
        "survey": survey.survey,
    },
    "Models": {
        "models": models.models,
        "models fetch": models.fetch,
        "train": training.train,
        "distil": training.distil,
        "train-painter": training.train_painter,
        "harden": training.harden,
        "export-model": models.export_model,
        "agree": models.agree,
        "atlas": models.atlas,
    },
    "Lists": {"attacks": lists.attacks, "defences": lists.defences, "styles": lists.styles},
}


class _Commands(TyperGroup):
    """Command group: a user's mistake prints one line and exits with 2; an interruption exits with 130.

    A command's name may be two words: `models` takes names itself, and cannot be a group.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        two = " ".join(args[:2])
        command = self.commands.get(two) if len(args) > 1 else None
        return (two, command, args[2:]) if command else super().resolve_command(ctx, args)

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


class _Command(TyperCommand):
    """A command whose `--help` shows no type for flags, which take no value."""

    def get_params(self, ctx: Any) -> Any:
        params = super().get_params(ctx)
        for param in params:
            if isinstance(param, TyperOption) and param.is_flag:
                param.metavar = ""
        return params


def _in_help(examples: Sequence[str]) -> str:
    return "\n\n".join(["Examples:", *(f"  [bold]{line}[/]" for line in examples)])


def _add(to: typer.Typer, name: str, command: Callable[..., None], panel: str | None = None) -> None:
    to.command(name, cls=_Command, epilog=_in_help(vars(command)["examples"]), rich_help_panel=panel)(command)


app = typer.Typer(
    name="artattack",
    help="Measure how robust image classifiers are to art: style-transfer perturbations made with "
    "binarized neural networks, beside ART's baseline attacks.",
    epilog=_in_help(["artattack run", "artattack attack photo.jpg --style waves -o painted.png"]),
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _panel, _commands in _PANELS.items():
    for _name, _command in _commands.items():
        _add(app, _name, _command, _panel)

datasets_app = typer.Typer(
    help="List image sets, or fetch one.",
    epilog=_in_help(["artattack datasets", "artattack datasets fetch imagenet-sample"]),
    invoke_without_command=True,
)
datasets_app.callback()(lists.datasets)
_add(datasets_app, "fetch", lists.fetch_images)
app.add_typer(datasets_app, name="datasets", rich_help_panel="Lists")

cache_app = typer.Typer(
    help="Show the size and folder of the cache of adversarial images, or clear it.",
    epilog=_in_help(["artattack cache", "artattack cache clear", "ARTATTACK_CACHE_SIZE=20GB artattack run"]),
    invoke_without_command=True,
)
cache_app.callback()(lists.cache)
_add(cache_app, "clear", lists.clear_cache)
app.add_typer(cache_app, name="cache", rich_help_panel="Lists")


def main() -> None:
    """Run the command line."""
    app(prog_name="artattack")


def _version(wanted: bool) -> None:
    if wanted:
        say(Console(), f"artattack {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
