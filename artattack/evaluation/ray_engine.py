"""The cells of a plan on a Ray cluster, or on the cores of this machine.

Each worker is an actor that keeps models and compiled functions, and does one cell after another. Workers and the
process that distributes cells share only the run folder, which must be the same folder for all.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from artattack.attacks.imported import source_of
from artattack.cache import Cache
from artattack.errors import ArtattackError
from artattack.evaluation.plan import Cell, Plan
from artattack.evaluation.work import Work
from artattack.runtime import THREADS, describe_machine

TRIES = 3  # attempts at a cell whose worker dies, before it gets error records
_PATIENCE = 1.0  # seconds between two looks at running cells


class RayEngine:
    """Does the cells of a plan on the workers of a cluster.

    Args:
        workers: number of workers; by default one for each GPU or, without GPUs, one for each two cores of the cluster.

    Raises:
        ArtattackError: Ray is not installed, or `workers` is below 1.
    """

    def __init__(self, workers: int | None) -> None:
        if workers is not None and workers < 1:
            raise ArtattackError(f"workers: one or more, not {workers}")
        if find_spec("ray") is None:
            raise ArtattackError("engine ray: not installed: pip install 'artattack[ray]'")
        self._workers = workers

    def __call__(self, work: Work) -> None:
        """Do the remaining cells. A cell whose worker dies is tried `TRIES` times in all, then gets error records.

        Raises:
            ArtattackError: workers cannot be created, or cannot write.
        """
        import ray

        with _cluster(ray):
            crew = _Crew(ray, work, self._workers)
            try:
                _hand_out(ray, crew, work)
            finally:
                crew.dismiss()


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """Use this process's cluster, else one that runs on this machine, else start one on its cores."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics over the network
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        ray.init(address="auto", **quiet)
    except ConnectionError:
        ray.init(address="local", include_dashboard=False, **quiet)
    try:
        yield
    finally:
        ray.shutdown()


class Worker:
    """An actor: loads the models of a plan once, and does its cells."""

    def __init__(self, plan: Plan, folder: Path, hashes: Mapping[str, str], cache: Cache | None) -> None:
        from artattack.evaluation.cells import CellWorker
        from artattack.evaluation.loading import load_models
        from artattack.results.run_folder import RunFolder

        self._folder = RunFolder(folder)
        self._worker = CellWorker(plan, load_models(plan, lambda name: None), self._folder, hashes, cache)
        self._cells = {cell.key: cell for cell in plan.cells}

    def describe_machine(self) -> dict[str, Any]:
        """Return the facts of this worker's machine that may affect results, once the models are loaded."""
        return describe_machine()

    def do(self, key: str) -> None:
        """Do a cell, and write its records."""
        self._folder.write_cell(key, self._worker(self._cells[key]))


def _python_path(plan: Plan) -> dict[str, str]:
    """Return the variable of the environment by which workers find the modules of attacks from other packages."""
    sources = [source_of(entry.code) for entry in plan.benchmark.attacks if entry.code]
    folders = dict.fromkeys(source.folder for source in sources if source.folder)
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([*([before] if before else []), *folders])} if folders else {}


class _Crew:
    """Workers, hired and dismissed."""

    def __init__(self, ray: Any, work: Work, workers: int | None) -> None:
        resources = ray.cluster_resources()
        gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        self.size = workers or gpus or max(1, cores // 2)
        least = min(int(node["Resources"].get("CPU", 0)) or cores for node in ray.nodes() if node["Alive"])
        each = max(1, min(cores // self.size, least))
        threads = {name: os.environ.get(name, str(each)) for name in THREADS}
        variables = threads | _python_path(work.plan)
        options = {"num_cpus": each, "num_gpus": 1 if gpus else 0, "runtime_env": {"env_vars": variables}}
        self._hire = ray.remote(Worker).options(**options).remote
        self._given = ray.put(work.plan), work.folder.path, dict(work.hashes), work.cache
        self._ray = ray
        self._members: list[Any] = []

    def hire(self) -> Any:
        """Start another worker, which Ray places on a node with free resources."""
        self._members.append(self._hire(*self._given))
        return self._members[-1]

    def dismiss(self) -> None:
        """Stop all workers at once."""
        for member in self._members:
            self._ray.kill(member)


def _hand_out(ray: Any, crew: _Crew, work: Work) -> None:
    """Give each worker a cell whose needs are done, until none is left; repeat the cells of dead workers."""
    waiting = [cell for cell in work.plan.cells if cell.key not in work.done]
    settled = {cell.key for cell in work.plan.cells} & work.done
    deaths, never_ready = Counter[str](), 0
    last: dict[Any, tuple[str, ...]] = {}
    busy: dict[Any, tuple[Any, Cell | None]] = {}

    def hire() -> None:
        worker = crew.hire()
        busy[worker.describe_machine.remote()] = worker, None

    def employ(worker: Any) -> None:
        cell = _next(waiting, settled, last.get(worker))
        if cell is None:
            idle.append(worker)
            return
        waiting.remove(cell)
        last[worker] = cell.variant.entry.made_alike(cell.variant)
        busy[worker.do.remote(cell.key)] = worker, cell
        work.tell(cell.variant.title, len(settled))

    idle: list[Any] = []
    for _ in range(min(crew.size, len(waiting))):
        hire()
    while waiting or any(cell for _, cell in busy.values()):
        for finished in ray.wait(list(busy), timeout=_PATIENCE)[0]:
            worker, cell = busy.pop(finished)
            try:
                told = ray.get(finished)
            except (
                ray.exceptions.RayTaskError
            ) as error:  # the worker cannot do other cells either, for example because of a full disk
                raise ArtattackError(f"engine ray: a worker cannot go on: {error.cause}") from error
            except ray.exceptions.RayError as error:  # it died, or its node did
                if cell is None:
                    never_ready += 1
                    if never_ready == TRIES:
                        raise ArtattackError(f"engine ray: no worker could be made: {_reason(error)}") from error
                else:
                    deaths[cell.key] += 1
                    if deaths[cell.key] < TRIES:
                        waiting.insert(0, cell)
                    else:
                        why = f"{TRIES} workers died of it: {_reason(error)}"
                        work.folder.write_cell(cell.key, work.worker.failed(cell, why))
                        settled.add(cell.key)
                hire()
                continue
            if cell is None:
                work.folder.note_worker(told)
            else:
                settled.add(cell.key)
            employ(worker)
        for worker in [idle.pop() for _ in range(len(idle))]:  # the cells they wait for may be done
            employ(worker)


def _next(waiting: Iterable[Cell], settled: Collection[str], last: tuple[str, ...] | None) -> Cell | None:
    """Return a cell whose needs are settled, preferably of the attack that the worker has made already."""
    first = None
    for cell in waiting:
        if all(need in settled for need in cell.needs):
            if last in (None, cell.variant.entry.made_alike(cell.variant)):
                return cell
            first = first or cell
    return first


def _reason(error: Exception) -> str:
    """Return the last line of Ray's message, which has the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
