"""A small run made up by hand, without TensorFlow."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artattack.inputs.images import save_png
from artattack.results.run_folder import RunFolder

EVIL = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 1'>\"&amp;"


@pytest.fixture(scope="session")
def evil() -> str:
    """A text that would run, were it not text."""
    return EVIL


def record(image: str, attack: str, kind: str, flip: bool, **values: Any) -> dict[str, Any]:
    usual = {
        "image": image,
        "true_class": 281,
        "true_name": "tabby",
        "kind": kind,
        "attack": attack,
        "classifier": "lite0",
        "classifier_weights": "imagenet",
        "classes": 1000,
        "in_label_space": True,
        "top1_class_before": 281,
        "top1_name_before": "tabby",
        "top1_confidence_before": 0.75,
        "top1_class_after": 440 if flip else 281,
        "top1_name_after": "beer bottle" if flip else "tabby",
        "top1_confidence_after": 0.5,
        "correct_before": True,
        "flip": flip,
        "success": flip,
        "top5_flip": False,
        "rank_after": 1 + flip,
        "confidence_shift": -0.25,
        "true_confidence_shift": -0.25,
        "kl_divergence": 0.5,
        "l2": 2.0,
        "linf": 0.03,
        "ssim": 0.9,
        "delta_e": 1.5,
        "checkerboard": 1.0,
        "file": f"images/{attack}/{image}.png",
        "seconds": 0.25,
    }
    return usual | values


def _make_run(
    path: Path, *, images: int = 8, name: str = "tiny", weights: str = "bundled", distance: str = "l2"
) -> RunFolder:
    """A run of one style attack, one baseline and noise, free and at two budgets, as one classifier sees them.

    One image is called `cat NAME`; `weights` are those of the network `quick` that the style attack reads.
    """
    style = {"style": "waves", "source": "quick", "source_weights": weights, "backbone": "quick"}
    rows = []
    for i in range(images):
        image = f"cat{i}" if i else f"cat {name}"
        rows.append(
            record(image, "clean", "clean", False, file=f"images/original/{image}.png", l2=0.0, linf=0.0, ssim=1.0)
        )
        rows.append(record(image, "style", "style", i < 6, **style))
        rows.append(record(image, "fgsm", "baseline", i < 2, source="lite0", source_weights="imagenet"))
        rows.append(record(image, "noise", "control", i < 1, matched_to="style/waves/quick"))
        for budget, more in zip((0.9, 0.5) if distance == "ssim" else (1.0, 2.0), (0, 2), strict=True):
            at = {"budget_distance": distance, "budget": budget, distance: budget}
            rows.append(record(image, "style", "style", i < 4 + more, **style, **at))
            rows.append(record(image, "noise", "control", i < more, **at))
    rows.append({"image": "broken", "error": f"broken.png: not an image {EVIL}"})
    config = {
        "benchmark": {"name": name, "seed": 3, "classifiers": ["lite0"]},
        "models": {
            "quick": {"weights": weights, "sha256": "ab", "binary": True},
            "lite0": {"weights": "imagenet", "sha256": "cd", "binary": False},
        },
    }
    run = RunFolder.create(
        path, {"config": config, "image_set": {"name": "cats", "note": ""}, "versions": {"numpy": "1"}}
    )
    rng = np.random.default_rng(0)
    for row in rows:
        if "file" in row and not (run.path / row["file"]).exists() and "/" not in row["image"]:
            save_png(run.path / row["file"], rng.integers(0, 256, (16, 16, 3), np.uint8))
    run.write_cell("all", rows)
    run.finish(["all"])
    return RunFolder.open(path)


@pytest.fixture(scope="session")
def make_run() -> Callable[..., RunFolder]:
    return _make_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return _make_run(tmp_path_factory.mktemp("run") / "tiny")


FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "hide-scrollbars",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a window; its tests are skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="the browser test needs selenium")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver_path = shutil.which("chromedriver")
    if not (chromium and driver_path):
        pytest.skip("the browser test needs Chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    yield driver
    driver.quit()
