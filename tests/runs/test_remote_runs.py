"""Whole runs behind a URL, on fsspec's file system in memory, against the same run on this machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("upath", reason="run folders behind URLs need universal-pathlib: pip install artattack[remote]")
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from artattack.cli import app
from artattack.errors import ArtattackError
from artattack.evaluation.run import run_benchmark
from artattack.files import to_path, write_file
from artattack.results.run_folder import RunFolder, load_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

BENCHMARK: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "batch_size": 1,
    "images": {"size": 64, "limit": 2},
    "models": {"twin": {"model": "quicknet_tiny"}},
    "classifiers": ["quicknet_tiny"],
    "feature_model": "quicknet_tiny",
    "style_judges": "quicknet_tiny",
    "attacks": [{"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255"}, {"attack": "noise", "like": "fgsm"}],
}
URL = "memory://runs/mine"
TABLES = ("records", "summary", "controls", "pooled", "pairs", "judges", "areas")


def artattack_says(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), prog_name="artattack")


def same(here: RunFolder, there: RunFolder) -> None:
    """Check that two runs have the same tables, but for seconds, and the same images, byte for byte."""
    for name in TABLES:
        frames = [getattr(run, name) for run in (here, there)]
        seconds = [column for column in frames[0].columns if "seconds" in column]
        pd.testing.assert_frame_equal(*(frame.drop(columns=seconds) for frame in frames), check_exact=True)
    files = set(here.records["file"])
    assert {str(path).removeprefix(f"{URL}/") for path in there.images.glob("*/*")} == files
    assert all((here.path / file).read_bytes() == (there.path / file).read_bytes() for file in files)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    path = tmp_path_factory.mktemp("run") / "here"
    run_benchmark(BENCHMARK, out=path)
    return load_run(path)


@pytest.fixture(scope="module")
def there() -> Iterator[RunFolder]:
    """The same run in memory, stopped after three cells and gone on with; a cell and an image damaged meanwhile."""

    def stop(what: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_benchmark(BENCHMARK, out=URL, on_progress=stop)
    stopped = load_run(URL)
    assert len(stopped.done() - {"images"}) == 3
    assert artattack_says("status", URL).exit_code == 1
    assert "stopped" in artattack_says("status", URL).stdout
    image = next(iter((stopped.images / "original").glob("*.png")))
    write_file(image, image.read_bytes()[:-1])
    write_file(stopped.path / "cells" / "clean-0001.json", b"{")
    run_benchmark(BENCHMARK, out=URL, resume=True)
    yield load_run(URL)
    MemoryFileSystem.store.clear()


def test_a_run_that_was_stopped_ends_as_one_on_this_machine(here: RunFolder, there: RunFolder) -> None:
    same(here, there)
    assert not (there.path / "run.lock").exists()
    assert len(there.info["resumed"]) == 1
    assert there.info["config"] == here.info["config"]


def test_readers_of_a_run_accept_its_url(here: RunFolder, there: RunFolder, tmp_path: Path) -> None:
    status = artattack_says("status", URL)
    assert status.exit_code == 0
    assert "finished" in status.stdout
    assert artattack_says("report", URL).stdout == f"Written: {URL}/report.html\n"
    page = (there.path / "report.html").read_text("utf-8")
    assert "data:image/" in page  # with its pictures
    compared = artattack_says("compare", here.path, URL)
    assert compared.exit_code == 0
    assert URL in compared.stdout.replace("\n", "")
    assert artattack_says("export", URL, "--format", "textattack", "-o", tmp_path / "log.csv").exit_code == 0
    assert artattack_says("export", here.path, "--format", "textattack", "-o", tmp_path / "here.csv").exit_code == 0
    assert (tmp_path / "log.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_mistakes_are_one_line(there: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps(BENCHMARK))
    for arguments, told in (
        (("run", file, "--out", URL), f"{URL}: holds a run already (finished, 7 cells done): resume it (--resume)"),
        (("run", file, "--out", "memory://none", "--resume"), "memory://none: no run to resume"),
        (("run", file, "--out", "nope://mine"), "nope://mine: unknown protocol 'nope'"),
        (("status", "memory://none"), "memory://none: no run folder (it has no run.json)"),
        (("run", file, "--out", "memory://new", "--engine", "ray"), "engine ray: workers do not see memory://new"),
    ):
        if "ray" in arguments:
            pytest.importorskip("ray")
        done = artattack_says(*arguments)
        assert done.exit_code == 2
        assert told in done.stderr.splitlines()[-1]
        assert sum(line.startswith("artattack:") for line in done.stderr.splitlines()) == 1
    with there.locked():
        done = artattack_says("run", file, "--out", URL, "--resume")
        assert done.exit_code == 2
        assert "another process works on this run" in done.stderr
        assert "running" not in artattack_says("status", URL).stdout  # it is finished, whoever looks at it


def test_more_of_it(here: RunFolder, there: RunFolder) -> None:
    extended = artattack_says("extend", URL, "--classifier", "twin", "--budgets", "l2=2", "--no-cache")
    assert extended.exit_code == 0, extended.output
    assert artattack_says("extend", here.path, "--classifier", "twin", "--budgets", "l2=2", "--no-cache").exit_code == 0
    now = load_run(URL)
    assert len(now.records) > len(there.records)
    same(load_run(here.path), now)


def test_an_error_of_a_cell_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    from art.attacks.evasion import FastGradientMethod

    def generate(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("out of paint")

    monkeypatch.setattr(FastGradientMethod, "generate", generate)
    fgsm_alone = BENCHMARK | {"attacks": BENCHMARK["attacks"][:1]}
    records = run_benchmark(fgsm_alone, out="memory://failed")
    assert records["error"].notna().sum() == 2
    assert (to_path("memory://failed/errors.log")).read_text().count("RuntimeError: out of paint") == 2


def test_a_file_that_is_no_folder() -> None:
    write_file(to_path("memory://taken"), b"x")
    with pytest.raises(ArtattackError, match="memory://taken: is a file"):
        run_benchmark(BENCHMARK, out="memory://taken")
