"""The momentum attack as an entry of a benchmark file: its variants, its budgets, its records, its files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import artattack.models
from artattack.attacks.entries import Reading
from artattack.attacks.momentum import MomentumAttack
from artattack.attacks.momentum_entry import MomentumEntry
from artattack.bound import Bound
from artattack.config import parse_benchmark
from artattack.distances import DISTANCES
from artattack.errors import ArtattackError
from artattack.evaluation.run import run_benchmark
from artattack.inputs.image_sets import load_images
from artattack.inputs.images import as_measured, quantize, to_float
from artattack.models.estimator import ArtEstimator, to_estimator

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once", "eager")]

SIZE = 64
NAME = "quicknet_tiny"
MI = {"attack": "mi-fgsm", "source": NAME, "eps": "8/255", "max_iter": 2}
Runs = Callable[..., tuple[pd.DataFrame, Path]]


@pytest.fixture
def run(tmp_path: Path) -> Runs:
    def do(*attacks: dict[str, Any], folder: str = "run", limit: int = 2, **keys: Any) -> tuple[pd.DataFrame, Path]:
        given = {"images": {"size": SIZE, "limit": limit}, "attacks": list(attacks)}
        records = run_benchmark(given | {"classifiers": NAME, "feature_model": NAME} | keys, out=tmp_path / folder)
        assert records["error"].isna().all(), records["error"].dropna().iloc[0]
        return records, tmp_path / folder

    return do


@pytest.fixture(scope="module")
def estimator() -> ArtEstimator:
    return to_estimator(artattack.models.load_model(NAME), input_shape=(SIZE, SIZE, 3))


def images(folder: Path, records: pd.DataFrame) -> np.ndarray:
    files = records.drop_duplicates("image")["file"]
    return np.stack([to_float(np.asarray(Image.open(folder / file))) for file in files])


def entries(*attacks: dict[str, Any]) -> tuple[Any, ...]:
    return parse_benchmark({"attacks": list(attacks)}).attacks


def test_an_entry_is_a_baseline_with_a_variant_for_each_source() -> None:
    entry, named = entries(MI | {"source": [NAME, "efficientnet_lite0"]}, MI | {"name": "di", "transforms": "di"})
    assert isinstance(entry, MomentumEntry)
    assert [v.label for v in entry.variants(())] == [f"mi-fgsm/{NAME}", "mi-fgsm/efficientnet_lite0"]
    assert entry.kind == "baseline"
    assert [v.reads for v in entry.variants(())] == [(Reading(name, "gradients"),) for name in entry.source]
    assert [v.label for v in named.variants(())] == [f"di/{NAME}"]
    assert named.transforms == ("di",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": None}, "attacks.0.eps"),
        ({"eps": "0.1x"}, r"attacks\.0\.eps: '0.1x' is not a number"),
        ({"transforms": ["dii"]}, r"attacks\.0\.transforms: unknown transform 'dii'; did you mean 'di'"),
        ({"viewz": 2}, r"unknown key 'attacks\.0\.viewz'; did you mean 'views'"),
        ({"norm": "l1"}, r"attacks\.0\.norm"),
        ({"kernel": 2}, "odd"),
        ({"views": 2}, "all alike"),
        ({"attack": "ni-fgsm", "nesterov": False}, "without, say mi-fgsm"),
    ],
    ids=str,
)
def test_a_mistake_in_an_entry_is_one_line_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtattackError, match=message) as raised:
        entries(MI | change)
    assert "\n" not in str(raised.value)


def test_records_and_files_are_those_of_the_attack(run: Runs, estimator: ArtEstimator) -> None:
    """Labelled with the class that the source sees, in the ball that is told."""
    options = {
        "transforms": ["ssm", "di"],
        "views": 2,
        "nesterov": True,
        "kernel": 3,
        "decay": 0.9,
        "eps_step": "4/255",
    }
    records, folder = run(MI | options | {"name": "ours"})
    rows = records[records["attack"] == "ours"]
    attack = MomentumAttack(estimator, **{k: v for k, v in (MI | options).items() if k not in ("attack", "source")})
    seeds = rows.drop_duplicates("image")["seed"].astype(int).tolist()
    x = load_images("samples", size=SIZE, limit=2).x
    np.testing.assert_array_equal(images(folder, rows), quantize(attack.generate(x, seeds=seeds)))
    assert set(rows["kind"]) == {"baseline"}
    assert len(set(seeds)) == 2
    assert (set(rows["eps_norm"]), set(rows["eps"]), rows["outside_eps"].any()) == ({"linf"}, {8 / 255}, False)
    assert rows["classifier_seen"].all()
    parameters = json.loads(rows["parameters"].iloc[0])
    assert parameters["transforms"] == ["ssm", "di"]
    assert parameters["eps"] == 8 / 255
    assert (parameters["norm"], parameters["targeted"]) == ("inf", False)


def test_ni_fgsm_is_mi_fgsm_that_looks_ahead(run: Runs) -> None:
    records, folder = run(MI, MI | {"attack": "ni-fgsm"}, MI | {"name": "ahead", "nesterov": True})
    made = {name: images(folder, records[records["attack"] == name]) for name in ("mi-fgsm", "ni-fgsm", "ahead")}
    np.testing.assert_array_equal(made["ni-fgsm"], made["ahead"])
    assert np.abs(made["ni-fgsm"] - made["mi-fgsm"]).max() > 1 / 255
    said = records[records["attack"] == "ni-fgsm"]["parameters"].iloc[0]
    assert json.loads(said)["nesterov"] is True


@pytest.mark.parametrize("free", [{}, {"norm": 2, "eps": 2.0, "eps_step": 1.0}], ids=["linf", "l2"])
def test_budgets_that_are_balls_are_the_attack_s_eps(run: Runs, estimator: ArtEstimator, free: dict[str, Any]) -> None:
    """It attacks anew in each, with steps of the same share; in any other distance images move back along a line."""
    given = MI | {"max_iter": 3} | free
    records, folder = run(given, budgets={"linf": ["4/255", "2.5/255"], "l2": [1], "ssim": [0.95]})
    x = load_images("samples", size=SIZE, limit=2).x
    found = records[records["attack"] == "mi-fgsm"]
    for distance, budget in (("linf", 4 / 255), ("linf", 2.5 / 255), ("l2", 1.0)):
        rows = found[(found["budget_distance"] == distance) & np.isclose(found["budget"], budget)]
        norm = "inf" if distance == "linf" else 2
        share = 0.5 if free else 1 / 3 if norm == "inf" else 2.5 / 3
        attack = MomentumAttack(estimator, norm=norm, eps=budget, eps_step=share * budget, max_iter=3)
        made, files = attack.generate(x), images(folder, rows)
        assert np.abs(files - made).max() <= (1.01 if norm == "inf" else 2) / 255
        far = DISTANCES[distance](as_measured(x), as_measured(files))
        assert (far <= budget + 1e-9).all()
        assert (far >= (0.99 * budget if norm == 2 else np.floor(255 * budget + 1e-6) / 255 - 1e-9)).all()
        assert (set(rows["eps_norm"]), rows["outside_eps"].any()) == ({distance}, False)
        np.testing.assert_allclose(rows["eps"], budget)
    like = found[found["budget_distance"] == "ssim"]
    assert (like["ssim"] >= 0.95).all()
    own = images(folder, found[found["budget_distance"].isna()])
    between = images(folder, like)
    assert (like["ssim"] <= 0.951).all()  # they stand there, whether nearer or farther than the attack's own
    assert ((between - x) * (own - x) >= 0).all()  # on the same line


def test_its_own_images_are_made_only_where_a_budget_starts_from_them() -> None:
    (entry,) = entries(MI)
    (variant,) = entry.variants(())
    own = (("linf", 8 / 255), variant)
    for budget, needed in ((("linf", 0.1), None), own, (("l2", 3.0), None), (("ssim", 0.9), variant)):
        assert entry.starts_from(entry.at_budget(variant, Bound(*budget))) == needed
    assert entry.starts_from(variant) is None


def test_targeted_leads_to_another_class(run: Runs, estimator: ArtEstimator) -> None:
    records, folder = run(MI | {"targeted": True, "eps": "32/255", "max_iter": 20})
    rows = records[records["attack"] == "mi-fgsm"]
    x = load_images("samples", size=SIZE, limit=2).x
    seen = estimator.predict(x).argmax(1)
    seeds = rows.drop_duplicates("image")["seed"]
    offsets = [np.random.default_rng(int(seed)).integers(1, 200) for seed in seeds]
    np.testing.assert_array_equal(estimator.predict(images(folder, rows)).argmax(1), (seen + offsets) % 200)


def test_an_image_does_not_depend_on_which_others_there_are(run: Runs) -> None:
    attacks = [
        MI,
        MI | {"name": "views", "transforms": ["bsr", "ssm"], "views": 2},
        MI | {"name": "l2", "norm": 2, "eps": 2.0},
    ]
    many, here = run(*attacks, limit=3, batch_size=3)
    one, there = run(*attacks, limit=1, batch_size=1, folder="one")
    assert set(one["seed"]) <= set(many["seed"])
    for name in ("mi-fgsm", "views", "l2"):
        rows = one[one["attack"] == name]
        others = many[(many["attack"] == name) & many["image"].isin(rows["image"])]
        change = np.abs(images(here, others) - images(there, rows))
        assert change.max() <= 1.01 / 255, name  # gradients of another batch size may round otherwise
