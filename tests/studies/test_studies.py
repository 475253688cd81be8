"""Each study at its smallest: its table against its records, its sentence against its table, and its files."""

import json
import re
import statistics
from collections.abc import Callable, Iterator
from html import unescape
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import artattack.models
from artattack import cli
from artattack.attacks.options import StyleOptions
from artattack.attacks.style_entry import StyleEntry
from artattack.config import ModelSpec, load_benchmark, parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import Plan, make_plan
from artattack.evaluation.run import run_plan
from artattack.inputs.image_sets import open_image_set, read_sample, spread
from artattack.inputs.images import save_png, to_float
from artattack.inputs.styles import style_names
from artattack.models.network import layer_names
from artattack.networks.memory import attack_memory
from artattack.report import write_report
from artattack.results.progress import read_progress
from artattack.results.records import records_frame
from artattack.results.run_folder import RunFolder, load_run
from artattack.results.statistics import wilson
from artattack.studies import (
    Settings,
    architectures,
    content_layers,
    derived,
    find_study,
    quantized,
    studies,
    study_benchmark,
    tv,
    unstrided,
    weights,
    write_study,
)
from artattack.studies.content_layers import choose_by_folds, spread_ratio
from artattack.studies.halving import first_plan, front, going_on, ranks
from artattack.studies.layers import layer_sets, layers_in_turn, sums_or_convolutions
from artattack.studies.measures import sum_up
from artattack.studies.study import Study
from artattack.studies.writing import how_sure

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

NAMES = tuple(study.name for study in studies() if study.name not in ("cue-conflict", "shape-bias"))  # test_cues.py
Run = Callable[[str], RunFolder]
IMAGES = ("imagenet_00_243", "imagenet_01_559")


def artattack_says(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)), prog_name="artattack")


@pytest.fixture(scope="module", autouse=True)
def _networks_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the networks that studies make out of the user's cache, and measure no memory but where it is asked for."""
    folder = tmp_path_factory.mktemp("networks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(derived, "platformdirs", SimpleNamespace(user_cache_path=lambda name: folder))
        patch.setattr(architectures, "attack_memory", lambda benchmark, backbone: 123.0)
        yield


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
def test_the_table_follows_from_the_records(name: str, run_of: Run) -> None:
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
    # Of the second image alone content layers differ as much as style layers, of the first not at all.
    assert "is 0.35 against 0.71 in flips (ratio 0.5 [0.0, 1.0])" in study.answer(table)


def test_a_layer_is_chosen_by_the_other_images() -> None:
    # Five images, a fold each. The first alone prefers layer 1, by so much that all folds it has a say in choose that.
    scores = np.array([[0.0, 9.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    chosen, held_out, folds = choose_by_folds(scores)
    assert (chosen.tolist(), folds) == ([1, 4], 5)
    assert held_out == 0.0  # what was chosen without an image is the wrong one for it, each time
    assert choose_by_folds(scores[:1])[2] == 0


def test_the_ratio_of_spreads_and_its_interval() -> None:
    rng = np.random.default_rng(0)
    content = np.array([0.0, 0.2, 0.4]) + 0.01 * rng.normal(size=(40, 3))
    style = np.array([0.0, 0.4, 0.8]) + 0.01 * rng.normal(size=(40, 3))
    ratio, low, high = spread_ratio(content, style)
    assert low < ratio < high
    assert (low, high) == pytest.approx((0.5, 0.5), abs=0.02)
    assert np.isnan(spread_ratio(content[:1], style[:1])[1:]).all()
    assert np.isnan(spread_ratio(content, np.zeros((40, 3)))[0])


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
    # One photo in two styles is one photo: the interval is not that of 1 of 2, 9 to 91 %.
    assert (together.loc[0, "flip_rate_low"], together.loc[0, "flip_rate_high"]) == tuple(map(float, wilson(0.5, 1)))
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
    kinds = sums_or_convolutions(backbone)
    assert kinds["both"] == (*kinds["sums"], *kinds["convolutions"])
    for layers in (layers_in_turn(backbone), kinds["sums"], kinds["convolutions"]):
        found = layer_names(network, layers)
        assert len(found) == len(set(found)) == len(layers) >= 4
        order = [layer.name for layer in network.layers]
        assert sorted(found, key=order.index) == list(found)


def test_plans_hold_the_attacks_of_the_questions() -> None:
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
    assert len(cases) == 2 * 2 * 3 + 2
    of_stem = [e for e in entries("pooling", "quicknet_tiny") if e.backbone == ("quicknet_tiny-stem-1",)]
    assert [(e.pooling, e.parametrization, e.jitter) for e in of_stem] == [("max", "pixel", 0), ("max", "fourier", 0)]


def test_own_networks_paint_beside_those_of_the_registry() -> None:
    settings = Settings(
        backbones=("mine", "quicknet_tiny"), models={"mine": ModelSpec(model="quicknet_distilled")}, limit=1
    )
    own, known, untrained = study_benchmark(find_study("architectures"), settings).attacks
    assert isinstance(own, StyleEntry)
    assert isinstance(known, StyleEntry)
    assert (own.backbone, known.backbone) == (("mine",), ("quicknet_tiny",))
    assert untrained.like == ("style",)  # a file holds its weights, so that no untrained network is like it
    layers = [
        entry.style_layers
        for entry in study_benchmark(find_study("pooling"), settings).attacks
        if isinstance(entry, StyleEntry) and entry.backbone == ("mine",)
    ]
    assert layers == [None] * 6  # those of its card, with max and average pooling, pixels and spectrum, and shifts


def test_a_stem_without_strides_has_the_same_kernels_and_maps_of_sixteen_times_the_area() -> None:
    model = artattack.models.load_model(unstrided.unstrided("quicknet_tiny"))
    own = artattack.models.load_model("quicknet_tiny")
    for one, other in zip(model.network.get_weights(), own.network.get_weights(), strict=True):  # type: ignore[attr-defined]
        assert (np.sign(one) == np.sign(other)).all() if set(np.unique(one)) <= {-1, 1} else (one == other).all()
    networks = [m.network for m in (model, own)]  # type: ignore[attr-defined]
    sides = [network.get_layer(layer_names(network, ("sum:0",))[0]).output_shape[1] for network in networks]
    assert sides == [64, 16]
    assert model.style_layers == own.style_layers  # type: ignore[attr-defined]


def test_untrained_backbones_count_with_their_steps() -> None:
    plan = make_plan(study_benchmark(find_study("architectures"), Settings(backbones=("quicknet_tiny",), limit=3)))
    steps = StyleOptions().steps
    assert plan.passes == 3 * (1 + steps + steps)  # of the images as they are, the trained backbone, the untrained one


def test_the_pareto_front_and_the_trials_behind_it() -> None:
    points = np.array([[1.0, -5.0], [1.0, -9.0], [0.5, -2.0], [0.5, -5.0], [0.5, -2.0]])
    assert front(points).tolist() == [True, False, True, False, True]  # of two alike neither beats the other
    assert ranks(points).tolist() == [0, 1, 0, 1, 0]


def test_the_better_half_goes_on_and_trials_without_paint_rank_last() -> None:
    rows = []
    for n, (recognised, l2) in enumerate([((1, 1), 9.0), ((0, 0), 1.0), ((1, 0), 5.0), ((0, 0), 0.5)]):
        rows += [trial(n, image, bool(known), l2) for image, known in enumerate(recognised)]
    assert weights.better_half(records_frame(rows)) == ["trial-00", "trial-02"]
    plan = make_plan(study_benchmark(find_study("weights"), Settings(limit=4, trials=4)))
    assert plan.benchmark.batch_size == 2
    first, rest = first_plan(plan), going_on(plan, ["trial-00", "trial-02"])
    told = [(cell.variant.entry.name, cell.number) for cell in rest.cells if cell.variant.entry.name != "clean"]
    assert [(name, 0) for name in ("trial-00", "trial-01", "trial-02", "trial-03")] == [
        (cell.variant.entry.name, cell.number) for cell in first.cells if cell.variant.entry.name != "clean"
    ]
    assert {cell.key for cell in first.cells} < {cell.key for cell in rest.cells} < {cell.key for cell in plan.cells}
    assert [name for name, number in told if number == 1] == ["trial-00", "trial-02"]


def trial(number: int, image: int, identified: bool, l2: float, flip: bool = True) -> dict[str, Any]:
    options = {"style_weight": 1.0 + number, "content_weight": 0.1, "tv_weight": 0.1, "learning_rate": 0.02}
    of_one = record(f"trial-{number:02d}", flip=flip, steps=10 + number, style_layers=["x"], **options)
    return of_one | {"style_identified": identified, "l2": l2, "image": f"image{image}"}


def test_trials_are_compared_on_the_images_they_have_in_common_and_the_front_paints_something() -> None:
    rows = [trial(0, n, True, 5.0) for n in range(4)] + [trial(1, n, False, 2.0) for n in range(4)]
    rows += [trial(2, n, n == 0, 4.0) for n in range(2)]  # left after two images
    table = find_study("weights").measure(records_frame(rows))
    assert list(table["went_on"]) == [True, True, False]
    assert list(table["on_front"]) == [True, False, False]  # 1 is nearer, and paints nothing
    assert list(table["first_style_identified_rate"]) == [1.0, 0.0, 0.5]
    by_flips = find_study("weights").objectives["flips"]
    assert list(by_flips.measure(records_frame(rows))["on_front"]) == [True, False, False]
    assert "and flip most" in by_flips.question


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("tv", (0, -1)),
        ("style-layers", (0, 8)),
        ("content-layers", (0, 1, 7, 8)),
        ("pooling", (0, -2)),
        ("architectures", (0, 1)),
        ("precision", (0, 1, 2)),
    ],  # weights: below
)
def test_each_study_through_the_engine(name: str, chosen: tuple[int, ...], tmp_path: Path) -> None:
    study = find_study(name)
    settings = Settings(backbones=("quicknet_tiny",), limit=1, size=32, steps=1)
    benchmark = study_benchmark(study, settings).model_dump(mode="json")
    benchmark["attacks"] = [benchmark["attacks"][n] for n in chosen]
    records, _ = run_plan(make_plan(parse_benchmark(benchmark)), tmp_path / "run", cache=False)
    assert records["error"].isna().all()
    run = load_run(tmp_path / "run")
    answer = write_study(study, run)
    table = pd.read_csv(run.path / "study.csv")
    seen = records[(records["kind"] != "clean") & (records["classifier"] == "efficientnet_lite2")]
    assert table["l2"].to_numpy() == pytest.approx(seen["l2"].to_numpy())
    assert table["flips"].tolist() == seen["flip"].astype(int).tolist()
    assert (table["l2"] > 0).any()  # of one step, the best iterate may be the image itself
    assert answer.endswith(".")
    assert "nan" not in answer
    with Image.open(run.path / "study.png") as figure:
        assert min(figure.size) > 200
    if name == "pooling":
        assert (table["source"] == ["quicknet_tiny", "quicknet_tiny-stem-1"]).all()
        assert table["grid_4"].to_numpy() == pytest.approx(table["grid"].to_numpy(), rel=1e-4)
        assert table["grid_8"].notna().all()
        assert table["grid_16"].isna().all()  # 32 px are two periods
    if name == "architectures":
        assert table["mib"].tolist()[0] == 123.0
        assert pd.isna(table["mib"].tolist()[1])


def test_the_memory_of_an_attack_is_of_a_process_of_its_own() -> None:
    benchmark = study_benchmark(
        find_study("architectures"), Settings(backbones=("quicknet_tiny",), limit=1, size=32, steps=1)
    )
    assert 20 < attack_memory(benchmark, "quicknet_tiny") < 2000  # the weights alone are 49 MiB


def test_a_search_narrows_down_within_one_run(tmp_path: Path) -> None:
    study, path = find_study("weights"), tmp_path / "run"
    settings = Settings(backbones=("quicknet_tiny",), limit=3, size=32, steps=1, trials=2)
    plan = make_plan(study_benchmark(study, settings))
    records, _ = run_plan(first_plan(plan), path, cache=False)
    assert study.going_on is not None
    (better,) = study.going_on(records)
    before = {file.name: file.stat().st_mtime_ns for file in (path / "cells").glob("trial-*")}
    run_plan(going_on(plan, [better]), path, resume=True, cache=False)
    after = {file.name: file.stat().st_mtime_ns for file in (path / "cells").glob("trial-*")}
    assert before.items() <= after.items()  # what was done is not done again
    assert after.keys() - before.keys() == {f"{better}--stained-glass--quicknet_tiny-0001.json"}
    progress = read_progress(load_run(path))
    assert (progress.cells, progress.done, progress.next) == (2 + 2 + 1, 2 + 2 + 1, "")  # untouched, first, further
    answer = write_study(study, load_run(path))
    table = pd.read_csv(path / "study.csv").set_index("attack")
    assert table["n"].to_dict() == {name: 3 if name == better else 2 for name in ("trial-00", "trial-01")}
    assert answer.startswith("Of 2 trials 1 went on to all images")


def test_the_command_goes_on_with_the_better_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, bool, dict[str, Any]]] = []

    def done(plan: Plan, path: Path, *, resume: bool, **how: Any) -> Any:
        asked.append((len(plan.cells), resume, how))
        rows = [trial(n, image, n == 1, 5.0 - n) for n in range(4) for image in range(2)]
        return records_frame(rows), None

    def write(study: Study, run: str) -> None:
        raise ArtattackError(f"{study.name} of {run}")

    monkeypatch.setattr("artattack.studies.running.run_plan", done)
    monkeypatch.setattr("artattack.studies.running.load_run", str)
    monkeypatch.setattr("artattack.studies.running.write_study", write)
    given = ["study", "weights", "--trials", 4, "--limit", 4, "--engine", "ray", "--workers", 3, "--out", tmp_path]
    assert artattack_says(*given).stderr.endswith(f"artattack: weights of {tmp_path}\n")
    # two batches of untouched images, and of four trials one each; then a second batch of two of them
    assert [(cells, resume) for cells, resume, _ in asked] == [(2 + 4, False), (2 + 4 + 2, True)]
    assert all((how["engine"], how["workers"]) == ("ray", 3) for _, _, how in asked)


def test_total_variation_that_is_meant_is_not_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    done = artattack_says("study", "tv", "--limit", 1, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "on purpose" in done.stdout
    assert "tv_weight" not in done.stderr


def test_extending_warns_of_too_much_total_variation(tmp_path: Path) -> None:
    given = {"attacks": [{"attack": "style", "tv_weight": 1e5}], "classifiers": ["efficientnet_lite0"]}
    config = {"benchmark": parse_benchmark(given).model_dump(mode="json")}
    RunFolder.create(tmp_path / "run", {"config": config})
    done = artattack_says("extend", tmp_path / "run", "--classifier", "efficientnet_lite2", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "tv_weight: 100000 beside 10" in " ".join(done.stderr.split())


def test_precision_counts_predictions_of_the_network_itself() -> None:
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
    right = {"kind": "clean", "attack": "clean", "style": None, "style_identified": None, "correct_before": True}
    of_network = record("clean", flip=False, classifier="nets/w1a1.keras")
    clean = [of_network | right | {"image": f"image{n}"} for n in range(2)]
    clean[0]["correct_before"] = False
    study = find_study("precision")
    again = [row | {"style": "marble", "file": "again.png"} for row in rows if row["attack"] == "style"]
    pooled = study.measure(records_frame([*clean, *rows, *again]))
    assert (pooled["own_n"][0], pooled["own_flips"][0]) == (4, 0)  # of two photos: no more is known than of 0 of 2
    assert pooled["own_flip_rate_high"][0] == pytest.approx(float(wilson(0, 2)[1]))
    table = study.measure(records_frame([*clean, *rows]))
    found = table[["network", "attack", "flips", "own_flips", "own_n", "own_flip_rate", "right", "right_n"]]
    assert found.to_numpy().tolist() == [
        ["w1a1", "style", 1, 0, 2, 0.0, 1, 2],
        ["w1a1", "mi-fgsm", 2, 1, 2, 0.5, 1, 2],
        ["w1a1", "noise", 1, 2, 2, 1.0, 1, 2],
    ]
    assert study.answer(table) == (
        "w1a1: right on 1 of 2, style recognised in 2 of 2, momentum attacks flip another network in 2 of 2, "
        "and itself in 1 of 2, noise 1 of 2 and 2 of 2."
    )


def test_precision_scores_its_networks_and_makes_those_of_few_bits() -> None:
    few = "efficientnet_lite0-w4a4"
    settings = Settings(backbones=("quicknet_tiny", few), limit=1)
    plan = make_plan(study_benchmark(find_study("precision"), settings))
    assert plan.benchmark.classifiers == ("efficientnet_lite2", "efficientnet_lite0", "quicknet_tiny", few)
    file = Path(plan.benchmark.models[few].model)
    made = file.stat().st_mtime_ns
    assert Path(study_benchmark(find_study("precision"), settings).models[few].model) == file
    assert file.stat().st_mtime_ns == made  # once
    model = artattack.models.load_model(str(file))
    assert model.style_layers == artattack.models.load_model("efficientnet_lite0").style_layers
    samples = spread(open_image_set("samples").samples, 4)
    x = to_float(np.stack([read_sample(sample, 224, 0.875) for sample in samples]))
    whole = artattack.models.load_model("efficientnet_lite0").predict(x).argmax(1)
    assert (model.predict(x).argmax(1) == whole).sum() >= 3  # by chance, one in a thousand
    own = [name for name in find_study("precision").backbones if not quantized.is_quantized(name)]
    assert own == ["efficientnet_lite0", "quicknet_tiny"]


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
        ("study tv --trials 4", "trials: the study tv is not a search"),
        ("study tv --objective l2", "objective: the study tv has no choice of one"),
        ("study weights --objective l3", "unknown objective 'l3'"),
        ("study shape-bias --models nowhere.yaml", "nowhere.yaml"),
    ],
)
def test_mistakes_are_one_line(arguments: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = artattack_says(*arguments.split())
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_models_of_a_file_are_scored_instead_of_the_studys(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("models: {mine: {model: quicknet_tiny}}\nclassifiers: [mine, efficientnet_lite1]\nattacks: []\n")
    done = artattack_says("study", "tv", "--models", file, "--backbone", "mine", "--limit", 3, "--dry-run")
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    assert "classifiers mine, efficientnet_lite1 " in text
    assert "/stained-glass/mine" in text


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
    with pytest.raises(ArtattackError, match=r"study\.json: not the result of a study"):
        _ = run.study


def test_an_interrupted_study_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(plan: Any, path: Path, **_: Any) -> None:
        RunFolder.create(path, {"config": {}})
        raise KeyboardInterrupt

    monkeypatch.setattr("artattack.studies.running.run_plan", interrupted)
    out = tmp_path / "out"
    file = tmp_path / "mine.yaml"
    file.write_text("{}")
    given = ["study", "tv", f"--models={file}", "--backbone=quicknet_tiny", "--limit=3", "--steps=7", "--seed=2"]
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


def test_the_front_of_a_search_holds_the_pareto_optimal_trials() -> None:
    rows = []
    for number, (identified, l2) in enumerate([((1, 1), 5.0), ((1, 1), 9.0), ((1, 0), 2.0), ((0, 0), 1.0)]):
        rows += [trial(number, image, bool(known), l2) for image, known in enumerate(identified)]
    table = find_study("weights").measure(records_frame(rows))
    assert list(table["on_front"]) == [True, False, True, False]  # 1 moves further than 0, and 3 paints nothing
    answer = find_study("weights").answer(table)
    assert answer.startswith(
        "Of 4 trials 4 went on to all images, and 2 of those are beaten by no other in both recognition and L2: "
        "1 of 2 at L2 2, flips 2 of 2 (trial-02"
    )
    shares = weights.importances(table)
    assert set(shares) == {"recognition", "L2"}
    assert sum(shares["L2"].values()) == pytest.approx(1.0)


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
    goals = table[["first_style_identified_rate", "first_l2"]].to_numpy()
    assert np.array([trial.values for trial in kept.trials]) == pytest.approx(goals)
    assert [trial.user_attrs["attack"] for trial in kept.trials] == list(table["attack"])
    kept.sampler = optuna.samplers.TPESampler(seed=0)  # which goes on from what it finds there
    assert kept.ask().suggest_categorical("layers", kept.trials[0].distributions["layers"].choices)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (1, "This rests on 1 image: too few to show any difference."),
        (5, "This rests on 5 images: too few to show any difference."),
        (24, "This rests on 24 images, which show differences of 40 points or more."),
    ],
)
def test_an_answer_says_on_how_many_images_it_rests(images: int, words: str) -> None:
    records = pd.DataFrame({"image": [f"i{n % images}" for n in range(2 * images)] + ["broken"]})
    records["error"] = [None] * (2 * images) + ["no image"]
    assert how_sure(records) == words


def test_trials_spread_over_their_ranges() -> None:
    plan = make_plan(study_benchmark(find_study("weights"), Settings(limit=1, steps=80)))
    trials = [entry for entry in plan.benchmark.attacks if isinstance(entry, StyleEntry)]
    assert len(trials) == 16
    # A Sobol sequence of 16 has one point in each sixteenth of each axis.
    bins = {round(float(np.floor(16 * np.log10(entry.style_weight) / 2))) for entry in trials}
    assert bins == set(range(16))
    assert {entry.style_layers for entry in trials} == set(layer_sets("quicknet_distilled").values())
    of_flips = study_benchmark(find_study("weights"), Settings(limit=1, trials=3))
    assert len(of_flips.attacks) == 3
    assert min(entry.steps for entry in trials) >= 20
    assert max(entry.steps for entry in trials) <= 80
