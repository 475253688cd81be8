"""Time of one step of the default style attack, by kind of operation and by layer, from TensorFlow's profiler.

The attack runs on one thread, so that the times of operations add up. Run as `python benchmarks/operations.py`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import Row, parser, report, start

PRECISIONS = ("float32", "bfloat16")
SHOWN = 8  # number of layers in the table
# Patterns for the names of operations in a profile, by purpose; the first match counts.
KINDS = {
    "convolutions": r"Conv2D(?!.*Backprop)|Conv2DBackpropInput",
    "depthwise convolutions": r"Depthwise",
    "max pooling": r"MaxPool",
    "batch normalization": r"BatchNorm",
    "Gram matrices": r"MatMul",
    "Fourier transforms": r"FFT",
    "colours, resizing": r"Einsum",
    "sign()": r"^Sign$",
    "selections": r"Select",
    "ReLU": r"Relu",
    "casts": r"^Cast$|Mixed",
    "padding, slices": r"Pad|Slice|Pack|Concat|Roll",
    "sums over an axis": r"^(Sum|Mean|Max|Min)$",
}
OTHER = "other elementwise arithmetic"


def kind_of(operation: str) -> str:
    """Return the purpose of an operation in a profile."""
    if "Depthwise" in operation:
        return "depthwise convolutions"
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, operation)), OTHER)


def operations(folder: Path) -> list[tuple[str, str, float]]:
    """Return name, operation and seconds of every event in a profile."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    space.ParseFromString(next(folder.rglob("*.xplane.pb")).read_bytes())
    return [
        (*name.rsplit(":", 1), event.duration_ps / 1e12)
        for plane in space.planes
        for line in plane.lines
        for event in line.events
        if re.fullmatch(r"[^: ]+:\w+", name := plane.event_metadata[event.metadata_id].name)
    ]


def profiled(model: Any, images: Any, style: Any, precision: str, steps: int) -> list[tuple[str, str, float]]:
    """Return the operations of some steps of the attack, after compilation."""
    import tensorflow as tf

    from artattack.attacks.style import StyleTransferAttack
    from artattack.models.estimator import to_estimator

    estimator = to_estimator(model, input_shape=images.shape[1:])
    attack = StyleTransferAttack(estimator, styles=style, batch_size=len(images), steps=steps, precision=precision)
    attack.generate(images)
    with TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            attack.generate(images)
        return operations(Path(folder))


def main() -> None:
    """Measure and report."""
    options = parser(__doc__, repeats=1, quick="64 px, one image, two steps")
    options.add_argument("--model", default="quicknet_distilled", help="the backbone")
    options.add_argument("--steps", type=int, default=20, help="steps of the attack")
    options.add_argument("--batch", type=int, default=10, help="images per batch")
    arguments = options.parse_args()
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    start()

    from artattack.inputs.image_sets import load_images
    from artattack.inputs.styles import load_styles
    from artattack.models import load_model

    size, batch, steps = (64, 1, 2) if arguments.quick else (224, arguments.batch, arguments.steps)
    model = load_model(arguments.model)
    images, style = load_images("samples", size=size, limit=batch).x, load_styles("stained-glass", size)[0]
    layers = {layer.name for layer in model.network.layers}
    kinds: list[Row] = []
    places: list[Row] = []
    for precision in PRECISIONS:
        by_kind, by_layer = Counter[str](), Counter[str]()
        for _ in range(arguments.repeats):
            for name, operation, seconds in profiled(model, images, style, precision, steps):
                by_kind[kind_of(operation)] += seconds
                by_layer[next((part for part in name.split("/") if part in layers), "outside the network")] += seconds
        whole = by_kind.total()
        per_image = 1e3 / (arguments.repeats * (steps + 1) * len(images))  # one more step evaluates the final image
        for rows, column, counted, shown in ((kinds, "kind", by_kind, None), (places, "layer", by_layer, SHOWN)):
            rows += [
                {"precision": precision, column: what, "ms/image-it": per_image * seconds, "of step": seconds / whole}
                for what, seconds in counted.most_common(shown)
            ]
    report(f"A step through {model.name}, {size} px", kinds, arguments.json, {"The slowest layers": places})


if __name__ == "__main__":
    main()
