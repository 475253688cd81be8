"""Peak memory of a style attack through a backbone, measured in a separate process."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from artattack.config import Benchmark

_STEPS = 2  # later steps allocate no more memory


def attack_memory(benchmark: Benchmark, backbone: str) -> float:
    """Return the peak memory in MiB that loading a backbone and attacking one image through it adds to a process.

    Args:
        benchmark: benchmark that defines the model and the image size.
        backbone: name of the model in the benchmark.

    Raises:
        Exception: any error of loading or of the attack.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        arguments = benchmark.spec(backbone).arguments()
        return pool.submit(_measure, arguments, benchmark.images.shape).result()


def _measure(arguments: dict[str, Any], size: tuple[int, int]) -> float:
    from artattack.runtime import load_tensorflow, silence_libraries

    silence_libraries()
    load_tensorflow()  # before measuring, so that it does not count
    import numpy as np

    from artattack.attacks.style import StyleTransferAttack
    from artattack.models import load_model
    from artattack.models.estimator import to_estimator

    before = _peak()
    backbone = to_estimator(load_model(**arguments), input_shape=(*size, 3))
    attack = StyleTransferAttack(backbone, styles="stained-glass", steps=_STEPS, verbose=False)
    attack.generate(np.full((1, *size, 3), 0.5, np.float32))
    return (_peak() - before) / 2**20


def _peak() -> int:
    """Return the peak memory of this process, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # unlike getrusage, it excludes the parent process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    import psutil

    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))
