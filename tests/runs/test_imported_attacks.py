"""Attacks from other packages in a run: records like ours, cached and resumed only with the same code."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from artattack.cache import open_cache
from artattack.errors import ArtattackError
from artattack.evaluation.extending import extend_run
from artattack.evaluation.run import run_benchmark
from artattack.report import write_report
from artattack.results.run_folder import load_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

SIZE = 32
MODULE = '''
import numpy as np
from art.attacks import EvasionAttack
from art.estimators.estimator import BaseEstimator, LossGradientsMixin

from artattack.attacks.entries import Entry, Perturbed, Variant
from artattack.inputs.images import quantize


class Sign(EvasionAttack):
    """The fast gradient sign method, written once more."""

    _estimator_requirements = (BaseEstimator, LossGradientsMixin)

    def __init__(self, estimator, eps=0.1, targeted=False):
        super().__init__(estimator=estimator)
        self.eps, self._targeted = eps, targeted

    def generate(self, x, y=None):
        gradient = self.estimator.loss_gradient(x, y)
        return x + self.eps * np.sign(gradient) * (-1 if self.targeted else 1)


class Inherits(EvasionAttack):
    """A class without a constructor of its own; ART's takes the estimator as a keyword."""

    _estimator_requirements = (BaseEstimator,)

    def generate(self, x, y=None):
        return 1 - x


class Random:
    """No class of ART's: noise that follows from NumPy's generator, and one image that it fails on."""

    def __init__(self, estimator, eps):
        self.eps = eps

    def generate(self, x, y=None):
        if x.mean() > 0.5:
            raise ValueError("too bright")
        return x + np.random.uniform(-self.eps, self.eps, x.shape)


class Cropping:
    def __init__(self, estimator):
        pass

    def generate(self, x, y=None):
        return x[:, 1:]


class Darker(Entry):
    """An entry: an attack that reads no model."""

    share: float = 0.5

    def variants(self, attacks):
        yield Variant(self)

    def perturb_freely(self, attack, batch):
        files = quantize(batch.x * self.share)
        return Perturbed(files, files)
'''
SIGN = {"attack": "group.attacks:Sign", "source": "quicknet_tiny", "eps": "8/255", "eps_norm": "linf", "batched": True}
FGSM = {"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255"}
BENCHMARK: dict[str, Any] = {
    "batch_size": 2,
    "images": {"size": SIZE, "limit": 2},
    "classifiers": "quicknet_tiny",
    "feature_model": "quicknet_tiny",
    "style_judges": "quicknet_tiny",
}


@pytest.fixture(autouse=True)
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    package = tmp_path / "site" / "group"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "attacks.py").write_text(MODULE)
    (package / "later.py").write_text(f"# of a later day\n{MODULE}")
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] == "group"]:
        del sys.modules[name]


def run(folder: Path, *attacks: dict[str, Any], **options: Any) -> pd.DataFrame:
    budgets = options.pop("budgets", {})
    return run_benchmark(BENCHMARK | {"attacks": list(attacks), "budgets": budgets}, out=folder, **options)


def images(folder: Path, records: pd.DataFrame, attack: str) -> np.ndarray:
    return np.stack([np.asarray(Image.open(folder / file)) for file in records[records["attack"] == attack]["file"]])


def test_a_foreign_attack_stands_where_arts_own_does(tmp_path: Path) -> None:
    """The same formula as ART's: the same files, records and budgets to the last digit."""
    targeted = {"name": "led", "target": "goldfish"}
    records = run(
        tmp_path / "run",
        FGSM,
        SIGN,
        {"attack": "noise", "like": ["fgsm", "Sign"]},
        FGSM | targeted,
        SIGN | targeted | {"name": "Led"},
        budgets={"linf": "4/255", "ssim": 0.9},  # attacked anew within the first, moved along lines to the second
    )
    assert records["error"].isna().all(), records["error"].dropna().iloc[0]
    for own, foreign in (("fgsm", "Sign"), ("led", "Led")):
        ours, theirs = (records[records["attack"] == name].reset_index(drop=True) for name in (own, foreign))
        assert len(ours) == 2 * 3  # two images, as they are and at two budgets
        np.testing.assert_array_equal(
            images(tmp_path / "run", records, foreign), images(tmp_path / "run", records, own)
        )
        different = ["attack", "parameters", "seed", "file", "seconds"]
        pd.testing.assert_frame_equal(theirs.drop(columns=different), ours.drop(columns=different))
    assert set(records[records["attack"] == "Led"]["target_class"]) == {1}
    write_report(load_run(tmp_path / "run"))
    code = load_run(tmp_path / "run").info["config"]["code"]
    assert set(code) == {"Sign", "Led"}
    assert code["Sign"]["class"] == "group.attacks.Sign"


def test_classes_of_every_sort(tmp_path: Path) -> None:
    attacks: list[dict[str, Any]] = [
        {"attack": "group.attacks:Inherits", "source": "quicknet_tiny"},
        {"attack": "group.attacks:Random", "source": "quicknet_tiny", "eps": 0.1},
        {"attack": "group.attacks:Cropping", "source": "quicknet_tiny"},
        {"attack": "group.attacks:Darker", "share": 0.25},
        {"attack": "noise", "like": "Darker"},
    ]
    records = run(tmp_path / "run", *attacks)
    clean = images(tmp_path / "run", records, "clean")
    np.testing.assert_array_equal(images(tmp_path / "run", records, "Inherits"), 255 - clean)
    dark = np.rint(clean.astype(np.float32) / np.float32(255) * np.float32(0.25) * 255)
    np.testing.assert_allclose(images(tmp_path / "run", records, "Darker"), dark, atol=1)
    darker, noise = (records[records["attack"] == name] for name in ("Darker", "noise"))
    np.testing.assert_allclose(noise["l2"].astype(float), darker["l2"].astype(float), rtol=0.02)
    assert darker["source"].isna().all()
    assert not darker["classifier_seen"].any()
    assert records[records["attack"] == "Inherits"]["classifier_seen"].all()
    cropped = records[records["attack"] == "Cropping"]["error"]
    assert set(cropped) == {"attack 'Cropping' returned images of shape (1, 31, 32, 3) for (1, 32, 32, 3)"}
    random = records[records["attack"] == "Random"].set_index("image")
    bright = clean.mean((1, 2, 3)) > 127.5
    assert bright.any() != bright.all() or not bright.any()
    assert (random["error"].notna().to_numpy() == bright).all()
    again = run(tmp_path / "again", attacks[1])
    same = again[again["attack"] == "Random"].set_index("image")
    pd.testing.assert_series_equal(same["l2"], random["l2"])  # its choices follow from the run's seed


def test_the_source_determines_the_cache_key_and_resuming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTATTACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ARTATTACK_CACHE_SIZE", "100MB")
    from group import attacks, later  # type: ignore[import-not-found]

    mine = SIGN | {"attack": "mine"}
    first = run(tmp_path / "first", mine, attacks={"mine": attacks.Sign})
    again = run(tmp_path / "again", mine, attacks={"mine": attacks.Sign})
    other = run(tmp_path / "other", mine, attacks={"mine": later.Sign})
    cached = [list(found[found["kind"] != "clean"]["from_cache"]) for found in (first, again, other)]
    assert cached == [[False, False], [True, True], [False, False]]

    with pytest.raises(ArtattackError, match="unknown attack 'mine'"):
        run(tmp_path / "first", mine, resume=True)
    with pytest.raises(ArtattackError, match=r"cannot resume with another config: code\.mine\.class was"):
        run(tmp_path / "first", mine, resume=True, attacks={"mine": later.Sign})
    resumed = run(tmp_path / "first", mine, resume=True, attacks={"mine": attacks.Sign})
    pd.testing.assert_frame_equal(resumed, first)
    with pytest.raises(ArtattackError, match=r"cannot be extended: code: mine is not what it was then"):
        extend_run(tmp_path / "first", budgets={"l2": [1]}, attacks={"mine": later.Sign})
    extended = extend_run(tmp_path / "first", budgets={"l2": [1]}, attacks={"mine": attacks.Sign})
    assert len(extended) == len(first) + 2
    more = BENCHMARK | {"attacks": [mine, FGSM, SIGN | {"attack": "group.later:Sign"}], "budgets": {"l2": [1]}}
    grown = extend_run(tmp_path / "first", more, attacks={"mine": attacks.Sign})
    assert set(grown["attack"]) == {"clean", "mine", "fgsm", "Sign"}

    class Here(attacks.Sign):  # type: ignore[misc]
        __module__ = "__nowhere__"  # as in a notebook

    for name in ("a", "b"):
        made = run(tmp_path / name, mine, attacks={"mine": Here})
        assert not made[made["kind"] != "clean"]["from_cache"].any()
    assert json.loads((tmp_path / "a" / "run.json").read_text())["config"]["code"]["mine"]["sha256"] is None
    assert open_cache() is not None


def test_workers_import_attacks_by_name(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    from group import attacks

    with pytest.raises(ArtattackError, match=r"call 'mine' module:Class, as group\.attacks:Sign, and give no class"):
        run(tmp_path / "refused", SIGN | {"attack": "mine"}, attacks={"mine": attacks.Sign}, engine="ray")
    ours = [SIGN, {"attack": "group.attacks:Darker"}]
    here = run(tmp_path / "here", *ours, cache=False)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        there = run(tmp_path / "there", *ours, engine="ray", workers=1, cache=False)
    finally:
        ray.shutdown()
    # Another number of threads than here: the last digits may differ.
    pd.testing.assert_frame_equal(there.drop(columns="seconds"), here.drop(columns="seconds"), rtol=1e-4, atol=1e-5)
