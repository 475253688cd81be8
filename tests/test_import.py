"""Importing the package, and the commands that only list or plan, do not load TensorFlow."""

import json
import os
import subprocess
import sys
from importlib import import_module

import pytest

pytestmark = pytest.mark.slow

HEAVY = ("tensorflow", "tf_keras", "keras", "larq", "larq_zoo", "art", "foolbox", "torch")
CODE = """
import contextlib, io, json, sys
before = set(sys.modules)
{code}
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(json.dumps(sorted(loaded)))
"""


def loaded_by(code: str) -> set[str]:
    """Return the packages that some code loads in a fresh process."""
    done = subprocess.run([sys.executable, "-c", CODE.format(code=code)], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_by("import artattack")
    assert "artattack" in loaded
    assert not loaded & {*HEAVY, "pandas", "scipy", "numpy", "pydantic", "typer"}


def test_printing_commands_load_nothing_heavy() -> None:
    assert not loaded_by("import artattack.commands.printing") & {*HEAVY, "pandas", "scipy"}


def test_the_checks_load_only_the_modules_they_use() -> None:
    assert not loaded_by("import artattack.checks.defaults") & {*HEAVY, "pandas", "numpy"}
    assert not loaded_by("from artattack.checks import run_checks") & {*HEAVY}


def test_public_names_are_listed_and_load_on_first_use() -> None:
    loaded = loaded_by(
        "import artattack; assert {'load_model', 'run_benchmark', 'StyleTransferAttack'} <= set(dir(artattack)); "
        "assert artattack.load_images('samples', limit=1).x.shape == (1, 224, 224, 3)"
    )
    assert "numpy" in loaded
    assert not loaded & {*HEAVY, "pandas"}


@pytest.mark.parametrize(
    "arguments",
    ["--help", "models", "attacks", "defences", "styles", "datasets", "run --dry-run", "attack --help", "--version"],
)
def test_commands_that_only_list_or_plan_load_nothing_heavy(arguments: str) -> None:
    code = f"""
from artattack.cli import main
sys.argv = ["artattack", *{arguments.split()!r}]
said = io.StringIO()
with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
    main()
assert said.getvalue()
"""
    assert not loaded_by(code) & {*HEAVY, "pandas"}


def test_a_plan_with_classifiers_of_other_kinds_loads_nothing_heavy() -> None:
    code = """
from pathlib import Path
from tempfile import TemporaryDirectory
from artattack.config import parse_benchmark
from artattack.evaluation.plan import make_plan
with TemporaryDirectory() as folder:
    path = Path(folder) / "net.tflite"
    path.touch()
    make_plan(parse_benchmark({"images": {"size": 64}, "classifiers": [f"tflite:{path}"]}))
"""
    assert not loaded_by(code) & {*HEAVY, "onnxruntime", "timm", "pandas"}


def test_keras_2_is_chosen_before_tensorflow_loads() -> None:
    code = "import artattack, os; assert os.environ['TF_USE_LEGACY_KERAS'] == '1'"
    assert "tensorflow" not in loaded_by(code)


@pytest.mark.parametrize("first", ["import keras", "import tensorflow as tf; tf.keras"])
def test_tensorflow_with_keras_3_is_told_in_one_line(first: str) -> None:
    code = f"""
{first}
import artattack
for use in (lambda: artattack.load_model("quicknet_tiny"), lambda: artattack.StyleTransferAttack):
    try:
        use()
    except artattack.ArtattackError as error:
        print(error)
"""
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    told = "TensorFlow runs with Keras 3, larq needs Keras 2: import artattack before tensorflow"
    assert [line.startswith(told) for line in done.stdout.splitlines()] == [True, True]


@pytest.mark.parametrize("package", ["artattack", "artattack.checks", "artattack.models"])
def test_every_name_that_loads_late_is_there(package: str) -> None:
    module = import_module(package)
    for name in module.__all__:
        assert callable(getattr(module, name)), name
