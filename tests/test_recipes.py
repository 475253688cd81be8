"""The recipes of CONTRIBUTING, each followed in a temporary copy of the package: so many files, and it works.

Each recipe gives its new files, and what it changes in files of the package. One run, in its own process, holds all
that they add.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "artattack"

ATTACK = '''
"""An attack that reads no model: it inverts a share of the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from artattack.attacks.entries import Batch, Entry, Perturbed, Variant
from artattack.inputs.images import quantize


class InvertEntry(Entry):
    """Moves each image towards its negative."""

    share: float = Field(0.5, gt=0, le=1, description="how far to go")

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return its one word."""
        return ("invert",)

    def variants(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield the one variant."""
        yield Variant(self)

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Move the images."""
        files = quantize(batch.x + self.share * (1 - 2 * batch.x))
        return Perturbed(files, files)
'''
FOREIGN = '''
import numpy as np


class Reddish:
    """An attack from another package, with ART's contract and nothing else."""

    def __init__(self, estimator, eps=0.1):
        self.eps = eps

    def generate(self, x, y=None):
        return x + self.eps * np.array([1, 0, 0])
'''
KIND = '''
"""Files of a made-up kind: an array of weights (3, K) for the mean colour of an image."""

from pathlib import Path

import numpy as np

from artattack.models.load_options import LoadOptions
from artattack.models.opened import Opened
from artattack.models.predictor import Predictor, load_file


def load(path: str, options: LoadOptions) -> Predictor:
    """Load such a file."""
    return load_file(Path(path), open_colours, options)


def open_colours(path: Path, input_size: tuple[int, int] | None) -> Opened:
    """Open such a file."""
    weights = np.load(path)
    return Opened(lambda x: (x.mean((1, 2)) @ weights).astype(np.float32), (None, 16, 16, 3), preprocessing="unit")
'''
# Of each recipe: new files, and by file what is replaced by what.
Recipe = tuple[dict[str, str], dict[str, list[tuple[str, str]]]]


def before(line: str, text: str) -> tuple[str, str]:
    """Put a text in front of a line."""
    return line, text + line


RECIPES: dict[str, Recipe] = {
    "native attack": (
        {"artattack/attacks/invert.py": ATTACK},
        {
            "artattack/attacks/all_entries.py": [
                before("from artattack.attacks.momentum_entry", "from artattack.attacks.invert import InvertEntry\n"),
                before("    MomentumEntry,\n", "    InvertEntry,\n"),
            ]
        },
    ),
    "attack of another package": ({"elsewhere/group/colours.py": FOREIGN, "elsewhere/group/__init__.py": ""}, {}),
    "control": (
        {},
        {
            "artattack/attacks/controls.py": [
                before(
                    "@dataclass(frozen=True)\nclass Control:",
                    "def grey(x: np.ndarray, strength: float) -> np.ndarray:\n"
                    '    """Take colour out of one image (H, W, 3)."""\n'
                    "    return x + strength * (x.mean(2, keepdims=True) - x)\n\n\n",
                ),
                before('    "blend": Control(', '    "grey": Control(path=grey),\n'),
            ]
        },
    ),
    "distance": (
        {},
        {
            "artattack/distances.py": [
                before(
                    "def linf(x: Images",
                    "def l3(x: Images, y: Images) -> Floats:\n"
                    '    """Return the cube root of the sum of cubed absolute differences."""\n'
                    "    return np.asarray(np.cbrt((np.abs(_difference(x, y)) ** 3).sum(axis=1)))\n\n\n",
                ),
                before(
                    '        Distance(\n            "linf",',
                    '        Distance("l3", l3, "image units", "cube root of the cubes", "L3", budgets=(0.5, 1.0)),\n',
                ),
            ]
        },
    ),
    "column of a classifier": (
        {},
        {
            "artattack/results/columns.py": [
                before(
                    '    Outcome("top1_name_before"',
                    '    Outcome("margin_before", "float64", "logits", "largest logit less the mean",\n'
                    "        compute=lambda s: s.logits_before.max(1) - s.logits_before.mean(1)),\n",
                )
            ]
        },
    ),
    "column of an image": (
        {},
        {
            "artattack/distances.py": [
                before(
                    '    Measure(\n        "checkerboard",',
                    '    Measure("red", lambda change: change[..., 0].mean((1, 2)), "image units", "mean of red"),\n',
                )
            ]
        },
    ),
    "column of the summary": (
        {},
        {
            "artattack/results/columns.py": [
                before(
                    '    _count("errors"',
                    '    Sum("images_scored", "Int64", "images", "scored", compute=lambda g: int(g.scored.sum())),\n',
                )
            ]
        },
    ),
    "kind of model": (
        {"artattack/models/colours_file.py": KIND},
        {
            "artattack/models/kinds.py": [
                before(
                    '    Kind("tflite"',
                    '    Kind("colours", (".colours",), "logits", f"{__package__}.colours_file:load"),\n',
                )
            ]
        },
    ),
}
FILES = {  # of the package: what CONTRIBUTING promises
    "native attack": 2,
    "attack of another package": 0,
    "control": 1,
    "distance": 1,
    "column of a classifier": 1,
    "column of an image": 1,
    "column of the summary": 1,
    "kind of model": 2,
}
RUN = """
import json, sys
import artattack
artattack.run_benchmark(json.load(open("benchmark.json")), out="run")
"""
BENCHMARK = {
    "images": {"size": 32, "limit": 2},
    "models": {"mine": {"model": "net.colours"}},
    "classifiers": ["mine"],
    "feature_model": "quicknet_tiny",
    "attacks": [
        {"attack": "invert", "share": 0.25},
        {"attack": "group.colours:Reddish", "source": "mine", "eps": 0.2, "eps_norm": "linf"},
        {"attack": "grey", "like": "invert", "distance": "l3"},
    ],
    "budgets": {"l3": [1]},
}


def follow(recipe: Recipe, folder: Path) -> None:
    new, changes = recipe
    for name, text in new.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.lstrip("\n"))
    for name, lines in changes.items():
        text = (folder / name).read_text()
        for old, put in lines:
            assert text.count(old) == 1, f"{name}: {old}"
            text = text.replace(old, put)
        (folder / name).write_text(text)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a copy of the package in which every recipe was followed."""
    folder = tmp_path_factory.mktemp("recipes")
    shutil.copytree(PACKAGE, folder / "artattack", ignore=shutil.ignore_patterns("__pycache__"))
    if not (folder / "artattack" / "_datasets").exists():
        (folder / "datasets").symlink_to(ROOT / "datasets")
    for recipe in RECIPES.values():
        follow(recipe, folder)
    np.save(folder / "net.npy", np.random.default_rng(0).normal(size=(3, 4)))
    (folder / "net.npy").rename(folder / "net.colours")
    (folder / "benchmark.json").write_text(json.dumps(BENCHMARK))
    path = os.pathsep.join([str(folder), str(folder / "elsewhere")])
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def records(run: Path) -> pd.DataFrame:
    found = pd.read_csv(run / "records.csv")
    assert found["error"].isna().all(), found["error"].dropna().iloc[0]
    return found


def images(run: Path, records: pd.DataFrame, attack: str, budget: bool = False) -> np.ndarray:
    rows = records[(records["attack"] == attack) & (records["budget"].notna() == budget)]
    return np.stack([np.asarray(Image.open(run / file), np.float64) / 255 for file in rows["file"]])


def test_files_that_a_recipe_touches() -> None:
    for name, (new, changes) in RECIPES.items():
        assert sum(file.startswith("artattack/") for file in {*new, *changes}) == FILES[name], name


@pytest.mark.slow
def test_a_native_attack(run: Path, records: pd.DataFrame) -> None:
    clean = images(run, records, "clean")
    np.testing.assert_allclose(images(run, records, "invert"), clean + 0.25 * (1 - 2 * clean), atol=0.51 / 255)
    rows = records[records["attack"] == "invert"]
    assert not rows["classifier_seen"].astype(bool).any()
    assert set(rows["budget"].dropna()) == {1.0}


def test_an_attack_of_another_package(run: Path, records: pd.DataFrame) -> None:
    red = np.clip(images(run, records, "clean") + np.array([0.2, 0, 0]), 0, 1)
    np.testing.assert_allclose(images(run, records, "Reddish"), red, atol=0.51 / 255)
    rows = records[(records["attack"] == "Reddish") & records["budget"].isna()]
    assert rows["classifier_seen"].astype(bool).all()
    assert set(rows["eps"]) == {0.2}


def test_a_control_and_a_distance(run: Path, records: pd.DataFrame) -> None:
    clean, grey = images(run, records, "clean"), images(run, records, "grey")
    expected = np.cbrt((np.abs(grey - clean) ** 3).sum((1, 2, 3)))
    rows = {name: records[(records["attack"] == name) & records["budget"].isna()] for name in ("grey", "invert")}
    np.testing.assert_allclose(rows["grey"]["l3"], expected, rtol=1e-9)
    # The control went as far as it could, which is no farther than the attack whose distance it copies.
    assert (rows["grey"]["l3"].to_numpy() <= rows["invert"]["l3"].to_numpy() + 1e-9).all()
    assert (rows["grey"]["l3"] > 0).all()
    at_budget = records[(records["attack"] == "invert") & records["budget"].notna()]
    np.testing.assert_allclose(at_budget["l3"], 1, atol=0.01)


def test_columns_of_three_sorts(run: Path, records: pd.DataFrame) -> None:
    colours = images(run, records, "clean").mean((1, 2)) @ np.random.default_rng(0).normal(size=(3, 4))
    clean = records[records["attack"] == "clean"]
    np.testing.assert_allclose(clean["margin_before"], colours.max(1) - colours.mean(1), atol=0.05)
    red = (images(run, records, "Reddish") - images(run, records, "clean"))[..., 0].mean((1, 2))
    reddish = records[(records["attack"] == "Reddish") & records["budget"].isna()]
    np.testing.assert_allclose(reddish["red"], red, atol=1e-12)
    assert set(pd.read_csv(run / "summary.csv")["images_scored"]) == {2}


def test_a_kind_of_model(run: Path, records: pd.DataFrame) -> None:
    assert set(records["classifier_weights"]) == {"file"}
    info = json.loads((run / "run.json").read_text())
    assert info["config"]["models"]["mine"]["classes"] == 4
