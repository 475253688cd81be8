"""The command `attack`: one photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from artattack.attacks.options import parse_options
from artattack.attacks.style_entry import StyleEntry
from artattack.commands.options import DEFAULT, Seed, examples, read_sides, with_style_options
from artattack.commands.printing import print_view, say, warn
from artattack.errors import ArtattackError

DEFAULT_BACKBONE = StyleEntry(attack="style").backbone[0]

console = Console()


@examples(
    "artattack attack turtle.jpg --style waves -o turtle-waves.png",
    "artattack attack turtle.jpg -s marble --guide efficientnet_lite0 -o fooled.png",
    "artattack attack turtle.jpg -s waves --painter painter/painter.keras -o fast.png",
    "artattack attack poster.jpg -s woodcut --size original --tile 512 -o large.png",
)
@with_style_options
def attack(
    context: typer.Context,
    photo: Annotated[Path, typer.Argument(help="The image to paint.")],
    style: Annotated[str, typer.Option("--style", "-s", help="A style's name or an image file; a+b blends two.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="PNG to write.")],
    backbone: Annotated[str, typer.Option(help="Model whose features define style.")] = DEFAULT_BACKBONE,
    painter: Annotated[
        str | None,
        typer.Option(
            help="Paint in one pass with a trained painter: its file (artattack train-painter), or `bundled`. Of the "
            "style options, only --budget applies; --backbone, --guide and --tile are refused."
        ),
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option("-c", "--classifier", help="Classifier to evaluate; repeatable. Default: both built-in ones."),
    ] = None,
    guide: Annotated[list[str] | None, typer.Option("--guide", help="Classifier to fool as well; repeatable.")] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Size of the crop in pixels, such as 224, or 48x144 (height x width); or `original` for the whole "
            "photo. Default: the size that all classifiers share, or 224 if they differ; the whole photo for --painter."
        ),
    ] = None,
    tile: Annotated[
        int | None, typer.Option(help="Side of tiles in pixels, for photos that exceed memory.", min=32)
    ] = None,
    seed: Seed = DEFAULT.seed,
    **options: Any,
) -> None:
    """Paint one photo in a style, and print what each classifier sees before and after.

    Beside the painted photo, NAME-before-after.png shows both with the labels and confidences below each.
    """
    from artattack.photo.attack import CLASSIFIERS, attack_photo

    if painter is not None:
        options = {name: value for name, value in options.items() if _is_given(context, name)}
        if _is_given(context, "backbone"):
            raise ArtattackError("--backbone: not with a painter, which was trained through a backbone")
    chosen = parse_options({key: value for key, value in options.items() if value not in (None, [])})
    if doubt := chosen.doubt():
        warn(doubt)
    painted = attack_photo(
        photo,
        out,
        style=style,
        backbone=backbone,
        painter=painter,
        guides=guide or (),
        classifiers=classifier or CLASSIFIERS,
        size=_read_size(size),
        tile=tile,
        seed=seed,
        options=chosen,
    )
    for view in painted.views:
        print_view(view, console)
    say(console, f"Written: {out} and {painted.side_by_side}")


def _is_given(context: typer.Context, name: str) -> bool:
    """Return whether an option stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _read_size(text: str | None) -> int | tuple[int, int] | Literal["original"] | None:
    """Parse `224`, `48x144` or `original`."""
    if text is None or text == "original":
        return text  # type: ignore[return-value]
    sides = read_sides(text, also=", or original")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])
