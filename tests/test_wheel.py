"""The wheel: built, inspected, installed alone, and used outside the checkout."""

import csv
import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import artattack
from artattack.results.run_folder import load_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


def pip(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("pip") is None:
        pytest.skip("pip is not installed, so no wheel can be built")
    folder = tmp_path_factory.mktemp("wheel")
    alone = () if find_spec("hatchling") is None else ("--no-build-isolation",)
    done = pip("wheel", "--no-deps", *alone, "--wheel-dir", folder, ROOT)
    if done.returncode and not alone:
        pytest.skip("hatchling is not installed and could not be fetched, so no wheel can be built")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    done = pip("install", "--no-deps", "--no-compile", "--target", folder, wheel)
    assert done.returncode == 0, done.stderr
    return folder


def outside(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command `artattack` in a folder outside the checkout."""
    command = [sys.executable, str(installed / "bin" / "artattack"), *arguments]
    kernels = {"TF_ENABLE_ONEDNN_OPTS": "1"}  # TensorFlow's default, which tests in parallel change
    environment = os.environ | {"PYTHONPATH": str(installed)} | kernels
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_has_code_and_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        classes = archive.read("artattack/_datasets/imagenet_classes.csv").decode()
        metadata = archive.read(f"artattack-{artattack.__version__}.dist-info/METADATA").decode()
        entry_points = archive.read(f"artattack-{artattack.__version__}.dist-info/entry_points.txt").decode()
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "artattack").rglob("*.py")}
    styles = {f"artattack/_datasets/styles/{path.name}" for path in (ROOT / "datasets" / "styles").glob("*.png")}
    assert code <= names
    assert len(styles) >= 6
    assert styles <= names
    page = [f"report/templates/report.{suffix}" for suffix in ("html", "css", "js")]
    for name in (
        "py.typed",
        "models/weights/quicknet_tiny.h5",
        "models/weights/quicknet_distilled.h5",
        "_datasets/samples.csv",
        *page,
    ):
        assert f"artattack/{name}" in names
    assert len(list(csv.DictReader(classes.splitlines()))) == 1000
    assert {name.partition("/")[0] for name in names} == {"artattack", f"artattack-{artattack.__version__}.dist-info"}
    assert not [name for name in names if "test" in name or "__pycache__" in name]
    assert "artattack = artattack.cli:main" in entry_points
    assert f"Version: {artattack.__version__}\n" in metadata


def test_the_installed_command_uses_its_own_data(installed: Path, tmp_path: Path) -> None:
    done = outside(installed, tmp_path, "styles")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("brushstrokes\nmarble\nstained-glass\n")
    done = outside(installed, tmp_path, "run", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "400 (2 classifiers)" in done.stdout
    (installed / "artattack" / "_datasets" / "styles" / "waves.png").rename(tmp_path / "waves.png")
    try:
        done = outside(installed, tmp_path, "run", "--dry-run")
    finally:
        (tmp_path / "waves.png").rename(installed / "artattack" / "_datasets" / "styles" / "waves.png")
    assert done.returncode == 2
    assert "unknown style 'waves'" in done.stderr


def test_the_installed_command_runs_a_benchmark_quietly(installed: Path, tmp_path: Path) -> None:
    benchmark = {
        "images": {"size": 64, "limit": 1},
        "classifiers": "quicknet_tiny",
        "attacks": [{"attack": "style", "style": "waves", "steps": 2, "precision": "bfloat16"}],
    }
    (tmp_path / "tiny.yaml").write_text(json.dumps(benchmark))
    done = outside(installed, tmp_path, "run", "tiny.yaml")
    assert (done.returncode, done.stderr) == (0, "")  # and nothing of what TensorFlow and Keras mutter
    assert "style/waves/quicknet_distilled" in done.stdout
    (run,) = (tmp_path / "results").iterdir()  # the default place, under the folder one works in
    assert run.name.startswith("tiny-")
    records = load_run(run).records
    assert list(records["kind"]) == ["clean", "style"]
    assert records["error"].isna().all()
    assert all((run / file).is_file() for file in records["file"])
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<h3>summary.csv</h3>" in page  # the glossary comes along
