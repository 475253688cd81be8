import csv
import errno
import hashlib
import json
import lzma
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import artattack
from artattack.cli import app
from artattack.errors import ArtattackError, DiskError
from artattack.files import sha256_file
from artattack.inputs.images import save_png
from artattack.report import write_report
from artattack.results.columns import RECORD_COLUMNS, SUMMARY_COLUMNS
from artattack.results.judgements import Judgement, to_json
from artattack.results.plain_data import config_hash
from artattack.results.records import read_records, records_frame
from artattack.results.run_folder import RunFolder, load_run, versions
from artattack.results.statistics import bootstrap_mean
from artattack.results.summary import read_summary, summarise

RESULTS = Path(__file__).parents[2] / "results"
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
    | st.sampled_from(["NA", "nan", "None", 'a,"b"', "Ölkännchen\n", "\r", " x ", "1.50", "True", "#", "turtle 🐢"]),
    "Int64": st.integers(-(2**53), 2**53),  # what a float holds exactly, which pandas makes of them in between
    "boolean": st.booleans(),
    "float64": st.floats(),
}
JUDGED = st.lists(st.builds(Judgement, judge=VALUES["string"]), max_size=2).map(to_json)
WRITTEN = {c: JUDGED if c == "style_judgements" else VALUES[d] for c, d in RECORD_COLUMNS.items()}
ROWS = st.lists(
    st.fixed_dictionaries({}, optional={c: st.none() | values for c, values in WRITTEN.items()}),
    max_size=4,
)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def record(**values: Any) -> dict[str, Any]:
    """A record of an attack that moved one image from right to wrong."""
    usual = {
        "image": "cat",
        "true_class": 281,
        "attack": "fgsm",
        "parameters": '{"eps": 0.03}',
        "source": "quicknet",
        "source_weights": "bundled",
        "classifier": "lite0",
        "classifier_weights": "imagenet",
        "in_label_space": True,
        "top1_confidence_before": 0.75,
        "top1_class_after": 440,
        "top1_confidence_after": 0.5,
        "correct_before": True,
        "flip": True,
        "top5_flip": False,
        "rank_after": 2,
        "kl_divergence": 0.5,
        "success": True,
        "confidence_shift": -0.5,
        "true_confidence_shift": -0.5,
        "l2": 2.0,
        "linf": 0.03,
        "ssim": 0.9,
        "seconds": 0.25,
    }
    return usual | values


# ---- records


def test_records_have_the_columns_and_types_even_without_rows() -> None:
    for frame in (records_frame([]), records_frame([{"image": "a"}])):
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == RECORD_COLUMNS
    with pytest.raises(ValueError, match="not columns of this table: l3"):
        records_frame([{"l3": 1}])


def test_missing_values() -> None:
    frame = records_frame([{"source": "", "true_class": None, "psnr": None, "flip": None, "error": math.nan}])
    assert frame.isna().all(axis=None)


def test_text_that_csv_cannot_hold_is_kept_as_far_as_it_goes() -> None:
    frame = records_frame([{"image": "caf\udce9", "error": "one\r\ntwo\rthree\nfour"}])
    assert frame["image"][0] == "caf?"
    assert frame["error"][0] == "one\ntwo\nthree\nfour"


@QUICK
@given(ROWS)
def test_records_come_back_from_csv_as_they_were(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    rows = [row | {"image": f"{number} {row.get('image')}"} for number, row in enumerate(rows)]  # each is there once
    folder = RunFolder.create(tmp_path / f"run{len(list(tmp_path.iterdir()))}", {"config": {}})
    folder.write_cell("all", rows)
    records, summary = folder.finish(["all"])
    pd.testing.assert_frame_equal(records, records_frame(rows), check_exact=True)
    pd.testing.assert_frame_equal(load_run(folder.path).records, records, check_exact=True)
    pd.testing.assert_frame_equal(load_run(folder.path).summary, summary, check_exact=True)


def test_floats_keep_every_bit(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, math.inf, -math.inf, 1 / 3]
    file = tmp_path / "records.csv"
    file.write_bytes(records_frame([{"psnr": v} for v in values]).to_csv(index=False).encode())
    assert list(map(repr, read_records(file)["psnr"])) == list(map(repr, values))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("", "not a table of artattack: No columns"),
        ("image,flip\na,True\n", "not a table of artattack: columns missing: kind, attack, style, source, matched_to"),
        (
            ",".join([*RECORD_COLUMNS, "l3", "l4"]) + "\n",
            f"written by a newer artattack than this one, {artattack.__version__}, which does not know the columns "
            "l3, l4: update artattack to read it",
        ),
        (
            ",".join(RECORD_COLUMNS) + "\n" + "x," * (len(RECORD_COLUMNS) - 1) + "x\n",
            "not a table of artattack",
        ),
    ],
)
def test_a_file_that_is_no_table_gives_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "records.csv"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ArtattackError, match=message) as caught:
        read_records(file)
    assert "\n" not in str(caught.value)


# ---- summary


def test_summary_worked_out_by_hand() -> None:
    rows = [
        record(),
        record(
            flip=False,
            success=False,
            top1_class_after=281,
            rank_after=1,
            confidence_shift=-0.1,
            true_confidence_shift=-0.1,
            l2=1.0,
            seconds=0.75,
        ),
        record(
            correct_before=False,
            success=None,
            top1_class_after=281,
            top5_flip=True,
            rank_after=9,
            confidence_shift=-0.3,
            true_confidence_shift=0.2,
            ssim=0.6,
            kl_divergence=1.0,
        ),
        record(in_label_space=False, correct_before=None, success=None, true_confidence_shift=None),
        record(
            in_label_space=None,
            true_class=None,
            correct_before=None,
            success=None,
            true_confidence_shift=None,
        ),
        {k: v for k, v in record(error="out of memory").items() if k in ("attack", "source", "classifier", "error")},
    ]
    (row,) = summarise(records_frame(rows)).to_dict("records")
    expected = {
        "n": 5,
        "errors": 1,
        "n_labelled": 3,
        "n_correct": 2,
        "clean_accuracy": 2 / 3,
        "clean_accuracy_low": 0.207660,  # (2 + z²/2 -+ z sqrt(3 * 2/3 * 1/3 + z²/4)) / (3 + z²), z = 1.959964
        "clean_accuracy_high": 0.938508,
        "n_correct_after": 2,
        "robust_accuracy": 2 / 3,
        "robust_accuracy_low": 0.207660,
        "robust_accuracy_high": 0.938508,
        "flips": 4,
        "flip_rate": 0.8,
        "flip_rate_low": 0.375534,  # (4 + z²/2 -+ z sqrt(5 * 0.8 * 0.2 + z²/4)) / (5 + z²)
        "flip_rate_high": 0.963776,
        "top5_flips": 1,
        "top5_flip_rate": 0.2,
        "top5_flip_rate_low": 1 - 0.963776,
        "top5_flip_rate_high": 1 - 0.375534,
        "mean_kl_divergence": 0.6,
        "median_rank_after": 2,
        # In one bin each: confidence 0.75 and 2 of 3 right, then 0.5 and 2 of 3.
        "ece_before": 0.75 - 2 / 3,
        "ece_after": 2 / 3 - 0.5,
        "successes": 1,
        "success_rate": 0.5,
        "success_rate_low": 0.094531,  # 1/2 -+ z sqrt(2 * 0.5 * 0.5 + z²/4) / (2 + z²)
        "success_rate_high": 0.905469,
        "mean_confidence_shift": (-0.5 - 0.1 - 0.3 - 0.5 - 0.5) / 5,
        "median_confidence_shift": -0.5,
        "mean_true_confidence_shift": (-0.5 - 0.1 + 0.2) / 3,
        "median_true_confidence_shift": -0.1,
        "mean_l2": 9 / 5,
        "mean_linf": 0.03,
        "mean_ssim": 4.2 / 5,
        "seconds_per_image": 0.35,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    bounds = row["mean_confidence_shift_low"], row["mean_confidence_shift_high"]
    assert bounds == bootstrap_mean([-0.5, -0.1, -0.3, -0.5, -0.5], seed=0)
    assert -0.5 <= bounds[0] < row["mean_confidence_shift"] < bounds[1] <= -0.1
    assert row["parameters"] == '{"eps": 0.03}'
    assert row["classifier_weights"] == "imagenet"
    assert pd.isna(row["style"])


def test_flips_that_rounding_undid_and_files_outside_their_ball_are_counted() -> None:
    outcomes = [(True, True, False), (True, False, True), (False, True, None), (None, True, True), (True, False, False)]
    names = ("flip_float", "flip", "outside_eps")
    known = [record(image=str(i), **dict(zip(names, row, strict=True))) for i, row in enumerate(outcomes)]
    old = [record(image=str(i), classifier="old") for i in range(3)]
    failed = [{"attack": "fgsm", "classifier": "failed", "image": "a", "error": "broken"}]
    table = summarise(records_frame(known + old + failed)).set_index("classifier")
    counts = table[["flips", "flips_float", "lost_to_rounding", "outside_eps"]]
    assert counts.loc["lite0"].tolist() == [3, 3, 2, 2]
    for name, flips in (("old", 3), ("failed", 0)):
        assert counts.loc[name, "flips"] == flips
        assert counts.loc[name].iloc[1:].isna().all()


def test_groups_stand_in_order_of_appearance_and_missing_parts_make_groups_too() -> None:
    groups = [
        ("style", "waves", "quicknet", None, "b"),
        ("style", "waves", "quicknet", None, "a"),
        ("noise", None, None, "style/waves/quicknet", "b"),
        ("noise", None, None, "style/glass/quicknet", "b"),
        (None, None, None, None, None),
        ("fgsm", None, "zoo", None, "a"),
    ]
    keys = ["attack", "style", "source", "matched_to", "classifier"]
    rows = [record(**dict(zip(keys, group, strict=True)), l2=float(i)) for i, group in enumerate(groups)]
    summary = summarise(records_frame(rows + rows[::-1]))
    assert [tuple(None if pd.isna(v) else v for v in row) for row in summary[keys].to_numpy()] == groups
    assert list(summary["mean_l2"]) == [0, 1, 2, 3, 4, 5]
    assert list(summary["n"]) == [2] * 6


def test_rates_of_nothing_are_missing() -> None:
    for rows in (
        [],
        [record(error="broken")],
        [record(in_label_space=None, correct_before=None, success=None)],
    ):
        summary = summarise(records_frame(rows))
        assert {name: str(dtype) for name, dtype in summary.dtypes.items()} == SUMMARY_COLUMNS
        nothing = [name for name in SUMMARY_COLUMNS if name.startswith(("clean_accuracy", "success_rate"))]
        assert len(nothing) == 6
        assert summary[nothing].isna().all(axis=None)
    failed = summarise(records_frame([record(error="broken")]))
    missing = ["flip_rate", "flip_rate_low", "flip_rate_high", "mean_confidence_shift_low", "mean_l2"]
    assert failed[[*missing, "seconds_per_image"]].isna().all(axis=None)
    assert failed[["n", "errors", "flips", "successes"]].to_numpy().tolist() == [[0, 1, 0, 0]]


@QUICK
@given(ROWS)
def test_counts_hold_each_other(rows: list[dict[str, Any]]) -> None:
    summary = summarise(records_frame(rows))
    assert summary["n"].sum() + summary["errors"].sum() == len(rows)
    for smaller, larger in [("n_labelled", "n"), ("n_correct", "n_labelled"), ("flips", "n")]:
        assert (summary[smaller] <= summary[larger]).all()
    for rate in ("clean_accuracy", "flip_rate", "success_rate"):
        known = summary[summary[rate].notna()]
        assert known[rate].between(known[f"{rate}_low"], known[f"{rate}_high"]).all()


# ---- the folder

CONFIG = {"seed": 0, "attacks": [{"attack": "style", "steps": 60}, {"attack": "fgsm"}]}


def start(path: Path) -> RunFolder:
    return RunFolder.create(path, {"config": CONFIG, "versions": {"numpy": "1"}})


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    folder = start(tmp_path / "deep" / "run")
    assert folder.done() == set()
    assert folder.images.is_dir()
    assert folder.info["status"] == "running"
    assert folder.info["config"] == CONFIG
    assert folder.info["config_hash"] == config_hash(CONFIG)
    with pytest.raises(ArtattackError, match=r"not finished \(0 cells done\)"):
        _ = folder.records
    folder.write_cell("b-0000", [record(image="b0"), record(image="b1", psnr=math.inf, l2=math.nan)])
    folder.write_cell("a-0000", [record(image="a0", true_class=np.int64(3), l2=np.float32(0.5))])
    assert folder.done() == {"a-0000", "b-0000"}
    with pytest.raises(ArtattackError, match="cell 'c' is not finished"):
        folder.finish(["a-0000", "c"])
    records, _ = folder.finish(["a-0000", "b-0000"])
    assert list(records["image"]) == ["a0", "b0", "b1"]
    assert list(records["true_class"]) == [3, 281, 281]
    assert records["psnr"][2] == math.inf
    assert records["l2"].isna().tolist() == [False, False, True]
    run = load_run(str(folder.path))
    assert run.info["status"] == "finished"
    assert len(run.records) == 3
    assert list(run.summary["n"]) == [3]
    assert not list(folder.path.rglob("*.tmp"))


def test_json_is_valid_and_keeps_none_nan_and_inf_apart(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {"config": {"eps": math.inf}})
    folder.write_cell("a", [{"psnr": math.inf, "l1": -math.inf, "l2": math.nan, "ssim": None, "linf": 0.1}])

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    for file in ("run.json", "cells/a.json"):
        json.loads((folder.path / file).read_text(), parse_constant=refuse)
    (row,) = json.loads((folder.path / "cells" / "a.json").read_text())["rows"]
    assert row == {
        "psnr": {"$float": "inf"},
        "l1": {"$float": "-inf"},
        "l2": {"$float": "nan"},
        "ssim": None,
        "linf": 0.1,
    }
    assert folder.info["config"] == {"eps": math.inf}


@QUICK
@given(cut=st.integers(0, 10**6))
def test_a_cell_cut_short_is_not_done(tmp_path: Path, cut: int) -> None:
    folder = RunFolder(tmp_path)
    folder.write_cell("whole", [record()])
    folder.write_cell("cut", [record(), record(psnr=math.inf)])
    content = (tmp_path / "cells" / "cut.json").read_bytes()
    (tmp_path / "cells" / "cut.json").write_bytes(content[: cut % len(content)])
    assert folder.done() == {"whole"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"[]",
        b"{}",
        b'{"key": "b", "rows": []}',
        b'{"key": "a", "rows": [{"l3": 1}]}',
        b"\xff",
    ],
)
def test_a_cell_that_is_something_else_is_not_done(tmp_path: Path, content: bytes) -> None:
    folder = RunFolder(tmp_path)
    folder.write_cell("b", [])
    (tmp_path / "cells" / "a.json").write_bytes(content)
    assert folder.done() == {"b"}
    folder.write_cell("a", [record()])
    assert folder.done() == {"a", "b"}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_stopped_while_writing_the_old_content_stays(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = start(tmp_path / "run")
    folder.write_cell("a", [record(image="old")])

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, step, stop)
        for key in ("a", "b"):
            with pytest.raises(KeyboardInterrupt):
                folder.write_cell(key, [record(image="new")])
    assert folder.done() == {"a"}
    assert folder.finish(["a"])[0]["image"].tolist() == ["old"]
    folder.write_cell("b", [])
    assert folder.done() == {"a", "b"}


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtattackError, match=r"run\.json: cannot be written: No space left on device"):
        start(tmp_path / "run")


def test_keys_name_files() -> None:
    with pytest.raises(ValueError, match="names a file"):
        RunFolder(Path("nowhere")).write_cell("a/b", [])


def test_a_new_run_needs_a_free_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "run.json.tmp").touch()  # stopped while it started
    start(tmp_path / "empty").write_cell("a", [])
    with pytest.raises(ArtattackError, match=r"holds a run already \(running, 1 cells done\): resume it"):
        start(tmp_path / "empty")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").touch()
    with pytest.raises(ArtattackError, match="not empty and holds no run: choose another folder"):
        start(tmp_path / "photos")
    with pytest.raises(ArtattackError, match="is a file"):
        start(tmp_path / "photos" / "cat.png")


def test_resuming(tmp_path: Path) -> None:
    start(tmp_path / "run").write_cell("a", [record()])
    same = {"attacks": CONFIG["attacks"], "seed": 0}
    folder = RunFolder.create(tmp_path / "run", {"config": same, "versions": {"numpy": "2"}}, resume=True)
    assert folder.done() == {"a"}
    assert folder.info["versions"] == {"numpy": "1"}
    (resumed,) = folder.info["resumed"]
    assert resumed["versions"] == {"numpy": "2"}
    assert "config" not in resumed


def test_resuming_another_config_names_the_differences(tmp_path: Path) -> None:
    start(tmp_path / "run")
    other = {"seed": 0.0, "attacks": [{"attack": "style", "steps": 61}, {"attack": "fgsm", "eps": None}]}
    with pytest.raises(ArtattackError) as caught:
        RunFolder.create(tmp_path / "run", {"config": other}, resume=True)
    assert str(caught.value) == (
        f"{tmp_path / 'run'}: cannot resume with another config: seed was 0, now 0.0; "
        "attacks.0.steps was 60, now 61; "
        'attacks.1.eps was "(absent)", now null; put it back as it was, or choose another folder (--out)'
    )
    RunFolder.create(tmp_path / "letters", {"config": dict.fromkeys("abcd", 0)})
    with pytest.raises(ArtattackError, match=r"a was 0, now 1; b was 0, now 1; c was 0, now 1 and 1 more; put"):
        RunFolder.create(tmp_path / "letters", {"config": dict.fromkeys("abcd", 1)}, resume=True)


def test_resuming_nothing(tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match="no run to resume: start one without --resume"):
        RunFolder.create(tmp_path / "run", {"config": CONFIG}, resume=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no run folder"), ("{", "run.json: not valid JSON"), ("[1]", "not a run of artattack")],
)
def test_opening_a_folder_without_a_run(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(ArtattackError, match=message):
        load_run(tmp_path)


# ---- damage


@QUICK
@given(at=st.integers(0, 10**6), change=st.integers(1, 255))
def test_a_changed_byte_in_a_cell_is_noticed(tmp_path: Path, at: int, change: int) -> None:
    folder = RunFolder(tmp_path)
    rows = [record(seed=7), record(image="dog", l2=1.25)]
    folder.write_cell("fgsm-0000", rows)
    path = folder.path / "cells" / "fgsm-0000.json"
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= change
    path.write_bytes(content)
    assert folder.cell("fgsm-0000") in (None, rows)  # never other records


def test_a_digit_that_has_changed_makes_a_cell_one_to_do_again(tmp_path: Path) -> None:
    folder = start(tmp_path)
    folder.write_cell("fgsm-0000", [record(l2=2.25)])
    path = tmp_path / "cells" / "fgsm-0000.json"
    path.write_bytes(path.read_bytes().replace(b"2.25", b"2.26"))
    assert folder.cell("fgsm-0000") is None
    path.write_text(json.dumps({"key": "fgsm-0000", "rows": [record(l2=2.25)]}))  # as earlier versions wrote it
    assert folder.cell("fgsm-0000") == folder.intact("fgsm-0000") == [record(l2=2.25)]


def test_a_cell_is_intact_as_long_as_its_images_are(tmp_path: Path) -> None:
    folder = start(tmp_path)
    image = tmp_path / "images" / "fgsm" / "cat.png"
    save_png(image, np.zeros((2, 2, 3), np.uint8))
    rows = [record(file="images/fgsm/cat.png")]
    folder.write_cell("fgsm-0000", rows)
    assert folder.intact("fgsm-0000") == rows
    content = image.read_bytes()
    for damaged in (content[:-1], b"", content[:40] + b"?" + content[41:]):
        image.write_bytes(damaged)
        assert folder.intact("fgsm-0000") is None
    image.unlink()
    assert folder.intact("fgsm-0000") is None
    assert folder.cell("fgsm-0000") == rows


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:50], lambda b: b.replace(b'"running"', b'"runnint"')])
def test_a_run_survives_damage_to_run_json(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    folder = start(tmp_path)
    before, file = folder.info, tmp_path / "run.json"
    file.write_bytes(damage(file.read_bytes()))
    assert folder.info == before
    (tmp_path / ".run.json").unlink()
    with pytest.raises(ArtattackError, match=r"run\.json: .*; put it back as it was, or start another run"):
        _ = folder.info


def test_refused_file_operations_in_a_locked_folder_give_one_line(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"cells: Read-only file system$"), RunFolder(tmp_path).locked():
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path / "cells"))
    with pytest.raises(OSError, match="about no file"), RunFolder(tmp_path).locked():
        raise OSError("about no file")


# ---- small things


def test_sha256_file(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert sha256_file(tmp_path / "abc") == expected
    with pytest.raises(ArtattackError, match="cannot be read"):
        sha256_file(tmp_path / "none")


def test_config_hash_depends_on_content_alone() -> None:
    assert config_hash({"a": 1, "b": (1, 2)}) == config_hash({"b": [1, 2], "a": 1})
    assert len({config_hash(c) for c in ({"a": 1}, {"a": 2}, {"a": None}, {"a": math.nan}, {"a": "nan"}, {})}) == 6


def test_versions() -> None:
    found = versions()
    assert found["artattack"] == artattack.__version__
    assert found["numpy"] == np.__version__
    assert {"python", "platform", "pandas"} <= found.keys()


def test_summary_of_a_file_that_is_no_summary(tmp_path: Path) -> None:
    (tmp_path / "summary.csv").write_text("n\n1\n")
    with pytest.raises(ArtattackError, match="columns missing: kind, attack"):
        read_summary(tmp_path / "summary.csv")


# ---- runs of other versions, and tables that are not whole

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
TABLES = ("records", "summary", "controls", "pooled", "pairs", "defences", "judges", "areas")


def test_a_run_written_before_a_column_existed_opens(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE, tmp_path / "old")
    info = json.loads((REFERENCE / "run.json").read_text())
    for younger in ("tables", "sha256"):  # what runs of that time did not note
        info.pop(younger, None)
    (tmp_path / "old" / "run.json").write_text(json.dumps(info))
    absent = {
        "records": {"image_sha256": "string", "rank_after": "Int64", "top5_flip": "boolean", "ssim": "float64"},
        "summary": {"parameters": "string", "top5_flips": "Int64", "ece_after": "float64", "mean_ssim": "float64"},
    }
    for name, columns in absent.items():
        file = tmp_path / "old" / f"{name}.csv"
        pd.read_csv(file, dtype=object, keep_default_na=False).drop(columns=list(columns)).to_csv(file, index=False)
    old, now = load_run(tmp_path / "old"), load_run(REFERENCE)
    for name, columns in absent.items():
        was, is_now = getattr(old, name), getattr(now, name)
        pd.testing.assert_frame_equal(was.drop(columns=list(columns)), is_now.drop(columns=list(columns)))
        assert list(was.columns) == list(is_now.columns)
        assert {column: str(was[column].dtype) for column in columns} == columns
        assert was[list(columns)].isna().all(axis=None)
    assert "<h1>default</h1>" in write_report(old, tmp_path / "page.html").read_text(encoding="utf-8")
    pd.testing.assert_frame_equal(old.controls, now.controls)


def finished(path: Path) -> RunFolder:
    """A run with rows in every table."""
    folder = start(path)
    usual = {"true_name": 'a "turtle", say'}
    rows = [record(**usual, image=f"i{i}", kind="baseline", attack=name) for name in ("fgsm", "pgd") for i in range(3)]
    rows += [
        record(**usual, kind="baseline", budget_distance="l2", budget=b, classifier=c) for b in (1, 2) for c in "ab"
    ]
    folder.write_cell("all", rows)
    folder.finish(["all"])
    return folder


def test_run_json_has_the_rows_and_the_hash_of_each_table(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    assert folder.info["tables"] == {
        f"{name}.csv": {"rows": len(pd.read_csv(path)), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for name in TABLES
        for path in [tmp_path / f"{name}.csv"]
    }
    assert [told["rows"] for told in folder.info["tables"].values()] == [10, 6, 6, 2, 1, 0, 0, 2]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_cut_short_is_told_in_one_line_and_written_again_by_resuming(tmp_path: Path, name: str) -> None:
    folder, file = finished(tmp_path / "run"), tmp_path / "run" / f"{name}.csv"
    whole = file.read_bytes()
    for cut in (whole[:-9], whole[: len(whole) // 2], whole[:20], b""):  # the first in the middle of the last row
        file.write_bytes(cut)
        with pytest.raises(ArtattackError) as caught:
            getattr(load_run(folder.path), name)
        found = max(0, len(list(csv.reader(cut.decode().splitlines()))) - 1)
        assert str(caught.value) == (
            f"{file}: not as the run has left it: expected {folder.info['tables'][file.name]['rows']} rows with the "
            f"SHA-256 {hashlib.sha256(whole).hexdigest()[:12]}, found {found} rows with "
            f"{hashlib.sha256(cut).hexdigest()[:12]}; resume the run, which writes its tables again: "
            f"artattack run ... --resume --out {folder.path}"
        )
    file.unlink()
    with pytest.raises(ArtattackError, match="found no such file; resume the run"):
        getattr(load_run(folder.path), name)
    RunFolder.create(folder.path, {"config": CONFIG}, resume=True).finish(["all"])
    assert file.read_bytes() == whole
    assert len(load_run(folder.path).records) == 10


@pytest.mark.parametrize("command", ["report {}", "compare {} {}", "export {} --format textattack -o log.csv"])
def test_no_command_takes_a_table_cut_short_for_a_whole_one(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finished(tmp_path / "run")
    file = tmp_path / "run" / "records.csv"
    file.write_bytes(file.read_bytes()[:-9])
    for folder in (tmp_path / "run" / "cells").iterdir():
        folder.unlink()  # as in a copy of the tables alone
    done = CliRunner().invoke(app, command.format("run", "run").split())
    assert done.exit_code == 2
    assert "records.csv: not as the run has left it: expected 10 rows" in done.stderr
    assert done.stderr.endswith("get the folder again from where it came from\n")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_records_packed_with_xz_open_as_they_were(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    expected = run.records
    plain = run.path / "records.csv"
    packed = plain.with_name("records.csv.xz")
    packed.write_bytes(lzma.compress(plain.read_bytes()))
    plain.unlink()
    pd.testing.assert_frame_equal(load_run(run.path).records, expected)
    assert len(load_run(run.path).controls) == len(run.controls)
    packed.write_bytes(lzma.compress(b"image\n"))  # others
    with pytest.raises(ArtattackError, match=r"records\.csv\.xz: not as the run has left it: .* found 0 rows"):
        _ = load_run(run.path).records
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(ArtattackError, match=r"records\.csv\.xz: cannot be unpacked"):
        _ = load_run(run.path).records


@pytest.mark.parametrize("name", ["comparison", "comparison-recipe", "guides", "reference"])
def test_committed_runs_open_with_all_their_tables(name: str) -> None:
    run = load_run(RESULTS / name)
    assert len(run.records) == run.info["tables"]["records.csv"]["rows"]
    assert min(len(run.summary), len(run.controls), len(run.pairs)) > 0
    assert len(run.areas) or not run.info["config"]["benchmark"]["budgets"]


def test_a_run_of_a_version_that_noted_no_hashes_opens_as_it_is(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    info = json.loads((tmp_path / "run.json").read_text())
    del info["tables"], info["sha256"]
    (tmp_path / "run.json").write_text(json.dumps(info))
    (tmp_path / "pairs.csv").unlink()
    assert len(load_run(folder.path).records) == 10
    assert len(load_run(folder.path).pairs) == 1


@pytest.mark.parametrize("part", ["begun", "resumed"])
@pytest.mark.parametrize("version", ["0.999.0", "99.0", "1000.0.0rc1"])
def test_a_run_of_a_newer_version_is_left_alone(tmp_path: Path, version: str, part: str) -> None:
    newer = {"versions": {"artattack": version}}
    start(tmp_path / "run")
    info = load_run(tmp_path / "run").info | (newer if part == "begun" else {"resumed": [{"at": "then", **newer}]})
    for name in ("run.json", ".run.json"):
        (tmp_path / "run" / name).write_text(json.dumps(info))
    told = rf"run\.json: written by artattack {version}, which is newer than this one, {artattack.__version__}: update"
    with pytest.raises(ArtattackError, match=told):
        load_run(tmp_path / "run")
    with pytest.raises(ArtattackError, match=told):
        RunFolder.create(tmp_path / "run", {"config": CONFIG}, resume=True)


@pytest.mark.parametrize("version", [f"{artattack.__version__}99", "0.0.1", "unknown", None, ["?"]])
def test_runs_of_this_version_older_ones_and_none_that_is_known_open(tmp_path: Path, version: Any) -> None:
    RunFolder.create(tmp_path, {"config": {}, "versions": {"artattack": version}})
    assert load_run(tmp_path).info["versions"] == {"artattack": version}


@pytest.mark.parametrize(
    "command",
    [
        "run quick.yaml --resume --out run",
        "status run",
        "report run",
        "extend run --classifier quicknet",
        "compare run run",
        "export run --format textattack -o log.csv",
        "check run",
    ],
)
def test_each_command_says_in_one_line_that_a_run_is_newer(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finished(tmp_path / "run")
    info = load_run("run").info | {"versions": {"artattack": "99.1"}}
    for name in ("run.json", ".run.json"):
        (tmp_path / "run" / name).write_text(json.dumps(info))
    quick = {"images": {"size": 64, "limit": 1}, "classifiers": "quicknet_tiny", "attacks": []}
    (tmp_path / "quick.yaml").write_text(json.dumps(quick | {"feature_model": "quicknet_tiny"}))
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 2
    assert "run.json: written by artattack 99.1, which is newer than this one" in done.stderr.splitlines()[-1]
    assert sum(line.startswith("artattack:") for line in done.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_report_that_a_full_disk_does_not_take_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(tmp_path / "run")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        done = CliRunner().invoke(app, ["report", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [
        f"artattack: {tmp_path}/run/report.html: cannot be written: No space left on device"
    ]
    assert CliRunner().invoke(app, ["report", str(tmp_path / "run")]).exit_code == 0
