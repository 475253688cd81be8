"""The commands about networks: `models`, `export-model`, `agree` and `atlas`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from artattack.bound import Bound
from artattack.checks import defaults as check_defaults
from artattack.commands.options import DEFAULT, LEAST_SIZE, Seed, examples, read_sides
from artattack.commands.printing import lay_out, print_agreement, print_efficiency, say, show_progress
from artattack.config import benchmark_names
from artattack.errors import ArtattackError
from artattack.results.plain_data import short_hash

console = Console()

_WRONG = 3  # maximum number of wrongly classified photos that the command prints


@examples(
    "artattack models | grep binary",
    "artattack models --measure",
    "artattack models quicknet vgg19 --measure --csv efficiency.csv",
    "artattack models --measure --models mine.yaml",
)
def models(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Models or painters' files to measure. Default: local models, quicknet and vgg19."),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure size, accuracy, latency and memory; takes minutes per model.")
    ] = False,
    own: Annotated[
        Path | None, typer.Option("--models", metavar="FILE", help="Benchmark file with your own models to measure.")
    ] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="CSV file to write, one row per network.")] = None,
    images: Annotated[str, typer.Option(help="Image set for accuracy: a name, a folder or a CSV manifest.")] = (
        DEFAULT.images.set
    ),
    limit: Annotated[int | None, typer.Option(help="Maximum number of images.", min=1)] = None,
    repeats: Annotated[int, typer.Option(help="Timed runs per network and runtime, for the median.", min=1)] = 20,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the measurements in --csv; skip the networks it lists.")
    ] = False,
) -> None:
    """List the models, each usable as backbone or classifier; or measure their cost and accuracy.

    `artattack models fetch NAME` downloads a model's published weights and tries them.
    """
    if measure:
        from artattack.networks.efficiency import measure_models

        if resume and table is None:
            raise ArtattackError("--resume needs --csv FILE, the table to go on with")
        with show_progress() as on_progress:
            found = measure_models(
                names or None,
                models=own,
                images=images,
                limit=limit,
                repeats=repeats,
                out=table,
                resume=resume,
                on_progress=on_progress,
            )
        print_efficiency(found, console)
        if table:
            say(console, f"Written: {table}")
        return
    if names or own or table or resume:
        raise ArtattackError("names, --models, --csv and --resume go with --measure")
    from artattack.models import model_infos
    from artattack.models.kinds import written

    rows = [
        [m.name, "binary" if m.binary else "float", str(m.input_size[0]), m.default_weights, m.needs]
        for m in model_infos()
    ]
    console.print(lay_out(["name", "kind", "px", "weights", "needs"], rows))
    say(console, "")
    say(console, "In a benchmark file's `models`, each takes weights: random or a path as well;")
    say(console, "so does your own network: a .keras, .h5 or SavedModel file.")
    say(console, f"As classifiers, sources and guides: {written('gradients')}.")
    say(console, "As classifiers alone, attacked by queries:")
    say(console, f"{written('logits')}.")


@examples(
    "artattack models fetch quicknet",
    "artattack models fetch quicknet birealnet densenet121 mobilenet_v2",
    "artattack models fetch quicknet --from quicknet_weights.h5",
)
def fetch(
    names: Annotated[list[str], typer.Argument(help="Models of `artattack models` that need a download.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="Take the weights of one model from a local copy.")
    ] = None,
) -> None:
    """Download the published weights of models, with checksums, and try each network on the bundled photos."""
    from artattack.models.fetching import fetch_model
    from artattack.models.registry import model_info

    if source is not None and len(names) != 1:
        raise ArtattackError("--from holds the weights of one model: name one")
    for name in names:
        model_info(name)  # a mistake in the last name is found before the first download
    for name in names:
        fetched = fetch_model(name, source, on_progress=lambda step: say(console, f"{step} ..."))
        came = "downloaded to" if fetched.downloaded else "was there:"
        say(console, f"{name}: {came} {fetched.path} (sha256 {short_hash(fetched.sha256)})")
        wrong = "; ".join(f"{image}: {true}, seen as {seen}" for image, true, seen in fetched.wrong[:_WRONG])
        more = len(fetched.wrong) - _WRONG
        said = f"; wrong: {wrong}{f'; and {more} more' if more > 0 else ''}" if wrong else ""
        say(console, f"{name}: right on {fetched.right} of {fetched.photos} photos{said}")
    say(console, f"Next: {_next_command(names[0])}")


def _next_command(name: str) -> str:
    """Return the next step after fetching a model: the bundled benchmark that uses it, or the weights that it lacks."""
    from artattack.config import load_benchmark
    from artattack.evaluation.plan import make_plan

    for bundled in benchmark_names():
        plan = make_plan(load_benchmark(Path(bundled)))
        if name in plan.benchmark.model_names():
            missing = plan.to_fetch
            return f"artattack models fetch {' '.join(missing)}" if missing else f"artattack run {bundled}"
    return f"artattack attack photo.jpg --style waves --backbone {name} -o painted.png"


@examples(
    "artattack export-model efficientnet_lite0 --to tflite lite0.tflite",
    "artattack export-model quicknet_tiny --to lce tiny.tflite",
    "artattack export-model painter/painter.keras --to tflite --style waves --size 480x640 waves.tflite",
)
def export_model(
    name: Annotated[str, typer.Argument(help="A model of `artattack models`, or with --style a painter's file.")],
    file: Annotated[Path, typer.Argument(help="File to write.")],
    to: Annotated[str, typer.Option("--to", help="tflite, or lce: Larq Compute Engine, binary weights packed.")],
    weights: Annotated[
        str | None, typer.Option(help="imagenet, bundled, random, or a path. Default: the model's own.")
    ] = None,
    style: Annotated[
        str | None, typer.Option(help="Style of a painter: the file paints it, from image to image.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="Ball of a painter's paintings, such as psnr=24. Default: the largest of its training."),
    ] = None,
    size: Annotated[
        str, typer.Option(help="Size of a painter's images: a number of pixels, or height and width as in 480x640.")
    ] = "224",
) -> None:
    """Write a network to a file for TensorFlow Lite or Larq Compute Engine, and print its size.

    A painter's file takes an image (1, H, W, 3) float32 in [0, 1], and returns the painted image.
    """
    if style is not None:
        from artattack.attacks.painter_card import PainterFile

        sides = read_sides(size)
        painter = PainterFile(name)  # before TensorFlow's slow import
        painter.read_styles()
        painter.mix(style)
        ball = None if budget is None else Bound.parse(budget).checked((sides[0], sides[-1]))
        from artattack.runtime import load_tensorflow

        load_tensorflow()
        from artattack.attacks.painter_export import export_painter

        written = export_painter(painter, style, (sides[0], sides[-1]), file, ball, to=to)
        say(console, f"Written: {file}, {written / 2**20:.2f} MiB ({written} bytes)")
        return
    from artattack.models.export import export_registered

    written = export_registered(name, to, file, weights)
    say(console, f"Written: {file}, {written / 2**20:.2f} MiB ({written} bytes)")
    say(console, f"In a benchmark file: {{model: '{to}:{file}'}}")


@examples(
    "artattack agree mine.onnx mine.keras --preprocessing tf",
    "artattack agree phone server --benchmark mine.yaml --tolerance 0.5",
)
def agree(
    copy: Annotated[str, typer.Argument(metavar="FILE", help="Model file to check, such as onnx:PATH.")],
    original: Annotated[str, typer.Argument(metavar="ORIGINAL", help="Model that FILE was converted from.")],
    benchmark: Annotated[
        Path | None, typer.Option(help="Benchmark file whose `models` may define both. Default: no file.")
    ] = None,
    preprocessing: Annotated[
        str | None, typer.Option(help="Preprocessing of model files: imagenet, caffe, tf, unit, byte or lite.")
    ] = None,
    label_space: Annotated[str | None, typer.Option(help="Label space of files: imagenet, or a text file.")] = None,
    input_size: Annotated[int | None, typer.Option(help="Input size in pixels, if a file fixes none.", min=1)] = None,
    output: Annotated[
        str | None, typer.Option(help="Output of files with several: its name, or its place from 0.")
    ] = None,
    images: Annotated[str, typer.Option(help="Image set: a name, a folder or a CSV manifest.")] = DEFAULT.images.set,
    limit: Annotated[int, typer.Option(help="Maximum number of images.", min=1)] = check_defaults.LIMIT,
    tolerance: Annotated[
        float, typer.Option(help="Largest difference of logits that counts as rounding.", min=0)
    ] = check_defaults.TOLERANCE,
) -> None:
    """Check that a converted model file agrees with its original on the same images.

    Exit codes: 0 the models agree; 1 they differ; 2 bad input; 130 interrupted.
    """
    from artattack.networks.agreement import check_agreement

    found = check_agreement(
        copy,
        original,
        benchmark=benchmark,
        preprocessing=preprocessing,
        label_space=label_space,
        input_size=input_size,
        output=output,
        images=images,
        limit=limit,
        tolerance=tolerance,
    )
    print_agreement(found, copy, original, console)
    if not found.agree:
        raise typer.Exit(1)


@examples(
    "artattack atlas quicknet_distilled -o atlas.png",
    "artattack atlas efficientnet_lite0 --layer block3a_expand_relu6 --channels 36 -o atlas.png",
)
def atlas(
    backbone: Annotated[str, typer.Argument(help="A model of `artattack models`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="PNG to write.")],
    layer: Annotated[
        str | None,
        typer.Option(help="Layer name, or binary:K, conv:K, sum:K, activation:K. Default: the last style layer."),
    ] = None,
    channels: Annotated[int, typer.Option(help="Maximum number of channels, evenly spread.", min=4)] = 64,
    size: Annotated[int, typer.Option(help="Side of each picture, in pixels.", min=LEAST_SIZE)] = 96,
    steps: Annotated[int, typer.Option(help="Optimiser steps.", min=1)] = 60,
    seed: Seed = DEFAULT.seed,
) -> None:
    """Draw the preferred pattern of each channel of a layer, with similar channels side by side."""
    from artattack.networks.atlas import make_atlas

    with show_progress() as on_progress:
        drawn = make_atlas(
            backbone,
            layer=layer,
            channels=channels,
            size=size,
            steps=steps,
            seed=seed,
            out=out,
            on_progress=on_progress,
        )
    say(console, f"Written: {out}; {int((drawn.channels >= 0).sum())} channels of {drawn.layer}, row by row:")
    for row in drawn.channels:
        say(console, "  ".join(f"{channel:4d}" if channel >= 0 else "    " for channel in row))
