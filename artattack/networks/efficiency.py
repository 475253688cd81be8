"""What networks cost and what they are worth: parameters, bits, operations, accuracy, latency, memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from artattack.errors import ArtattackError, unknown
from artattack.files import write_file
from artattack.inputs.image_sets import Images, load_images
from artattack.models.registry import load_registered, model_infos
from artattack.networks.published import PUBLISHED
from artattack.networks.runtimes import RUNTIMES, Runtime, Task, Timing, time_alone
from artattack.results.columns import EFFICIENCY
from artattack.results.run_folder import versions
from artattack.results.statistics import wilson
from artattack.results.tables import make_table, read_table, to_csv
from artattack.runtime import load_tensorflow, processor

if TYPE_CHECKING:
    from artattack.models.model import Model

REPEATS = 20
_SIZE = 224  # px, at which images are cut, as a benchmark's are
_LETTERS = 300  # of the reason of a failure
_THREADS = {"one": 1, "all": None}
_ALWAYS = ("quicknet (2020)", "quicknet", "vgg19")  # what the 2020 study compares

OnProgress = Callable[[str, int, int], None]


def measured_by_default() -> tuple[str, ...]:
    """Return the networks whose weights are here, and after them those that the 2020 study compares."""
    return (*(info.name for info in model_infos() if info.available), *_ALWAYS)


def measure_models(
    names: Sequence[str] | None = None,
    *,
    images: str | Path = "samples",
    limit: int | None = None,
    repeats: int = REPEATS,
    time_task: Callable[[Task], Timing] = time_alone,
    out: Path | None = None,
    resume: bool = False,
    on_progress: OnProgress = lambda what, done, total: None,
) -> pd.DataFrame:
    """Measure networks, and set beside each what was published of it.

    Networks whose weights are not on this machine are measured with random ones, which take the same time and space;
    their accuracy is not asked. Nothing is downloaded. What fails, an export or a runtime, leaves
    its cells empty and says why in the column `failed`.

    Args:
        names: of the registry, or of a release of which only published figures are known; by default
            `measured_by_default`.
        images: image set on which accuracy is measured.
        limit: at most so many of them.
        repeats: runs of each network in each runtime; the median counts.
        time_task: what times one of them.
        out: CSV to write, a row whenever a network is done.
        resume: whether networks that stand in `out` already are left as they are.
        on_progress: called with what is under way, steps done and steps in all.

    Returns:
        A row for each name, columns as `artattack.results.columns.EFFICIENCY`.

    Raises:
        ArtattackError: no such network or image set.
    """
    infos = {info.name: info for info in model_infos()}
    names = measured_by_default() if names is None else names
    for name in names:
        if name not in infos and name not in PUBLISHED:
            raise unknown("model", name, [*infos, *(row for row in PUBLISHED if row not in infos)])
    if resume and out is None:
        raise ArtattackError("resume: name the table to go on with, out")
    names = tuple(dict.fromkeys(names))
    loaded = load_images(images, size=_SIZE, limit=limit)
    load_tensorflow()
    each = 1 + len(_runtimes()) * len(_THREADS)  # steps of a network
    table = read_table(out, EFFICIENCY) if resume and out and out.exists() else make_table([], EFFICIENCY)
    for place, name in enumerate(names):
        if name in set(table["model"]):
            continue
        row: dict[str, Any] = {"model": name, **_published(name)}
        if name in infos:
            weights = infos[name].default_weights if infos[name].available else "random"

            def step(what: str, done: int, start: int = place * each) -> None:
                on_progress(what, start + done, len(names) * each)

            with TemporaryDirectory() as folder:
                failures: list[str] = []
                try:
                    row |= _of_network(name, weights, loaded, Path(folder), step, failures)
                    row |= dict(_timings(name, weights, Path(folder), repeats, time_task, step, failures))
                except Exception as error:  # whatever loading or running raises: the next network may be well
                    failures.append(f"loading and accuracy: {_in_a_line(error)}")
            row |= {
                "images": Path(images).name if weights != "random" else None,
                "machine": machine(),
                "measured": f"{datetime.now():%Y-%m-%d}",
                "versions": ", ".join(f"{key} {value}" for key, value in versions().items()),
                "failed": "; ".join(failures),
            }
        table = pd.concat([table, make_table([row], EFFICIENCY)], ignore_index=True)
        if out:
            write_file(out, to_csv(table))
    return table


def machine() -> str:
    """Say on what machine this runs: `8 x Intel(R) Xeon(R) CPU, Linux`."""
    return f"{os.cpu_count()} x {processor()[0]}, {platform.system()}"


def _published(name: str) -> dict[str, Any]:
    row = PUBLISHED.get(name)
    return {} if row is None else {f"published_{key}": value for key, value in row._asdict().items() if key != "name"}


def _of_network(
    name: str, weights: str, images: Images, folder: Path, step: Callable[[str, int], None], failures: list[str]
) -> dict[str, Any]:
    """Return what needs no clock, and write the exported files; add to `failures` which could not be."""
    from artattack.models.export import convert

    step(f"{name}: size and accuracy", 0)
    model = load_registered(name, weights)
    row: dict[str, Any] = {"weights": weights, "input_size": model.input_size[0], **network_costs(model)}
    for to in exportable():
        try:
            content = convert(model, to)
        except Exception as error:  # whatever a converter raises: the rest is still worth knowing
            failures.append(f"{to}, export: {_in_a_line(error)}")
            continue
        (folder / to).write_bytes(content)
        row[f"{to}_mib"] = len(content) / 2**20
    return row | (_accuracy(model, images) if weights != "random" else {})


def exportable() -> tuple[str, ...]:
    """Return the formats that networks can be exported to here."""
    return ("tflite", "lce") if find_spec("larq_compute_engine") else ("tflite",)


def _runtimes() -> tuple[Runtime, ...]:
    """Return the runtimes that are here."""
    return tuple(name for name in RUNTIMES if name in ("keras", "compiled", *exportable()))


def network_costs(model: Model) -> dict[str, Any]:
    """Return parameters, sizes and multiply-accumulates of one image, as larq counts them.

    A batch normalisation counts two numbers a channel, to which it folds; a binary weight packs into a bit. A
    multiply-accumulate is as wide as the wider of what it multiplies.
    """
    from larq.models import ModelProfile

    profile = ModelProfile(model.network)
    parameters, macs = profile.weight_count(), profile.op_count("mac")
    return {
        "parameters": parameters,
        "binary_share": profile.weight_count(1) / parameters,
        "float32_mib": profile.fp_equivalent_memory / 8 / 2**20,
        "packed_mib": profile.memory / 8 / 2**20,
        "macs": macs,
        "binary_macs_share": profile.op_count("mac", 1) / macs if macs else None,
    }


def _accuracy(model: Model, images: Images) -> dict[str, Any]:
    """Return top-1 accuracy over the images whose class the network knows."""
    known = np.isin(images.y, model.label_space or ())
    found = model.predict(images.x[known]).argmax(1)
    correct = int((np.asarray(model.label_space)[found] == images.y[known]).sum())
    n = int(known.sum())
    low, high = wilson(correct, n)
    return {
        "n_labelled": n,
        "n_correct": correct,
        "top1": correct / n if n else None,
        "top1_low": float(low),
        "top1_high": float(high),
    }


def _timings(
    name: str,
    weights: str,
    folder: Path,
    repeats: int,
    time_task: Callable[[Task], Timing],
    step: Callable[[str, int], None],
    failures: list[str],
) -> Iterator[tuple[str, Any]]:
    """Yield latency and memory in each runtime that is here; what fails is missing, and why is added to `failures`."""
    for done, (runtime, (said, threads)) in enumerate(product(_runtimes(), _THREADS.items()), 1):
        step(f"{name}: {RUNTIMES[runtime]}, threads: {said}", done)
        file = folder / runtime if runtime in exportable() else None
        if file is not None and not file.is_file():
            continue  # which could not be exported
        try:
            timing = time_task(Task(name, weights, runtime, threads, repeats, file))
        except Exception as error:  # whatever a runtime, or its end, raises: the others are still worth knowing
            failures.append(f"{runtime}, threads {said}: {_in_a_line(error)}")
            continue
        yield f"{runtime}_ms_{said}", timing.milliseconds
        if threads == 1:
            yield f"{runtime}_cpu_ms_one", timing.cpu_milliseconds
            yield f"{runtime}_run_mib", timing.mib


def _in_a_line(error: Exception) -> str:
    """Return what an exception says, of which converters fill pages, in one line."""
    return " ".join(str(error).split())[:_LETTERS] or type(error).__name__
