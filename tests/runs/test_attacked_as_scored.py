"""Attacks and scores see the same: classes, the predicted class, the 8-bit file and the recorded ball."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import artattack.models
from artattack.attacks.baselines import make_baseline
from artattack.evaluation.run import run_benchmark
from artattack.inputs.image_sets import load_images, open_image_set
from artattack.models.estimator import to_estimator

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once", "eager")]

SIZE = 64
NAME = "quicknet_tiny"
ONE_MODEL = {"classifiers": NAME, "feature_model": NAME, "style_judges": NAME}  # no other network is loaded
STYLE: dict[str, Any] = {"attack": "style", "backbone": NAME, "style": "waves"}
Runs = Callable[..., tuple[pd.DataFrame, Path]]


@pytest.fixture
def run(tmp_path: Path) -> Runs:
    def do(*attacks: dict[str, Any], images: dict[str, Any] | None = None, **keys: Any) -> tuple[pd.DataFrame, Path]:
        given = ONE_MODEL | {"images": {"size": SIZE, "limit": 3} | (images or {}), "attacks": list(attacks)}
        records = run_benchmark(given | keys, out=tmp_path / "run")
        assert records["error"].isna().all(), records["error"].dropna().iloc[0]
        return records, tmp_path / "run"

    return do


def levels(folder: Path, records: pd.DataFrame, attack: str) -> np.ndarray:
    rows = records[records["attack"] == attack].drop_duplicates("image")
    return np.stack([np.asarray(Image.open(folder / file)) for file in rows["file"]]).astype(int)


def as_levels(x: np.ndarray) -> np.ndarray:
    return np.floor(x.astype(np.float64) * 255 + 0.5).astype(int)


def test_a_smaller_label_space_is_attacked_as_it_is_scored(run: Runs) -> None:
    """The attack follows the logits of the shared classes alone: another image than with all 200."""
    model = artattack.models.load_model(NAME)
    assert model.label_space is not None
    classes = model.label_space[40:45]
    records, folder = run(
        {"attack": "pgd", "source": NAME, "eps": "4/255", "eps_step": "2/255", "max_iter": 3},
        images={"label_space": list(classes)},
    )
    x = load_images("samples", size=SIZE, limit=3).x
    found = levels(folder, records, "pgd")
    parameters = {"eps": 4 / 255, "eps_step": 2 / 255, "max_iter": 3}
    for of, same in ((model.restricted_to(classes), True), (model, False)):
        made = make_baseline("pgd", to_estimator(of, input_shape=(SIZE, SIZE, 3)), parameters).generate(x)
        assert np.array_equal(found, as_levels(made)) == same
    assert set(records["classes"]) == {5}


def test_guides_choose_among_the_classes_that_are_scored(run: Runs) -> None:
    """A guide fooled among 200 classes may still predict the same of the shared ones, and stop too early."""
    model = artattack.models.load_model(NAME)
    assert model.label_space is not None
    guided = {"attack": "style", "style": "waves", "guide": NAME, "early_stop": True, "steps": 40, "style_weight": 0.01}
    records, _ = run(guided, images={"label_space": list(model.label_space[40:60])})
    painted = records[records["kind"] == "style"]
    assert painted["flip"].all()


def test_the_label_is_the_class_seen(run: Runs, tmp_path: Path) -> None:
    """Of an image already wrong, the true class is no class to lead away from."""
    model = artattack.models.load_model(NAME)
    assert model.label_space is not None
    estimator = to_estimator(model, input_shape=(SIZE, SIZE, 3))
    x = load_images("samples", size=SIZE, limit=3).x
    seen = estimator.predict(x).argmax(1)
    wrong = model.label_space[(seen[0] + 1) % 200]
    table = "\n".join(["file,class_index", *(f"{s.path},{wrong}" for s in open_image_set("samples").samples[:20:7])])
    (tmp_path / "set.csv").write_text(table)
    x = load_images(tmp_path / "set.csv", size=SIZE).x
    seen = estimator.predict(x).argmax(1)
    records, folder = run({"attack": "fgsm", "source": NAME, "eps": "8/255"}, images={"set": str(tmp_path / "set.csv")})
    assert not records["correct_before"].any()
    made = make_baseline("fgsm", estimator, {"eps": 8 / 255}).generate(x, seen)
    np.testing.assert_array_equal(levels(folder, records, "fgsm"), as_levels(made))


@pytest.mark.parametrize(
    "attack",
    [
        {"attack": "deepfool", "max_iter": 10, "nb_grads": 3},
        {"attack": "hopskipjump", "max_iter": 2, "max_eval": 30, "init_eval": 10},
    ],
)
def test_a_minimum_norm_attack_is_not_erased_by_rounding(run: Runs, attack: dict[str, Any]) -> None:
    records, _ = run(attack | {"source": NAME})
    rows = records[records["kind"] == "baseline"]
    assert rows["flip_float"].sum() >= 2
    assert rows.loc[rows["flip_float"], "flip"].all()


@pytest.mark.usefixtures("compiled")
def test_outcomes_of_the_unrounded_image_are_recorded(run: Runs) -> None:
    """Within 0.3 levels nothing is left of an attack in 8 bits; before rounding some images flip."""
    records, folder = run({"attack": "pgd", "source": NAME, "eps": 0.3 / 255, "eps_step": 0.1 / 255, "max_iter": 10})
    rows = records[records["kind"] == "baseline"]
    x = load_images("samples", size=SIZE, limit=3).x
    estimator = to_estimator(artattack.models.load_model(NAME), input_shape=(SIZE, SIZE, 3))
    parameters = {"eps": 0.3 / 255, "eps_step": 0.1 / 255, "max_iter": 10}
    made = make_baseline("pgd", estimator, parameters).generate(x)
    flips = estimator.predict(made).argmax(1) != estimator.predict(x).argmax(1)
    assert rows["flip_float"].tolist() == flips.tolist()
    assert flips.any()
    assert not rows["flip"].any()
    np.testing.assert_array_equal(levels(folder, records, "pgd"), as_levels(x))


@pytest.mark.parametrize(
    ("attack", "norm", "eps"),
    [
        (STYLE | {"budget": "linf=2.5/255", "steps": 3}, "linf", 2.5 / 255),
        (STYLE | {"budget": "l2=2", "steps": 6}, "l2", 2.0),
        (STYLE | {"match": "l2=1", "steps": 3}, "l2", 1.0),
        ({"attack": "fgsm", "source": NAME, "eps": "2.5/255"}, "linf", 2.5 / 255),
        ({"attack": "fgsm", "source": NAME, "eps": 1.5, "norm": 2}, "l2", 1.5),
        ({"attack": "pgd", "source": NAME, "max_iter": 2}, "linf", 0.3),  # ART's own eps
    ],
)
def test_files_keep_the_ball_they_are_told_to(run: Runs, attack: dict[str, Any], norm: str, eps: float) -> None:
    records, folder = run(attack)
    rows = records[records["kind"] != "clean"]
    assert set(rows["eps_norm"]) == {norm}
    assert rows["eps"].to_numpy() == pytest.approx(eps)
    assert not rows["outside_eps"].any()
    change = (levels(folder, records, attack["attack"]) - levels(folder, records, "clean")) / 255
    lengths = [np.linalg.norm(c.ravel(), np.inf if norm == "linf" else 2) for c in change]
    assert max(lengths) <= eps + 1e-9
    assert max(lengths) > 0.75 * eps or eps == 0.3


def test_an_image_does_not_depend_on_which_others_there_are(run: Runs, tmp_path: Path) -> None:
    """Another limit and another batch size give the same images, also with random draws."""
    attacks = [
        {"attack": "square", "source": NAME, "eps": "8/255", "max_iter": 4},
        {"attack": "pgd", "source": NAME, "eps": "8/255", "max_iter": 2, "num_random_init": 1},
        STYLE | {"steps": 2, "jitter": 4, "init": "noise"},
        {"attack": "noise", "like": "square"},
    ]
    many, folder = run(*attacks, images={"limit": 4}, batch_size=3)
    few = run_benchmark(
        ONE_MODEL | {"images": {"size": SIZE, "limit": 2}, "batch_size": 1, "attacks": attacks},
        out=tmp_path / "few",
    )
    for attack in ("square", "pgd", "noise", "style"):
        files = set(few.loc[few["attack"] == attack, "file"])
        assert len(files) == 2
        for file in files:
            ours, theirs = (np.asarray(Image.open(path / file)).astype(int) for path in (folder, tmp_path / "few"))
            assert np.abs(ours - theirs).max() <= 1, attack  # gradients of another batch size may round otherwise
    shared = many[many["image"].isin(few["image"])]
    assert set(shared["seed"]) == set(few["seed"])
