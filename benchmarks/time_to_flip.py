"""Time to an image's first flip, and seconds per success: style attack with and without a classifier's gradient.

Both stop an image at the first step that changes the classifier's prediction; in the unguided attack, the guide's loss
has weight 0 and only triggers the stop. Images are attacked one at a time and judged as 8-bit images. Run as
`python benchmarks/time_to_flip.py`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from common import parser, report, start, times

WAYS = {"guided": 1.0, "unguided": 0.0}  # weight of the guide's loss


def main() -> None:
    """Measure and report."""
    options = parser(__doc__, repeats=3, quick="64 px, two images, three steps, one round")
    options.add_argument("--backbone", default="quicknet_tiny", help="model whose features measure style")
    options.add_argument("--guide", default="efficientnet_lite0", help="classifier to fool, which also judges")
    options.add_argument("--style", default="stained-glass", help="style, as a name or file")
    options.add_argument("--steps", type=int, default=60, help="maximum steps per image")
    options.add_argument("--size", type=int, default=224, help="side of the images, in pixels")
    options.add_argument("--limit", type=int, default=20, help="maximum number of images of `samples`")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.size, arguments.limit, arguments.steps, arguments.repeats = 64, 2, 3, 1

    start()
    from artattack import StyleTransferAttack, load_images, load_model
    from artattack.distances import l2
    from artattack.inputs.images import quantize
    from artattack.models.estimator import to_estimator

    images = load_images("samples", size=arguments.size, limit=arguments.limit)
    guide = load_model(arguments.guide)
    shape = (arguments.size, arguments.size, 3)
    backbone = to_estimator(load_model(arguments.backbone), input_shape=shape)
    guides = [to_estimator(guide, input_shape=shape)]
    attacks = {
        way: StyleTransferAttack(
            backbone, styles=arguments.style, guides=guides, guide_weight=weight, early_stop=True,
            steps=arguments.steps, batch_size=1,
        )
        for way, weight in WAYS.items()
    }  # fmt: skip
    painted: dict[tuple[str, int], np.ndarray] = {}

    def paint(way: str, i: int) -> None:
        painted[way, i] = attacks[way].generate(images.x[i : i + 1])[0]

    count = range(len(images.x))
    cases: dict[tuple[str, int], Callable[[], Any]] = {(way, i): partial(paint, way, i) for i in count for way in WAYS}
    seconds = {case: statistics.median(each) for case, each in times(cases, arguments.repeats).items()}

    space = np.asarray(guide.label_space)
    before = space[guide.predict(images.x).argmax(1)]
    rows = []
    for way in WAYS:
        results = quantize(np.stack([painted[way, i] for i in count]))
        after = space[guide.predict(results).argmax(1)]
        flipped = after != before
        successes = int((flipped & (before == images.y)).sum())
        spent = np.array([seconds[way, i] for i in count])
        distance = l2(images.x, results)
        rows.append(
            {
                "style": way,
                "images": len(count),
                "right before": int((before == images.y).sum()),
                "flips": int(flipped.sum()),
                "successes": successes,
                "s to first flip (median of flips)": float(np.median(spent[flipped])) if flipped.any() else None,
                "s/success": float(spent[before == images.y].sum()) / successes if successes else None,
                "s/image": float(spent.mean()),
                "l2 of flips (median)": float(np.median(distance[flipped])) if flipped.any() else None,
            }
        )
    report(f"{arguments.guide} fooled by {arguments.backbone}, {arguments.size} px", rows, arguments.json)


if __name__ == "__main__":
    main()
