"""Run a benchmark: from the plan through cells to records, in a run folder that can be resumed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from artattack.attacks.imported import is_importable, source_of
from artattack.cache import Cache, open_cache
from artattack.config import Benchmark, ImageSettings, load_benchmark, parse_benchmark, replaced
from artattack.errors import ArtattackError, unknown, warn_caller
from artattack.evaluation.plan import CLEAN, Cell, Plan, make_plan
from artattack.evaluation.reading_ahead import reading_ahead
from artattack.evaluation.work import Work
from artattack.files import absolute, sha256_file, to_path
from artattack.inputs.image_sets import Sample, read_sample
from artattack.inputs.images import saving
from artattack.inputs.labels import names_of
from artattack.progress import Progress, reporting_to
from artattack.remote import is_private, takes_turns
from artattack.runtime import describe_machine

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from artattack.evaluation.cells import CellWorker
    from artattack.evaluation.loading import LoadedModels
    from artattack.models.classifier import Classifier
    from artattack.results.run_folder import RunFolder

Engine = Literal["local", "ray"]
DoCells = Callable[[Work], None]

_PACKAGE = Path(__file__).resolve().parents[1]
_ONE_AT_A_TIME = threading.Lock()  # attacks seed the process's generators, and set options of its TensorFlow


def run_benchmark(
    benchmark: Benchmark | dict[str, Any] | str | Path | None = None,
    *,
    out: str | Path | None = None,
    models: Mapping[str, Classifier] | None = None,
    attacks: Mapping[str, type] | None = None,
    seed: int | None = None,
    limit: int | None = None,
    budgets: Mapping[str, Any] | None = None,
    resume: bool = False,
    engine: Engine = "local",
    workers: int | None = None,
    cache: bool = True,
    on_progress: Progress | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_doubt: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Run a benchmark and return its records, a row for each image x attack x classifier.

    Args:
        benchmark: a benchmark file, its contents as a dict, or None for the default benchmark.
        out: the run folder, or its URL; by default `results/NAME-DATE-TIME`.
        models: models from `artattack.load_model`, for example of functions, by their names in the benchmark.
        attacks: your own attack classes, by their names in the benchmark: with ART's contract, or subclasses of
            `artattack.attacks.entries.Entry` (docs/own-attack.md).
        seed: seed of every random choice, instead of the benchmark's.
        limit: maximum number of images, instead of the benchmark's.
        budgets: budgets instead of the benchmark's: from each distance to values, or to None for the distance's default
            budgets.
        resume: whether to resume the run in `out`, instead of starting a new one.
        engine: `local` for this process, or `ray` for the cluster of this process, a cluster on this machine, or a new
            one on its cores. Records are the same.
        workers: number of Ray workers; by default one for each GPU or, without GPUs, for each two cores.
        cache: whether to reuse adversarial images of earlier runs from the cache, and to store new ones
            (docs/large-runs.md). Records are the same; the column `from_cache` marks reused images.
        on_progress: called with the current cell, the cells done and the total number of cells; without it, a
            notebook shows a progress bar.
        on_plan: called with the plan before any work; an exception that it raises stops the run.
        on_doubt: called with each doubt about the benchmark or a model; by default a doubt is a warning.

    Returns:
        The records, with the columns that results/README.md describes.

    Raises:
        ArtattackError: the benchmark, an image set or a model is invalid. A cell that fails later raises no error: its
            records have the reason.

    Warns:
        UserWarning: without `on_doubt`, each doubt: an option far out of its usual range, a model with unsuitable
            preprocessing, a classifier that guesses.
    """
    own = attacks or {}
    chosen = replaced(opened_benchmark(benchmark, own), seed=seed, limit=limit, budgets=budgets, attacks=own)
    path = run_path(chosen.name, out)
    plan = make_plan(at_size_of(path, chosen) if resume else chosen, models)
    tell = announced(plan, on_plan, on_doubt)
    how: dict[str, Any] = {"engine": engine, "workers": workers, "cache": cache, "on_progress": on_progress}
    records = run_plan(plan, path, resume=resume, on_doubt=tell, **how)[0]
    warn_of_results(path, on_doubt)
    return records


def announced(
    plan: Plan, on_plan: Callable[[Plan], None] | None, on_doubt: Callable[[str], None] | None, *, doubted: bool = True
) -> Callable[[str], None]:
    """Pass the doubts about a plan (if `doubted`) and the plan to the callbacks; return the callback for doubts."""
    tell = on_doubt or warn_caller
    for found in plan.doubts if doubted else ():
        tell(found)
    if on_plan:
        on_plan(plan)
    return tell


def warn_of_results(path: Path, on_doubt: Callable[[str], None] | None) -> None:
    """Warn about doubts from a finished run's records; callers with `on_doubt` show the run themselves."""
    from artattack.results.run_folder import RunFolder

    for found in () if on_doubt else RunFolder.open(path).doubts_after:
        warn_caller(found)


def opened_benchmark(
    benchmark: Benchmark | dict[str, Any] | str | Path | None, attacks: Mapping[str, type] | None = None
) -> Benchmark:
    """Return the benchmark for a `Benchmark`, a dict, a file name, or None for the default.

    Args:
        benchmark: the benchmark.
        attacks: attack classes, by their names in the dict or file.

    Raises:
        ArtattackError: the benchmark is invalid, or the file cannot be read.
    """
    if isinstance(benchmark, dict):
        return parse_benchmark(benchmark, attacks=attacks or {})
    if isinstance(benchmark, Benchmark):
        return benchmark
    return load_benchmark(None if benchmark is None else Path(benchmark), attacks or {})


def at_size_of(path: Path, benchmark: Benchmark) -> Benchmark:
    """Return a benchmark without a size of images with the size of the run in a folder, if there is a run."""
    from artattack.results.run_folder import RunFolder

    if benchmark.images.size is not None or not (path / "run.json").exists():
        return benchmark
    size = None
    with suppress(KeyError, TypeError):  # a damaged run, which is refused later
        size = RunFolder.open(path).info["config"]["benchmark"]["images"]["size"]
    images = ImageSettings.model_validate(benchmark.images.model_dump() | {"size": size})
    return benchmark.model_copy(update={"images": images})


def run_path(name: str, out: str | Path | None) -> Path:
    """Return the run folder of a benchmark; errors as in `artattack.files.to_path`."""
    return to_path(out or Path("results") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}")


def run_plan(
    plan: Plan,
    path: Path,
    *,
    resume: bool = False,
    extend: bool = False,
    engine: Engine = "local",
    workers: int | None = None,
    cache: bool = True,
    on_progress: Progress | None = None,
    on_doubt: Callable[[str], None] = warn_caller,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Do the remaining cells of a plan, and return records and summary. Concurrent runs of one process take turns.

    Args:
        plan: the plan.
        path: the run folder.
        resume: whether to resume the run in the folder.
        extend: whether to extend the run in the folder; the plan is that of the extended benchmark.
        engine: as in `run_benchmark`.
        workers: as in `run_benchmark`.
        cache: as in `run_benchmark`.
        on_progress: as in `run_benchmark`.
        on_doubt: called with each doubt about a model.

    Returns:
        Records and summary, as from `RunFolder.finish`.

    Raises:
        ArtattackError: the engine cannot be used, no image can be read, a model cannot be loaded, or the folder holds
            another run.
    """
    from artattack.evaluation.loading import load_models
    from artattack.results.exports import check_parquet
    from artattack.results.run_folder import RunFolder

    path = absolute(path)
    do_cells = _engine(engine, workers, plan, path)
    kept = open_cache() if cache else None
    if plan.benchmark.parquet:
        check_parquet()
    hashes = _image_hashes(plan)
    with reporting_to(on_progress) as tell, _ONE_AT_A_TIME:
        loaded = load_models(plan, lambda name: tell(f"loading {name}", 0, len(plan.cells)))
        for doubt in loaded.doubts:
            on_doubt(doubt)
        with RunFolder(path).locked():
            return _in_folder(path, plan, loaded, hashes, do_cells, kept, tell, resume=resume, extend=extend)


def _engine(name: Engine, workers: int | None, plan: Plan, path: Path) -> DoCells:
    """Return the function that does the cells of a plan.

    Raises:
        ArtattackError: there is no such engine, it is not installed, it has no workers, or workers cannot access the
            models or the folder.
    """
    if name not in get_args(Engine):
        raise unknown("engine", name, get_args(Engine))
    if name == "local":
        if workers is not None:
            raise ArtattackError("workers: engine local is this process alone; engine ray has workers")
        return do_cells_here
    if plan.given:
        raise ArtattackError(f"engine ray: workers load models by themselves: save '{min(plan.given)}' to a file")
    for entry in plan.benchmark.attacks:
        if entry.code and not is_importable(entry.attack):
            where, _, cls = source_of(entry.code).name.rpartition(".")
            raise ArtattackError(
                f"engine ray: workers import attacks by name: in the benchmark, call '{entry.attack}' "
                f"module:Class, as {where}:{cls}, and give no class"
            )
    if is_private(path):
        raise ArtattackError(f"engine ray: workers do not see {path}, which is in this process: choose another folder")
    from artattack.evaluation.ray_engine import RayEngine

    return RayEngine(workers)


def do_cells_here(work: Work) -> None:
    """Do cells one after another, and read the originals of the next cell meanwhile."""
    left = [cell for cell in work.plan.cells if cell.key not in work.done]
    with reading_ahead(work.worker.read, left, at_once=not takes_turns(work.folder.path)) as originals:
        for number, cell in enumerate(work.plan.cells):
            work.tell(cell.variant.title, number)
            if cell.key not in work.done:
                work.folder.write_cell(cell.key, work.worker(cell, next(originals)))


def _in_folder(
    path: Path,
    plan: Plan,
    loaded: LoadedModels,
    hashes: dict[str, str],
    do_cells: DoCells,
    cache: Cache | None,
    tell: Progress,
    *,
    resume: bool,
    extend: bool,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Do the remaining cells of a run in its locked folder."""
    from artattack.evaluation.cells import CellWorker
    from artattack.results.run_folder import RunFolder

    benchmark, total = plan.benchmark, len(plan.cells)
    folder = RunFolder(path)
    worker = CellWorker(plan, loaded, folder, hashes, cache)
    folder = RunFolder.create(path, _info(plan, loaded, hashes), resume=resume, extend=extend, read_anew=_read_anew)
    copied = {id_ for cell in plan.cells if cell.variant == CLEAN for id_ in _images_done(folder, cell)}
    unreadable = {}
    with saving() as save:
        for sample in plan.samples:
            copy = folder.original(sample.id)
            if (sample.id not in copied or not copy.exists()) and (
                why := _copy_original(sample, benchmark, copy, save)
            ):
                unreadable[sample.id] = worker.image_columns(sample) | {"error": why}
    folder.write_cell("images", list(unreadable.values()))
    done = {
        cell.key
        for cell in plan.cells
        if _images_done(folder, cell) == {sample.id for sample in cell.samples} - unreadable.keys()
    }
    if resume or extend:
        _complete(plan, folder, worker, done)
    do_cells(Work(plan, folder, hashes, worker, done, lambda what, done: tell(what, done, total), cache))
    tell("done", total, total)
    return folder.finish(["images", *(cell.key for cell in plan.cells)], parquet=benchmark.parquet)


def _images_done(folder: RunFolder, cell: Cell) -> set[str]:
    """Return the images with intact results in a cell; empty if any image failed."""
    rows = folder.intact(cell.key) or []
    return set() if any(row.get("error") for row in rows) else {row["image"] for row in rows}


def _complete(plan: Plan, folder: RunFolder, worker: CellWorker, done: set[str]) -> None:
    """Complete finished cells with classifiers, columns and style judges that were added since."""
    for cell in plan.cells:
        rows = folder.cell(cell.key) if cell.key in done else None
        if rows is not None and (every := worker.completed(cell, rows)) is not rows:
            folder.write_cell(cell.key, every)


def _image_hashes(plan: Plan) -> dict[str, str]:
    """Return the SHA-256 of each readable image file.

    Raises:
        ArtattackError: no image can be read.
    """
    images = plan.benchmark.images
    first: str | None = None
    for sample in plan.samples:  # usually the first will do
        try:
            read_sample(sample, images.shape, images.crop)
            break
        except ArtattackError as error:
            first = first or str(error)
    else:
        raise ArtattackError(f"image set '{images.set}': no image can be read: {first or 'it is empty'}")
    hashes = {}
    for sample in plan.samples:
        try:
            hashes[sample.id] = sample.sha256 or sha256_file(sample.path)
        except ArtattackError:
            continue  # reading the image gives the reason
    return hashes


def _copy_original(
    sample: Sample, benchmark: Benchmark, target: Path, save: Callable[[Path, np.ndarray], None]
) -> str | None:
    """Crop an image and write it to the run folder, for all cells; return the reason if that failed."""
    try:
        image = read_sample(sample, benchmark.images.shape, benchmark.images.crop)
    except ArtattackError as error:
        target.unlink(missing_ok=True)  # a copy from when the image was readable
        return str(error)
    save(target, image)
    return None


def _info(plan: Plan, loaded: LoadedModels, hashes: dict[str, str]) -> dict[str, Any]:
    """Return the content of run.json; `config` has everything that affects results, so that only equal runs resume."""
    from artattack.results.run_folder import versions

    models = {
        name: {
            "weights": model.weights,
            "sha256": model.weights_sha256,
            "binary": model.binary,
            "classes": model.classes,
            **({"outputs": "probabilities"} if model.probabilities else {}),
            **({"names": names_of(model.label_space)} if names_of(model.label_space) else {}),
            **({"draws": model.draws} if model.draws > 1 else {}),
            **({"defences": [defence.plain() for defence in model.defences]} if model.defences else {}),
        }
        for name, model in loaded.models.items()
    }
    targets = {sample.id: sample.target for sample in plan.samples if sample.target is not None}
    aims = any(entry.aims for entry in plan.benchmark.attacks)
    words = sorted({str(word) for entry in plan.benchmark.attacks for word in entry.paths()})
    files = {word: path for word in words if (path := Path(word).expanduser()).is_file()}
    imported = {entry.name: source_of(entry.code) for entry in plan.benchmark.attacks if entry.code}
    code = {name: {"class": source.name, "sha256": source.sha256} for name, source in imported.items()}
    return {
        "config": {
            "benchmark": plan.benchmark.model_dump(mode="json"),
            "images": hashes,
            "files": {_anywhere(word): sha256_file(path) for word, path in files.items()},
            "models": models,
            **({"targets": targets} if targets and aims else {}),
            **({"code": code} if code else {}),
        },
        "image_set": {"name": plan.image_set.name, "note": plan.image_set.note},
        "cells": _cells_told(plan),
        "doubts": {"before": [*plan.doubts, *loaded.doubts]},
        "versions": versions(),
        "machine": describe_machine(),
    }


def _anywhere(word: str) -> str:
    """Return a file's name in run.json: a file of this package has the same on every machine."""
    path = Path(word).resolve()
    return path.relative_to(_PACKAGE.parent).as_posix() if path.is_relative_to(_PACKAGE) else word


def _read_anew(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `config` in a run's run.json as this version would have written it, for comparison with `new`.

    An option newer than the run gets its default. A file that this version counts in addition, such as a painter's
    card, and a newer fact about a model of equal weights get their value in `new`, except whether outputs are
    probabilities, which does not follow from the weights.
    """
    try:
        benchmark = parse_benchmark(old["benchmark"]).model_dump(mode="json")
    except ArtattackError:  # an option that this version does not have any more, which the comparison names
        benchmark = old["benchmark"]
    models = {
        name: {key: value for key, value in new["models"].get(name, {}).items() if key != "outputs"} | told
        for name, told in old.get("models", {}).items()
    }
    files = {**new["files"], **old.get("files", {})}
    return {**old, "files": files, "benchmark": benchmark, "models": models}


def _cells_told(plan: Plan) -> dict[str, Any]:
    """Return the plan of cells for run.json: one for each variant and batch, except those that a search leaves out.

    `images` has the images of each batch, with which the final records are compared.
    """
    batches = {cell.number: [sample.id for sample in cell.samples] for cell in plan.cells}
    keys = {cell.key for cell in plan.cells}
    every = (Cell(variant, number, ()).key for variant in plan.variants for number in range(plan.batches))
    left_out = [key for key in every if key not in keys]
    told: dict[str, Any] = {"variants": [variant.key for variant in plan.variants], "batches": plan.batches}
    told["images"] = [batches[number] for number in sorted(batches)]
    return told | ({"left_out": left_out} if left_out else {})
