"""Runs in other projects' formats: the fields, with accuracies counted by hand."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from artattack import cli
from artattack.errors import ArtattackError
from artattack.results.columns import RECORD_COLUMNS, TEXTATTACK_COLUMNS
from artattack.results.exports import (
    FORMATS,
    NOTE,
    check_parquet,
    export,
    parquet,
    robustbench_infos,
    textattack_table,
)
from artattack.results.records import records_frame
from artattack.results.run_folder import RunFolder, load_run
from artattack.version import __version__

PGD = {"attack": "pgd", "kind": "baseline", "source": "lite0", "parameters": json.dumps({"eps": 8 / 255})}
STYLE = {"attack": "style", "kind": "style", "style": "waves", "source": "bnn", "parameters": '{"steps": 60}'}


def rows(letters: str, **values: Any) -> list[dict[str, Any]]:
    """Records of images of class 3: still right (r), flipped to 4 (x), wrong before (w), wrong before and then right
    (m), failed (e), unlabelled (u), of a class the classifier has not (o)."""
    found = []
    for number, letter in enumerate(letters):
        seen: dict[str, Any] = {
            "true_class": 3,
            "in_label_space": True,
            "correct_before": letter in "rx",
            "success": {"r": False, "x": True}.get(letter),
            "flip": letter in "xm",
            "top1_class_before": 3 if letter in "rx" else 4,
            "top1_class_after": 3 if letter in "rm" else 4,
            "true_confidence_before": 0.75,
            "true_confidence_after": 0.125,
        }
        if letter in "uo":
            unknown = ("correct_before", "success", "true_confidence_before", "true_confidence_after")
            seen |= dict.fromkeys(unknown) | {"true_class": 999 if letter == "o" else None}
            seen |= {"in_label_space": False if letter == "o" else None}
        if letter == "e":
            seen = {"true_class": 3, "error": "out of memory"}
        place = {"image": f"i{number}", "file": None if letter == "e" else f"images/pgd/i{number}.png"}
        found.append({"classifier": "lite0", "kind": "baseline"} | place | seen | values)
    return found


def saved(
    path: Path, records: list[dict[str, Any]], attacks: list[dict[str, Any]] | None = None, **more: Any
) -> RunFolder:
    config = {
        "benchmark": {"attacks": attacks or [], "models": {"mine": {"model": "my.keras"}}},
        "models": {"lite0": {"weights": "imagenet", "sha256": "ab" * 32}},
    }
    folder = RunFolder.create(path, {"config": config, "image_set": {"name": "samples"}} | more)
    folder.write_cell("all", records)
    folder.finish(["all"])
    return load_run(path)


def threats(path: Path, records: list[dict[str, Any]], attacks: list[dict[str, Any]] | None = None) -> dict[Any, Any]:
    """The threat models of the one classifier of a run, by name and radius."""
    (info,) = robustbench_infos(saved(path, records, attacks)).values()
    return {(threat["threat_model"], threat["eps"]): threat for threat in info["threat_models"]}


def test_an_attack_guided_by_the_classifier_is_a_white_box(tmp_path: Path) -> None:
    guided = {"kind": "style", "attack": "guided", "style": "waves", "source": "bnn", "eps_norm": "l2", "eps": 10.0}
    records = clean("rr") + rows("xr", classifier_seen=True, **guided)
    ((_, threat),) = threats(tmp_path / "run", records).items()
    assert threat["attacks"] == [
        {"attack": "guided/waves/bnn", "white_box": True, "n_examples": 2, "robust_acc": "50.00"}
    ]


def clean(letters: str, **values: Any) -> list[dict[str, Any]]:
    return rows(letters, kind="clean", attack="clean", **values)


# ---- RobustBench


def test_accuracies_counted_by_hand(tmp_path: Path) -> None:
    run = saved(
        tmp_path / "run",
        clean("rrrrrwwuo")
        + rows("rrxxrwmuo", **PGD)
        + rows("rxrrewwuo", **PGD | {"attack": "fgsm", "source": "bnn"})
        + rows("xxxxxwwuo", attack="noise", kind="control", matched_to="pgd/lite0"),
    )
    (info,) = robustbench_infos(run).values()
    (threat,) = info.pop("threat_models")
    assert info == {
        "name": "lite0",
        "dataset": "samples",
        "architecture": "lite0",
        "number_forward_passes": 1,
        "weights": "imagenet",
        "weights_sha256": "ab" * 32,
        "n_examples": 7,  # of nine one is unlabelled and one of another class
        "clean_acc": "71.43",  # 5 of 7
        "note": NOTE,
        "artattack": __version__,
        "config_hash": run.info["config_hash"],
    }
    assert threat == {
        "threat_model": "Linf",
        "eps": "8/255",
        "n_examples": 6,  # of seven one failed under fgsm
        "robust_acc": "16.67",  # image 0 alone is right untouched and after both
        "attacks": [
            {"attack": "pgd/lite0", "white_box": True, "n_examples": 7, "robust_acc": "42.86"},  # 0, 1, 4; not 6
            {"attack": "fgsm/bnn", "white_box": False, "n_examples": 6, "robust_acc": "50.00"},  # 0, 2, 3
        ],
    }


def test_the_note_denies_comparability_with_the_leaderboard() -> None:
    assert NOTE.startswith("Not comparable with RobustBench's leaderboard: these are other images")
    assert "untargeted DLR loss, no FAB" in NOTE


def test_an_image_is_robust_only_if_nothing_in_the_threat_model_changes_it(tmp_path: Path) -> None:
    found = threats(tmp_path / "run", clean("rrr") + rows("xrr", **PGD) + rows("rxr", **PGD | {"attack": "bim"}))
    assert found["Linf", "8/255"]["robust_acc"] == "33.33"
    assert [attack["robust_acc"] for attack in found["Linf", "8/255"]["attacks"]] == ["66.67", "66.67"]


@pytest.mark.parametrize(
    ("attack", "parameters", "threat"),
    [
        ("pgd", {"eps": 4 / 255}, ("Linf", "4/255")),
        ("pgd", {"eps": 0.03}, ("Linf", "0.03")),
        ("pgd", {"eps": 8 / 255, "norm": "inf"}, ("Linf", "8/255")),
        ("autopgd", {"eps": 0.5, "norm": 2}, ("L2", "0.5")),
        ("ProjectedGradientDescent", {"eps": 12, "norm": 1}, ("L1", "12")),
        ("SquareAttack", {"eps": 8 / 255}, ("Linf", "8/255")),
        ("autopgd", {"eps": 0.5, "norm": 2.0}, ("L2", "0.5")),
        ("autopgd", {"eps": 0.5, "norm": "2"}, ("L2", "0.5")),
        ("pgd", {"eps": 12, "norm": "1.0"}, ("L1", "12")),
        ("pgd", {}, ("Linf", None)),  # ART's own eps, which older runs do not say
        ("pgd", {"norm": 2.0}, ("L2", None)),
        ("pgd", {"eps": [0.1, 0.2]}, ("Linf", None)),
        ("vat", {"eps": 0.1}, ("unrestricted", None)),  # a step, no radius
        ("wasserstein", {"eps": 0.1, "norm": "wasserstein"}, ("unrestricted", None)),
        ("deepfool", {"max_iter": 5}, ("unrestricted", None)),
        ("FromAnotherVersion", {"eps": 0.1}, ("unrestricted", None)),
    ],
)
def test_threat_models_of_arts_attacks(
    tmp_path: Path, attack: str, parameters: dict[str, Any], threat: tuple[str, str | None]
) -> None:
    named = {"attack": "mine", "parameters": json.dumps(parameters)}  # the entry's own name: run.json says which it is
    found = threats(tmp_path / "run", clean("r") + rows("r", **named), [{"name": "mine", "attack": attack}])
    assert list(found) == [threat]


@pytest.mark.parametrize(
    ("values", "threat"),
    [
        ({}, ("style", None)),
        ({"parameters": '{"budget": ["linf", 0.03137254901960784]}'}, ("Linf", "8/255")),
        ({"parameters": '{"budget": null, "match": ["l2", 5.0]}'}, ("L2", "5")),
        ({"parameters": '{"match": ["delta_e", 10.0]}'}, ("delta_e", "10")),
        ({"budget_distance": "linf", "budget": 2 / 255}, ("Linf", "2/255")),
        ({"budget_distance": "ssim", "budget": 0.9}, ("ssim", "0.9")),
        ({"parameters": None}, ("style", None)),
    ],
)
def test_threat_models_of_style_attacks(tmp_path: Path, values: dict[str, Any], threat: tuple[str, str | None]) -> None:
    assert list(threats(tmp_path / "run", clean("r") + rows("r", **STYLE | values))) == [threat]


@pytest.mark.parametrize(
    ("norm", "eps", "threat"),
    [
        ("linf", 8 / 255, ("Linf", "8/255")),
        ("linf", 0.3, ("Linf", "0.3")),
        ("l2", 2.0, ("L2", "2")),
        ("l1", 40.0, ("L1", "40")),
        ("linf", None, ("Linf", None)),
        ("linf", float("inf"), ("Linf", None)),
    ],
)
def test_the_records_give_the_ball_for_all_parameters_and_kinds(
    tmp_path: Path, norm: str, eps: float | None, threat: tuple[str, str | None]
) -> None:
    ball = {"eps_norm": norm, "eps": eps}
    others: list[dict[str, Any]] = [PGD | {"parameters": "{}"}, STYLE, {"attack": "sticker", "kind": "patch"}]
    for number, values in enumerate(others):
        assert list(threats(tmp_path / str(number), clean("r") + rows("r", **values | ball))) == [threat]
    at = {"budget_distance": "ssim", "budget": 0.9}  # to which the run itself brought it
    assert list(threats(tmp_path / "at", clean("r") + rows("r", **PGD | ball | at))) == [("ssim", "0.9")]


def test_all_attacks_held_to_the_same_ball_count_together(tmp_path: Path) -> None:
    at = {"budget_distance": "linf", "budget": 8 / 255}
    found = threats(
        tmp_path / "run",
        clean("rrrr")
        + rows("xrrr", **PGD)
        + rows("xxxr", **STYLE)
        + rows("rxrr", **PGD | at)
        + rows("rrxr", **STYLE | at),
    )
    assert list(found) == [("Linf", "8/255"), ("style", None)]
    assert found["Linf", "8/255"]["robust_acc"] == "25.00"
    assert [attack["attack"] for attack in found["Linf", "8/255"]["attacks"]] == [
        "pgd/lite0",
        "pgd/lite0 at linf=0.0313725",
        "style/waves/bnn at linf=0.0313725",
    ]


def test_without_labels_there_is_no_accuracy(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", clean("uu") + rows("uu", **PGD))
    (info,) = robustbench_infos(run).values()
    assert (info["n_examples"], info["clean_acc"]) == (0, None)
    (threat,) = info["threat_models"]
    assert (threat["n_examples"], threat["robust_acc"]) == (0, None)


def test_an_attack_that_failed_on_every_image_is_told_and_decides_nothing(tmp_path: Path) -> None:
    found = threats(tmp_path / "run", clean("rr") + rows("rx", **PGD) + rows("ee", **PGD | {"attack": "bim"}))
    threat = found["Linf", "8/255"]
    assert (threat["n_examples"], threat["robust_acc"]) == (2, "50.00")
    assert [(attack["n_examples"], attack["robust_acc"]) for attack in threat["attacks"]] == [(2, "50.00"), (0, None)]


def test_one_file_for_each_classifier_with_any_name(tmp_path: Path) -> None:
    names = ["lite0", "mine", "models/net.keras", "other/net.keras", "Mine", "."]
    run = saved(tmp_path / "run", [row for name in names for row in clean("rw", classifier=name)])
    files = export(run, "robustbench", tmp_path / "new" / "model_info")
    assert [file.name for file in files] == [
        "lite0.json",
        "mine.json",
        "net.keras.json",
        "net.keras_2.json",
        "Mine_2.json",
        "classifier.json",
    ]
    infos = [json.loads(file.read_text()) for file in files]
    assert [info["name"] for info in infos] == names
    assert infos[1]["architecture"] == "my.keras"
    assert all(info["clean_acc"] == "50.00" for info in infos)


# ---- TextAttack


def test_the_columns_are_textattacks_then_ours() -> None:
    assert list(TEXTATTACK_COLUMNS)[:9] == [
        "original_text",
        "perturbed_text",
        "original_score",
        "perturbed_score",
        "original_output",
        "perturbed_output",
        "ground_truth_output",
        "num_queries",
        "result_type",
    ]
    for records in (records_frame([]), records_frame(rows("rxe", **PGD))):
        table = textattack_table(records)
        assert {name: str(dtype) for name, dtype in table.dtypes.items()} == TEXTATTACK_COLUMNS


def test_result_types_follow_our_definition_of_success() -> None:
    records = [{"image": "unreadable", "error": "no image"}, *clean("r"), *rows("xrwmueo", **PGD)]
    table = textattack_table(records_frame(records))
    assert table["result_type"].tolist() == ["Successful", "Failed", *["Skipped"] * 5]
    assert table["error"].tolist()[5] == "out of memory"
    assert table["error"].notna().sum() == 1
    first = table.iloc[0].to_dict()
    assert pd.isna(first.pop("num_queries"))
    assert pd.isna(first.pop("error"))
    assert first == {
        "original_text": "images/original/i0.png",
        "perturbed_text": "images/pgd/i0.png",
        "original_score": 0.25,  # 1 - 0.75
        "perturbed_score": 0.875,
        "original_output": 3,
        "perturbed_output": 4,
        "ground_truth_output": 3,
        "result_type": "Successful",
        "image": "i0",
        "attack": "pgd/lite0",
        "classifier": "lite0",
    }


def test_the_file_is_read_as_textattacks_is(tmp_path: Path) -> None:
    run = saved(
        tmp_path / "run", clean("rr") + rows("xr", **PGD) + rows("rw", **STYLE) + rows("e", **PGD | {"attack": "bim"})
    )
    (file,) = export(run, "textattack", tmp_path / "log.csv")
    lines = file.read_text().splitlines()
    assert lines[0].startswith('"original_text","perturbed_text","original_score"')  # text is quoted, numbers are not
    assert lines[1] == (
        '"images/original/i0.png","images/pgd/i0.png",0.25,0.875,3,4,3,"","Successful","i0","pgd/lite0","lite0",""'
    )
    table = pd.read_csv(file)
    assert table["result_type"].tolist() == ["Successful", "Failed", "Failed", "Skipped", "Skipped"]
    attacked = table[table["result_type"] != "Skipped"]  # what TextAttack calls the attack success rate
    assert (attacked["result_type"] == "Successful").mean() == pytest.approx(1 / 3)


# ---- parquet


def test_parquet_keeps_values_and_types(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow: pip install artattack[parquet]")
    records = [*rows("xrwmueo", **PGD), {"image": "NA", "psnr": float("inf"), "error": 'two\nlines, "quoted"'}]
    run = saved(tmp_path / "run", records)
    (file,) = export(run, "parquet", tmp_path / "records.parquet")
    again = pd.read_parquet(file)
    assert {name: str(dtype) for name, dtype in again.dtypes.items()} == RECORD_COLUMNS
    pd.testing.assert_frame_equal(again, run.records, check_exact=True)
    empty = tmp_path / "empty.parquet"
    empty.write_bytes(parquet(records_frame([])))
    assert {name: str(dtype) for name, dtype in pd.read_parquet(empty).dtypes.items()} == RECORD_COLUMNS


def test_without_pyarrow_one_line_names_the_package_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = saved(tmp_path / "run", rows("x", **PGD))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = "^parquet: .*pyarrow.*: pip install 'artattack\\[parquet\\]'$"
    for attempt in (check_parquet, lambda: export(run, "parquet", tmp_path / "x"), lambda: parquet(run.records)):
        with pytest.raises(ArtattackError, match=message):
            attempt()
    assert not (tmp_path / "x").exists()


# ---- the command


def artattack_says(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)), prog_name="artattack")


def test_the_command_writes_and_says_where(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", clean("r") + rows("x", **PGD))
    for name, out, file in (("textattack", "log.csv", "log.csv"), ("robustbench", "infos", "infos/lite0.json")):
        done = artattack_says("export", run.path, "--format", name, "-o", tmp_path / "out" / out)
        assert (done.exit_code, done.stdout) == (0, f"Written: {tmp_path / 'out' / file}\n")
        assert (tmp_path / "out" / file).is_file()


def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", clean("r") + rows("x", **PGD)).path
    RunFolder.create(tmp_path / "unfinished", {"config": {}})
    (tmp_path / "file").touch()
    for path, name, out, why in (
        (run, "robustbank", "x", "unknown format 'robustbank'; did you mean 'robustbench'? (valid: parquet, robust"),
        (tmp_path / "absent", "textattack", "x", "no run folder"),
        (tmp_path / "unfinished", "robustbench", "x", "the run is not finished"),
        (run, "textattack", tmp_path, "cannot be written: Is a directory"),
        (run, "robustbench", tmp_path / "file", "cannot be written: "),
    ):
        done = artattack_says("export", path, "--format", name, "-o", tmp_path / out)
        assert done.exit_code == 2
        assert why in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_formats_are_all_told_in_the_help() -> None:
    text = " ".join(artattack_says("export", "--help").stdout.split())
    assert all(name in text for name in FORMATS)


def test_neither_command_loads_tensorflow(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", clean("r") + rows("x", **PGD)).path
    code = (
        "import sys; from typer.testing import CliRunner; from artattack import cli; "
        "done = [CliRunner().invoke(cli.app, words.split('|')) for words in sys.argv[1:]]; "
        "print([d.exit_code for d in done], 'tensorflow' in sys.modules)"
    )
    words = [f"export|{run}|--format|textattack|-o|{tmp_path / 'x.csv'}", f"compare|{run}|{run}"]
    words.append(f"export|{run}|--format|robustbench|-o|{tmp_path / 'x'}")
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=os.environ)
    assert done.stdout.strip() == "[0, 0, 0] False"
