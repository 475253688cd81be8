"""Progress of a run, worked out by hand for folders made cell by cell."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from artattack.cli import app
from artattack.errors import ArtattackError
from artattack.results.progress import RunProgress, read_progress
from artattack.results.run_folder import RunFolder

RUN = {"config": {"seed": 0}, "cells": {"variants": ["clean", "style--waves", "noise"], "batches": 2}}
ROW = {"image": "a", "attack": "style", "classifier": "lite0"}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run of six cells of which three are done: after 10 s (clean 1), 100 s (style 0) and a night."""
    folder = RunFolder.create(tmp_path / "run", RUN)
    folder.write_cell("images", [])
    done = {"clean-0000": 1000.0, "clean-0001": 1010.0, "style--waves-0000": 1110.0}
    for key, when in done.items():
        folder.write_cell(key, [ROW])
        os.utime(folder.path / "cells" / f"{key}.json", (when, when))
    os.utime(folder.path / "cells" / "images.json", (990.0, 990.0))
    return folder


def test_time_left_follows_from_cells_of_the_same_variant(folder: RunFolder) -> None:
    progress = read_progress(folder)
    assert progress == RunProgress(
        state="stopped",
        cells=6,
        done=3,
        failed={},
        unreadable=0,
        next="style--waves-0001",
        seconds_left=100 + 2 * 55,  # the other style; noise is not known: as clean (10 s) and style (100 s) on average
    )


def test_a_night_between_two_cells_does_not_count(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {"config": {}, "cells": {"variants": ["style"], "batches": 6}})
    for number, when in enumerate((0.0, 100.0, 200.0, 40000.0, 40100.0)):
        folder.write_cell(f"style-{number:04d}", [ROW])
        os.utime(folder.path / "cells" / f"style-{number:04d}.json", (when, when))
    assert read_progress(folder).seconds_left == 100


@pytest.mark.parametrize(("since", "left"), [(99.0, 100 + 2 * 55), (101.0, None)])
def test_a_cell_longer_than_all_before_has_no_time_left(
    folder: RunFolder, since: float, left: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest cell took 100 s."""
    folder._write_info(folder.info | {"started": datetime.fromtimestamp(980.0, UTC).isoformat()})
    monkeypatch.setattr("artattack.results.progress.time.time", lambda: 1110.0 + since)
    with folder.locked():
        progress = read_progress(folder)
        told = CliRunner().invoke(app, ["status", str(folder.path)]).output.splitlines()[-1]
    assert (progress.state, progress.seconds_left, progress.overdue) == ("running", left, left is None)
    assert told == (
        "left    about 4 min, at the pace so far"
        if left
        else "left    unknown: the cell under way takes longer than any before"
    )
    assert read_progress(folder).seconds_left == 100 + 2 * 55  # nothing is under way in a run that has stopped


def test_time_in_which_a_run_lay_still_is_no_cells(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gone on with at 50 000 s: the second style took 20 s, and no cell as long as the 120 s of the one under way."""
    moments = {"started": 990.0, "resumed": 50000.0}
    at = {name: datetime.fromtimestamp(moment, UTC).isoformat() for name, moment in moments.items()}
    folder._write_info(folder.info | {"started": at["started"], "resumed": [{"at": at["resumed"]}]})
    folder.write_cell("style--waves-0001", [ROW])
    for key, when in (("images", 50000.5), ("style--waves-0001", 50020.5)):
        os.utime(folder.path / "cells" / f"{key}.json", (when, when))
    monkeypatch.setattr("artattack.results.progress.time.time", lambda: 50020.5 + 120)
    assert read_progress(folder).seconds_left == 2 * (10 + (100 + 20) / 2) / 2  # two of noise, as the others on average
    with folder.locked():
        assert read_progress(folder).overdue


def test_failures_are_counted_by_reason_and_do_not_count_as_done(folder: RunFolder) -> None:
    folder.write_cell("noise-0000", [ROW | {"error": "out of memory"}, ROW])
    folder.write_cell("noise-0001", [ROW | {"error": "out of memory"}])
    folder.write_cell("images", [{"image": "b", "error": "no image"}])
    progress = read_progress(folder)
    assert (progress.done, progress.failed, progress.unreadable) == (3, {"out of memory": 2}, 1)


def test_a_cell_cut_short_is_not_done(folder: RunFolder) -> None:
    file = folder.path / "cells" / "clean-0001.json"
    file.write_bytes(file.read_bytes()[:-5])
    assert read_progress(folder).next == "clean-0001"


def test_a_run_without_a_recorded_plan_still_counts_finished_cells(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {"config": {}})
    folder.write_cell("clean-0000", [ROW])
    progress = read_progress(folder)
    assert (progress.cells, progress.done, progress.seconds_left) == (None, 1, None)


def test_one_process_at_a_time(folder: RunFolder) -> None:
    code = f"""
import sys
from pathlib import Path
from artattack.results.run_folder import RunFolder
with RunFolder(Path({str(folder.path)!r})).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        assert read_progress(folder).state == "running"
        with pytest.raises(ArtattackError, match="another process works on this run: wait for it"), folder.locked():
            pytest.fail("two at once")
        other.kill()  # as kill -9 does: nothing is tidied up
    assert read_progress(folder).state == "stopped"
    with folder.locked():
        assert folder.is_worked_on
    assert [path.name for path in folder.path.glob("*.lock")] == []


def test_status_tells_it_in_words(folder: RunFolder) -> None:
    found = CliRunner().invoke(app, ["status", str(folder.path)])
    assert found.exit_code == 1
    assert found.output.splitlines() == [
        "state   stopped",
        "cells   3 of 6 done",
        "next    style--waves-0001",
        "left    about 4 min, at the pace so far",
        f"To go on: the `artattack run` that started it, with --resume --out {folder.path}",
    ]


def test_status_of_a_finished_run(folder: RunFolder) -> None:
    for key in ("style--waves-0001", "noise-0000", "noise-0001"):
        folder.write_cell(key, [ROW])
    folder.finish(["images", "clean-0000"])
    found = CliRunner().invoke(app, ["status", str(folder.path)])
    assert (found.exit_code, found.output.splitlines()) == (0, ["state   finished", "cells   6 of 6 done"])


def test_status_of_no_run_is_one_line(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert found.exit_code == 2
    assert "no run folder (it has no run.json)" in found.stderr
