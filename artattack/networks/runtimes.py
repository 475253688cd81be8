"""Time and memory of a network for one image in one runtime, each measured in a separate process."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from artattack.config import ModelSpec
from artattack.errors import ArtattackError

if TYPE_CHECKING:
    from artattack.models.model import Model

Runtime = Literal["keras", "compiled", "tflite", "lce"]
RUNTIMES: dict[Runtime, str] = {
    "keras": "Keras, eager",
    "compiled": "Keras, as one tf.function",
    "tflite": "TensorFlow Lite, exported file",
    "lce": "Larq Compute Engine, exported file",
}
SIZE = 224  # px, side of images, as in a benchmark
PAINTER = "painter"  # kind of weights that marks a painter's file
_WARM_UP = 3  # untimed runs


@dataclass(frozen=True)
class Task:
    """A network to time in a runtime.

    Attributes:
        model: registry name, a painter's file, or the name of a user's own model.
        weights: kind of weights, or `PAINTER`.
        runtime: a name in `RUNTIMES`.
        threads: threads per image; None for all cores with an exported file, otherwise for TensorFlow's default.
        repeats: number of timed runs; the median counts.
        file: exported file, for `tflite` and `lce`.
        own: specification of a user's own model; None for registry models and painters.
    """

    model: str
    weights: str
    runtime: Runtime
    threads: int | None
    repeats: int
    file: Path | None = None
    own: ModelSpec | None = None


@dataclass(frozen=True)
class Timing:
    """Time and memory for one image.

    Attributes:
        milliseconds: median wall-clock time in milliseconds.
        cpu_milliseconds: median processor time in milliseconds, summed over threads. With one thread it equals the
            wall-clock time on an idle machine.
        mib: memory in MiB that loading and running the network added to a process.
    """

    milliseconds: float
    cpu_milliseconds: float
    mib: float


def time_alone(task: Task) -> Timing:
    """Time a task in a new process, where the number of threads can still be set and memory is clean.

    Raises:
        Exception: any error of loading or running the network.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_time, task).result()


def _time(task: Task) -> Timing:
    """Load a network, and time repeated runs on one image."""
    if task.threads:  # libraries read these when they are loaded, below
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
        import tensorflow  # noqa: F401  before measuring, so that it does not count
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


def load_network(name: str, weights: str, own: ModelSpec | None) -> Model:
    """Load a Keras network of the registry or, if `own` is given, by the specification of a user's own model.

    Raises:
        ArtattackError: the model cannot be loaded, or is not a Keras network.
    """
    from artattack.models.model import Model
    from artattack.models.registry import load_model, load_registered

    if own is None:
        return load_registered(name, weights)
    model = load_model(**own.arguments())
    if not isinstance(model, Model):
        raise ArtattackError(f"model '{name}': sizes and operations are counted in Keras networks only")
    return model


def _loaded(task: Task) -> tuple[Callable[[Any], Any], tuple[int, ...]]:
    """Return the function that runs a preprocessed image, and the image's shape."""
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
    if task.weights == PAINTER:
        from artattack.attacks.painter_card import PainterFile
        from artattack.attacks.painter_network import Painter

        file = PainterFile(task.model)
        painter, mix = Painter(file), file.mix(file.card.names[0])
        return lambda image: painter.paint((image + 1) / 2, mix), (1, SIZE, SIZE, 3)
    import tensorflow as tf

    from artattack.tracing import compiled

    model = load_network(task.model, task.weights, task.own)
    shape = (1, *model.input_size, 3)
    if task.runtime == "compiled":
        run = compiled(lambda x: model.network(x, training=False), input_signature=[tf.TensorSpec(shape, tf.float32)])
        return lambda image: run(tf.constant(image)).numpy(), shape
    return lambda image: model.network(tf.constant(image), training=False).numpy(), shape
