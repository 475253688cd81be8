"""Distribution of cells to a cluster's workers, with stand-in workers that live and die as the test decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import Cell, make_plan
from artattack.evaluation.ray_engine import TRIES, RayEngine, _hand_out, _next
from artattack.evaluation.run import run_plan
from artattack.evaluation.work import Work
from artattack.results.run_folder import RunFolder

PLAN = make_plan(
    parse_benchmark(
        {
            "batch_size": 1,
            "images": {"limit": 2},
            "classifiers": "quicknet_tiny",
            "attacks": [
                {"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255"},
                {"attack": "noise", "like": "fgsm"},
            ],
        }
    )
)
NEEDS = {cell.key: cell.needs for cell in PLAN.cells}


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__("Traceback\n...")
        self.cause = cause


class Ray:
    """A stand-in for Ray: tasks are functions, and the last task started ends first."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def wait(
        self, under_way: Sequence[Callable[[], None]], timeout: float
    ) -> tuple[list[Callable[[], None]], list[Any]]:
        return [under_way[-1]], list(under_way[:-1])

    def get(self, finished: Callable[[], Any]) -> Any:
        return finished()


@dataclass(eq=False)
class Worker:
    describe_machine: Any
    do: Any


class Crew:
    """Workers that write their cells, unless `does` says otherwise."""

    def __init__(self, folder: RunFolder, does: Callable[[str], None], size: int = 2) -> None:
        self.size, self.hired, self.order = size, 0, list[str]()
        self._folder, self._does = folder, does

    def hire(self) -> Any:
        self.hired += 1

        def do(key: str) -> Callable[[], None]:
            self.order.append(key)

            def finish() -> None:
                missing = [need for need in NEEDS[key] if need not in dict(self._folder.cells())]
                assert not missing, f"{key} was begun before {missing}"
                self._does(key)
                self._folder.write_cell(key, [])

            return finish

        def describe_machine() -> Callable[[], Any]:
            def finish() -> dict[str, Any]:
                self._does("ready")
                return {"processor": f"number {(self.hired + 1) // 2}", "threads": {}}

            return finish

        return Worker(SimpleNamespace(remote=describe_machine), SimpleNamespace(remote=do))


class Writer:
    """In the place of the worker of this process."""

    def failed(self, cell: Cell, why: str) -> list[dict[str, Any]]:
        return [{"image": cell.samples[0].id, "error": why}]


def hand_out(tmp_path: Path, does: Callable[[str], None], done: Sequence[str] = ()) -> tuple[Crew, RunFolder]:
    folder = RunFolder.create(tmp_path / "run", {"config": {}})
    for key in done:
        folder.write_cell(key, [])
    crew = Crew(folder, does)
    work: Any = Work(PLAN, folder, {}, Writer(), frozenset(done), lambda what, number: None)  # type: ignore[arg-type]
    _hand_out(Ray(), crew, work)  # type: ignore[arg-type]
    return crew, folder


def test_each_cell_is_done_once_after_those_it_needs(tmp_path: Path) -> None:
    crew, folder = hand_out(tmp_path, lambda key: None)
    assert sorted(crew.order) == sorted(NEEDS)
    assert folder.done() == set(NEEDS)
    assert crew.hired == 2
    assert folder.info["workers"] == [{"processor": "number 1", "threads": {}}]  # two alike


def test_finished_cells_are_not_repeated(tmp_path: Path) -> None:
    done = ["clean-0000", "fgsm--quicknet_tiny-0000"]
    crew, _ = hand_out(tmp_path, lambda key: None, done)
    assert sorted(crew.order) == sorted(NEEDS.keys() - done)


def test_the_cell_of_a_dead_worker_is_done_by_another(tmp_path: Path) -> None:
    dead = "fgsm--quicknet_tiny-0001"
    left = [dead] * (TRIES - 1)

    def does(key: str) -> None:
        if key in left:
            left.remove(key)
            raise RayError("node died")

    crew, folder = hand_out(tmp_path, does)
    assert crew.order.count(dead) == TRIES
    assert crew.hired == 2 + TRIES - 1
    assert folder.done() == set(NEEDS)


def test_a_cell_that_kills_every_worker_becomes_a_record_and_the_others_go_on(tmp_path: Path) -> None:
    def does(key: str) -> None:
        if key == "fgsm--quicknet_tiny-0000":
            raise RayError("The actor died.\n  killed by the system: out of memory")

    crew, folder = hand_out(tmp_path, does)
    assert crew.order.count("fgsm--quicknet_tiny-0000") == TRIES
    (row,) = dict(folder.cells())["fgsm--quicknet_tiny-0000"]
    assert row["error"] == "3 workers died of it: killed by the system: out of memory"
    assert folder.done() == NEEDS.keys() - {"fgsm--quicknet_tiny-0000"}


def test_workers_that_cannot_be_made_end_the_run(tmp_path: Path) -> None:
    def does(key: str) -> None:
        if key == "ready":
            raise RayError("The actor died.\nno such file: weights.h5")

    with pytest.raises(ArtattackError, match=r"no worker could be made: no such file: weights\.h5$"):
        hand_out(tmp_path, does)


def test_a_worker_that_cannot_write_ends_the_run(tmp_path: Path) -> None:
    def does(key: str) -> None:
        if key != "ready":
            raise RayTaskError(ArtattackError("x.json: cannot be written: No space left on device"))

    with pytest.raises(ArtattackError, match=r"a worker cannot go on: x\.json: cannot be written: No space left"):
        hand_out(tmp_path, does)


def test_a_worker_stays_with_the_attack_it_has_made() -> None:
    settled = {"clean-0000", "clean-0001", "fgsm--quicknet_tiny-0000", "fgsm--quicknet_tiny-0001"}
    waiting = [cell for cell in PLAN.cells if cell.key not in settled - {"fgsm--quicknet_tiny-0001"}]
    noise = next(cell for cell in PLAN.cells if cell.variant.entry.name == "noise")
    same = noise.variant.entry.made_alike(noise.variant)
    assert _next(waiting, settled, same) == noise
    assert _next(waiting, settled, ("another", "", "")) == waiting[0]
    assert _next(waiting, settled, None) == waiting[0]
    assert _next([noise], set(), None) is None  # the images it copies are not there


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused(workers: int) -> None:
    with pytest.raises(ArtattackError, match="workers: one or more"):
        RayEngine(workers)


def test_a_model_that_only_this_process_has_is_refused(tmp_path: Path) -> None:
    plan = replace(PLAN, given={"mine": object()})  # type: ignore[dict-item]
    with pytest.raises(ArtattackError, match="workers load models by themselves: save 'mine' to a file"):
        run_plan(plan, tmp_path, engine="ray")
