"""The table of all columns: its outputs, and a new distance as one entry in one file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from artattack.distances import DISTANCES, default_budgets, distance_columns
from artattack.errors import ArtattackError
from artattack.evaluation.scoring import score_batch
from artattack.results.columns import (
    CLASSIFIER_COLUMNS,
    RECORD_COLUMNS,
    RECORDS,
    SUMMARY,
    SUMMARY_COLUMNS,
    TABLES,
    Column,
    Outcome,
)
from artattack.results.glossary import Entry, entries, main, with_tables

README = Path(__file__).resolve().parents[2] / "results" / "README.md"


def test_the_readme_has_the_columns_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = README.read_text(encoding="utf-8")
    assert with_tables(text) == text, "stale: python -m artattack.results.glossary"
    stale = tmp_path / "README.md"
    stale.write_text(text.replace("root of the sum of squared differences", "something else"))
    monkeypatch.setattr(sys, "argv", ["glossary", str(stale)])
    main()
    assert stale.read_text(encoding="utf-8") == text


def test_a_readme_with_other_tables_is_refused() -> None:
    text = README.read_text(encoding="utf-8")
    with pytest.raises(ArtattackError, match="the README has tables for"):
        with_tables(text.replace("<!-- columns of pairs.csv -->", ""))


def test_columns_that_mean_the_same_are_explained_together() -> None:
    columns = [Column(name, "Int64", "images", meaning) for name, meaning in zip("abcd", "xxyx", strict=True)]
    assert entries(columns) == [
        Entry(("a", "b"), "Int64", "images", "x"),
        Entry(("c",), "Int64", "images", "y"),
        Entry(("d",), "Int64", "images", "x"),
    ]


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_there_once_with_a_type_and_a_meaning(name: str) -> None:
    columns = TABLES[name]
    assert len({column.name for column in columns}) == len(columns)
    for column in columns:
        assert column.dtype in ("string", "Int64", "float64", "boolean")
        assert column.meaning
        assert column.unit or column.dtype in ("string", "boolean")


def test_each_distance_has_its_column_and_its_mean() -> None:
    found = distance_columns(np.zeros((1, 16, 16, 3)), np.ones((1, 16, 16, 3)))
    assert [*found] == [*DISTANCES, "total_variation", "checkerboard"]
    assert {*found} <= {*RECORD_COLUMNS}
    assert {f"mean_{name}" for name in found} <= {*SUMMARY_COLUMNS}
    assert [*default_budgets()] == ["l2", "linf", "ssim", "delta_e"]


def test_scoring_makes_the_outcome_columns_and_no_other() -> None:
    (row,) = score_batch(np.array([[1.0, 2.0]]), np.array([[2.0, 1.0]]), np.array([-1]), None)
    assert list(row) == [column.name for column in RECORDS if isinstance(column, Outcome)]


def test_every_column_that_makes_a_file_the_table_it_is_is_needed() -> None:
    needed = [column.name for column in RECORDS if column.needed]
    assert needed == [
        "image",
        "kind",
        "attack",
        "style",
        "source",
        "matched_to",
        "budget_distance",
        "budget",
        "classifier",
        "flip",
        "error",
    ]
    assert [column.name for column in SUMMARY if column.needed] == [*needed[1:9], "n"]


def test_a_new_outcome_and_a_new_sum_are_each_an_entry_in_the_table() -> None:
    code = """
import numpy as np
from artattack.results import columns

lead = columns.Outcome(
    "lead", "float64", "logits", "of the first class", compute=lambda s: s.at(s.logits_after, s.top_after)
)
columns.RECORDS += (lead,)
columns.RECORD_COLUMNS["lead"] = "float64"
columns.SUMMARY += (columns.Sum("flip_share", "float64", "", "x", compute=lambda g: g.yes("flip").mean()),)

from artattack.evaluation.scoring import score_batch
from artattack.results.records import records_frame
from artattack.results.summary import summarise

scored = score_batch(np.zeros((2, 3)), np.array([[1.0, 5.0, 2.0], [0.5, 0.0, 0.0]]), np.array([-1, -1]), None)
assert [row["lead"] for row in scored] == [5.0, 0.5]
rows = [row | {"image": str(i), "attack": "a", "classifier": "b"} for i, row in enumerate(scored)]
assert records_frame(rows)["lead"].tolist() == [5.0, 0.5]
assert summarise(records_frame(rows))["flip_share"].tolist() == [0.5]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_new_distance_is_an_entry_in_one_file() -> None:
    code = """
import numpy as np
from artattack import distances

def l3(x, y):
    return (np.abs(y - x) ** 3).sum(axis=(1, 2, 3)) ** (1 / 3)

distances.DISTANCES["l3"] = distances.Distance("l3", l3, "image units", "the cubes", "L3, image units", budgets=(1.0,))

from artattack.attacks.controls import ControlEntry
from artattack.config import parse_benchmark
from artattack.results.columns import CLASSIFIER_COLUMNS, RECORD_COLUMNS, SUMMARY_COLUMNS, TABLES
from artattack.results.glossary import entries
from artattack.results.records import records_frame
from artattack.results.summary import summarise
from artattack.attacks.budget import match

assert RECORD_COLUMNS["l3"] == SUMMARY_COLUMNS["mean_l3"] == "float64"
x, y = np.zeros((2, 16, 16, 3)), np.ones((2, 16, 16, 3))
assert distances.distance_columns(x, y)["l3"].round(6).tolist() == [round(768 ** (1 / 3), 6)] * 2
records = records_frame([{"image": "a", "attack": "fgsm", "classifier": "b", "l3": 2.0}])
assert summarise(records)["mean_l3"].tolist() == [2.0]
assert parse_benchmark({"budgets": "l3"}).budgets == {"l3": (1.0,)}
assert ControlEntry(attack="noise", distance="l3").distance == "l3"
assert (l3(x, match(x, y, 1.0, "l3")) <= 1.0).all()
assert any("l3" in entry.names for entry in entries(TABLES["records.csv"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["reference/records.csv", "comparison-recipe/records.csv.xz"])
def test_columns_that_differ_between_classifiers_of_one_image_say_so(name: str) -> None:
    path = Path(__file__).parents[2] / "results" / name
    if not path.exists():
        pytest.skip("the runs of the documentation are part of the checkout")
    records = pd.read_csv(path, dtype="string", keep_default_na=False)
    images = records.groupby(["kind", "attack", "style", "source", "matched_to", "budget_distance", "budget", "image"])
    values = images.nunique()
    different = {str(name) for name in values.columns if (values[name] > 1).any()}
    assert {"classifier", "flip", "top1_class_after"} <= different
    assert different <= CLASSIFIER_COLUMNS
