"""People's answers: files that are wrong are named, and rates, agreement and verdicts are those of the answers."""

import csv
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from scipy.stats import t as student
from typer.testing import CliRunner

from artattack.cli import app
from artattack.errors import ArtattackError
from artattack.report import write_report, write_tables
from artattack.results import power
from artattack.results.answers import add_answers, read_answers
from artattack.results.columns import ANSWERS
from artattack.results.people import in_sentences, pictures_of, style_id, sum_up_people
from artattack.results.power import plan_survey
from artattack.results.run_folder import RunFolder
from artattack.results.tables import make_table

TABBY, TIGER_CAT = 281, 282


def record(image: str, attack: str, kind: str, after: int, **more: Any) -> dict[str, Any]:
    return {
        "image": image,
        "true_class": TABBY,
        "true_name": "tabby",
        "kind": kind,
        "attack": attack,
        "classifier": "lite0",
        "classifier_weights": "imagenet",
        "classes": 1000,
        "in_label_space": True,
        "top1_class_before": TABBY,
        "top1_name_before": "tabby",
        "top1_confidence_before": 0.75,
        "top1_class_after": after,
        "top1_name_after": "tabby" if after == TABBY else "tiger cat",
        "top1_confidence_after": 0.5,
        "correct_before": True,
        "flip": after != TABBY,
        "success": after != TABBY,
        "l2": 2.0,
        "file": f"images/{attack}/{image}.png",
    } | more


def rows_of(images: int, fooled: int) -> list[dict[str, Any]]:
    rows = []
    for i in range(images):
        rows.append(record(f"cat{i}", "clean", "clean", TABBY))
        rows.append(
            record(f"cat{i}", "style", "style", TIGER_CAT if i < fooled else TABBY, style="waves", source="bnn")
        )
    return rows


def make_run(path: Path, images: int = 8, fooled: int = 4) -> RunFolder:
    config = {
        "benchmark": {"name": "cats", "seed": 3, "classifiers": ["lite0"]},
        "models": {"lite0": {"weights": "imagenet", "sha256": "ab", "binary": False}},
    }
    run = RunFolder.create(path, {"config": config, "image_set": {"name": "cats", "note": ""}, "versions": {}})
    run.write_cell("all", rows_of(images, fooled))
    run.finish(["all"])
    return RunFolder.open(path)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "run")


def person(of: RunFolder, code: str, answers: list[tuple[str, str, int | str]], **more: Any) -> dict[str, Any]:
    """A file of answers: photo, version and class of each; photos named `check` are attention checks."""
    pictures = pictures_of(of.records, 3).set_index(["image", "label"])["picture"]
    told = [
        {
            "trial": n + 1,
            "role": "attention" if version == "check" else "trial",
            "picture": pictures[image, "clean" if version == "check" else version],
            "answer": str(answer),
            "style": None,
            "altered": None,
            "seconds": 1.5,
            "shown_seconds": 0.3,
            "showings": 1,
        }
        for n, (image, version, answer) in enumerate(answers)
    ]
    return {
        "format": "artattack-survey",
        "version": 1,
        "run": of.info["config_hash"],
        "survey": "abc",
        "participant": code,
        "classes": "run",
        "trials": len(told),
        "answers": told,
    } | more


STYLE = "style/waves/bnn"
USUAL = [
    ("cat0", STYLE, TABBY),
    ("cat1", "clean", TIGER_CAT),
    ("cat2", "check", TABBY),
    ("cat3", "clean", "cannot_tell"),
]


def save(folder: Path, name: str, content: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    if path.suffix == ".csv":
        once = {key: value for key, value in content.items() if key != "answers"}
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*once, *content["answers"][0]])
            writer.writeheader()
            writer.writerows(once | answer for answer in content["answers"])
    else:
        path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("name", ["p1.json", "p1.csv"])
def test_answers_become_rows_with_what_was_right(run: RunFolder, tmp_path: Path, name: str) -> None:
    content = person(run, "P1", USUAL)
    content["answers"][0] |= {"style": style_id("waves"), "altered": "cannot_tell"}
    content["answers"][1] |= {"style": style_id("waves"), "altered": "yes"}
    save(tmp_path / "answers", name, content)
    read = read_answers(run, tmp_path / "answers")
    assert (read.people, read.left_out) == (1, ())
    table = read.table
    assert table["answer"].tolist() == ["tabby", "tiger cat", "tabby", "cannot tell"]
    assert table["answer_class"].tolist() == [TABBY, TIGER_CAT, TABBY, pd.NA]
    assert table["right"].tolist() == [True, False, True, False]
    assert table["role"].tolist() == ["trial", "trial", "attention", "trial"]
    assert table["attack"].tolist() == ["style", "clean", "clean", "clean"]
    assert table["style_said"].tolist() == ["waves", "waves", pd.NA, pd.NA]
    assert table["style_named"].tolist() == [True, pd.NA, pd.NA, pd.NA]  # the untouched photo has no style
    assert table["altered_said"].tolist() == ["cannot tell", "yes", pd.NA, pd.NA]
    assert table["seconds"].tolist() == [1.5] * 4
    add_answers(run, tmp_path / "answers")
    pd.testing.assert_frame_equal(run.answers, table)


def test_files_that_do_not_count_are_named_and_the_rest_goes_on(run: RunFolder, tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    save(folder, "a.json", person(run, "P1", USUAL))
    save(folder, "a.csv", person(run, "P1", USUAL))  # both files of one person: no duplicate
    save(folder, "b-duplicate.json", person(run, "P1", [*USUAL[:3], ("cat3", "clean", TABBY)]))
    damaged = save(folder, "c-damaged.json", person(run, "P2", USUAL))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    cut = save(folder, "d-cut.csv", person(run, "P3", USUAL))
    cut.write_text("".join(cut.read_text().splitlines(keepends=True)[:-1]))
    save(folder, "e-other-run.json", person(run, "P4", USUAL, run="f" * 64))
    save(folder, "f-version.json", person(run, "P5", USUAL, version=2))
    inattentive = [*USUAL[:2], ("cat2", "check", TIGER_CAT), ("cat3", "clean", TABBY)]
    save(folder, "g-attention.json", person(run, "P6", inattentive))
    save(folder, "h-twice.json", person(run, "P7", [("cat0", STYLE, TABBY), ("cat0", "clean", TABBY)]))
    save(folder, "i-class.json", person(run, "P8", [("cat0", STYLE, 1000)]))
    save(folder, "j-entry.json", person(run, "P9", [("cat0", STYLE, "cat")], classes="entry"))
    (folder / "k-strange.json").write_text('{"a": 1}')
    (folder / "l-deep.json").write_text("[" * 100_000)
    (folder / "m-notes.txt").write_text("hello")
    (folder / "n-binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    read = read_answers(run, folder)
    assert read.people == 1
    assert read.table["participant"].tolist() == ["P1"] * 4
    reasons = dict(line.split(": ", 1) for line in read.left_out)
    assert "duplicate" in reasons.pop("b-duplicate.json")
    assert reasons.pop("c-damaged.json").startswith("damaged")
    assert reasons.pop("d-cut.csv") == "damaged: 3 of 4 answers"
    assert reasons.pop("e-other-run.json") == "answers about another run (ffffffffffff)"
    assert "survey version 2" in reasons.pop("f-version.json")
    assert reasons.pop("g-attention.json") == "failed attention: 1 of 1 attention checks missed"
    assert "is there twice" in reasons.pop("h-twice.json")
    assert reasons.pop("i-class.json") == "damaged: no class '1000' in the run"
    assert "16 entry-level classes" in reasons.pop("j-entry.json")
    assert reasons.pop("k-strange.json").startswith("damaged, or no answers to a survey: ")
    assert reasons.pop("l-deep.json").startswith("damaged")
    assert reasons.pop("m-notes.txt") == "not a .json or .csv file"
    assert reasons.pop("n-binary.csv").startswith("damaged")
    assert reasons == {}
    assert all("\n" not in line for line in read.left_out)


def test_nothing_that_counts_is_an_error_in_one_line(run: RunFolder, tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    with pytest.raises(ArtattackError, match="no folder of answers"):
        read_answers(run, folder)
    folder.mkdir()
    with pytest.raises(ArtattackError, match=r"no answers that count: it has no \.json or \.csv files"):
        read_answers(run, folder)
    (folder / "a.json").write_text("{")
    result = CliRunner().invoke(app, ["survey", str(run.path), "--answers", str(folder)])
    assert result.exit_code == 2
    assert "no answers that count: a.json: damaged" in re.sub(r"\s+", " ", result.output)
    assert run.answers is None


def test_answers_to_a_run_that_was_extended_since_count(run: RunFolder, tmp_path: Path) -> None:
    save(tmp_path / "answers", "a.json", person(run, "P1", USUAL))
    info = json.loads((run.path / "run.json").read_bytes())
    del info["sha256"]
    info |= {"extended": [{"config_hash": info["config_hash"]}], "config_hash": "0" * 64}
    for name in ("run.json", ".run.json"):
        (run.path / name).write_text(json.dumps(info))
    assert read_answers(run.path, tmp_path / "answers").people == 1


def answers(rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    """A table of answers: person, photo, version and answer of each."""
    shared = {"role": "trial", "picture": "x", "true_class": TABBY, "true_name": "tabby", "classes": "run"}
    style = {"kind": "style", "attack": "style", "style": "waves", "source": "bnn"}
    clean = {"kind": "clean", "attack": "clean"}
    return make_table(
        [
            shared
            | (style if version == "style" else clean)
            | {"participant": who, "trial": 1, "image": image, "answer": said, "right": said == "tabby"}
            for who, image, version, said in rows
        ],
        ANSWERS,
    )


def records(images: int, fooled: int) -> pd.DataFrame:
    from artattack.results.records import records_frame

    return records_frame(rows_of(images, fooled))


def test_rates_flips_kappa_and_verdicts_are_those_counted_by_hand() -> None:
    # The classifier is right on every untouched photo, and wrong on cat0 and cat1 in style.
    table = answers(
        [
            ("p1", "cat0", "style", "tabby"),
            ("p2", "cat0", "style", "tabby"),
            ("p3", "cat0", "style", "tiger cat"),  # most people are right: not shared
            ("p1", "cat1", "style", "tiger cat"),
            ("p2", "cat1", "style", "cannot tell"),
            ("p3", "cat1", "style", "tabby"),  # most are wrong: shared
            ("p1", "cat2", "style", "tabby"),
            ("p2", "cat2", "style", "tabby"),
            ("p3", "cat2", "clean", "tiger cat"),
            ("p4", "cat2", "clean", "tabby"),
            ("p5", "cat2", "clean", "tiger cat"),  # usual: tiger cat
            ("p4", "cat0", "clean", "tabby"),
            ("p5", "cat3", "clean", "tabby"),
        ]
    )
    people = sum_up_people(table, records(4, 2))
    row = people[(people["attack"] == "style") & (people["who"] == "people")].iloc[0]
    assert (row["people"], row["photos"], row["n"], row["right"], row["cannot_tell"]) == (3, 3, 8, 5, 1)
    assert row["right_rate"] == 5 / 8
    assert (row["n_before"], row["right_before"]) == (4, 2)  # cat0 and cat2, untouched
    assert (row["n_flips"], row["flips"]) == (5, 3)  # cat0: the tiger cat; cat2: both
    net = people[(people["attack"] == "style") & (people["who"] == "lite0")].iloc[0]
    assert (net["n"], net["right"], net["right_before"], net["flips"], net["n_flips"]) == (3, 1, 3, 2, 3)
    assert (net["fooled"], net["not_shared"]) == (2, 1)
    # Both right 2, people alone 3, the classifier alone 0, neither 3: agreement 5/8, by chance 5/8 2/8 + 3/8 6/8.
    by_chance = 28 / 64
    assert net["kappa"] == pytest.approx((5 / 8 - by_chance) / (1 - by_chance))
    assert net["kappa_low"] <= net["kappa"] <= net["kappa_high"]
    clean = people[(people["kind"] == "clean") & (people["who"] == "people")].iloc[0]
    # cat2: p3 and p5 are each other's usual answer against p4's, by the true class; p4 against two tiger cats.
    assert (clean["n_flips"], clean["flips"]) == (3, 3)
    assert list(in_sentences(people)) == [
        "style/waves/bnn fools lite0 on 2 of the photos asked about; on 1 of these most people still name the class: a "
        "flip that people do not share."
    ]


def test_people_asked_for_entry_classes_stand_beside_the_entry_classes_of_classifiers(
    run: RunFolder, tmp_path: Path
) -> None:
    content = person(run, "P1", [("cat0", STYLE, "cat"), ("cat1", STYLE, "dog"), ("cat2", "clean", "cat")])
    save(tmp_path / "answers", "a.json", content | {"classes": "entry"})
    table = read_answers(run, tmp_path / "answers").table
    assert table["answer"].tolist() == ["cat", "dog", "cat"]
    assert table["answer_class"].isna().all()
    assert table["right"].tolist() == [True, False, True]
    seen = run.records.assign(entry_class_before="cat", entry_class_after="cat")  # a tiger cat is a cat
    seen.loc[(seen["image"] == "cat1") & (seen["kind"] == "style"), "entry_class_after"] = "dog"
    people = sum_up_people(table, seen)
    net = people[(people["who"] == "lite0") & (people["kind"] == "style")].iloc[0]
    assert (net["n"], net["right"], net["fooled"], net["not_shared"]) == (2, 1, 1, 0)
    assert net["kappa"] == 1.0  # both are right on cat0 and wrong on cat1
    unknown = sum_up_people(table, run.records)  # a classifier that lacks some of the 16
    assert unknown.loc[unknown["who"] == "lite0", "n"].tolist() == [0, 0]


def simulate(
    rng: np.random.Generator, people: int, photos: int, rates: tuple[float, float], spread: float = 0.0
) -> pd.DataFrame:
    """Answers of people who are right at known rates; with a spread, photos differ by it either way."""
    hard = spread * rng.choice([-1, 1], photos)
    rows = []
    for i in range(people):
        for j in range(photos):
            styled = (i + j) % 2
            said = "tabby" if rng.random() < rates[styled] + hard[j] else "tiger cat"
            rows.append((f"p{i}", f"cat{j}", "style" if styled else "clean", said))
    return answers(rows)


def test_simulated_people_come_out_with_their_rates() -> None:
    people = sum_up_people(simulate(np.random.default_rng(0), 60, 60, (0.9, 0.6)), records(60, 30))
    clean, style = (
        people[(people["who"] == "people") & (people["kind"] == kind)].iloc[0] for kind in ("clean", "style")
    )
    assert clean["right_rate"] == pytest.approx(0.9, abs=0.03)
    assert style["right_rate"] == pytest.approx(0.6, abs=0.04)
    assert style["right_before_rate"] == clean["right_rate"]
    assert clean["right_rate_low"] < 0.9 < clean["right_rate_high"]
    assert style["right_rate_low"] < 0.6 < style["right_rate_high"]
    assert style["flip_rate"] == pytest.approx(0.4, abs=0.04)
    net = people[(people["who"] == "lite0") & (people["kind"] == "style")].iloc[0]
    assert net["kappa_low"] < 0 < net["kappa_high"]  # they err on pictures of their own
    assert (net["fooled"], net["not_shared"] >= 20) == (30, True)


def test_intervals_hold_the_rate_about_as_often_as_they_say() -> None:
    held = 0
    for seed in range(40):
        table = simulate(np.random.default_rng(seed), 12, 24, (0.7, 0.7), spread=0.25)
        row = sum_up_people(table, records(24, 12)).iloc[0]
        held += row["right_rate_low"] <= 0.7 <= row["right_rate_high"]
    assert held >= 35  # 95 % of 40 are 38; two standard deviations below


def test_the_same_answers_give_the_same_table() -> None:
    table = simulate(np.random.default_rng(1), 6, 10, (0.8, 0.5))
    shuffled = table.sample(frac=1, random_state=2)
    first, second = (sum_up_people(one, records(10, 4), seed=5) for one in (table, shuffled))
    order = ["kind", "who"]
    pd.testing.assert_frame_equal(
        first.sort_values(order, ignore_index=True), second.sort_values(order, ignore_index=True)
    )


def test_practice_and_attention_do_not_count() -> None:
    table = answers([("p1", "cat0", "style", "tabby"), ("p1", "cat1", "clean", "tiger cat")])
    table["role"] = pd.array(["trial", "attention"], "string")
    people = sum_up_people(table, records(2, 1))
    assert people["kind"].unique().tolist() == ["style"]


def test_the_report_speaks_of_people_only_with_answers(run: RunFolder, tmp_path: Path) -> None:
    before = write_report(run).read_text("utf-8")
    assert "people-table" not in before
    assert "answers.csv" not in before
    assert "right untouched" not in write_tables(run, "markdown")
    for code in ("P1", "P2", "P3"):
        save(tmp_path / "answers", f"{code}.json", person(run, code, [(f"cat{i}", STYLE, TABBY) for i in range(8)]))
    result = CliRunner().invoke(app, ["survey", str(run.path), "--answers", str(tmp_path / "answers")])
    assert result.exit_code == 0, result.output
    page = (run.path / "report.html").read_text("utf-8")
    verdict = (
        "style/waves/bnn fools lite0 on 4 of the photos asked about; on 4 of these most people still name the class"
    )
    assert verdict in page
    assert 'id="people-table"' in page
    assert "answers.csv" in page
    assert verdict in re.sub(r"\s+", " ", result.output)
    assert "right untouched" in write_tables(run, "markdown")
    people = RunFolder.open(run.path).people
    assert people is not None
    assert people["who"].tolist() == ["people", "lite0"]


@pytest.mark.parametrize(("people", "photos"), [(10, 10), (20, 20), (10, 60)])
def test_power_without_random_effects_is_that_of_independent_answers(people: int, photos: int) -> None:
    found = plan_survey([people], [photos], person_sd=0, photo_sd=0, simulations=1500)
    half = people * photos / 2
    error = np.sqrt(0.9 * 0.1 / half + 0.8 * 0.2 / half)
    quantile = student.ppf(0.975, min(people, photos) - 1)
    expected = norm.sf(quantile - 0.1 / error) + norm.cdf(-quantile - 0.1 / error)
    assert found["answers"].tolist() == [people * photos]
    assert found["power"].iloc[0] == pytest.approx(expected, abs=0.06)


def test_the_command_prints_the_plan_and_what_it_assumes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "plan_survey", partial(power.plan_survey, [5], [10, 80], simulations=20))
    result = CliRunner().invoke(app, ["survey", "--plan"])
    assert result.exit_code == 0, result.output
    table = power.plan_survey()
    shown = re.sub(r"\s+", " ", result.output)
    assert " people 10 photos 80 photos 5 {:.0%} {:.0%} ".format(*table["power"]) in shown
    assert "standard deviation 0.5 logits between people and 1 between photos" in shown


def test_equal_rates_are_told_apart_by_chance_alone() -> None:
    found = plan_survey([20], [20], rates=(0.8, 0.8), simulations=1000)
    assert found["power"].iloc[0] <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)


def test_a_plan_is_the_same_each_time_and_refuses_what_it_cannot_do() -> None:
    pd.testing.assert_frame_equal(plan_survey([5], [10], simulations=50), plan_survey([5], [10], simulations=50))
    bad: list[Callable[[], object]] = [
        lambda: plan_survey([1], [10]),
        lambda: plan_survey([5], [10], rates=(1.0, 0.8)),
        lambda: plan_survey([5], [10], person_sd=-1),
    ]
    for call in bad:
        with pytest.raises(ArtattackError, match="plan: "):
            call()
