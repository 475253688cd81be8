"""Speed of the style attack, compared with plain loops in TensorFlow and PyTorch and with the machine's limit.

All use the same backbone (random weights), layers, images and losses. The time of a step is the difference between a
long and a short run, so that preparation does not count. `of product` is the share of the fastest matrix product's
rate, `of limit` the share of the fastest rate among matrix products and 3x3 convolutions, all measured in the same
rounds. Run as `python benchmarks/style_attack.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from common import Row, parser, report, start, times

DEFAULT = (("quicknet", 20), ("vgg19", 5))
PRECISIONS = ("float32", "bfloat16")
EAGER = "eager loop, one by one"
# The options of the plain loops: pixels, equal weights of content and style, no ball and no shifts.
PLAIN = {
    "parametrization": "pixel",
    "jitter": 0,
    "style_weight": 1,
    "content_weight": 1,
    "tv_weight": 0.3,
    "budget": None,
}

Cases = dict[tuple[str, ...], Callable[[], object]]
Seconds = dict[tuple[str, ...], np.ndarray]  # of each round


def convolution_macs(network: Any) -> int:
    """Return the multiplications of one image's forward pass through all of a network's convolutions.

    Each kernel weight counts once per output position.
    """
    from artattack.models.network import is_convolution

    return sum(
        layer.output_shape[1] * layer.output_shape[2] * weights.size
        for layer in filter(is_convolution, network.layers)
        for weights in layer.get_weights()
        if weights.ndim == 4
    )


def limits(quick: bool) -> dict[tuple[str, ...], tuple[float, Callable[[], object]]]:
    """Return, by precision and name, the floating-point operations and the function that runs them."""
    import tensorflow as tf

    side, images = (256, 1) if quick else (2048, 8)
    rng = np.random.default_rng(0)
    found: dict[tuple[str, ...], tuple[float, Callable[[], object]]] = {}
    for precision in PRECISIONS:
        dtype = tf.as_dtype(precision)

        def values(*shape: int, dtype: tf.DType = dtype) -> tf.Tensor:
            return tf.cast(rng.standard_normal(shape, np.float32), dtype)

        # The second matrix product equals a convolution of 256 channels on 56 x 56 pixels.
        for rows, inner, columns in ((side, side, side), (images * 56 * 56, 9 * 256, 256)):
            product = partial(tf.function(lambda a, b: a @ b), values(rows, inner), values(inner, columns))
            found["limit", precision, f"{rows} x {inner} x {columns}"] = 2.0 * rows * inner * columns, product
        for pixels, channels in ((56, 256), (28, 512)):
            convolve = tf.function(partial(tf.nn.conv2d, strides=1, padding="SAME"))
            work = partial(convolve, values(images, pixels, pixels, channels), values(3, 3, channels, channels))
            flop = 2.0 * images * pixels**2 * 9 * channels**2
            found["limit", precision, f"3x3 of {channels} channels at {pixels} px"] = flop, work
    return {key: (flop, partial(_waited, work)) for key, (flop, work) in found.items()}


def _waited(work: Callable[[], Any]) -> Any:
    return work()[0, :1].numpy()  # reading a value waits for a GPU


def contenders(model: Any, task: Any, steps: int) -> Cases:
    """Return a long and a short run of every implementation, by name."""
    from style_loops import TensorFlowLoop, TorchLoop

    from artattack.attacks.style import StyleTransferAttack
    from artattack.models.estimator import to_estimator

    batch = len(task.images)
    one = task._replace(images=task.images[:1])
    loops: dict[str, Callable[[int], object]] = {
        EAGER: TensorFlowLoop(one, compiled=False),
        f"tf.function, batches of {batch}": TensorFlowLoop(task, compiled=True),
    }
    if model.name == "vgg19" and find_spec("torch"):
        loops["PyTorch, one by one"] = TorchLoop(one)
        loops[f"PyTorch, batches of {batch}"] = TorchLoop(task)
    runs: Cases = {(name, length): partial(loop, n) for name, loop in loops.items() for length, n in _lengths(steps)}
    estimator = to_estimator(model, input_shape=task.images.shape[1:])
    for precision in PRECISIONS:
        for length, n in _lengths(steps):
            attack = StyleTransferAttack(
                estimator, styles=task.style, batch_size=batch, steps=n, precision=precision, **PLAIN
            )
            runs[f"artattack, {precision}", length] = partial(attack.generate, task.images)
    return runs


def _lengths(steps: int) -> tuple[tuple[str, int], ...]:
    return ("long", 1 + steps), ("short", 1)


def measured(name: str, steps: int, arguments: argparse.Namespace) -> tuple[list[Row], list[Row]]:
    """Return the rows of all contenders on one backbone, and the rows of the machine's limits."""
    from style_loops import Task

    from artattack.inputs.image_sets import load_images
    from artattack.inputs.styles import load_styles
    from artattack.models import load_model
    from artattack.models.network import layer_names, rebuild

    model = load_model(name, weights="random")
    styles = layer_names(model.network, model.style_layers)
    contents = layer_names(model.network, model.content_layers)
    size, batch = arguments.size, arguments.batch
    network = rebuild(model.network, (*styles, *contents), input_shape=(size, size, 3))
    images = np.resize(load_images("samples", size=size, limit=batch).x, (batch, size, size, 3))
    task = Task(network, model.preprocessing, styles, contents, images, load_styles("stained-glass", size)[0])

    ways, tops = contenders(model, task, steps), limits(arguments.quick)
    cases: Cases = ways | {key: work for key, (_, work) in tops.items()}
    seconds: Seconds = {key: np.array(values) for key, values in times(cases, arguments.repeats).items()}

    flop = 4.0 * convolution_macs(network)  # a multiplication and an addition, forward and backward
    limit = {p: np.max([flop / seconds[k] for k, (flop, _) in tops.items() if k[1] == p], 0) for p in PRECISIONS}
    products = {k: flop for k, (flop, _) in tops.items() if not k[2].startswith("3x3")}
    product = {p: np.max([flop / seconds[k] for k, flop in products.items() if k[1] == p], 0) for p in PRECISIONS}
    # Ratios are taken within a round, where the load is the same for all.
    step = {
        way: (seconds[way, "long"] - seconds[way, "short"]) / steps / (1 if "one by one" in way else batch)
        for way in dict.fromkeys(key[0] for key in ways)
    }
    rows = [
        {
            "model": name,
            "px": size,
            "with": way,
            "image-it/s": 1 / np.median(each),
            "max/min": each.max() / each.min(),
            "x eager": np.median(step[EAGER] / each),
            "GFLOP/image-it": flop / 1e9,
            "GFLOP/s": flop / np.median(each) / 1e9,
            "of product": np.median(flop / each / product[_precision_of(way)]),
            "of limit": np.median(flop / each / limit[_precision_of(way)]),
        }
        for way, each in step.items()
    ]
    limit_rows = [
        {"beside": name, "precision": key[1], "what": key[2], "GFLOP/s": tops[key][0] / np.median(seconds[key]) / 1e9}
        for key in tops
    ]
    return _plain(rows), _plain(limit_rows)


def _precision_of(way: str) -> str:
    return next((precision for precision in PRECISIONS if way.endswith(precision)), "float32")


def _plain(rows: Sequence[Row]) -> list[Row]:
    """Return rows with Python numbers, for JSON."""
    return [{key: float(v) if isinstance(v, np.floating) else v for key, v in row.items()} for row in rows]


def main() -> None:
    """Measure and report."""
    options = parser(__doc__, quick="64 px, two images, two steps, one round")
    options.add_argument(
        "--case", nargs=2, action="append", metavar=("MODEL", "STEPS"), help=f"steps timed; default: {DEFAULT}"
    )
    options.add_argument("--size", type=int, default=224, help="side of the images, in pixels")
    options.add_argument("--batch", type=int, default=8, help="images per batch")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.size, arguments.batch, arguments.repeats = 64, 2, 1

    start()
    rows: list[Row] = []
    limit_rows: list[Row] = []
    for name, steps in arguments.case or DEFAULT:
        of_model, of_machine = measured(name, 2 if arguments.quick else int(steps), arguments)
        rows += of_model
        limit_rows += of_machine
    report("Speed of style transfer", rows, arguments.json, {"The machine's limit": limit_rows})


if __name__ == "__main__":
    main()
