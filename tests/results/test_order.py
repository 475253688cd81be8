"""Readers see classifiers sorted by accuracy; files keep the benchmark's order."""

from pathlib import Path

import numpy as np
import pytest

from artattack.config import Benchmark
from artattack.evaluation.run import run_benchmark
from artattack.models import load_model
from artattack.photo.attack import CLASSIFIERS
from artattack.report import write_report
from artattack.report.figures import curves, flip_rates
from artattack.report.findings import key_figures, skipped
from artattack.report.gallery import gallery
from artattack.report.striking import choose_flips, striking_flips
from artattack.report.text_tables import summary_table
from artattack.report.transfer import matrices
from artattack.results.order import classifiers_by_accuracy, most_accurate_first, right_on_none
from artattack.results.records import records_frame
from artattack.results.run_folder import RunFolder, load_run

pytestmark = pytest.mark.usefixtures("models_load_once")


def dark(x: np.ndarray) -> np.ndarray:
    """Logits (N, 2): whether an image is dark, and whether it is bright."""
    brightness = 40 * (x.mean((1, 2, 3)) - 0.5)
    return np.stack([-brightness, brightness], 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of a classifier that is right on no image, then of one that is right on both."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("order")
    for name, value in (("dark", 120), ("bright", 134)):
        (folder / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40), (value,) * 3).save(folder / "photos" / name / f"{name}.png")
    names = ["dark", "bright"]
    models = {
        "wrong": load_model(lambda x: -dark(x), input_size=32, classes=names, name="wrong"),
        "right": load_model(dark, input_size=32, classes=names, name="right"),
    }
    run_benchmark(
        {
            "images": {"set": str(folder / "photos"), "size": 32},
            "classifiers": ["wrong", "right"],
            "attacks": [{"attack": "square", "source": "right", "eps": 0.1, "max_iter": 20}, {"attack": "noise"}],
            "budgets": {"l2": [4]},
            "feature_model": "quicknet_tiny",
        },
        models=models,
        out=folder / "run",
    )
    return load_run(folder / "run")


def test_the_files_keep_the_order_of_the_benchmark(run: RunFolder) -> None:
    assert run.summary["classifier"].head(2).tolist() == ["wrong", "right"]
    assert run.summary["clean_accuracy"].head(2).tolist() == [0.0, 1.0]
    assert classifiers_by_accuracy(run.summary) == ["right", "wrong"]
    assert right_on_none(run.summary) == right_on_none(run.records) == {"wrong"}
    assert right_on_none(run.summary.assign(clean_accuracy=np.nan)) == set()
    assert run.headline.caption.startswith("right, right on 100%")


def test_outputs_for_readers_begin_with_the_most_accurate_classifier(run: RunFolder, tmp_path: Path) -> None:
    both = ["right", "wrong"]
    assert [found.classifier for found in key_figures(run)] == both
    assert [found.classifier for found in skipped(run)] == both
    shown = summary_table(run)
    for _, rows in shown.groupby("attack", sort=False):
        assert rows["classifier"].tolist() == both
    for figure in flip_rates(run):
        assert list(figure.series) == [name for name in both if name in figure.series]
    assert all(matrix.classifiers == [name for name in both if name in matrix.classifiers] for matrix in matrices(run))
    assert "right" in next(iter(curves(run))).title
    assert all([view.classifier for view in picture.views] == both for picture in gallery(run, 10).pictures)
    flips, rule = striking_flips(run)
    assert {flip.views[0].classifier for flip in flips} == {"right"}
    assert "of a classifier that is right on some untouched image" in rule
    page = write_report(run, tmp_path / "report.html").read_text()
    assert page.index("seen by right") < page.index("and wrong")


def test_rows_stay_with_their_attack(run: RunFolder) -> None:
    for table in (run.summary, run.records, run.controls, run.areas):
        ordered = most_accurate_first(table, run.summary)
        assert sorted(ordered.index) == sorted(table.index)
        assert ordered["classifier"].tolist()[:2] == ["right", "wrong"]
    attacks = run.summary[["attack", "budget"]].drop_duplicates().to_numpy().tolist()
    ordered = most_accurate_first(run.summary, run.summary)
    assert str(ordered[["attack", "budget"]].drop_duplicates().to_numpy().tolist()) == str(attacks)
    assert most_accurate_first(run.summary.iloc[:0], run.summary).empty


def test_a_flip_of_a_classifier_that_is_right_on_nothing_is_shown_only_for_want_of_others() -> None:
    row = {"kind": "style", "attack": "style", "style": "waves", "source": "quick", "flip": True, "ssim": 0.9}
    row |= {"classifier_seen": False, "style_identified": True, "file": "x.png"}
    row |= {"top1_confidence_before": 0.9, "top1_confidence_after": 0.9}
    wrong = row | {"image": "a", "classifier": "wrong", "correct_before": False, "success": False}
    right = row | {"image": "b", "classifier": "right", "correct_before": True, "classifier_seen": True}
    right |= {"top1_confidence_after": 0.1}
    both = choose_flips(records_frame([wrong, right]))
    assert both.records["image"].tolist() == ["b"]
    alone = choose_flips(records_frame([wrong]))
    assert alone.records["image"].tolist() == ["a"]
    assert "Not found in this run: such a flip of a classifier that is right on some untouched image" in alone.rule
    unlabelled = choose_flips(records_frame([wrong | {"correct_before": None}]))
    assert "untouched image" not in unlabelled.rule


def test_a_photo_is_shown_to_the_classifiers_of_the_default_benchmark() -> None:
    """Its first classifier is right on few of the bundled photos, and stands last here."""
    assert tuple(reversed(Benchmark().classifiers)) == CLASSIFIERS
