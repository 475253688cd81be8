"""Growth: time per image and peak memory of whole benchmark runs of 1, 8, 64 and 512 images, which must stay flat.

Each run has a process of its own, and paints two styles: the first images are painted while the attack is compiled,
the time of all others is what counts. Run as `python benchmarks/growth.py`.
"""

from __future__ import annotations

import csv
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from common import parser, report

DEFAULT = (1, 8, 64, 512)
STYLES = ("stained-glass", "waves")


class Cost(NamedTuple):
    """What a run took: seconds for a painted and scored image, for the tables at its end, and peak memory in MiB."""

    image: float
    tables: float
    memory: float


def cost(count: int, size: int, steps: int) -> Cost:
    """Run a benchmark of some images in this process. Images are repeated as needed."""
    from artattack import run_benchmark
    from artattack.inputs.image_sets import open_image_set

    looks: list[tuple[float, int]] = []  # when, and cells done by then
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "images.csv"
        with manifest.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file", "class_index"])
            rows.writerows((s.path, s.label) for s in islice(cycle(open_image_set("samples").samples), count))
        run_benchmark(
            {
                "images": {"set": str(manifest), "size": size},
                "batch_size": 8,
                "classifiers": "quicknet_tiny",
                "attacks": [{"attack": "style", "style": STYLES, "steps": steps}],
            },
            out=Path(folder) / "run",
            cache=False,
            on_progress=lambda what, done, total: looks.append((time.perf_counter(), done)),
        )
        end = time.perf_counter()
    second = next(when for when, done in looks if done == 1)
    last = looks[-1][0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return Cost((last - second) / (len(STYLES) * count - min(count, 8)), end - last, peak)


def in_own_process(count: int, size: int, steps: int) -> Cost:
    """Return the cost of a run in a fresh process, whose peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(cost, count, size, steps).result()


def main() -> None:
    """Measure and report."""
    options = parser(__doc__, repeats=3, quick="1 and 8 images of 32 px, one step, one round")
    options.add_argument("--images", type=int, nargs="+", default=list(DEFAULT), help="sizes of the runs")
    options.add_argument("--size", type=int, default=64, help="side of the images, in pixels")
    options.add_argument("--steps", type=int, default=5, help="of the style attack")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.images, arguments.size, arguments.steps, arguments.repeats = [1, 8], 32, 1, 1

    costs: dict[int, list[Cost]] = {count: [] for count in arguments.images}
    for _ in range(arguments.repeats):
        for count, found in costs.items():
            found.append(in_own_process(count, arguments.size, arguments.steps))
    medians = {count: _median(found) for count, found in costs.items()}
    rows = [
        {
            "images": count,
            "s/image": each.image,
            "x previous": each.image / before.image,
            "tables, s": each.tables,
            "peak memory, MiB": round(each.memory),
            "x previous ": each.memory / before.memory,
        }
        for (count, each), before in zip(
            medians.items(), [next(iter(medians.values())), *medians.values()], strict=False
        )
    ]
    report(f"Growth: {arguments.size} px, {arguments.steps} steps", rows, arguments.json)
    (fewest, first), (most, last) = min(medians.items()), max(medians.items())
    print(
        f"{most} images over {fewest}: time per image x {last.image / first.image:.2f}, "
        f"peak memory x {last.memory / first.memory:.2f}"
    )


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


if __name__ == "__main__":
    main()
