"""The same run on a real cluster of several nodes, one of which dies in the middle."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from artattack.evaluation import ray_engine
from artattack.evaluation.run import run_benchmark
from artattack.results.run_folder import RunFolder, load_run
from artattack.runtime import THREADS

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

BENCHMARK: dict[str, Any] = {
    "seed": 5,
    "batch_size": 1,
    "images": {"size": 32, "limit": 3},
    "classifiers": "quicknet_tiny",
    "feature_model": "quicknet_tiny",
    "attacks": [
        {"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255"},
        {"attack": "noise", "like": "fgsm"},
        {"attack": "blur", "like": "fgsm"},
    ],
}
BUT = ["seconds", "from_cache"]  # a worker may die when its images are made, but not written


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that does nothing but keep the books, and two nodes with a core each."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def done_here(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run in this process."""
    folder = tmp_path_factory.mktemp("run") / "here"
    run_benchmark(BENCHMARK, out=folder)
    return load_run(folder)


@pytest.fixture(scope="module")
def here(done_here: RunFolder) -> pd.DataFrame:
    """The records of a run in this process."""
    return done_here.records


def test_a_node_that_dies_costs_nothing_and_nothing_is_made_twice(
    cluster: Cluster, here: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTATTACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ARTATTACK_CACHE_SIZE", "10MB")
    short_lived = cluster.add_node(num_cpus=1)
    left = iter([short_lived])

    def tell(what: str, done: int, total: int) -> None:
        if done >= 2 and (node := next(left, None)):
            cluster.remove_node(node)

    out = tmp_path / "there"
    records = run_benchmark(BENCHMARK, out=out, engine="ray", workers=2, on_progress=tell)
    assert next(left, None) is None  # the node did die
    pd.testing.assert_frame_equal(records.drop(columns=BUT), here.drop(columns=BUT), check_exact=True)
    assert load_run(out).info["status"] == "finished"
    assert {path.stem for path in (out / "cells").glob("*.json")} == {
        "images",
        *(f"{key}-{n:04d}" for key in load_run(out).info["cells"]["variants"] for n in range(3)),
    }

    again = run_benchmark(BENCHMARK, out=tmp_path / "again")
    assert again.loc[again["kind"] != "clean", "from_cache"].all()
    pd.testing.assert_frame_equal(again.drop(columns=BUT), here.drop(columns=BUT), check_exact=True)
    one = dict.fromkeys(THREADS, "1")  # as each node has a core
    assert [machine["threads"] | one for machine in load_run(out).info["workers"]] == [one]


def deadly_worker(done: Path) -> type:
    """Return a class of workers that one cell kills; they copy the others from a run, and load no models."""

    class Deadly:
        def __init__(self, plan: Any, folder: Path, *_: Any) -> None:
            self._folder = folder
            shutil.copytree(done / "images", folder / "images", dirs_exist_ok=True)

        def describe_machine(self) -> dict[str, Any]:
            return {}

        def do(self, key: str) -> None:
            if key == "fgsm--quicknet_tiny-0001":
                os._exit(1)
            shutil.copy(done / "cells" / f"{key}.json", self._folder / "cells")

    return Deadly


def test_a_cell_that_kills_its_workers_is_recorded_and_done_when_it_no_longer_does(
    cluster: Cluster, done_here: RunFolder, here: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this file
    with monkeypatch.context() as patch:
        patch.setattr(ray_engine, "Worker", deadly_worker(done_here.path))
        records = run_benchmark(BENCHMARK, out=out, engine="ray", workers=1, cache=False)
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    failed = records[records["error"].notna()]
    assert failed["error"].str.startswith("3 workers died of it: ").sum() == 1
    image = here["image"].drop_duplicates().iloc[1]
    assert set(failed["image"]) == {image}
    sound = records[records["image"] != image].reset_index(drop=True)
    wanted = here[here["image"] != image].reset_index(drop=True)
    pd.testing.assert_frame_equal(sound.drop(columns=BUT), wanted.drop(columns=BUT), check_exact=True)
    again = run_benchmark(BENCHMARK, out=out, cache=False, resume=True)
    pd.testing.assert_frame_equal(again.drop(columns=BUT), here.drop(columns=BUT), check_exact=True)


def test_a_run_whose_own_process_is_killed_goes_on(cluster: Cluster, here: pd.DataFrame, tmp_path: Path) -> None:
    out, file = tmp_path / "run", tmp_path / "benchmark.json"
    file.write_text(json.dumps(BENCHMARK | {"name": "default"}))
    command = [sys.executable, "-m", "artattack", "run", file, "--out", out, "--engine", "ray", "--workers", "1"]
    surroundings = os.environ | {"RAY_ADDRESS": cluster.address}
    with subprocess.Popen([*command, "--no-cache"], env=surroundings, stderr=subprocess.DEVNULL) as process:
        while len(list(out.glob("cells/*.json"))) < 4:  # that of the images, and three of twelve
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    assert load_run(out).info["status"] == "running"
    records = run_benchmark(BENCHMARK, out=out, engine="ray", workers=1, cache=False, resume=True)
    pd.testing.assert_frame_equal(records.drop(columns=BUT), here.drop(columns=BUT), check_exact=True)
    assert not list(out.rglob("*.tmp"))
