"""The choice of the flips that lead a page."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from artattack.report.page import render
from artattack.report.striking import choose_flips, striking_flips
from artattack.results.records import records_frame
from artattack.results.run_folder import RunFolder


def flip(image: str, before: float, after: float, ssim: float, style: str = "waves", **more: Any) -> dict[str, Any]:
    """A record of a success that the rule would take: an unseen classifier, a recognised style."""
    usual = {
        "image": image,
        "kind": "style",
        "attack": "style",
        "style": style,
        "source": "quick",
        "classifier": "lite0",
        "classifier_seen": False,
        "top1_confidence_before": before,
        "top1_confidence_after": after,
        "flip": True,
        "success": True,
        "style_identified": True,
        "ssim": ssim,
        "file": f"images/{style}/{image}.png",
    }
    return usual | more


def chosen(*rows: dict[str, Any], limit: int = 3) -> list[str]:
    return list(choose_flips(records_frame(rows), limit).records["image"])


def test_the_score_is_confidence_before_times_after_times_ssim() -> None:
    # 0.9 * 0.5 * 0.4 = 0.18; 0.6 * 0.6 * 0.6 = 0.216; 1.0 * 0.2 * 0.9 = 0.18, later than the first of equals
    rows = flip("a", 0.9, 0.5, 0.4), flip("b", 0.6, 0.6, 0.6), flip("c", 1.0, 0.2, 0.9)
    assert chosen(*rows) == ["b", "a", "c"]
    assert chosen(*rows, limit=1) == ["b"]
    assert chosen(flip("d", 1.0, 1.0, -0.1), flip("e", 0.1, 0.1, 0.1)) == ["e", "d"]  # a negative SSIM counts as 0


def test_an_image_comes_once_and_attacks_take_turns() -> None:
    rows = [
        flip("a", 0.9, 0.9, 0.9),
        flip("b", 0.9, 0.9, 0.8),
        flip("a", 0.9, 0.9, 0.7, "marble"),
        flip("c", 0.5, 0.5, 0.5, "marble"),
        flip("d", 0.4, 0.4, 0.4, "marble"),
    ]
    taken = choose_flips(records_frame(rows), 4).records
    assert list(zip(taken["image"], taken["style"], strict=True)) == [
        ("a", "waves"), ("c", "marble"), ("b", "waves"), ("d", "marble"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "worse",
    [
        {"classifier_seen": True},
        {"classifier_seen": None, "source": "lite0"},  # a run that does not say who was read
        {"style": None, "kind": "baseline", "attack": "fgsm", "style_identified": None},
        {"style_identified": False},
        {"style_identified": None},
        {"success": False},
        {"success": None},
    ],
)
def test_conditions_come_before_scores_and_are_skipped_if_no_flip_fulfils_them(
    worse: dict[str, Any],
) -> None:
    high, low = flip("high", 1.0, 1.0, 1.0, **worse), flip("low", 0.1, 0.1, 0.1)
    assert chosen(high, low) == ["low"]
    assert chosen(high) == ["high"]


def test_a_style_attack_on_a_relative_goes_before_another_attack_on_a_stranger() -> None:
    painted = flip("painted", 0.1, 0.1, 0.1, classifier_relation="kin")
    stepped = flip("stepped", 1.0, 1.0, 1.0, style=None, style_identified=None, classifier_relation="unrelated")
    assert chosen(painted, stepped) == ["painted"]
    assert chosen(painted, stepped, flip("far", 0.1, 0.1, 0.1, classifier_relation="unrelated")) == ["far"]


@pytest.mark.parametrize(
    "never",
    [
        {"flip": False},
        {"kind": "control"},
        {"budget_distance": "l2", "budget": 5.0},
        {"classifier_weights": "random"},
        {"source_weights": "random"},
        {"file": None},
    ],
)
def test_flips_that_are_never_shown(never: dict[str, Any]) -> None:
    assert chosen(flip("a", 1.0, 1.0, 1.0, **never)) == []


def test_the_rule_names_fulfilled_and_skipped_conditions() -> None:
    rule = choose_flips(records_frame([flip("a", 0.9, 0.9, 0.9)])).rule
    assert rule == (
        "Chosen by a rule: of the flips by a style attack, of a classifier that the attack has not read, with its "
        "style recognised by an independent network, of an image that was classified correctly before, those with the "
        "highest confidence before × confidence after × SSIM; each attack at its own distance, no image twice, and "
        "attacks take turns."
    )
    rule = choose_flips(records_frame([flip("a", 0.9, 0.9, 0.9, style_identified=False, classifier_seen=True)])).rule
    assert rule.startswith("Chosen by a rule: of the flips by a style attack, of an image that")
    assert rule.endswith(
        "Not found in this run: such a flip of a classifier that the attack has not read, or with its style recognised "
        "by an independent network."
    )


def test_the_page_leads_with_them(run: RunFolder) -> None:
    flips, rule = striking_flips(run)
    assert [found.image for found in flips] == ["cat tiny", "cat1", "cat2"]  # of equal scores
    assert flips[0].views == [("lite0", False, False, "tabby 75%", "beer bottle 50%", "success")]
    assert (flips[0].attack, flips[0].distance) == ("style/waves/quick", "L2 2.0, Linf 0.030, SSIM 0.90")
    section, _, rest = render(run).partition("<main")[2].partition("</section>")
    assert section.index('id="striking"') < section.index(flips[0].perturbed) < section.index(flips[0].original)
    assert re.search(r"<h3>tabby 75% → <em>beer bottle 50%</em></h3>", section)
    assert rule in section
    assert section.count('type="range"') == 3
    assert rest.index('id="short"') < rest.index('id="verdicts"') < rest.index('id="rates"')


def test_a_run_without_flips_or_without_their_pictures_says_so(
    make_run: Callable[..., RunFolder], tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", images=1)
    for file in (run.path / "images" / "style").iterdir():
        file.unlink()
    assert striking_flips(run)[0] == []
    assert "No attack at its own distance flipped an image, or the pictures were deleted." in render(run)
    assert chosen() == []


def test_the_style_is_judged_in_words(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=1)
    told: dict[str, Any] = {"style_judge": "lite2", "style_nearest_before": "brushstrokes", "style_nearest": "waves"}

    def says(**more: Any) -> str:
        return striking_flips(_with_style(run, told | more))[0][0].style

    assert says(style_identified=True) == "style recognised by lite2 (untouched: nearest to brushstrokes)"
    assert says(style_identified=False, style_nearest="marble") == (
        "style not recognised by lite2, which finds it nearest to marble (untouched: nearest to brushstrokes)"
    )
    assert says(style_judge="none: read by the attack", style_nearest=None) == "style not judged: read by the attack"


def _with_style(run: RunFolder, told: dict[str, Any]) -> RunFolder:
    copy = RunFolder.open(run.path)
    records = run.records.assign(**dict.fromkeys(told, pd.NA))
    copy.__dict__["records"] = records_frame(
        [row | told if row["kind"] == "style" else row for row in records.to_dict("records")]
    )
    return copy
