"""The listing commands: `attacks`, `defences`, `styles`, `datasets` and `cache`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from artattack.attacks.all_entries import own_attacks
from artattack.commands.options import examples
from artattack.commands.printing import in_bytes, lay_out, print_cache, say

console = Console()


@examples("artattack attacks | grep decisions")
def attacks() -> None:
    """List the attacks and controls a benchmark file can name."""
    from artattack.attacks.art_attacks import baseline_infos
    from artattack.attacks.imported import installed_attacks

    rows = [[name, entry.kind, entry.reads_in_words] for name, entry in own_attacks().items()]
    rows += [
        [b.name, b.art_class, b.reads + "*" * b.minimum_norm + (f", package {b.package}" if b.package else "")]
        for b in baseline_infos()
    ]
    rows += [[name, path, "see its package"] for name, path in sorted(installed_attacks().items())]
    console.print(lay_out(["name", "class", "reads"], rows))
    say(console, "")
    say(console, "*  seeks the smallest change that flips, where others stay within eps")
    say(console, "Attacks of ART take ART's parameters by ART's names.")
    say(console, "The options of style: artattack attack --help")
    say(console, "An attack of your own: my_package.my_module:MyAttack")


@examples("artattack defences")
def defences() -> None:
    """List the defences that a model of a benchmark file can have."""
    from artattack.models.defences import DEFENCES

    rows = [[info.name, info.gradient + "*" * info.random, info.meaning] for info in DEFENCES.values()]
    console.print(lay_out(["name", "gradient", "what it does"], rows))
    say(console, "")
    parameters = [
        [info.name, p.name, "" if p.default is None else str(p.default), f"{p.wanted}: {p.meaning}"]
        for info in DEFENCES.values()
        for p in info.parameters
    ]
    console.print(lay_out(["of", "parameter", "default", "valid"], parameters))
    say(console, "")
    say(console, "*  random: scores and attacks average several draws")
    say(console, "straight-through: the gradient of an attack passes the defence unchanged")
    say(console, "In a benchmark file, of a model: defences: [{JpegCompression: {quality: 50}}]")


@examples("artattack styles")
def styles() -> None:
    """List the styles that come with the package."""
    from artattack.inputs.styles import style_names

    for name in style_names():
        say(console, name)
    say(console, "")
    say(console, "Any image file works too; a+b blends two styles.")


def datasets(context: typer.Context) -> None:
    """List image sets, or fetch one with `artattack datasets fetch NAME`."""
    if context.invoked_subcommand is None:
        from artattack.inputs.image_sets import image_set_infos

        rows = [[i.name, "yes" if i.available else "no", i.description, i.needs] for i in image_set_infos()]
        console.print(lay_out(["name", "here", "what", "needs"], rows, prose=2))
        say(console, "")
        say(console, "Any folder of images or CSV manifest works too.")


@examples(
    "artattack datasets fetch imagenet-sample",
    "artattack datasets fetch imagenet-sample --from ~/imagenet-sample-images",
    "artattack datasets fetch cue-conflict --from texture-vs-shape/stimuli/style-transfer-preprocessed-512",
)
def fetch_images(
    name: Annotated[str, typer.Argument(help="Image set to fetch: imagenet-sample or cue-conflict.")],
    source: Annotated[Path | None, typer.Option("--from", help="Take the files from a local copy.")] = None,
) -> None:
    """Download an image set, with checksums; run again to resume."""
    from artattack.inputs.image_sets import fetch_image_set

    say(console, fetch_image_set(name, source))


def cache(context: typer.Context) -> None:
    """Show the cache's size and folder; or clear it with `artattack cache clear`."""
    if context.invoked_subcommand is None:
        from artattack.cache import cache_settings

        print_cache(cache_settings(), console)


@examples("artattack cache clear")
def clear_cache() -> None:
    """Delete all cached images. Run folders are not changed."""
    from artattack.cache import cache_settings

    cache = cache_settings()
    was = cache.clear()
    say(console, f"Cleared: {was.entries} batches of images, {in_bytes(was.size)}, from {cache.folder}")
