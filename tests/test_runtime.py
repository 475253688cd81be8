"""ART's settings, which several processes may write for the first time at once."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artattack.models.kinds import kind_packages
from artattack.runtime import PACKAGES, installed_versions, write_art_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_settings_are_those_art_writes(home: Path) -> None:
    write_art_settings()
    ours = (home / ".art" / "config.json").read_bytes()
    (home / ".art" / "config.json").unlink()
    env = os.environ | {"TF_USE_LEGACY_KERAS": "1"}
    subprocess.run([sys.executable, "-c", "import art.config"], env=env, check=True, capture_output=True)
    assert ours == (home / ".art" / "config.json").read_bytes()


def test_settings_are_whole_whenever_another_process_looks(home: Path) -> None:
    settings = home / ".art" / "config.json"
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: (write_art_settings(), settings.read_text())[1], range(64)))
    assert {json.loads(text)["ART_DATA_PATH"] for text in seen} == {str(home / ".art" / "data")}
    assert [path.name for path in settings.parent.iterdir()] == ["config.json"]


def test_settings_that_are_there_stay(home: Path) -> None:
    (home / ".art").mkdir()
    (home / ".art" / "config.json").write_text('{"ART_DATA_PATH": "/elsewhere"}')
    write_art_settings()
    assert (home / ".art" / "config.json").read_text() == '{"ART_DATA_PATH": "/elsewhere"}'


def test_a_home_that_takes_no_folder_is_left_to_art(home: Path) -> None:
    (home / ".art").write_text("a file where the folder should be")
    write_art_settings()
    assert (home / ".art").read_text() == "a file where the folder should be"


def test_every_package_that_a_kind_of_model_needs_is_among_those_whose_versions_count() -> None:
    counted = (*PACKAGES, *kind_packages())
    assert {*kind_packages()} == {"onnxruntime", "larq-compute-engine", "torch", "timm"}
    assert len(counted) == len({*counted})
    assert "torch" not in installed_versions()
    assert set(installed_versions(kind_packages())) <= {*counted}


@pytest.mark.parametrize("asked", ["", "default"])
def test_a_home_that_cannot_be_written_to_is_not_worth_a_message(asked: str, tmp_path: Path) -> None:
    """Matplotlib logs one, which is no warning, so that PYTHONWARNINGS does not bring it back."""
    pytest.importorskip("matplotlib")
    code = "from artattack.report.matplotlib_figures import save_drawing; from pathlib import Path; "
    code += f"save_drawing(lambda figure: figure.subplots(), Path({str(tmp_path / 'figure')!r}))"
    nowhere = {
        "HOME": "/proc/nowhere",
        "XDG_CACHE_HOME": "/proc/nowhere/cache",
        "XDG_CONFIG_HOME": "/proc/nowhere/config",
    }
    environment = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    environment |= nowhere | ({"PYTHONWARNINGS": asked} if asked else {})
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "atplotlib" not in done.stderr
    assert (tmp_path / "figure.png").exists()
