"""Shape against texture: decisions counted by hand, and the studies' tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from artattack import cli
from artattack.evaluation.plan import make_plan
from artattack.evaluation.run import run_plan
from artattack.inputs.entry_classes import ENTRY_CLASSES
from artattack.inputs.images import save_png
from artattack.report import write_report
from artattack.results.records import records_frame
from artattack.results.run_folder import RunFolder, load_run
from artattack.results.scores import Scores
from artattack.results.statistics import pooled_rate, wilson
from artattack.studies import Settings, find_study, study_benchmark, write_study
from artattack.studies.cues import tally

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once", "eager")]


def test_the_entry_class_is_that_of_the_highest_mean_confidence() -> None:
    space = tuple(indices[0] for indices in ENTRY_CLASSES.values()) + ENTRY_CLASSES["dog"][1:2]
    p = np.full((2, len(space)), 0.3 / 14)
    cat, dog, other_dog = list(ENTRY_CLASSES).index("cat"), list(ENTRY_CLASSES).index("dog"), -1
    p[0, [cat, dog, other_dog]] = 0.3, 0.4, 0.0  # the dogs have more together, and less on average
    p[1, [cat, dog, other_dog]] = 0.1, 0.4, 0.2
    scores = Scores(np.log(p + 1e-9), np.log(p + 1e-9), np.array([-1, -1]), space)
    assert scores.knows_entry_classes.all()
    assert scores.entry_classes(scores.before) == ["cat", "dog"]
    few = Scores(np.zeros((1, 2)), np.zeros((1, 2)), np.array([-1]), (0, 404))
    assert not few.knows_entry_classes.any()


def test_flips_to_the_class_of_the_style() -> None:
    space = (3, 5, 8)
    before = np.eye(3)[[0, 1, 0, 1]]
    after = np.eye(3)[[1, 1, 2, 1]]
    scores = Scores(before, after, np.array([3, 3, 3, 5]), space, style_class=5)
    flips = (scores.top_after == scores.style) & (scores.top_before != scores.style)
    assert flips.tolist() == [True, False, False, False]
    assert scores.style_known.tolist() == [True, True, True, False]  # the last is of that class itself
    assert not Scores(before, after, np.array([3, 3, 3, 5]), space, style_class=9).style_known.any()
    assert not Scores(before, after, np.array([3, 3, 3, 5]), space).style_known.any()


def test_a_tally_by_hand() -> None:
    shape, texture = pd.Series([True, False, True, False, True]), pd.Series([False, True, False, False, False])
    found = tally(shape, texture, pd.Series(list("abcde")))
    assert {k: found[k] for k in ("n", "shape", "texture", "neither", "decided")} == {
        "n": 5, "shape": 3, "texture": 1, "neither": 1, "decided": 4
    }  # fmt: skip
    assert found["shape_bias"] == 0.75
    assert found["shape_bias_low"] == pytest.approx(0.3006, abs=1e-3)  # Wilson, 3 of 4
    assert found["shape_bias_high"] == pytest.approx(0.9544, abs=1e-3)
    assert np.isnan(tally(pd.Series([False]), pd.Series([False]), pd.Series(["a"]))["shape_bias"])


def test_intervals_count_photos_of_shapes_once() -> None:
    """Six textures on each of two photos, one always seen by its shape: the interval is that of 1 of 2."""
    shape = pd.Series([True] * 6 + [False] * 6)
    found = tally(shape, ~shape, pd.Series(list("aaaaaabbbbbb")))
    assert found["shape_bias"] == 0.5
    assert found["shape_bias_design_effect"] > 5
    assert (found["shape_bias_low"], found["shape_bias_high"]) != pytest.approx(
        tuple(map(float, wilson(6, 12))), abs=0.1
    )
    rows = [clean(f"cat{n}-{texture}1", said) for n, said in ((1, "cat"), (2, "dog")) for texture in ("dog", "car")]
    table = find_study("shape-bias").measure(records_frame(rows))
    study = find_study("shape-bias")
    assert "of 3, design effect" in study.answer(table)
    photos = pooled_rate([True, True, False], ["cat1", "cat1", "cat2"])  # cat2-car1 is decided for neither
    assert (table["shape_bias_low"][0], table["shape_bias_high"][0]) == (photos.low, photos.high)
    more = [painted("a", style, 1, 0.5, 0.2) for style in ("b", "e")] + cue_rows()
    ball = find_study("cue-conflict").measure(records_frame(more)).to_dict("records")[0]
    likelier = pooled_rate([True, True, True, False], list("aaab"))
    assert (ball["prefers_shape"], ball["n"]) == (3, 4)
    assert (ball["prefers_shape_rate_low"], ball["prefers_shape_rate_high"]) == (likelier.low, likelier.high)


def clean(image: str, said: str | None, classifier: str = "c", **other: Any) -> dict[str, Any]:
    return {"image": image, "kind": "clean", "attack": "clean", "classifier": classifier, "flip": False} | {
        "entry_class_before": said, **other
    }  # fmt: skip


def test_shape_bias_counts_conflicts_alone_and_sets_people_beside() -> None:
    rows = [
        clean("cat7-elephant1", "cat"),
        clean("cat3-dog1", "dog"),
        clean("cat7-car1", "dog"),
        clean("cat7-cat1", "cat"),  # no conflict
        clean("imagenet_00_243", "dog"),  # not of the set
        clean("cat7-elephant1", None, "d"),  # has not the 16 classes
    ]
    study = find_study("shape-bias")
    table = study.measure(records_frame(rows))
    assert list(table["classifier"]) == ["c", "ten people (published)", "ResNet-50 (published)"]
    own, people, resnet = table.to_dict("records")
    assert (own["n"], own["shape"], own["texture"], own["neither"], own["shape_bias"]) == (3, 1, 1, 1, 0.5)
    assert f"{people['shape_bias']:.1%}" == "95.9%"
    assert f"{resnet['shape_bias']:.1%}" == "22.1%"
    assert "c 50% [9, 91] of 2" in study.answer(table)


def painted(image: str, style: str, said: int, shape: float, texture: float, **other: Any) -> dict[str, Any]:
    return {
        "image": image, "kind": "style", "attack": "in-the-ball", "style": f"samples:{style}", "style_class": 2,
        "source": "net", "classifier": "c", "classifier_seen": False, "true_class": 1, "true_name": "one",
        "top1_class_after": said, "top1_name_after": str(said), "true_confidence_after": shape,
        "style_class_confidence_after": texture, "flip_to_style_class": said == 2, "flip": said != 1, "l2": 4.0,
    } | other  # fmt: skip


def cue_rows() -> list[dict[str, Any]]:
    right = {"correct_before": True}
    return [
        clean("a", None, **right), clean("b", None, **right), clean("e", None, **right), clean("t", None, **right),
        clean("w", None, correct_before=False),
        painted("a", "t", 1, 0.5, 0.2),
        painted("b", "t", 2, 0.1, 0.6),
        painted("a", "w", 2, 0.1, 0.6),  # whose texture's photo is not recognised itself
        painted("w", "t", 2, 0.1, 0.6),  # nor this photo
        painted("a", "t", 3, 0.3, 0.1, attack="without-bounds"),
        painted("e", "t", 1, 0.3, 0.1, flip_to_style_class=None),  # whose class it does not know
    ]  # fmt: skip


def test_cue_conflicts_count_images_with_both_photos_known() -> None:
    study = find_study("cue-conflict")
    table = study.measure(records_frame(cue_rows()))
    ball, free = table.to_dict("records")
    assert (ball["n"], ball["shape"], ball["texture"], ball["neither"]) == (2, 1, 1, 0)
    assert (ball["flips_to_style_class"], ball["prefers_shape"], ball["prefers_shape_rate"]) == (1, 1, 0.5)
    assert (free["n"], free["shape"], free["texture"], free["neither"], free["prefers_shape"]) == (1, 0, 0, 1, 1)
    assert "c, in the ball (L2 4): the shape's class 1 of 2, the texture's 1, neither 0" in study.answer(table)


def test_both_studies_write_all_files_of_a_study(tmp_path: Path) -> None:
    for name, rows in (("cue-conflict", cue_rows()), ("shape-bias", [clean("cat7-elephant1", "cat")])):
        run = RunFolder.create(tmp_path / name, {"config": {"benchmark": {"name": f"study-{name}"}}})
        for row in rows:
            if row["kind"] == "style":
                row["file"] = f"images/{row['attack']}/{row['style'][-1]}/{row['image']}.png"
                save_png(run.path / row["file"], np.full((8, 8, 3), 99, np.uint8))
            else:
                save_png(run.images / "original" / f"{row['image']}.png", np.full((8, 8, 3), 50, np.uint8))
        run.write_cell("all", rows)
        run.finish(["all"])
        answer = write_study(find_study(name), run)
        assert (run.path / "study.png").stat().st_size > 2000
        assert answer in (run.path / "study.md").read_text()


def test_textures_are_photos_of_other_classes_of_the_set() -> None:
    plan = make_plan(study_benchmark(find_study("cue-conflict"), Settings(limit=6)))
    styles = plan.benchmark.styles()
    assert len(styles) == 4
    assert {style.removeprefix("samples:") for style in styles} <= {sample.id for sample in plan.samples}
    assert {variant.entry.name for variant in plan.variants[1:]} == {"in-the-ball", "without-bounds"}


def test_cue_conflicts_through_the_engine(tmp_path: Path) -> None:
    """At the size at which photos are recognised: of two photos, each in its own texture and in the other's."""
    study = find_study("cue-conflict")
    benchmark = study_benchmark(study, Settings(backbones=("quicknet_tiny",), limit=2, steps=1))
    records, _ = run_plan(make_plan(benchmark), tmp_path / "run", cache=False)
    assert records["error"].isna().all()
    run = load_run(tmp_path / "run")
    answer = write_study(study, run)
    table = pd.read_csv(run.path / "study.csv").set_index(["attack", "classifier"])
    lite = records[(records["classifier"] == "efficientnet_lite2") & (records["style_class"] != records["true_class"])]
    for attack in ("in-the-ball", "without-bounds"):
        painted = lite[lite["attack"] == attack]
        assert len(painted) == 2  # the network knows both photos
        row = table.loc[(attack, "efficientnet_lite2")]
        assert row["n"] == 2
        assert row["shape"] == (painted["top1_class_after"] == painted["true_class"]).sum()
        assert row["shape"] + row["texture"] + row["neither"] == 2
        likelier = painted["true_confidence_after"] > painted["style_class_confidence_after"]
        assert row["prefers_shape"] == likelier.sum()
    assert answer in (run.path / "study.md").read_text()
    with Image.open(run.path / "study.png") as figure:
        assert min(figure.size) > 200


def test_untouched_images_alone_make_a_run(tmp_path: Path) -> None:
    """The set of Geirhos et al. needs no attack: images, a table and a report of a folder named like theirs."""
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for image in ("cat7-elephant1", "dog1-car2"):
        save_png(images / f"{image}.png", rng.integers(0, 256, (40, 40, 3), np.uint8))
    out = tmp_path / "out"
    done = CliRunner().invoke(cli.app, ["study", "shape-bias", "--images", str(images), "--size", "40", "-o", str(out)])
    assert done.exit_code == 0, done.output
    run = load_run(out)
    assert set(run.records["kind"]) == {"clean"}
    assert run.info["config"]["benchmark"]["images"]["crop"] == 1.0
    assert set(run.records["entry_class_before"]) <= set(ENTRY_CLASSES)
    assert run.study is not None
    assert "ResNet-50 (published) 22.1%" in write_report(run).read_text()
