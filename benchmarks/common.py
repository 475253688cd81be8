"""Code shared by the benchmarks: machine description, fair timings, tables and JSON output."""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]
Key = TypeVar("Key", bound=Hashable)

_VERSIONS = ("tensorflow", "larq", "adversarial-robustness-toolbox", "foolbox", "torch")


def parser(description: str | None, *, repeats: int = 5, quick: str = "") -> argparse.ArgumentParser:
    """Return a parser with the common options `--repeats`, `--json` and, given its help text, `--quick`."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--repeats", type=int, default=repeats, help="timed runs per case; the median counts")
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the machine and the rows to this file")
    if quick:
        options.add_argument("--quick", action="store_true", help=f"only check that it works: {quick}")
    return options


def start() -> None:
    """Load TensorFlow as artattack does, without developer warnings; call this before any other import of it."""
    from artattack.runtime import load_tensorflow, silence_libraries

    load_tensorflow()
    silence_libraries()


def machine() -> dict[str, Any]:
    """Describe the machine: processor, usable cores, memory, GPUs, and the package versions that affect speed."""
    start()
    import tensorflow as tf

    from artattack.runtime import installed_versions, processor, usable_cores

    return {
        "processor": processor()[0],
        "cores": usable_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in tf.config.list_physical_devices("GPU")
        ],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version for package, version in installed_versions().items() if package in _VERSIONS},
    }


def times(cases: Mapping[Key, Callable[[], object]], repeats: int) -> dict[Key, list[float]]:
    """Return the seconds of each case, round by round.

    Each case first runs once untimed, for tracing and allocation. Then the cases take turns, so that a change in the
    machine's load affects all of them.
    """
    seconds: dict[Key, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        case()
    for _ in range(repeats):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def measure(cases: Mapping[Key, Callable[[], object]], repeats: int) -> dict[Key, float]:
    """Return each case's median seconds, measured as in `times`."""
    return {name: statistics.median(seconds) for name, seconds in times(cases, repeats).items()}


def repeated_samples(folder: Path, count: int) -> Path:
    """Write a manifest of `count` images of `samples`, repeated as needed, into a folder, and return its path."""
    from artattack.inputs.image_sets import open_image_set

    manifest = folder / "images.csv"
    with manifest.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "class_index"])
        rows.writerows((s.path, s.label) for s in islice(cycle(open_image_set("samples").samples), count))
    return manifest


def report(
    title: str, rows: Sequence[Row], json_file: Path | None, more: Mapping[str, Sequence[Row]] | None = None
) -> None:
    """Print a description of the machine and the rows as a table, and optionally write both as JSON.

    Args:
        title: title of the table.
        rows: rows with the same columns.
        json_file: JSON file to write, or None.
        more: further tables by title.
    """
    here, more = machine(), more or {}
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(", ".join(f"{key}: {value}" for key, value in here.items()), highlight=False)
    for name, content in {title: rows, **more}.items():
        console.print(_table(name, content))
    if json_file:
        whole = {"title": title, "machine": here, "rows": rows} | ({"more": more} if more else {})
        json_file.write_text(json.dumps(whole, indent=2) + "\n")


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
