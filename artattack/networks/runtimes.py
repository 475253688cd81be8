"""How long a network takes for one image, and how much memory, in one runtime: each in a process of its own."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np

Runtime = Literal["keras", "compiled", "tflite", "lce"]
RUNTIMES: dict[Runtime, str] = {
    "keras": "Keras, eager",
    "compiled": "Keras, as one tf.function",
    "tflite": "TensorFlow Lite, exported file",
    "lce": "Larq Compute Engine, exported file",
}
_WARM_UP = 3  # runs before the clock


@dataclass(frozen=True)
class Task:
    """What is timed.

    Attributes:
        model: its registry name.
        weights: a kind of weights that it has.
        runtime: where.
        threads: that work on an image; None for as many as the runtime takes by itself.
        repeats: runs, of which the median counts.
        file: what was exported, for `tflite` and `lce`.
    """

    model: str
    weights: str
    runtime: Runtime
    threads: int | None
    repeats: int
    file: Path | None = None


@dataclass(frozen=True)
class Timing:
    """What one image takes.

    Attributes:
        milliseconds: median time on the clock.
        cpu_milliseconds: median time of processors, of all threads together. On one thread, what the clock would say
            on a machine with nothing else to do.
        mib: what loading the network and running it added to the memory of a process, in MiB.
    """

    milliseconds: float
    cpu_milliseconds: float
    mib: float


def time_alone(task: Task) -> Timing:
    """Time a task in a fresh process, in which the number of threads can still be set and nothing else lies in memory.

    Raises:
        Exception: whatever loading or running raises there.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_time, task).result()


def _time(task: Task) -> Timing:
    """Load a network and run it on one image over and over."""
    if task.threads:  # read when the libraries are loaded, which is yet to come
        os.environ |= dict.fromkeys(
            ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), str(task.threads)
        )
    else:
        for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ.pop(name, None)
    import psutil

    from artattack.runtime import quietly, silence_libraries

    silence_libraries()
    with quietly():
        import tensorflow  # noqa: F401  in each process, so that no network is charged for it
        import tf_keras  # noqa: F401
    process = psutil.Process()
    before = process.memory_info().rss
    run, shape = _loaded(task)
    image = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    for _ in range(_WARM_UP):
        run(image)
    clock, processors = [], []
    for _ in range(task.repeats):
        start, at_work = time.perf_counter(), time.process_time()
        run(image)
        clock.append(1000 * (time.perf_counter() - start))
        processors.append(1000 * (time.process_time() - at_work))
    mib = (process.memory_info().rss - before) / 2**20
    return Timing(statistics.median(clock), statistics.median(processors), mib)


def _loaded(task: Task) -> tuple[Callable[[Any], Any], tuple[int, ...]]:
    """Return what runs a preprocessed image, and the image's shape."""
    from artattack.models.opened import Opened

    if task.file is not None:
        threads = task.threads or os.cpu_count() or 1
        opened: Opened
        if task.runtime == "lce":
            from artattack.models.lce_file import open_lce

            opened = open_lce(task.file, None, threads=threads)
        else:
            from artattack.models.tflite_file import open_tflite

            opened = open_tflite(task.file, None, threads=threads)
        return opened.run, (1, *(int(side or 1) for side in opened.shape[1:]))
    import tensorflow as tf

    from artattack.models.registry import load_registered

    model = load_registered(task.model, task.weights)
    shape = (1, *model.input_size, 3)
    if task.runtime == "compiled":
        compiled = tf.function(
            lambda x: model.network(x, training=False), input_signature=[tf.TensorSpec(shape, tf.float32)]
        )
        return lambda image: compiled(tf.constant(image)).numpy(), shape
    return lambda image: model.network(tf.constant(image), training=False).numpy(), shape
