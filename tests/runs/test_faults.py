"""Real runs with a few faults, as in benchmarks/faults.py: resumed, they end like undisturbed ones."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from artattack.evaluation import loading
from artattack.evaluation.perturbing import Perturber
from artattack.results.run_folder import load_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

MODEL = "quicknet_tiny"
ATTACKS = [{"attack": "fgsm", "source": MODEL, "eps": "8/255"}, {"attack": "noise", "like": "fgsm"}]


@pytest.fixture(scope="module")
def faults() -> Iterator[ModuleType]:
    """The script, with cheap attacks; models are loaded once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        import faults  # type: ignore[import-not-found]

        patch.setattr(loading, "load_models", loading.load_models)  # both are put back in the end
        patch.setattr(Perturber, "attack", Perturber.attack)
        patch.setattr(faults, "BENCHMARK", faults.BENCHMARK | {"attacks": ATTACKS})
        faults.keep_models()
        yield faults


@pytest.fixture(scope="module")
def place(faults: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A folder with photos and an uninterrupted run, and the file events of that."""
    folder = tmp_path_factory.mktemp("faults")
    faults.make_images(folder / "photos", 3)
    told, _, events = faults.attempt(folder / "photos", folder / "reference", None)
    assert told == ""
    return folder, events


def test_faults_lose_nothing(faults: ModuleType, place: tuple[Path, int], tmp_path: Path) -> None:
    folder, events = place
    rng = np.random.default_rng(1)
    every = ["full", "corrupt", "gone", "read-only", "image", "corrupt", "full files", "corrupt"]
    struck, wrong = faults.trial(
        faults.attempt, folder / "photos", tmp_path / "run", folder / "reference", events, every, rng
    )
    assert wrong == []
    assert struck.total() >= len(every) - 2  # one may come to nothing where little is left to do


def test_faults_in_an_extension_lose_nothing(
    faults: ModuleType, place: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, events = place
    monkeypatch.setenv("ARTATTACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ARTATTACK_CACHE_SIZE", "10MB")
    faults.small(folder / "photos", tmp_path / "run")
    assert set(load_run(tmp_path / "run").records["attack"]) == {"clean", "fgsm"}
    every = ["cache", "full", "read-only", "cache", "corrupt"]
    rng = np.random.default_rng(2)
    struck, wrong = faults.trial(
        faults.attempt,
        folder / "photos",
        tmp_path / "run",
        folder / "reference",
        events,
        every,
        rng,
        tmp_path / "cache",
    )
    assert wrong == []
    assert struck["cache"] == 2
    assert struck.total() >= len(every) - 1
    assert len(load_run(tmp_path / "run").info["extended"]) == 1


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "zeros", "delete"])
def test_any_file_of_a_finished_run_may_be_damaged(
    faults: ModuleType, place: tuple[Path, int], damage: str, tmp_path: Path
) -> None:
    folder, _ = place
    shutil.copytree(folder / "reference", tmp_path / "run")
    rng = np.random.default_rng(3)
    done = [faults.corrupt(tmp_path / "run", rng, damage) for _ in range(3)]
    assert all(done)
    assert faults.attempt(folder / "photos", tmp_path / "run", None)[0] == ""
    assert faults.compare(tmp_path / "run", folder / "reference") == []


def test_an_image_that_comes_back_has_its_records_after_all(
    faults: ModuleType, place: tuple[Path, int], tmp_path: Path
) -> None:
    folder, _ = place
    away = faults.Fault("image", 1, folder / "photos" / "1.png")  # gone once its hash is known
    assert faults.attempt(folder / "photos", tmp_path / "run", away)[:2] == ("", True)
    records = load_run(tmp_path / "run").records
    assert list(records["image"][records["error"].notna()]) == ["1"]
    faults.put_back(folder / "photos")
    assert faults.attempt(folder / "photos", tmp_path / "run", None)[0] == ""
    assert faults.compare(tmp_path / "run", folder / "reference") == []


def test_a_loss_would_be_noticed(faults: ModuleType, place: tuple[Path, int], tmp_path: Path) -> None:
    reference = place[0] / "reference"
    for lose, told in (
        (lambda run: (run / "images" / "noise--as--fgsm--quicknet_tiny" / "0.png").unlink(), "0.png: missing"),
        (lambda run: (run / "images" / "original" / "0.png").write_bytes(b""), "0.png: other pixels"),
        (lambda run: (run / "images" / "original" / ".0.png.tmp").write_bytes(b""), ".0.png.tmp: left over"),
    ):
        shutil.copytree(reference, tmp_path / told)
        lose(tmp_path / told)
        assert any(line.endswith(told) for line in faults.compare(tmp_path / told, reference))
