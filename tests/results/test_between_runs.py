"""Comparison of runs: numbers worked out by hand or by SciPy, and the possible causes of differences."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from scipy.stats import binomtest
from typer.testing import CliRunner, Result

from artattack import cli
from artattack.commands.printing import print_side_by_side
from artattack.errors import ArtattackError
from artattack.results.between_runs import SideBySide, changes_in_words, compare_runs
from artattack.results.columns import SIDE_COLUMNS
from artattack.results.run_folder import RunFolder, load_run

LITE = {"weights": "imagenet", "sha256": hashlib.sha256(b"lite").hexdigest(), "binary": False, "classes": 1000}


def rows(
    flips: str, attack: str = "fgsm", kind: str = "baseline", first: int = 0, classifier: str = "lite0", **values: Any
) -> list[dict[str, Any]]:
    """Records of labelled images: flipped from right to wrong (x), not (.), wrong before (w), failed (e)."""
    found = []
    for number, letter in enumerate(flips, first):
        right = {"correct_before": letter != "w", "success": {"x": True, ".": False}.get(letter)}
        found.append(
            {
                "image": f"i{number}",
                "image_sha256": hashlib.sha256(f"i{number}".encode()).hexdigest(),
                "true_class": number,
                "kind": kind,
                "attack": attack,
                "parameters": '{"eps": 0.03}',
                "classifier": classifier,
                "in_label_space": True,
                **({"error": "out of memory"} if letter == "e" else {"flip": letter == "x"} | right),
                **values,
            }
        )
    return found


def saved(path: Path, records: list[dict[str, Any]], **config: Any) -> RunFolder:
    benchmark = {"name": path.name, "seed": 0, "attacks": [{"name": "fgsm", "attack": "fgsm", "eps": 0.03}]}
    config = {"benchmark": benchmark, "models": {"lite0": LITE}, "files": {}} | config
    folder = RunFolder.create(path, {"config": config, "versions": {"artattack": "0.1.0", "numpy": "1.26.4"}})
    folder.write_cell("all", records)
    folder.finish(["all"])
    return load_run(path)


def compared(tmp_path: Path, *runs: list[dict[str, Any]]) -> SideBySide:
    return compare_runs(*(saved(tmp_path / name, records) for name, records in zip("abc", runs, strict=False)))


def row(found: SideBySide, rate: str = "flip_rate", **where: Any) -> dict[str, Any]:
    table = found.table[found.table["rate"] == rate]
    for column, value in where.items():
        table = table[table[column] == value]
    (only,) = table.to_dict("records")
    return only


def text(found: SideBySide, width: int = 80) -> str:
    console = Console(width=width, record=True, file=None, force_terminal=False, quiet=False)
    with console.capture() as capture:
        print_side_by_side(found, console)
    return capture.get()


# ---- the same images


def test_the_same_images_are_compared_image_by_image(tmp_path: Path) -> None:
    found = compared(tmp_path, rows("........xx"), rows("xxxxxxxx.x"))
    only = row(found)
    assert (only["n_reference"], only["n_run"], only["paired"]) == (10, 10, True)
    assert (only["rate_reference"], only["rate_run"]) == (0.2, 0.9)
    assert only["difference"] == pytest.approx(0.7)
    assert (only["only_reference"], only["only_run"]) == (1, 8)
    assert only["p"] == pytest.approx(binomtest(8, 9).pvalue)  # 20 / 512
    assert only["p"] == pytest.approx(20 / 512)
    assert only["p_holm"] == pytest.approx(40 / 512)  # of two rates alike: flips and successes
    assert only["change"] == "no change shown"
    # Wilson: 2 of 10 [0.05668, 0.50984], 9 of 10 [0.59585, 0.98212]; phi = (1*0 - 1*8) / sqrt(2*8*9*1) = -2/3
    low = 0.7 - (0.30415**2 + 4 / 3 * 0.30415 * 0.30984 + 0.30984**2) ** 0.5
    high = 0.7 + (0.08212**2 + 4 / 3 * 0.08212 * 0.14332 + 0.14332**2) ** 0.5
    assert (only["difference_low"], only["difference_high"]) == (
        pytest.approx(low, abs=1e-4),
        pytest.approx(high, abs=1e-4),
    )


def test_a_change_beyond_chance_is_told_with_its_direction(tmp_path: Path) -> None:
    found = compared(tmp_path, rows("." * 12), rows("x" * 8 + "." * 4), rows("." * 12))
    up = row(found, run=str(tmp_path / "b"))
    assert up["p_holm"] == pytest.approx(4 * 2 / 2**8)  # Holm: four rates in two runs
    assert up["change"] == "higher"
    assert row(found, run=str(tmp_path / "c"))["change"] == "identical"
    assert next(changes_in_words(found.table)) == (
        f"flip rate of fgsm on lite0 rose from 0% to 67% of 12 images, by {_points(up)} points, adjusted p 0.031."
    )
    back = compare_runs(load_run(tmp_path / "b"), load_run(tmp_path / "a"))
    down = row(back)
    assert down["change"] == "lower"
    assert down["difference"] == -up["difference"]
    assert down["difference_low"] == pytest.approx(-up["difference_high"])
    assert "fell from 67% to 0%" in next(changes_in_words(back.table))


def _points(row: dict[str, Any]) -> str:
    return "{:+.0f} [{:+.0f}, {:+.0f}]".format(*(100 * row[f"difference{end}"] for end in ("", "_low", "_high")))


def test_a_run_beside_itself_is_identical(tmp_path: Path) -> None:
    records = [*rows("......", "clean", "clean"), *rows("x.xew."), *rows(".x....", "noise", "control")]
    found = compared(tmp_path, records, records)
    assert set(found.table["change"]) == {"identical"}
    assert (found.table["difference"] == 0).all()
    assert found.sides[0].differences == ()
    again = [load_run(tmp_path / name) for name in ("a", "b", "b")]
    assert compare_runs(*again).table.equals(found.table)
    out = text(found)
    assert "5 of 5 rates are identical, image by image." in out
    assert "0 of 5 rates differ beyond chance (adjusted p < 0.05)." in out
    assert "Differs: nothing that run.json tells" in out


def test_only_images_known_on_both_sides_count(tmp_path: Path) -> None:
    found = compared(tmp_path, rows("xxe.w."), rows(".xxxxe"))
    flips = row(found)  # images 0, 1, 3, 4
    assert (flips["n_reference"], flips["rate_reference"], flips["rate_run"]) == (4, 0.5, 0.75)
    assert (flips["only_reference"], flips["only_run"]) == (1, 2)
    successes = row(found, "success_rate")  # image 4 was wrong before in the reference
    assert (successes["n_run"], successes["only_reference"], successes["only_run"]) == (3, 1, 1)
    assert successes["p"] == 1


def test_images_are_equal_by_content_and_may_repeat(tmp_path: Path) -> None:
    old = rows("x..") + rows("x", first=7)
    new = rows(".x.") + rows("x", first=8)
    twin = hashlib.sha256(b"i0").hexdigest()
    old[3] |= {"image_sha256": twin}
    new[3] |= {"image_sha256": twin}
    for record in new:
        record["image"] = f"renamed-{record['image']}"
    only = row(compared(tmp_path, old, new))
    assert (only["n_run"], only["only_reference"], only["only_run"]) == (4, 1, 1)


def test_of_runs_that_share_half_their_images_those_count(tmp_path: Path) -> None:
    found = compared(tmp_path, rows("xxxx"), rows("x.xx", first=2), rows("x.xx", first=3))
    half, less = found.table[found.table["rate"] == "flip_rate"].to_dict("records")
    assert (half["paired"], half["n_reference"], half["n_run"], half["rate_run"]) == (True, 2, 2, 0.5)
    assert (less["paired"], less["n_reference"], less["n_run"], less["rate_run"]) == (False, 4, 4, 0.75)
    assert [side.shared for side in found.sides] == [2, 1]


# ---- other images


def test_other_images_are_independent_samples(tmp_path: Path) -> None:
    # The example of R. G. Newcombe, Statistics in Medicine 17, 1998, p. 873: 56 of 70 and 48 of 80.
    found = compared(tmp_path, rows("x" * 48 + "." * 32), rows("x" * 56 + "." * 14, first=100))
    only = row(found)
    assert only["paired"] is False
    assert (only["n_reference"], only["n_run"]) == (80, 70)
    assert only["difference"] == pytest.approx(0.2)
    assert (only["difference_low"], only["difference_high"]) == (
        pytest.approx(0.0524, abs=5e-5),
        pytest.approx(0.3339, abs=5e-5),
    )
    assert pd.isna(only["only_run"])
    assert pd.isna(only["only_reference"])
    assert "Images: 0 in both, of 80 and 70; compared as independent samples of images (not paired)" in text(found)


def test_few_other_images_have_the_exact_test(tmp_path: Path) -> None:
    only = row(compared(tmp_path, rows("..."), rows("xxx", first=10)))
    assert only["p"] == pytest.approx(2 / 20)  # two of the 20 ways to draw three of six
    assert only["change"] == "no change shown"


def test_other_images_with_the_same_outcomes_are_not_called_identical(tmp_path: Path) -> None:
    only = row(compared(tmp_path, rows("..."), rows("...", first=10)))
    assert (only["p"], only["change"]) == (1, "no change shown")


# ---- what is compared


def test_accuracy_comes_from_the_untouched_images_once_for_each_classifier(tmp_path: Path) -> None:
    old = rows("..ww", "clean", "clean") + rows("xxww") + rows("..ww", "clean", "clean", classifier="mine")
    new = rows("....", "clean", "clean") + rows("xxxx") + rows("w.ww", "clean", "clean", classifier="mine")
    table = compared(tmp_path, old, new).table
    accuracy = table[table["rate"] == "clean_accuracy"]
    assert accuracy["variant"].tolist() == ["clean", "clean"]
    assert accuracy["classifier"].tolist() == ["lite0", "mine"]
    assert accuracy["rate_reference"].tolist() == [0.5, 0.5]
    assert accuracy["rate_run"].tolist() == [1.0, 0.25]
    assert table[table["variant"] == "fgsm"]["rate"].tolist() == ["flip_rate", "success_rate"]


def test_budgets_controls_and_classifiers_are_kept_apart_and_the_unshared_listed(tmp_path: Path) -> None:
    at = {"budget_distance": "linf", "budget": 1 / 64}
    old = rows("x.") + rows("xx", **at) + rows("..", "noise", "control", matched_to="fgsm")
    new = rows("xx") + rows("xx", **at) + rows("..", classifier="mine")
    found = compared(tmp_path, old, new)
    assert found.table[["variant", "budget"]].drop_duplicates().values.tolist() == [
        ["fgsm", pytest.approx(float("nan"), nan_ok=True)],
        ["fgsm at linf=0.015625", 1 / 64],
    ]
    assert found.sides[0].only_reference == ("noise as fgsm on lite0",)
    assert found.sides[0].only_run == ("fgsm on mine",)
    out = text(found)
    assert f"Only in {tmp_path / 'a'}:\n  noise as fgsm on lite0\n" in out
    assert f"Only in {tmp_path / 'b'}:\n  fgsm on mine\n" in out


def test_nothing_shared_and_nothing_known(tmp_path: Path) -> None:
    found = compared(tmp_path, rows("ww"), rows("xx", "pgd"), rows("xx"))
    assert "The runs share no attack and classifier." in text(found)
    assert "1 of 2 rates have no images to compare." in text(found)
    successes = row(found, "success_rate", run=str(tmp_path / "c"))
    assert (successes["n_run"], successes["change"]) == (0, "not tested")
    assert pd.isna(successes["p_holm"])
    assert pd.isna(successes["rate_run"])


def test_columns_and_types(tmp_path: Path) -> None:
    for found in (
        compared(tmp_path / "1", rows("x."), rows("..")),
        compared(tmp_path / "2", rows("x"), rows("x", "pgd")),
    ):
        assert {name: str(dtype) for name, dtype in found.table.dtypes.items()} == SIDE_COLUMNS


# ---- why


def test_reasons_are_differences_of_config_labels_and_versions(tmp_path: Path) -> None:
    other = LITE | {"sha256": hashlib.sha256(b"other").hexdigest()}
    entries = [{"name": "pgd", "attack": "pgd"}, {"name": "fgsm", "attack": "fgsm", "eps": 0.06}]
    benchmark = {"name": "b", "seed": 1, "parquet": True, "attacks": entries}
    old = saved(tmp_path / "a", rows("x.") + rows("x.", "pgd"))
    records = rows("..", parameters='{"eps": 0.06}') + rows("..", "pgd")
    for record in records:
        record["true_class"] = 5
    new = saved(tmp_path / "b", records, benchmark=benchmark, models={"lite0": other, "mine": LITE})
    new.path.joinpath("run.json").write_text(json.dumps(new.info).replace("1.26.4", "1.26.5"))
    found = compare_runs(old, new)
    weights = f'sha256 was "{LITE["sha256"][:12]}", now "{other["sha256"][:12]}"'
    assert found.sides[0].differences == (
        "seed was 0, now 1",
        "attacks.fgsm.eps was 0.03, now 0.06",
        f"models.lite0.{weights}",
        'versions.numpy was "1.26.4", now "1.26.5"',
        "2 of the images in both have other labels",
    )
    setups = found.table.drop_duplicates("variant").set_index("variant")["setup_differs"]
    assert setups["fgsm"] == f"eps was 0.03, now 0.06; lite0.{weights}"
    assert setups["pgd"] == f"lite0.{weights}"
    assert "Differs:\n  seed was 0, now 1\n  attacks.fgsm.eps was" in text(found)


def test_a_change_lists_the_differences_of_its_setup(tmp_path: Path) -> None:
    found = compared(tmp_path, rows("." * 12), rows("x" * 12, parameters='{"eps": 0.06}'))
    assert next(changes_in_words(found.table)).endswith(" What differs there: eps was 0.03, now 0.06.")


# ---- the command


def artattack_says(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)), prog_name="artattack")


def test_the_command_prints_a_table_in_words_and_writes_csv(tmp_path: Path) -> None:
    runs = [
        saved(tmp_path / name, rows(flips) + rows("." * 12, "noise", "control") + rows("x" * 12, "pgd")).path
        for name, flips in (("a", "." * 12), ("b", "x" * 9 + "..."), ("c", "x" + "." * 11))
    ]
    done = artattack_says("compare", *runs, "--csv", tmp_path / "new" / "sides.csv")
    assert done.exit_code == 0
    lines = [re.sub(r" {2,}", "  ", line.strip()) for line in done.stdout.splitlines()]
    assert f"{runs[1]} against {runs[0]}" in lines
    assert "Images: 12 in both, of 12 and 12; compared image by image (paired)" in lines
    assert "attack, classifier  rate  n  was  is  difference  p  change" in lines
    assert "lite0  flips  12  0%  75%  +75 [+38, +91]  0.047  higher" in lines
    assert "lite0  flips  12  0%  8%  +8 [-17, +35]  1  no change shown" in lines
    assert "4 of 6 rates are identical, image by image." in lines
    assert "2 of 6 rates differ beyond chance (adjusted p < 0.05):" in lines
    assert "noise" not in done.stdout  # identical
    table = pd.read_csv(tmp_path / "new" / "sides.csv")
    assert list(table.columns) == list(SIDE_COLUMNS)
    assert len(table) == 12
    assert table["change"].value_counts().to_dict() == {"identical": 8, "higher": 2, "no change shown": 2}


@pytest.mark.parametrize("command", ["compare", "export"])
def test_the_help_fits_a_terminal_and_has_examples(command: str) -> None:
    text = artattack_says(command, "--help").stdout
    assert f"Usage: artattack {command}" in text
    assert f"artattack {command} results/" in text[text.index("Examples:") :]
    assert max(map(len, text.splitlines())) <= 80


def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    good = saved(tmp_path / "good", rows("x")).path
    RunFolder.create(tmp_path / "unfinished", {"config": {}})
    for arguments, why in (
        ([good], "compare: give two or more run folders, the reference first"),
        ([good, tmp_path / "absent"], "no run folder"),
        ([good, tmp_path / "unfinished"], "the run is not finished"),
        ([good, good, "--csv", good], "cannot be written: Is a directory"),
    ):
        done = artattack_says("compare", *arguments)
        assert done.exit_code == 2
        assert why in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_records_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    runs = [saved(tmp_path / name, rows("x")) for name in "ab"]
    (tmp_path / "b" / "records.csv").write_text("image\na\n")
    with pytest.raises(ArtattackError, match=r"records\.csv: not as the run has left it: expected 1 rows"):
        compare_runs(*runs)
