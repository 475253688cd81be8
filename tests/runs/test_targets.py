"""Targeted attacks in runs: their targets, and the columns of records and summary."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import artattack.models
from artattack.errors import ArtattackError
from artattack.evaluation.run import run_benchmark
from artattack.inputs.image_sets import open_image_set
from artattack.inputs.images import to_float
from artattack.inputs.labels import imagenet_classes
from artattack.models.estimator import to_estimator
from artattack.results.run_folder import load_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once", "eager")]

SIZE, NAME = 64, "quicknet_tiny"
PGD = {"attack": "pgd", "source": NAME, "eps": "48/255", "max_iter": 8, "targeted": True}
MI = {"attack": "mi-fgsm", "source": NAME, "eps": "48/255", "max_iter": 8, "targeted": True}


@pytest.fixture(scope="module")
def space() -> tuple[int, ...]:
    found = artattack.models.load_model(NAME).label_space
    assert found
    return tuple(found)


def run(folder: Path, *attacks: dict[str, Any], **keys: Any) -> pd.DataFrame:
    given = {"images": {"size": SIZE, "limit": 2}, "attacks": list(attacks), "classifiers": NAME, "feature_model": NAME}
    return run_benchmark(given | keys, out=folder)


def manifest(path: Path, targets: list[str], column: str = "target_class") -> Path:
    files = [sample.path for sample in open_image_set("samples").samples[: len(targets)]]
    rows = "".join(f"{file},{target}\n" for file, target in zip(files, targets, strict=True))
    path.write_text(f"file,{column}\n{rows}")
    return path


@pytest.mark.parametrize("attack", [PGD, MI], ids=lambda attack: attack["attack"])
def test_targets_of_a_manifest_are_aimed_at_and_recorded(tmp_path: Path, space: Any, attack: dict[str, Any]) -> None:
    """Two images have a target; for the third one is drawn; the fourth's is no class of the source."""
    absent = next(index for index in range(1000) if index not in space)
    wnid = imagenet_classes()[space[5]].wnid
    path = manifest(tmp_path / "set.csv", [str(space[3]), wnid, "", str(absent)])
    records = run(tmp_path / "run", attack, images={"set": str(path), "size": SIZE}, budgets={"ssim": 0.5})
    rows = records[records["attack"] == attack["attack"]]
    failed = rows[rows["error"].notna()]
    assert len(failed) == 2  # at its own distance and at the budget
    assert failed["error"].iloc[0].startswith(f"class {absent} (")
    assert failed["error"].iloc[0].endswith(f"is not among the classes of source '{NAME}'")
    own, at_budget = (rows[rows["budget"].isna() == free].dropna(subset=["target_class"]) for free in (True, False))
    assert own["target_class"].tolist() == at_budget["target_class"].tolist()  # the drawn one, too
    assert own["target_class"].tolist()[:2] == [space[3], space[5]]
    # The drawn one is the source's class before, and as many classes on as the image's seed draws.
    estimator = to_estimator(artattack.models.load_model(NAME), input_shape=(SIZE, SIZE, 3))
    x = to_float(np.asarray(Image.open(tmp_path / "run" / "images" / "original" / f"{own['image'].iloc[2]}.png")))
    offset = np.random.default_rng(int(own["seed"].iloc[2])).integers(1, 200)
    assert own["target_class"].iloc[2] == space[(estimator.predict(x[None]).argmax() + offset) % 200]
    hits = own["top1_class_after"] == own["target_class"]
    assert hits.all()  # 8 steps within 48/255 lead anywhere
    assert own["target_hit"].all()
    summary = load_run(tmp_path / "run").summary
    row = summary[(summary["attack"] == attack["attack"]) & summary["budget"].isna()].iloc[0]
    assert (row["n"], row["n_targeted"], row["target_hits"], row["target_hit_rate"]) == (3, 3, 3, 1.0)
    assert summary.loc[summary["kind"] == "clean", "target_hit_rate"].isna().all()
    assert records.loc[records["kind"] == "clean", "target_class"].isna().all()


@pytest.mark.parametrize("attack", [PGD, MI], ids=lambda attack: attack["attack"])
def test_one_target_for_all(tmp_path: Path, space: Any, attack: dict[str, Any]) -> None:
    name = imagenet_classes()[space[7]].wnid
    untold = {key: value for key, value in attack.items() if key != "targeted"}
    records = run(tmp_path / "run", untold | {"target": name})
    rows = records[records["attack"] == attack["attack"]]
    assert set(rows["target_class"]) == {space[7]}
    assert set(rows["top1_class_after"]) == {space[7]}
    parameters = json.loads(rows["parameters"].iloc[0])
    assert (parameters["target"], parameters["targeted"]) == (name, True)
    assert parameters["eps_step"] == pytest.approx(48 / 255 / 8 * (2.5 if attack is PGD else 1))


def test_a_target_that_the_source_has_no_class_of_ends_the_run_before_it_starts(tmp_path: Path, space: Any) -> None:
    absent = next(index for index in range(1000) if index not in space)
    for attack in (PGD, MI):
        with pytest.raises(ArtattackError, match=f"target: class {absent} .* not among the classes of source '{NAME}'"):
            run(tmp_path / "run", attack | {"target": absent})
    assert not (tmp_path / "run" / "records.csv").exists()


def test_untargeted_attacks_leave_targets_alone(tmp_path: Path, space: Any) -> None:
    path = manifest(tmp_path / "set.csv", [str(space[3]), str(space[5])])
    records = run(tmp_path / "run", {"attack": "fgsm", "source": NAME}, images={"set": str(path), "size": SIZE})
    assert records["target_class"].isna().all()
    assert records["target_hit"].isna().all()


def test_other_targets_are_another_attack_to_the_cache(tmp_path: Path, space: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("ARTATTACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ARTATTACK_CACHE_SIZE", "100MB")
    made = []
    for number, target in enumerate((space[3], space[5], space[3])):
        path = manifest(tmp_path / "set.csv", [str(target), ""])
        records = run(tmp_path / f"run{number}", MI | {"max_iter": 2}, images={"set": str(path), "size": SIZE})
        rows = records[records["attack"] == "mi-fgsm"]
        made.append((rows["from_cache"].tolist(), rows["target_class"].tolist()[0]))
    assert made == [([False] * 2, space[3]), ([False] * 2, space[5]), ([True] * 2, space[3])]


def test_a_run_is_not_resumed_towards_other_targets(tmp_path: Path, space: Any) -> None:
    given: dict[str, Any] = {"classifiers": NAME, "feature_model": NAME, "attacks": [MI | {"max_iter": 1}]}
    given["images"] = {"set": str(manifest(tmp_path / "set.csv", [str(space[3])])), "size": SIZE}
    run_benchmark(given, out=tmp_path / "run")
    manifest(tmp_path / "set.csv", [str(space[5])])
    with pytest.raises(ArtattackError, match=r"another config: .*targets"):
        run_benchmark(given, out=tmp_path / "run", resume=True)
