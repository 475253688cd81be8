"""Scale: time per image and peak memory of whole runs of 20, 200 and 2000 images, and the speedup of Ray workers.

Memory must not grow with the number of images, apart from a few KiB per record while the final tables are made. Three
engines take turns, with one thread per process, and the median of their rounds counts: this process, Ray with one
worker (the difference is the engine's overhead), and Ray with two workers. Each run has its own process. Run as
`python benchmarks/scale.py`.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from common import parser, repeated_samples, report

DEFAULT = (20, 200, 2000)
MODEL = "quicknet_tiny"
BATCH = 10
CHEAP = [{"attack": "fgsm", "source": MODEL, "eps": "8/255"}, {"attack": "noise", "like": "fgsm"}]
STYLE = [{"attack": "style", "backbone": MODEL, "style": "waves"}]
ENGINES: dict[str, dict[str, Any]] = {
    "this process": {},
    "Ray, 1 worker": {"engine": "ray", "workers": 1},
    "Ray, 2 workers": {"engine": "ray", "workers": 2},
}


class Cost(NamedTuple):
    """Time and memory of a run.

    Attributes:
        image: seconds per image of a cell, after the first cell.
        before: seconds until the first cell is done: models, processes, copies of the originals.
        tables: seconds for the final tables.
        memory: peak memory of the process, in MiB.
    """

    image: float
    before: float
    tables: float
    memory: float


def cost(count: int, size: int, attacks: list[dict[str, Any]], engine: dict[str, Any]) -> Cost:
    """Run a benchmark of `count` images in this process; images are repeated as needed."""
    from artattack import run_benchmark

    looks: list[tuple[float, int]] = []  # time, and cells done by then
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        manifest = repeated_samples(Path(folder), count)
        run_benchmark(
            {
                "images": {"set": str(manifest), "size": size},
                "batch_size": BATCH,
                "classifiers": MODEL,
                "feature_model": MODEL,
                "style_judges": MODEL,
                "attacks": attacks,
            },
            out=Path(folder) / "run",
            cache=False,
            on_progress=lambda what, done, total: looks.append((time.perf_counter(), done)),
            **engine,
        )
        end = time.perf_counter()
    first, done = next((when, done) for when, done in looks if done)
    last, cells = looks[-1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return Cost((last - first) / ((cells - done) * min(BATCH, count)), first - start, end - last, peak)


def in_own_process(*arguments: Any) -> Cost:
    """Return the cost of a run in a new process, for its own peak memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(cost, *arguments).result()


def grow(counts: Sequence[int], size: int, repeats: int) -> list[dict[str, Any]]:
    """Return the cost of runs of each number of images, with cheap attacks."""
    costs: dict[int, list[Cost]] = {count: [] for count in counts}
    for _ in range(repeats):
        for count, found in costs.items():
            found.append(in_own_process(count, size, CHEAP, {}))
    medians = {count: _median(found) for count, found in costs.items()}
    return [
        {
            "images": count,
            "s/image": each.image,
            "first cell, s": each.before,
            "tables, s": each.tables,
            "peak memory, MiB": round(each.memory),
        }
        for count, each in medians.items()
    ]


def engines(count: int, size: int, repeats: int) -> list[dict[str, Any]]:
    """Return the median speed of each engine on the same run of style attacks."""
    costs: dict[str, list[Cost]] = {name: [] for name in ENGINES}
    for _ in range(repeats):
        for name, found in costs.items():
            found.append(in_own_process(count, size, STYLE, ENGINES[name]))
    here = next(iter(costs.values()))
    return [
        {
            "engine": name,
            "images/s": statistics.median(1 / each.image for each in found),
            "x this process": statistics.median(a.image / b.image for a, b in zip(here, found, strict=True)),
            "first cell, s": _median(found).before,
        }
        for name, found in costs.items()
    ]


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def main() -> None:
    """Measure and report."""
    options = parser(__doc__, repeats=3, quick="2 and 20 images of 32 px, one round")
    options.add_argument("--images", type=int, nargs="+", default=list(DEFAULT), help="numbers of images of the runs")
    options.add_argument(
        "--engine-images", type=int, default=60, help="images per run of an engine; 0 skips these runs"
    )
    options.add_argument("--size", type=int, default=64, help="side of the images, in pixels")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.images, arguments.engine_images, arguments.size, arguments.repeats = [2, 20], 20, 32, 1
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = "1"
    load = os.getloadavg()
    grown = grow(arguments.images, arguments.size, arguments.repeats)
    more = {}
    if arguments.engine_images:
        more["Engines: style"] = engines(arguments.engine_images, arguments.size, arguments.repeats)
    title = f"Growth: {arguments.size} px, fgsm and noise"
    report(title, grown, arguments.json, more)
    print(f"load average: {load[0]:.1f} at the start, {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
