"""Runs in a relative folder lose no files, even if the thread that reads ahead is late."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artattack.errors import ArtattackError
from artattack.evaluation import run as running
from artattack.evaluation.cell_images import Originals
from artattack.evaluation.cells import CellWorker
from artattack.evaluation.plan import Cell
from artattack.evaluation.run import run_benchmark
from artattack.results.run_folder import RunFolder, load_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

MODEL = "quicknet_tiny"
BENCHMARK: dict[str, Any] = {
    "name": "relative",
    "batch_size": 2,
    "images": {"size": 64, "limit": 4},
    "classifiers": MODEL,
    "feature_model": MODEL,
    "attacks": [{"attack": "fgsm", "source": MODEL, "eps": "8/255"}],
}
_LONGEST = 60.0  # seconds that one side waits for the other, if the other never comes


def test_originals_are_read_while_an_attack_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second batch of FGSM is read after the attack on the first has begun, and before it ends."""
    from art.attacks.evasion import FastGradientMethod

    monkeypatch.chdir(tmp_path)
    at_work, read = threading.Event(), threading.Event()
    reading, generating = CellWorker.read, FastGradientMethod.generate
    met, places = [], set()

    def late(self: CellWorker, cell: Cell) -> Originals:
        if cell.key.startswith("fgsm") and cell.number == 1:
            met.append(at_work.wait(_LONGEST))
        try:
            return reading(self, cell)
        finally:
            if cell.key.startswith("fgsm") and cell.number == 1:
                read.set()

    def waiting(self: Any, x: np.ndarray, *given: Any, **options: Any) -> np.ndarray:
        places.add(Path.cwd())
        at_work.set()
        met.append(read.wait(_LONGEST))
        return generating(self, x, *given, **options)

    monkeypatch.setattr(CellWorker, "read", late)
    monkeypatch.setattr(FastGradientMethod, "generate", waiting)
    records = run_benchmark(BENCHMARK, out="run")
    assert met
    assert all(met)
    assert places == {tmp_path}
    assert records["error"].isna().all()
    assert records.groupby("attack")["image"].nunique().to_dict() == {"clean": 4, "fgsm": 4}


def test_a_run_goes_on_where_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model, an attack of a user's own: anything may move the process."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    writing = RunFolder.write_cell

    def move(self: RunFolder, *given: Any) -> None:
        writing(self, *given)
        os.chdir(tmp_path / "elsewhere")

    monkeypatch.setattr(RunFolder, "write_cell", move)
    run_benchmark(BENCHMARK, out="run")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert len(load_run(tmp_path / "run").records) == 2 * 4


@pytest.mark.parametrize("lost", ["images/original/*.png", "cells/images.json"])
def test_an_original_that_is_gone_ends_the_run_which_resuming_mends(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = RunFolder.write_cell
    with monkeypatch.context() as patch:

        def write_and_lose(self: RunFolder, key: str, rows: Any) -> None:
            writing(self, key, rows)
            if key == "images":
                sorted(self.path.glob(lost))[-1].unlink()

        patch.setattr(RunFolder, "write_cell", write_and_lose)
        with pytest.raises(ArtattackError, match=r"resume the run \(--resume\)$"):
            run_benchmark(BENCHMARK, out=tmp_path / "run")
    assert load_run(tmp_path / "run").info["status"] == "running"
    assert len(run_benchmark(BENCHMARK, out=tmp_path / "run", resume=True)) == 2 * 4


def test_resuming_mends_a_finished_run_that_has_lost_a_cells_records(tmp_path: Path) -> None:
    """As earlier versions left it: a cell without records, and tables made of the others."""
    whole = run_benchmark(BENCHMARK, out=tmp_path / "run")
    run = load_run(tmp_path / "run")
    info = run.info
    run.write_cell("fgsm--quicknet_tiny-0001", [])
    run._write_info(info | {"cells": info["cells"] | {"images": []}})
    run.finish(["images", *(f"{key}-{n:04d}" for key in info["cells"]["variants"] for n in range(2))])
    run._write_info(run.info | {"cells": {key: info["cells"][key] for key in ("variants", "batches")}})
    with pytest.raises(ArtattackError, match="the run lacks 2 of its 8 records"):
        _ = load_run(tmp_path / "run").records
    mended = run_benchmark(BENCHMARK, out=tmp_path / "run", resume=True)
    assert mended.drop(columns="seconds").equals(whole.drop(columns="seconds"))
    assert load_run(tmp_path / "run").info["cells"]["images"] == info["cells"]["images"]


def test_two_threads_of_one_process_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They share the generators that attacks draw from."""
    doing, at_once, most = running.do_cells_here, threading.Lock(), []

    def alone(work: Any) -> None:
        most.append(at_once.acquire(blocking=False))
        try:
            doing(work)
        finally:
            if most[-1]:
                at_once.release()

    monkeypatch.setattr(running, "do_cells_here", alone)
    threads = [threading.Thread(target=run_benchmark, args=(BENCHMARK,), kwargs={"out": tmp_path / n}) for n in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [True, True]
    assert load_run(tmp_path / "a").records.equals(
        load_run(tmp_path / "b").records.assign(seconds=load_run(tmp_path / "a").records["seconds"])
    )
