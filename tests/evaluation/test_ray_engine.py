"""The same run on a real cluster of several nodes, one of which dies in the middle."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from artattack.evaluation.run import run_benchmark
from artattack.results.run_folder import load_run

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

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
def here(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The records of a run in this process."""
    return run_benchmark(BENCHMARK, out=tmp_path_factory.mktemp("run") / "here")


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
    but = ["seconds", "from_cache"]  # a worker may die when its images are made, but not written
    pd.testing.assert_frame_equal(records.drop(columns=but), here.drop(columns=but), check_exact=True)
    assert load_run(out).info["status"] == "finished"
    assert {path.stem for path in (out / "cells").glob("*.json")} == {
        "images",
        *(f"{key}-{n:04d}" for key in load_run(out).info["cells"]["variants"] for n in range(3)),
    }

    again = run_benchmark(BENCHMARK, out=tmp_path / "again", engine="ray", workers=1)
    assert again.loc[again["kind"] != "clean", "from_cache"].all()
    pd.testing.assert_frame_equal(again.drop(columns=but), here.drop(columns=but), check_exact=True)
