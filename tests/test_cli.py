"""The command line: its output, its exit codes, and one line for each mistake."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner, Result

import artattack.models
from artattack import cli
from artattack.attacks.art_attacks import baseline_infos
from artattack.attacks.options import StyleOptions
from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.cells import CellWorker
from artattack.evaluation.plan import make_plan
from artattack.inputs.image_sets import open_image_set
from artattack.inputs.styles import style_names
from artattack.models import model_infos
from artattack.models.defences import DEFENCES
from artattack.results.run_folder import load_run

pytestmark = pytest.mark.usefixtures("models_load_once")

QUICK = {
    "images": {"size": 64, "limit": 2},
    "batch_size": 1,
    "classifiers": "quicknet_tiny",
    "feature_model": "quicknet_tiny",
    "attacks": [{"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255"}, {"attack": "noise", "like": "fgsm"}],
}


def artattack_says(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)), prog_name="artattack")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "quick.yaml"
    path.write_text(json.dumps(QUICK))
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    with Image.open(open_image_set("samples").samples[0].path) as image:
        image.save(path)
    return path


@pytest.mark.parametrize(
    "command",
    ["", "run", "attack", "study", "models", "models fetch", "attacks", "styles", "datasets", "datasets fetch"],
)
def test_help_shows_what_a_command_does_and_examples(command: str) -> None:
    done = artattack_says(*command.split(), "--help")
    assert done.exit_code == 0
    text = done.stdout
    assert f"Usage: artattack {command}".rstrip() in text
    examples = text[text.index("Examples:") :]
    assert re.search(rf"^ *artattack {command}", examples, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 80
    assert artattack_says(*command.split(), "-h").stdout == text


def test_every_option_of_the_style_attack_is_an_option_of_the_command() -> None:
    text = artattack_says("attack", "--help").stdout
    options = set(re.findall(r"--[a-z-]+", text))
    assert {f"--{name.replace('_', '-')}" for name in StyleOptions.model_fields} <= options
    assert not {option for option in options if option.startswith("--no-")}


def test_version() -> None:
    done = artattack_says("--version")
    assert (done.exit_code, done.stdout) == (0, f"artattack {artattack.__version__}\n")


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("models", lambda: [info.name for info in model_infos()]),
        (
            "attacks",
            lambda: [
                "style",
                "noise",
                "mi-fgsm",
                "ni-fgsm",
                *(w for i in baseline_infos() for w in (i.name, i.art_class)),
            ],
        ),
        ("defences", lambda: [*DEFENCES, *(p.name for info in DEFENCES.values() for p in info.parameters)]),
        ("styles", style_names),
        ("datasets", lambda: ["samples", "imagenet-sample"]),
    ],
)
def test_lists_keep_names_whole_on_80_columns(command: str, names: Callable[[], list[str]]) -> None:
    done = artattack_says(command)
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert set(names()) <= set(re.split(r"\s+", done.stdout))


def test_a_dry_run_prints_the_plan_and_its_size(tmp_path: Path) -> None:
    done = artattack_says("run", "--dry-run", "--limit", "7", "--seed", "5", "--out", tmp_path / "out")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[:2] == ["clean", "painter/waves/quicknet_distilled"]
    assert lines[9] == "blend/waves as style/waves/quicknet_distilled"
    for part in (
        "seed 5",
        "7 of samples, 224 x 224",
        "10, of up to 10",
        "63 images (7 images x 9 attacks and controls)",
        "140 (2 cl",
    ):
        assert part in done.stdout
    assert not (tmp_path / "out").exists()


def test_budgets_on_the_command_line_stand_in_the_plan(tmp_path: Path) -> None:
    done = artattack_says("run", "--dry-run", "--budgets", "l2=5,1", "--budgets", "ssim")
    assert done.exit_code == 0
    at = [line.rpartition(" at ")[2] for line in done.stdout.splitlines() if "pgd/efficientnet_lite0 at" in line]
    assert at == ["l2=1", "l2=5", *(f"ssim={budget}" for budget in (0.4, 0.6, 0.8, 0.9, 0.95, 0.99))]
    for mistake, message in (("l3=1", "unknown distance 'l3'"), ("l2=1,x", "budgets.l2.1: 'x' is not a number")):
        done = artattack_says("run", "--dry-run", "--budgets", mistake)
        assert done.exit_code == 2
        assert message in one_line(done)


def test_images_left_out_of_a_set_are_reported(tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "440"
    folder.mkdir(parents=True)
    for place in (folder, folder.parent):
        Image.new("RGB", (8, 8)).save(place / "a.png")
    (tmp_path / "b.yaml").write_text(json.dumps({"images": {"set": "photos"}}))
    done = artattack_says("run", tmp_path / "b.yaml", "--dry-run")
    assert "1 of photos, 224 x 224 px" in done.stdout
    assert "1 files beside the class folders left out" in done.stdout


def test_names_that_look_like_markup_are_printed_as_they_are(tmp_path: Path) -> None:
    style = tmp_path / "[red]art[bold].png"
    Image.new("RGB", (8, 8)).save(style)
    (tmp_path / "b.yaml").write_text(json.dumps({"attacks": [{"attack": "style", "style": style.name}]}))
    done = artattack_says("run", tmp_path / "b.yaml", "--dry-run")
    assert f"style/{style}/quicknet_distilled" in done.stdout.splitlines()[1]


def one_line(done: Result) -> str:
    """Return what a command that failed for a user's mistake says."""
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("artattack: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_mistakes_in_benchmark_files_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "b.yaml"
    for text, words in {
        "images: [": "b.yaml, line 1: not valid YAML",
        "- 1": "b.yaml: a benchmark file is a mapping",
        "sede: 1": "b.yaml: unknown key 'sede'; did you mean 'seed'?",
        "classifiers: vgg15": "classifiers: unknown model 'vgg15'; did you mean 'vgg16'?",
        "attacks: [{attack: style, style: wavs}]": "attacks.0 (style): unknown style 'wavs'; did you mean 'waves'?",
        "attacks: [{attack: fgms, source: vgg16}]": "unknown attack 'fgms'; did you mean 'fgsm'?",
        "images: {set: absent/}": "absent",
    }.items():
        file.write_text(text)
        done = artattack_says("run", file, "--out", tmp_path / "out")
        assert words in one_line(done)
        assert done.stdout == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("run absent.yaml", "absent.yaml: cannot be read: No such file or directory"),
        ("run --resume", "--resume needs --out FOLDER"),
        ("attack absent.jpg -s waves -o o.png", "absent.jpg: no such file"),
        ("attack text.jpg -s waves -o o.png", "text.jpg: not an image of a known format"),
        ("attack . -s waves -o o.png", "a folder, not an image"),
        ("attack photo.png -s wavs -o o.png", "unknown style 'wavs'; did you mean 'waves'?"),
        ("attack photo.png -s absent.png -o o.png", "absent.png: no such file"),
        ("attack photo.png -s waves -o o.png -c vgg15", "unknown model 'vgg15'; did you mean 'vgg16'?"),
        ("attack photo.png -s waves -o o.png --backbone vgg15", "unknown model 'vgg15'"),
        ("attack photo.png -s waves -o o.png --guide vgg15", "unknown model 'vgg15'"),
        ("attack photo.png -s waves -o o.jpg", "o.jpg: paintings are PNG files"),
        ("attack photo.png -s waves -o photo.png", "photo.png is the photo itself"),
        ("attack photo.png -s waves -o text.jpg/o.png", "o.png: cannot be written: "),
        ("attack photo.png -s waves -o folder.png", "folder.png is a folder"),
        ("attack photo.png -s waves -o o.png --size small", "--size: a number of pixels from 32 on, height and"),
        ("attack photo.png -s waves -o o.png --size 16", "--size: a number of pixels from 32 on"),
        ("attack photo.png -s waves -o o.png --budget l2:5", "budget: 'l2:5' is no distance"),
        ("attack photo.png -s waves -o o.png --steps 0", "steps: input should be greater than 0"),
        ("datasets fetch samples", "unknown image set to fetch 'samples'"),
        ("datasets fetch imagenet-sample --from absent", "absent: no such folder"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(
    arguments: str, words: str, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    before = photo.read_bytes()
    done = artattack_says(*arguments.split())
    assert words in one_line(done)
    assert done.stdout == ""
    assert photo.read_bytes() == before


def test_other_words_for_how_often_count_as_well() -> None:
    asked = {"attack": "signopt", "source": "quicknet_tiny", "query_limit": 10**9}
    assert make_plan(parse_benchmark({"images": {"limit": 2}, "attacks": [asked]})).passes > 2e9


def test_a_run_of_years_is_asked_about(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {"attack": "pgd", "source": "quicknet_tiny", "max_iter": 10**9}
    file.write_text(json.dumps(QUICK | {"images": {"size": 224, "limit": 2}, "attacks": [slow]}))
    plan = artattack_says("run", file, "--dry-run")
    assert "passes       2e+09 of an image through a network, about 3.17 years" in plan.stdout  # 2e9 / 20 s
    told = "2e+09 passes of an image through a network, about 3.17 years"
    assert f"{told}: start it with --yes" in one_line(artattack_says("run", file, "-o", tmp_path / "out"))
    begun: list[Path] = []

    def begin(plan: Any, path: Path, **_: Any) -> Any:
        begun.append(path)
        raise ArtattackError("begun")

    monkeypatch.setattr("artattack.evaluation.run.run_plan", begin)
    monkeypatch.setattr("artattack.commands.running.can_be_asked", lambda: True)
    refused = CliRunner().invoke(cli.app, ["run", str(file), "-o", str(tmp_path / "out")], input="n\n")
    assert refused.exit_code == 2
    assert told in refused.stderr
    assert refused.stderr.endswith("artattack: not started\n")
    assert not begun
    for arguments, answer in ((["--yes"], ""), ([], "y\n")):
        done = CliRunner().invoke(cli.app, ["run", str(file), *arguments], input=answer)
        assert done.stderr.endswith("artattack: begun\n")
    assert len(begun) == 2
    assert not (tmp_path / "out").exists()


def test_unreadable_arguments_give_no_traceback() -> None:
    for arguments in ("run --limit 0", "run --seed -1", "attack", "nonsense", "run --nonsense"):
        done = artattack_says(*arguments.split())
        assert done.exit_code == 2
        assert "Usage: artattack" in done.stderr
        assert "Traceback" not in done.output


def test_run_folders_that_cannot_be_are_one_line(file: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    assert "full: is not empty and holds no run: choose another" in one_line(artattack_says("run", file, "-o", full))
    assert [path.name for path in full.iterdir()] == ["thesis.txt"]
    assert "cannot be written" in one_line(artattack_says("run", file, "-o", full / "thesis.txt" / "x"))
    assert "no run to resume" in one_line(artattack_says("run", file, "-o", tmp_path / "new", "--resume"))


def test_a_model_that_cannot_be_had_is_one_line(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any, **__: Any) -> Any:
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setenv("HOME", str(tmp_path))
    done = artattack_says("attack", photo, "-s", "waves", "-o", tmp_path / "o.png", "-c", "mobilenet")
    assert "model 'mobilenet' needs a download from keras.applications, which failed" in one_line(done)


def test_an_interrupted_run_says_how_to_go_on_and_does(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = CellWorker.__call__

    def interrupted(self: CellWorker, cell: Any, read: Any) -> Any:
        if cell.number == 1:
            raise KeyboardInterrupt
        return records(self, cell, read)

    out = tmp_path / "out folder"
    with monkeypatch.context() as patch:
        patch.setattr(CellWorker, "__call__", interrupted)
        done = artattack_says("run", file, "--seed", "2", "--out", out)
    assert done.exit_code == 130
    assert done.stderr.count("artattack: ") == 1
    again = shlex.split(done.stderr[done.stderr.index("to go on: ") :].removeprefix("to go on: "))
    assert again == ["artattack", "run", str(file), "--seed=2", "--resume", "--out", str(out)]
    monkeypatch.setattr("artattack.commands.running.console", Console(width=120))
    done = artattack_says(*again[1:])
    assert done.exit_code == 0
    assert "fgsm/quicknet_tiny" in done.stdout
    assert "noise as fgsm/quicknet_tiny" in done.stdout
    assert f"Run folder: {out}" in done.stdout
    assert load_run(out).info["config"]["benchmark"]["seed"] == 2
    assert len(load_run(out).records) == 3 * 2
    assert "holds a run already (finished" in one_line(artattack_says("run", file, "--seed", "2", "--out", out))


def test_interrupting_another_command_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("artattack.inputs.styles.style_names", interrupted)
    done = artattack_says("styles")
    assert (done.exit_code, done.stderr) == (130, "artattack: interrupted\n")


def test_a_run_with_failed_cells_says_why_and_exits_with_1(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of paint")

    from art.attacks.evasion import FastGradientMethod

    monkeypatch.setattr(FastGradientMethod, "generate", fails)
    done = artattack_says("run", file, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "4 of 6 records failed; see the column `error` of records.csv and errors.log:" in done.stdout
    assert "  2 x RuntimeError: out of paint\n" in done.stdout
    assert "  2 x 'fgsm/quicknet_tiny', which this starts from, failed\n" in done.stdout
    assert "Traceback" not in done.output


def test_attack_paints_a_photo_and_prints_predictions_before_and_after(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "new folder" / "painted.png"
    small = shlex.split("--size 64 --steps 2 -c quicknet_tiny --style-layers binary:0 --style-layer-weights 1/2")
    done = artattack_says("attack", photo, "--style", "waves", "-o", out, *small)
    assert done.exit_code == 0, done.output
    with Image.open(out) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (64, 64))
        after = np.asarray(image, np.float32) / 255
    lines = done.stdout.splitlines()
    assert lines[0] == "quicknet_tiny"
    assert lines[1].split() == ["before", "after"]
    row = re.compile(r" *(\d+\.\d)%  (.+?)  +(\d+\.\d)%  (.+?) *")
    rows = [match.groups() for line in lines[2:7] if (match := row.fullmatch(line))]
    assert len(rows) == 5
    model = artattack.models.load_model("quicknet_tiny")
    logits = model.predict(after[None])[0].astype(float)
    odds = np.exp(logits - logits.max())
    best = np.sort(odds / odds.sum())[::-1][:5]
    assert [float(confidence) for _, _, confidence, _ in rows] == pytest.approx(list(100 * best), abs=0.06)
    assert lines[-1] == f"Written: {out} and {out.with_name('painted-before-after.png')}"
    assert max(map(len, lines[:-1])) <= 80


def fresh(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "artattack", *arguments], text=True, check=False, **options)


def test_python_dash_m_is_the_command() -> None:
    done = fresh("--version", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"artattack {artattack.__version__}\n", "")
    done = fresh("run", "absent.yaml", capture_output=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "artattack: absent.yaml: cannot be read: No such file or directory\n"
    assert fresh(capture_output=True).stdout.lstrip().startswith("Usage: artattack")


@pytest.mark.parametrize("command", ["models", "styles", "run --dry-run", "--help"])
def test_a_reader_that_closes_early_is_no_traceback(command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = fresh(*command.split(), stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert done.stderr == ""
