"""Each study at its smallest: its table against its records, its sentence against its table, and what it leaves."""

import json
import re
import statistics
from collections.abc import Callable
from html import unescape
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import artattack.models
from artattack import cli
from artattack.attacks.style_entry import StyleEntry
from artattack.config import load_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import Plan, make_plan
from artattack.inputs.images import save_png
from artattack.inputs.styles import style_names
from artattack.models.network import layer_names
from artattack.report import write_report
from artattack.results.records import records_frame
from artattack.results.run_folder import RunFolder, load_run
from artattack.studies import (
    Settings,
    content_layers,
    find_study,
    studies,
    study_benchmark,
    tv,
    weights,
    write_study,
)
from artattack.studies.layers import layers_in_turn, sums_or_convolutions
from artattack.studies.measures import sum_up

pytestmark = pytest.mark.usefixtures("models_load_once")

NAMES = tuple(study.name for study in studies() if study.name not in ("cue-conflict", "shape-bias"))  # test_cues.py
Run = Callable[[str], RunFolder]
IMAGES = ("imagenet_00_243", "imagenet_01_559")


def artattack_says(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)), prog_name="artattack")


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of a study's plan for one backbone and two images, with outcomes by chance; each made once."""
    runs: dict[str, RunFolder] = {}

    def run(name: str) -> RunFolder:
        if name not in runs:
            study, settings = find_study(name), Settings(backbones=("quicknet_tiny",), limit=2)
            runs[name] = RunFolder(tmp_path_factory.mktemp("studies") / name)
            fill_by_chance(runs[name], make_plan(study_benchmark(study, settings)))
            write_study(study, runs[name])
        return runs[name]

    return run


def fill_by_chance(run: RunFolder, plan: Plan) -> None:
    """Write what a run of the plan leaves, had it painted noise and drawn its results by lot."""
    RunFolder.create(run.path, {"config": {"benchmark": plan.benchmark.model_dump(mode="json")}})
    rng = np.random.default_rng(0)
    rows = []
    for variant, image in product(plan.variants, IMAGES):
        file = variant.file(image)
        save_png(run.path / file, rng.integers(0, 256, (16, 16, 3), np.uint8))
        of_attack = {
            "kind": variant.kind,
            "attack": variant.entry.name,
            "parameters": json.dumps(variant.entry.parameters),
            "style": variant.style,
            "source": variant.source,
            "matched_to": variant.matched.label if variant.matched else None,
            "style_nearest": str(rng.choice(style_names())),
            "style_seen_after": rng.random(),
            "checkerboard": rng.exponential(),
            "total_variation": rng.random(),
            "l2": rng.random(),
            "ssim": rng.random(),
            "seconds": 1.0,
            "image": image,
            "file": file.as_posix(),
        }
        judged = variant.style or (variant.matched.style if variant.matched else None)
        for classifier in plan.benchmark.classifiers:
            seen = {
                "classifier": classifier,
                "classifier_seen": False,
                "flip": bool(rng.integers(2)),
                "top1_name_before": "tabby",
                "top1_name_after": "post office",
                "top1_confidence_before": rng.random(),
                "top1_confidence_after": rng.random(),
            }
            rows.append(of_attack | seen | {"style_identified": of_attack["style_nearest"] == judged})
    run.write_cell("all", rows)
    run.finish(["all"])


def rows_by_hand(run: RunFolder, by: list[str]) -> list[dict[str, Any]]:
    """Work a study's table out anew from the CSV of the records, for the classifier that no attack here reads."""
    records = pd.read_csv(run.path / "records.csv")
    records = records[(records["kind"] != "clean") & (records["classifier"] == "efficientnet_lite2")]
    # A control has that of the attack whose distance it copies.
    records["source"] = records["source"].fillna(records["matched_to"].astype("string").str.split("/").str[1])
    rows = []
    for case, group in records.groupby(by, sort=False):
        rows.append(
            dict(zip(by, case, strict=True))
            | {
                "n": len(group),
                "flips": int(sum(group["flip"] == True)),  # noqa: E712
                "styles_identified": int(sum(group["style_nearest"] == group["style"].fillna(""))),
                "grid": statistics.median(group["checkerboard"]),
                "total_variation": statistics.fmean(group["total_variation"]),
                "l2": statistics.fmean(group["l2"]),
                "style_seen": statistics.fmean(group["style_seen_after"]),
            }
        )
    return rows


@pytest.mark.parametrize("name", NAMES)
def test_the_table_is_what_the_records_give(name: str, run_of: Run) -> None:
    run = run_of(name)
    by = ["attack", "source", "style"] if name == "art-attack" else ["attack", "source"]
    table = pd.read_csv(run.path / "study.csv")
    expected = rows_by_hand(run, by)
    assert len(table) == len(expected) > 1
    for row, own in zip(table.to_dict("records"), expected, strict=True):
        assert {key: row[key] for key in own} == pytest.approx(own)
        assert row["n"] == 2
        assert row["flip_rate"] == own["flips"] / 2
        assert row["style_identified_rate"] == own["styles_identified"] / 2
        assert row["flip_rate_low"] <= row["flip_rate"] <= row["flip_rate_high"]
        assert row["classifier"] == "efficientnet_lite2"


@pytest.mark.parametrize("name", NAMES)
def test_a_study_leaves_its_table_sentence_and_figure_and_opens_the_report(name: str, run_of: Run) -> None:
    run, study = run_of(name), find_study(name)
    told = run.study
    assert told is not None
    assert (told.name, told.question) == (name, study.question)
    text = (run.path / "study.md").read_text()
    for words in (study.question, study.lesson, told.answer, "![", "(study.png)"):
        assert words in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(pd.read_csv(run.path / "study.csv"))
    with Image.open(run.path / "study.png") as figure:
        assert min(figure.size) > 200
    assert (run.path / "study.svg").read_text().startswith("<?xml")
    page = write_report(run).read_text()
    assert page.index('<section id="study">') < page.index('<section id="striking">')
    assert 'class="drawing" src="data:image/png;base64,' in page
    assert run.info["config"]["benchmark"]["name"] == f"study-{name}"


def test_the_sentence_on_total_variation_counts_all_cases(run_of: Run) -> None:
    table = pd.read_csv(run_of("tv").path / "study.csv")
    answer = run_of("tv").study.answer  # type: ignore[union-attr]
    flips, known = (
        {weight: int(table.loc[table["tv_weight"] == weight, column].sum()) for weight in tv.WEIGHTS}
        for column in ("flips", "styles_identified")
    )
    best = max(known, key=lambda weight: known[weight])
    assert answer.startswith(f"Of 4 paintings the style of {known[1e-4]} is recognised at a weight of 0.0001")
    assert f"of most at {best:g} ({known[best]})" in answer
    assert f"flips are {flips[1e-4]} at 0.0001 and {flips[1e5]} at 100000, " in answer


def test_content_layers_compare_standard_deviations() -> None:
    rows = []
    for role, layer, flips in (
        ("content", "a", (1, 1)), ("content", "b", (1, 0)), ("style", "a", (0, 0)), ("style", "b", (1, 1))
    ):  # fmt: skip
        rows += [
            record(f"{role}-net-{layer}", flip=bool(flip), **{f"{role}_layers": [layer]}) | {"image": f"image{n}"}
            for n, flip in enumerate(flips)
        ]
    study = find_study("content-layers")
    table = study.measure(records_frame(rows))
    assert list(zip(table["changed"], table["layer"], table["flip_rate"], strict=True)) == [
        ("content", "a", 1.0), ("content", "b", 0.5), ("style", "a", 0.0), ("style", "b", 1.0)
    ]  # fmt: skip
    spreads = content_layers.spread(table)["flip_rate"]
    assert spreads["net", "content"] == pytest.approx(0.5 / 2**0.5)  # of two numbers: their distance over the root of 2
    assert spreads["net", "style"] == pytest.approx(1 / 2**0.5)
    assert "is 0.35 against 0.71 in flips" in study.answer(table)


def record(attack: str, *, flip: bool, classifier: str = "c", seen: bool = False, **options: Any) -> dict[str, Any]:
    return {
        "image": "image",
        "kind": "style",
        "attack": attack,
        "parameters": json.dumps(options),
        "style": "waves",
        "source": "net",
        "classifier": classifier,
        "classifier_seen": seen,
        "flip": flip,
        "style_identified": True,
        "style_seen_after": 0.5,
        "ssim": 0.5,
        "file": f"{attack}.png",
    }


def test_flips_are_those_of_the_first_classifier_that_was_not_read() -> None:
    rows = [
        record("a", flip=True, classifier="first", seen=True),
        record("a", flip=False, classifier="second"),
        record("b", flip=True, classifier="first"),
        record("b", flip=False, classifier="second"),
        record("c", flip=True) | {"error": "broken"},
    ]
    table = sum_up(records_frame(rows))
    assert list(zip(table["attack"], table["classifier"], table["flips"], strict=True)) == [
        ("a", "second", 0),
        ("b", "first", 1),
    ]


def test_styles_are_taken_together_or_apart() -> None:
    rows = [record("a", flip=style == "waves") | {"style": style, "file": style} for style in ("waves", "marble")]
    together, apart = sum_up(records_frame(rows)), sum_up(records_frame(rows), by_style=True)
    assert list(zip(together["n"], together["flips"], strict=True)) == [(2, 1)]
    assert list(zip(apart["style"], apart["n"], apart["flips"], strict=True)) == [("waves", 1, 1), ("marble", 1, 0)]


@pytest.mark.parametrize("study", studies(), ids=lambda study: study.name)
def test_a_study_without_results_says_so(study: Any, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", {"config": {"benchmark": {"name": "x"}}})
    run.write_cell("all", [record("a", flip=True) | {"error": "broken"}])
    run.finish(["all"])
    assert write_study(study, run).startswith("Nothing was measured")
    assert not (run.path / "study.png").exists()


@pytest.mark.parametrize("backbone", ["quicknet_distilled", "quicknet_tiny", "efficientnet_lite0"])
def test_the_layers_of_studies_are_there(backbone: str) -> None:
    network = artattack.models.load_model(backbone).network
    for layers in (layers_in_turn(backbone), *sums_or_convolutions(backbone).values()):
        found = layer_names(network, layers)
        assert len(found) == len(set(found)) == len(layers) >= 4
        order = [layer.name for layer in network.layers]
        assert sorted(found, key=order.index) == list(found)


def test_plans_are_what_the_questions_need() -> None:
    def entries(name: str, *backbones: str) -> list[StyleEntry]:
        plan = make_plan(study_benchmark(find_study(name), Settings(backbones=backbones, limit=1)))
        return [entry for entry in plan.benchmark.attacks if isinstance(entry, StyleEntry)]

    decades = [entry.tv_weight for entry in entries("tv") if entry.parametrization == "pixel"]
    assert decades == [1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100, 1000, 1e4, 1e5]
    assert {(entry.parametrization, entry.jitter) for entry in entries("tv")} == {("pixel", 0), ("fourier", 16)}
    assert entries("tv")[0].backbone == ("quicknet_distilled", "efficientnet_lite0")
    layers = [(entry.init, entry.style_layers) for entry in entries("style-layers", "quicknet_distilled")]
    assert layers[0] == ("content", ("activation:0",))
    assert len(layers) == len(set(layers)) == 2 * (7 + 1)
    assert all(entry.content_weight > 0 for entry in entries("content-layers"))
    cases = {(e.pooling, e.parametrization, e.style_layers, e.jitter) for e in entries("pooling", "quicknet_tiny")}
    assert len(cases) == 2 * 2 * 2 + 2


def test_precision_counts_what_happens_to_the_network_itself() -> None:
    rows = []
    for name, source, matched, flips, own in (
        ("style", "nets/w1a1.keras", None, (True, False), (False, False)),
        ("mi-fgsm", "nets/w1a1.keras", None, (True, True), (True, False)),
        ("noise", None, "mi-fgsm/nets/w1a1.keras", (False, True), (True, True)),
    ):
        for classifier, outcomes in (("other", flips), ("nets/w1a1.keras", own)):
            rows += [
                record(name, flip=flip, classifier=classifier, seen=classifier == source)
                | {"image": f"image{n}", "source": source, "matched_to": matched}
                | ({} if name == "style" else {"style": None, "style_identified": None})
                for n, flip in enumerate(outcomes)
            ]
    study = find_study("precision")
    table = study.measure(records_frame(rows))
    found = table[["network", "attack", "flips", "own_flips", "own_n", "own_flip_rate"]].to_numpy().tolist()
    assert found == [
        ["w1a1", "style", 1, 0, 2, 0.0],
        ["w1a1", "mi-fgsm", 2, 1, 2, 0.5],
        ["w1a1", "noise", 1, 2, 2, 1.0],
    ]
    assert study.answer(table) == (
        "w1a1: style recognised in 2 of 2, momentum attacks flip another network in 2 of 2, and itself in 1 of 2, "
        "noise 1 of 2 and 2 of 2."
    )


def test_precision_scores_its_networks_and_asks_for_some() -> None:
    plan = make_plan(study_benchmark(find_study("precision"), Settings(backbones=("quicknet_tiny",), limit=1)))
    assert plan.benchmark.classifiers == ("efficientnet_lite2", "efficientnet_lite0", "quicknet_tiny")
    with pytest.raises(ArtattackError, match="has no backbones of its own: train some, artattack train"):
        study_benchmark(find_study("precision"), Settings())


def test_studies_are_listed_with_their_question_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    done = artattack_says("study")
    assert done.exit_code == 0
    text = " ".join(done.stdout.split())
    for study in studies():
        assert re.search(rf"{study.name} +{study.minutes} min", done.stdout)
    assert "How much total variation is right" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("study style-layer", "unknown study 'style-layer'"),
        ("study tv --backbone quicknet_tinny", "unknown model 'quicknet_tinny'"),
        ("study tv --images nowhere", "nowhere"),
        ("study tv --resume", "--resume needs --out"),
    ],
)
def test_mistakes_are_one_line(arguments: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = artattack_says(*arguments.split())
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_its_packages_a_study_ends_before_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artattack.studies.writing.find_spec", lambda name: None)
    done = artattack_says("study", "weights")
    assert done.exit_code == 2
    assert done.stderr == "artattack: the study weights needs optuna: pip install 'artattack[search]'\n"
    monkeypatch.setattr("artattack.report.matplotlib_figures.find_spec", lambda name: None)
    done = artattack_says("study", "tv")
    assert done.exit_code == 2
    assert done.stderr == "artattack: figures need Matplotlib: pip install 'artattack[figures]'\n"


def test_a_damaged_study_is_one_line(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", {"config": {}})
    (run.path / "study.json").write_text('{"name": "tv"}')
    with pytest.raises(ArtattackError, match=r"study\.json: not what a study leaves"):
        _ = run.study


def test_an_interrupted_study_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(plan: Any, path: Path, **_: Any) -> None:
        RunFolder.create(path, {"config": {}})
        raise KeyboardInterrupt

    monkeypatch.setattr("artattack.evaluation.run.run_plan", interrupted)
    out = tmp_path / "out"
    given = ["study", "tv", "--backbone=quicknet_tiny", "--limit=3", "--steps=7", "--seed=2"]
    done = artattack_says(*given, "--out", out)
    assert done.exit_code == 130
    again = done.stderr[done.stderr.index("to go on: ") :].removeprefix("to go on: ").split()
    assert again == ["artattack", *given, "--resume", "--out", str(out)]


def test_a_study_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    tiny = ["art-attack", "--backbone", "quicknet_tiny", "--limit", 1, "--size", 32, "--steps", 2, "--out", out]
    done = artattack_says("study", *tiny)
    assert done.exit_code == 0, done.output
    table = pd.read_csv(out / "study.csv")
    records = pd.read_csv(out / "records.csv").query("kind == 'style' and classifier == 'efficientnet_lite2'")
    assert table[["style", "l2", "flips"]].to_numpy().tolist() == [
        [row.style, row.l2, int(row.flip)] for row in records.itertuples()
    ]
    told = load_run(out).study
    assert told is not None
    assert told.answer in done.stdout
    assert told.answer in unescape((out / "report.html").read_text())
    before = (out / "study.csv").read_bytes()
    (out / "study.csv").unlink()
    assert artattack_says("study", *tiny, "--resume").exit_code == 0
    assert (out / "study.csv").read_bytes() == before


def test_the_front_of_a_search_is_what_no_other_trial_beats() -> None:
    rows = []
    for number, (identified, l2) in enumerate([(True, 5.0), (True, 9.0), (False, 2.0), (False, 5.0)]):
        options = {"style_weight": 1.0 + number, "tv_weight": 0.1, "learning_rate": 0.02, "steps": 10 + number}
        rows.append(record(f"trial-0{number}", flip=True, **options) | {"style_identified": identified, "l2": l2})
    table = find_study("weights").measure(records_frame(rows))
    assert list(table["on_front"]) == [True, False, True, False]  # 1 moves further than 0, 3 further than 2
    answer = find_study("weights").answer(table)
    assert answer.startswith(
        "2 of 4 trials are beaten by no other in both recognition and L2: 0 of 1 at L2 2 (trial-02"
    )
    shares = weights.importances(table)
    assert set(shares) == {"style_identified_rate", "l2"}
    assert sum(shares["l2"].values()) == pytest.approx(1.0)


def test_a_search_leaves_a_benchmark_and_a_journal_to_go_on_with(run_of: Run) -> None:
    run = run_of("weights")
    table = pd.read_csv(run.path / "study.csv")
    front = load_benchmark(run.path / "front.yaml")
    assert [entry.name for entry in front.attacks] == list(table.loc[table["on_front"], "attack"])
    for entry in front.attacks:
        assert isinstance(entry, StyleEntry)
        row = table.set_index("attack").loc[entry.name]
        assert (entry.style_weight, entry.steps) == (row["style_weight"], row["steps"])
    backend = optuna.storages.journal.JournalFileBackend(str(run.path / "search.journal"))
    kept = optuna.load_study(study_name="weights", storage=optuna.storages.JournalStorage(backend))
    goals = table[["style_identified_rate", "l2"]].to_numpy()
    assert np.array([trial.values for trial in kept.trials]) == pytest.approx(goals)
    assert {trial.user_attrs["attack"] for trial in kept.best_trials} == {entry.name for entry in front.attacks}


def test_trials_spread_over_their_ranges() -> None:
    plan = make_plan(study_benchmark(find_study("weights"), Settings(limit=1, steps=80)))
    trials = [entry for entry in plan.benchmark.attacks if isinstance(entry, StyleEntry)]
    assert len(trials) == 16
    # A Sobol sequence of 16 has one point in each sixteenth of each axis.
    bins = {round(float(np.floor(16 * np.log10(entry.style_weight) / 2))) for entry in trials}
    assert bins == set(range(16))
    assert min(entry.steps for entry in trials) >= 20
    assert max(entry.steps for entry in trials) <= 80
