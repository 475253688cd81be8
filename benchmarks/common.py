"""What the benchmarks share: the machine, fair timings, one table, one JSON file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options every benchmark has: `--repeats` and `--json`."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--repeats", type=int, default=5, help="timed runs of each case; the median counts")
    options.add_argument("--json", type=Path, metavar="FILE", help="also write machine and rows to this file")
    return options


def machine() -> dict[str, Any]:
    """Describe the machine: processor, usable cores, memory, GPUs, and the versions that decide speed."""
    import tensorflow as tf

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in tf.config.list_physical_devices("GPU")
        ],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("tensorflow", "larq", "adversarial-robustness-toolbox", "foolbox")},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())


def measure(cases: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return each case's median seconds.

    Each case runs once first, untimed, so that tracing and allocation are paid; then the cases take turns,
    so that a change in the machine's load meets them all.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        case()
    for _ in range(repeats):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def report(title: str, rows: Sequence[Row], json_file: Path | None) -> None:
    """Print rows as a table under the machine's description, and write both as JSON if asked."""
    here = machine()
    console = Console()
    console.print(", ".join(f"{key}: {value}" for key, value in here.items()), highlight=False)
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)
    if json_file:
        json_file.write_text(json.dumps({"title": title, "machine": here, "rows": list(rows)}, indent=2) + "\n")
