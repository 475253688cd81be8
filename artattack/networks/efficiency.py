"""Cost and accuracy of networks: parameters, bits, operations, accuracy, latency, memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from artattack.attacks.painter_card import PainterFile
from artattack.config import load_benchmark
from artattack.errors import ArtattackError, one_line, unknown
from artattack.files import write_file
from artattack.inputs.image_sets import Images, load_images
from artattack.inputs.labels import names_of
from artattack.models.registry import model_infos
from artattack.networks.published import PUBLISHED
from artattack.networks.runtimes import PAINTER, RUNTIMES, SIZE, Runtime, Task, Timing, load_network, time_alone
from artattack.progress import Progress, reporting_to
from artattack.results.columns import EFFICIENCY
from artattack.results.run_folder import versions
from artattack.results.statistics import wilson
from artattack.results.tables import make_table, read_table, to_csv
from artattack.runtime import load_tensorflow, processor

if TYPE_CHECKING:
    from artattack.models.model import Model

REPEATS = 20
_THREADS = {"one": 1, "all": None}
_ALWAYS = ("quicknet (2020)", "quicknet", "vgg19")  # networks that the 2020 study compares


def measured_by_default() -> tuple[str, ...]:
    """Return the networks with weights on this machine, then the networks that the 2020 study compares."""
    return (*(info.name for info in model_infos() if info.available), *_ALWAYS)


def measure_models(
    names: Sequence[str] | None = None,
    *,
    models: str | Path | None = None,
    images: str | Path = "samples",
    limit: int | None = None,
    repeats: int = REPEATS,
    time_task: Callable[[Task], Timing] = time_alone,
    out: Path | None = None,
    resume: bool = False,
    on_progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure networks, and add their published figures.

    A network without weights on this machine is measured with random weights, which take the same time and space; its
    accuracy is not measured. Nothing is downloaded. If an export or a runtime fails, its cells stay empty and the
    column `failed` gives the reason.

    A painter's file is measured from image to painting, in its first style and the images' size, as one function of
    TensorFlow and in its exported files; it has no accuracy.

    Args:
        names: registry names, names in `models`, painters' files (`.keras`), or names of releases with published
            figures only; by default all of `models`, or without that `measured_by_default`.
        models: benchmark file with the user's own models, which must be Keras networks.
        images: image set for the accuracy.
        limit: maximum number of images.
        repeats: timed runs of each network in each runtime; the median counts.
        time_task: function that times one task.
        out: CSV to write, row by row as networks finish.
        resume: whether to skip networks that are already in `out`.
        on_progress: called with the current step, steps done and total steps.

    Returns:
        A row for each name, columns as `artattack.results.columns.EFFICIENCY`.

    Raises:
        ArtattackError: a network, a painter, the benchmark file or the image set does not exist.
    """
    infos = {info.name: info for info in model_infos()}
    own = load_benchmark(Path(models)).models if models is not None else {}
    names = names or tuple(own) or measured_by_default()
    known = {**own, **infos}
    painters = {name: PainterFile(name) for name in names if name not in known and name.endswith(".keras")}
    for name in names:
        if name not in known and name not in PUBLISHED and name not in painters:
            raise unknown("model", name, [*known, *(row for row in PUBLISHED if row not in known)])
    if resume and out is None:
        raise ArtattackError("resume: give the table to resume as `out`")
    names = tuple(dict.fromkeys(names))
    loaded = load_images(images, size=SIZE, limit=limit)
    load_tensorflow()
    each = 1 + len(_runtimes()) * len(_THREADS)  # steps per network
    table = read_table(out, EFFICIENCY) if resume and out and out.exists() else make_table([], EFFICIENCY)
    with reporting_to(on_progress) as tell:
        for place, name in enumerate(names):
            if name in set(table["model"]):
                continue
            row: dict[str, Any] = {"model": name, **_published(name)}
            if name in known or name in painters:
                if name in painters:
                    weights = PAINTER
                elif name in own:
                    weights = "file"
                else:
                    weights = infos[name].default_weights if infos[name].available else "random"

                def step(what: str, done: int, start: int = place * each) -> None:
                    tell(what, start + done, len(names) * each)

                with TemporaryDirectory() as folder:
                    failures: list[str] = []
                    try:
                        if name in painters:
                            step(f"{painters[name].path.name}: size", 0)
                            row |= _of_painter(painters[name], Path(folder), failures)
                        else:
                            step(f"{name}: size and accuracy", 0)
                            model = load_network(name, weights, own.get(name))
                            weights = model.weights
                            row |= _of_network(model, loaded, Path(folder), failures)
                        task = Task(name, weights, "keras", None, repeats, own=own.get(name))
                        row |= dict(_timings(task, Path(folder), time_task, step, failures))
                    except Exception as error:  # loading or running may raise anything; the next network may work
                        failures.append(f"loading and accuracy: {one_line(error)}")
                row |= {
                    "images": None if weights in ("random", PAINTER) else Path(images).name,
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
    """Return a description of this machine, such as `8 x Intel(R) Xeon(R) CPU, Linux`."""
    return f"{os.cpu_count()} x {processor()[0]}, {platform.system()}"


def _published(name: str) -> dict[str, Any]:
    row = PUBLISHED.get(name)
    return {} if row is None else {f"published_{key}": value for key, value in row._asdict().items() if key != "name"}


def _of_network(model: Model, images: Images, folder: Path, failures: list[str]) -> dict[str, Any]:
    """Return size and accuracy, and write the exported files; append failed exports to `failures`."""
    from artattack.models.export import convert

    row: dict[str, Any] = {"weights": model.weights, "input_size": model.input_size[0], **network_costs(model.network)}
    row |= dict(_exported(lambda to, path: write_file(path, convert(model, to)), folder, failures))
    return row | (_accuracy(model, images) if model.weights != "random" else {})


def _of_painter(file: PainterFile, folder: Path, failures: list[str]) -> dict[str, Any]:
    """Return a painter's size, and write its exported files; append failed exports to `failures`."""
    from artattack.attacks.painter_export import export_painter
    from artattack.attacks.painter_network import Painter, of_one_size

    size, style = (SIZE, SIZE), file.card.names[0]
    costs = network_costs(of_one_size(Painter(file).network, size))
    exported = _exported(lambda to, path: export_painter(file, style, size, path, to=to), folder, failures)
    return {"weights": PAINTER, "input_size": SIZE, **costs, **dict(exported)}


def _exported(export: Callable[[str, Path], Any], folder: Path, failures: list[str]) -> Iterator[tuple[str, float]]:
    """Write exported files, each named by its format, and yield their sizes."""
    for to in exportable():
        try:
            export(to, folder / to)
        except Exception as error:  # converters may raise anything; the rest is still useful
            failures.append(f"{to}, export: {one_line(error)}")
            continue
        yield f"{to}_mib", (folder / to).stat().st_size / 2**20


def exportable() -> tuple[str, ...]:
    """Return the export formats available on this machine."""
    return ("tflite", "lce") if find_spec("larq_compute_engine") else ("tflite",)


def _runtimes() -> tuple[Runtime, ...]:
    """Return the runtimes available on this machine."""
    return tuple(name for name in RUNTIMES if name in ("keras", "compiled", *exportable()))


def network_costs(network: Any) -> dict[str, Any]:
    """Return parameters, sizes in MiB, multiply-accumulates per image, and the binary shares, as larq counts them.

    Batch normalization counts two numbers per channel, as when folded; a binary weight packs into one bit. The width of
    a multiply-accumulate is that of its wider operand.
    """
    from larq.models import ModelProfile

    profile = ModelProfile(network)
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
    """Return top-1 accuracy over the images with a class in the network's label space."""
    classes = () if names_of(model.label_space) else model.label_space or ()  # the images' are ImageNet's
    known = np.isin(images.y, classes)
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
    task: Task,
    folder: Path,
    time_task: Callable[[Task], Timing],
    step: Callable[[str, int], None],
    failures: list[str],
) -> Iterator[tuple[str, Any]]:
    """Yield latency and memory in each available runtime; skip failures and append their reasons to `failures`."""
    for done, (runtime, (said, threads)) in enumerate(product(_runtimes(), _THREADS.items()), 1):
        if task.weights == PAINTER and runtime == "keras":
            continue  # a painter always runs compiled
        step(f"{task.model}: {RUNTIMES[runtime]}, threads: {said}", done)
        file = folder / runtime if runtime in exportable() else None
        if file is not None and not file.is_file():
            continue  # the export failed
        try:
            timing = time_task(replace(task, runtime=runtime, threads=threads, file=file))
        except Exception as error:  # a runtime may raise anything or die; the others are still useful
            failures.append(f"{runtime}, threads {said}: {one_line(error)}")
            continue
        yield f"{runtime}_ms_{said}", timing.milliseconds
        if threads == 1:
            yield f"{runtime}_cpu_ms_one", timing.cpu_milliseconds
            yield f"{runtime}_run_mib", timing.mib
