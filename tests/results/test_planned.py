"""Records against the plan: the description of a run that lost some, worked out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artattack.cli import app
from artattack.errors import ArtattackError
from artattack.results.planned import amiss, expected_rows, planned_images, planned_keys
from artattack.results.progress import read_progress
from artattack.results.run_folder import RunFolder, load_run

IMAGES = [["a", "b"], ["c", "d"]]
CELLS = {"variants": ["clean", "fgsm"], "batches": 2, "images": IMAGES}
CONFIG = {"benchmark": {"classifiers": ["one", "two"]}, "images": dict.fromkeys("abcd", "its hash")}
KEYS = ["clean-0000", "clean-0001", "fgsm-0000", "fgsm-0001"]


def rows(images: str, kind: str) -> list[dict[str, Any]]:
    each = {"kind": kind, "attack": kind, "flip": False, "correct_before": True}
    return [each | {"image": image, "classifier": name} for image in images for name in ("one", "two")]


def fill(folder: RunFolder, last: str = "cd", unreadable: str = "") -> None:
    """Write all cells; the last has records of some images, and others could not be read."""
    folder.write_cell("images", [{"image": image, "error": "no image"} for image in unreadable])
    for key, images in zip(KEYS, ("ab", "cd", "ab", last), strict=True):
        readable = "".join(image for image in images if image not in unreadable)
        folder.write_cell(key, rows(readable, "clean" if key.startswith("clean") else "baseline"))


def finished_by_an_earlier_version(path: Path, last: str, *, noted: bool) -> RunFolder:
    """Finish a run without a look at its images, which it may have noted or not."""
    cells = CELLS if noted else {key: value for key, value in CELLS.items() if key != "images"}
    folder = RunFolder.create(path, {"config": CONFIG, "cells": {**cells, "images": []}})
    fill(folder, last)
    folder.finish(["images", *KEYS])
    folder._write_info(folder.info | {"cells": cells})
    return folder


def test_missing_and_additional_images_are_named() -> None:
    planned = frozenset("abcd")
    assert amiss(planned, set(), set("abcd")) == ""
    assert amiss(planned, {"d"}, set("abc")) == ""
    assert amiss(planned, set(), set("abc")) == "lacks d"
    assert amiss(planned, set(), set()) == "lacks a, b, c and 1 more"
    assert amiss(planned, {"d"}, set("bcdx")) == "lacks a and has unplanned d, x"


def test_a_cell_has_the_images_of_its_batch() -> None:
    info = {"cells": CELLS | {"left_out": ["fgsm-0001"]}}
    assert planned_keys(info) == KEYS[:3]
    assert planned_images(info) == {
        "clean-0000": {"a", "b"},
        "clean-0001": {"c", "d"},
        "fgsm-0000": {"a", "b"},
    }


@pytest.mark.parametrize(
    ("cells", "unreadable", "expected"),
    [
        (CELLS, "", 2 * 4 * 2),
        (CELLS, "d", 2 * 3 * 2 + 1),
        (CELLS | {"left_out": ["fgsm-0001"]}, "", (4 + 2) * 2),
        ({"variants": ["clean", "fgsm"], "batches": 2}, "de", 2 * 3 * 2 + 2),  # e was not there to be hashed
        ({"variants": ["clean", "fgsm"], "batches": 2, "left_out": ["fgsm-0001"]}, "", None),
        (None, "", None),
    ],
)
def test_rows_of_a_run_that_has_lost_none(cells: dict[str, Any] | None, unreadable: str, expected: int | None) -> None:
    assert expected_rows({"config": CONFIG, "cells": cells}, unreadable) == expected


def test_a_run_is_not_finished_while_a_cell_lacks_images(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {"config": CONFIG, "cells": CELLS})
    fill(folder, last="c")
    with pytest.raises(ArtattackError, match=r"run: cell 'fgsm-0001' lacks d: resume the run \(--resume\)"):
        folder.finish(["images", *KEYS])
    assert folder.info["status"] == "running"
    fill(folder, unreadable="d")  # and that is why it is not there
    assert len(folder.finish(["images", *KEYS])[0]) == 2 * 3 * 2 + 1
    assert len(load_run(folder.path).records) == 13


@pytest.mark.parametrize("noted", [True, False])
def test_a_finished_run_that_has_lost_records_says_so(tmp_path: Path, noted: bool) -> None:
    run = load_run(finished_by_an_earlier_version(tmp_path / "run", "", noted=noted).path)
    with pytest.raises(ArtattackError, match=r"run: the run lacks 4 of its 16 records: go on with it: .* --resume"):
        _ = run.records
    with pytest.raises(ArtattackError, match="lacks 4 of its 16 records"):
        _ = run.summary
    progress = read_progress(run)
    assert (progress.state, progress.done, progress.next) == ("incomplete", 3, "fgsm-0001")
    assert progress.amiss == {"fgsm-0001": "lacks c, d"}
    told = CliRunner().invoke(app, ["status", str(run.path)])
    assert told.exit_code == 1
    assert told.output.splitlines()[:4] == [
        "state   incomplete",
        "cells   3 of 4 done",
        "amiss   fgsm-0001 lacks c, d",
        "next    fgsm-0001",
    ]
    assert told.output.splitlines()[-1].startswith("To go on: the `artattack run` that started it, with --resume --out")


@pytest.mark.parametrize("noted", [True, False])
def test_a_finished_run_that_has_all_is_finished(tmp_path: Path, noted: bool) -> None:
    run = load_run(finished_by_an_earlier_version(tmp_path / "run", "cd", noted=noted).path)
    assert len(run.records) == 16
    assert read_progress(run).state == "finished"


def test_a_relative_folder_is_the_same_wherever_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    finished_by_an_earlier_version(tmp_path / "run", "cd", noted=True)
    monkeypatch.chdir(tmp_path)
    run, made = load_run("run"), RunFolder(Path("run"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run.path == made.path == tmp_path / "run"
    assert len(run.records) == 16


def test_a_working_directory_that_is_gone_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ArtattackError, match=r"^run: the working directory no longer exists; give an absolute path$"):
        load_run("run")


def test_committed_runs_have_lost_nothing() -> None:
    for path in sorted((Path(__file__).parents[2] / "results").glob("*/run.json")):
        info = json.loads(path.read_text())
        told = info["tables"]["records.csv"]["rows"]
        assert told == expected_rows(info, []), path
