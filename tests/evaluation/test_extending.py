"""An extended run against a run that had all parts from the start."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from artattack.cli import app
from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.cells import CellWorker
from artattack.evaluation.extending import extend_run, extended
from artattack.evaluation.run import run_benchmark
from artattack.results.judgements import from_json
from artattack.results.plain_data import seal, unseal
from artattack.results.run_folder import RunFolder, load_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once", "eager")]

FGSM = {"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255"}
SMALL: dict[str, Any] = {
    "name": "small",
    "seed": 7,
    "batch_size": 2,
    "images": {"size": 64, "limit": 3},
    "models": {"twin": {"model": "quicknet_tiny"}},
    "classifiers": ["quicknet_tiny"],
    "feature_model": "quicknet_tiny",
    "attacks": [FGSM, {"attack": "noise", "like": "fgsm"}],
}
LARGE = SMALL | {
    "classifiers": ["quicknet_tiny", "twin"],
    "budgets": {"l2": [2]},
    "attacks": [*SMALL["attacks"], {"attack": "blur", "like": "fgsm"}],
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    path = tmp_path_factory.mktemp("runs") / "small"
    run_benchmark(SMALL, out=path)
    return load_run(path)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return run_benchmark(LARGE, out=tmp_path_factory.mktemp("runs") / "large")


@pytest.fixture
def copy(small: RunFolder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small.path, tmp_path / "copy"))


def extend(*arguments: str | Path) -> None:
    """Extend a run by the command, which also writes a report."""
    found = CliRunner().invoke(app, ["extend", *map(str, arguments)])
    assert found.exit_code == 0, found.output + found.stderr


def test_it_ends_like_a_run_that_had_all_from_the_start(copy: Path, large: pd.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    file.write_text(json.dumps(LARGE))
    before = (copy / "cells" / "fgsm--quicknet_tiny-0000.json").read_bytes()
    extend(copy, file)
    records = load_run(copy).records
    # Unrounded images are not kept, so a new classifier has no prediction for them; for a control both are equal.
    late = (records["kind"] == "baseline") & (records["classifier"] == "twin") & records["budget"].isna()
    assert late.sum() == 3
    assert records.loc[late, "flip_float"].isna().all()
    expected = large.copy()
    expected.loc[late, "flip_float"] = pd.NA
    pd.testing.assert_frame_equal(records.drop(columns="seconds"), expected.drop(columns="seconds"), check_exact=True)
    after = json.loads((copy / "cells" / "fgsm--quicknet_tiny-0000.json").read_bytes())["rows"]
    assert [row for row in after if row["classifier"] == "quicknet_tiny"] == json.loads(before)["rows"]
    info = load_run(copy).info
    assert info["config"]["benchmark"]["classifiers"] == ["quicknet_tiny", "twin"]
    assert len(info["extended"]) == 1


def test_nothing_that_is_there_is_made_again(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    do = CellWorker.__call__
    monkeypatch.setattr(
        CellWorker, "__call__", lambda self, cell, read: (done.append(cell.key), do(self, cell, read))[1]
    )
    extend_run(copy, budgets={"l2": [2]})
    assert [key.rpartition(".")[0] for key in done] == ["fgsm--quicknet_tiny--at--l2-2-0"] * 2 + [
        "noise--at--l2-2-0"
    ] * 2


def test_an_extension_that_was_interrupted_goes_on(
    copy: Path, large: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = RunFolder.write_cell, []

    def write_one(folder: RunFolder, key: str, rows: Any) -> None:
        if "--at--" in key or len(written) == 3:
            raise KeyboardInterrupt
        written.append(key)
        write(folder, key, rows)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_cell", write_one)
        assert CliRunner().invoke(app, ["extend", str(copy), "-c", "twin"]).exit_code == 130
    assert load_run(copy).info["status"] == "running"
    told = CliRunner().invoke(app, ["status", str(copy)])
    assert told.exit_code == 1
    assert f"To go on: artattack extend {copy}" in told.stdout.replace("\n", "") + told.stderr.replace("\n", "")
    extend_run(copy)
    found = load_run(copy).records.drop(columns=["seconds", "flip_float"])
    wanted = large[large["budget"].isna() & (large["attack"] != "blur")].drop(columns=["seconds", "flip_float"])
    pd.testing.assert_frame_equal(found, wanted.reset_index(drop=True), check_exact=True)


def test_an_extension_asks_the_engine_that_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Engine:
        def __init__(self, workers: int | None) -> None:
            asked.append(workers)

        def __call__(self, work: Any) -> None:
            asked.extend(cell.key for cell in work.plan.cells if cell.key not in work.done)

    monkeypatch.setattr("artattack.evaluation.ray_engine.RayEngine", Engine)
    CliRunner().invoke(app, ["extend", str(copy), "--budgets", "l2=2", "--engine", "ray", "--workers", "3"])
    assert asked[0] == 3
    assert len(asked) == 5
    assert all("--at--l2-2" in key for key in asked[1:])


def test_an_option_younger_than_the_run_changes_nothing(copy: Path) -> None:
    info = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    del info["sha256"]  # else the change would be taken for damage
    assert info["config"]["benchmark"]["attacks"][0].pop("max_queries") is None
    (copy / "run.json").write_text(json.dumps(info), encoding="utf-8")
    assert extended(copy, classifiers=["twin"]).classifiers == ("quicknet_tiny", "twin")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 8}, "can only be added to, but seed was 7, now 8"),
        ({"attacks": [FGSM]}, "attack 'noise' is another or gone"),
        ({"attacks": [FGSM | {"eps": "4/255"}, SMALL["attacks"][1]]}, "attack 'fgsm' is another or gone"),
        ({"classifiers": ["twin", "quicknet_tiny"]}, "classifiers were quicknet_tiny, which have to stand first"),
        ({"images": {"size": 64, "limit": 4}}, "images.limit was 3, now 4"),
        ({"models": {"twin": {"model": "quicknet"}}}, "model 'twin' is another or gone"),
        ({}, "nothing is added"),
    ],
)
def test_finished_records_stay_unchanged(small: RunFolder, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtattackError, match=message):
        extended(small.path, parse_benchmark(SMALL | change))


def test_a_custom_style_would_change_recognition(small: RunFolder, tmp_path: Path) -> None:
    art = tmp_path / "art.png"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(art)
    style = {"attack": "style", "backbone": "quicknet_tiny", "style": str(art)}
    with pytest.raises(ArtattackError, match=r"style '.*art\.png' would stand among those"):
        extended(small.path, parse_benchmark(SMALL | {"attacks": [*SMALL["attacks"], style]}))
    more = SMALL | {"attacks": [*SMALL["attacks"], style | {"style": "waves"}]}
    assert len(extended(small.path, parse_benchmark(more)).attacks) == 3


def test_another_file_of_a_model_or_image_is_refused(copy: Path) -> None:
    info = json.loads((copy / "run.json").read_bytes())
    del info["sha256"]  # else the change would be taken for damage
    info["config"]["images"] = dict.fromkeys(info["config"]["images"], "0" * 64)
    (copy / "run.json").write_text(json.dumps(info))
    found = CliRunner().invoke(app, ["extend", str(copy), "-c", "twin"])
    assert found.exit_code == 2
    assert "cannot be extended: images:" in found.stderr


def test_columns_younger_than_the_run_are_measured_on_its_files(small: RunFolder, copy: Path) -> None:
    for file in (copy / "cells").glob("*.json"):  # as if they had come with a later version
        cell = unseal(file.read_bytes())
        for row in cell["rows"]:
            del row["ssim"], row["feature_distance"], row["kl_divergence"]
        file.write_bytes(seal({key: cell[key] for key in ("key", "files", "rows")}))
    extend_run(copy)
    found = load_run(copy).records
    assert found["kl_divergence"].notna().all()
    pd.testing.assert_frame_equal(found, small.records)
    with pytest.raises(ArtattackError, match="nothing is added"):
        extended(copy)


def test_a_further_style_judge_is_asked_of_all_images(tmp_path: Path) -> None:
    read = {"attack": "style", "style": "waves", "backbone": "quicknet_tiny", "steps": 1, "jitter": 0}
    benchmark = SMALL | {
        "attacks": [read, read | {"name": "other", "backbone": "quicknet_distilled"}],
        "style_judges": ["quicknet_tiny"],
    }
    run_benchmark(benchmark, out=tmp_path / "run")
    before = load_run(tmp_path / "run").records
    unjudged = before["attack"] == "style"
    assert before.loc[unjudged, "style_identified"].isna().all()
    extend(tmp_path / "run", "--style-judge", "efficientnet_lite2")
    found = load_run(tmp_path / "run").records
    judges = ["quicknet_tiny", "efficientnet_lite2"]
    wanted = run_benchmark(benchmark | {"style_judges": judges}, out=tmp_path / "at-once")
    assert set(wanted.loc[unjudged, "style_judge"]) == {"efficientnet_lite2"}
    same = ["seconds", "from_cache"]
    pd.testing.assert_frame_equal(found.drop(columns=same), wanted.drop(columns=same), check_exact=True)
    changed = ["style_judgements"]
    pd.testing.assert_frame_equal(
        found[~unjudged].drop(columns=changed), before[~unjudged].drop(columns=changed), check_exact=True
    )
    asked = [[told.judge for told in from_json(text)] for text in found["style_judgements"].dropna()]
    assert sorted(map(tuple, asked)) == [("efficientnet_lite2",)] * 3 + [("quicknet_tiny", "efficientnet_lite2")] * 3


def test_extending_a_run_of_an_earlier_version_adds_relations_and_judgements(tmp_path: Path) -> None:
    painted = {"attack": "style", "style": "waves", "backbone": "quicknet_distilled", "steps": 1, "jitter": 0}
    run_benchmark(SMALL | {"attacks": [painted], "style_judges": "quicknet_tiny"}, out=tmp_path / "run")
    wanted = load_run(tmp_path / "run").records
    for file in (tmp_path / "run" / "cells").glob("*.json"):
        cell = unseal(file.read_bytes())
        for row in cell["rows"]:
            for name in ("classifier_relation", "style_judgements"):
                row.pop(name, None)
        file.write_bytes(seal({key: cell[key] for key in ("key", "files", "rows")}))
    extend_run(tmp_path / "run", budgets={"l2": [3]})
    found = load_run(tmp_path / "run").records
    pd.testing.assert_frame_equal(found[found["budget"].isna()], wanted)
    attacked = found["kind"] == "style"
    assert set(found.loc[attacked, "classifier_relation"]) == {"kin"}  # both are QuickNets
    assert found.loc[attacked, "style_judgements"].notna().all()
