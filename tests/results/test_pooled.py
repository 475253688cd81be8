"""Attacks pooled over styles and classifiers: photos count once, in rates, intervals and tests."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from artattack.results.pooled import pool_attacks, pooled_in_words
from artattack.results.records import records_frame
from artattack.results.statistics import sign_flip

PHOTOS, STYLES, CLASSIFIERS = 10, ("waves", "marble"), ("squeeze", "hardnet")


def rows(attack: str, flips: int, relation: str = "unrelated", **values: Any) -> list[dict[str, Any]]:
    """Records of an attack that flips the first photos, in each style and as each classifier sees them."""
    control = attack in ("noise", "blur")
    return [
        {
            "image": f"i{n}",
            "kind": "control" if control else "style",
            "attack": attack,
            "style": None if control else style,
            "source": None if control else "net",
            "matched_to": f"style/{style}/net" if control else None,
            "classifier": classifier,
            "classifier_seen": False,
            "classifier_relation": relation,
            "flip": n < flips,
            "l2": 20.0,
        }
        | values
        for style in STYLES
        for classifier in CLASSIFIERS
        for n in range(PHOTOS)
    ]


def pooled(*groups: list[dict[str, Any]]) -> pd.DataFrame:
    return pool_attacks(records_frame([row for group in groups for row in group]))


def test_seven_photos_are_seven_and_not_twenty_eight() -> None:
    (row,) = pooled(rows("style", 8), rows("noise", 1)).to_dict("records")
    assert (row["styles"], row["classifiers"], row["n"], row["photos"], row["flips"]) == (2, 2, 40, 10, 32)
    assert (row["flip_rate"], row["design_effect"]) == (0.8, pytest.approx(39 / 9, rel=0.1))
    assert (row["control"], row["n_compared"], row["control_flip_rate"]) == ("noise", 40, 0.1)
    assert row["difference"] == pytest.approx(0.7)
    assert row["p"] == pytest.approx(2 / 2**7)  # each of seven photos may fall either way
    assert row["verdict"] == "beats"


def test_four_photos_are_too_few_however_many_rows_they_have() -> None:
    (row,) = pooled(rows("style", 5), rows("noise", 1)).to_dict("records")  # 16 rows, all for the attack
    assert (row["p"], row["verdict"]) == (pytest.approx(2 / 2**4), "no better")


def test_every_control_has_to_be_beaten_and_one_is_enough_to_be_worse() -> None:
    table = pooled(rows("style", 8), rows("noise", 0), rows("blur", 7))
    assert (table["controls"][0], table["control"][0], table["verdict"][0]) == (2, "blur", "no better")
    worse = pooled(rows("style", 0), rows("noise", 0), rows("blur", 9))
    assert (worse["control"][0], worse["verdict"][0]) == ("blur", "worse")
    assert worse["p"][0] == pytest.approx(2 * 2 / 2**9)  # of two controls, and two claims


def test_relations_are_pooled_separately_and_single_members_left_out() -> None:
    kin = [row | {"classifier": f"{row['classifier']}-kin"} for row in rows("style", 2, "kin")]
    seen = [row | {"classifier": "net"} for row in rows("style", 9, "seen") if row["classifier"] == "squeeze"]
    alone = [row | {"attack": "pgd"} for row in seen if row["style"] == "waves"]
    untrained = [row | {"classifier": "blank", "classifier_weights": "random"} for row in seen]
    table = pooled(seen, kin, rows("style", 5), alone, untrained)
    assert table[["attack", "relation", "flips", "classifiers"]].values.tolist() == [
        ["style", "unrelated", 20, 2],
        ["style", "kin", 8, 2],
        ["style", "seen", 18, 1],
    ]
    assert set(table["verdict"]) == {"no control"}
    assert pooled().empty


def test_a_control_elsewhere_does_not_count() -> None:
    far = [row | {"l2": 30.0} for row in rows("noise", 0)]
    table = pooled(rows("style", 8), far)
    assert (table["controls"][0], table["verdict"][0]) == (0, "no control")


def test_images_that_failed_count_nowhere() -> None:
    failed = [row | {"flip": None, "error": "broken"} if row["image"] == "i0" else row for row in rows("style", 8)]
    (row,) = pooled(failed, rows("noise", 1)).to_dict("records")
    assert (row["n"], row["photos"], row["flips"], row["n_compared"]) == (36, 9, 28, 36)


def test_at_budgets_controls_of_the_budget_count() -> None:
    at = {"budget_distance": "l2", "budget": 20.0, "matched_to": None}
    noise = [row for row in rows("noise", 1, **at) if row["matched_to"] is None][: PHOTOS * len(CLASSIFIERS)]
    (row,) = pooled(rows("style", 8, **at), noise).to_dict("records")
    assert (row["budget"], row["n_compared"], row["verdict"]) == (20.0, 40, "beats")


def test_controls_with_a_style_stand_beside_their_own() -> None:
    """At a budget, all controls are at the attack's distance, those with another style mixed in among them."""
    at = {"budget_distance": "l2", "budget": 20.0, "matched_to": None}
    blends = []
    for style, flips in (("waves", 1), ("marble", 9)):
        blends += [row | {"style": style} for row in rows("blur", flips, **at)[: PHOTOS * len(CLASSIFIERS)]]
    table = pooled(
        rows("style", 8, **at),
        blends,
        [row | {"attack": "pgd", "style": None} for row in rows("style", 8, **at)][: PHOTOS * len(CLASSIFIERS)],
    )
    style, pgd = table.to_dict("records")
    assert (style["controls"], style["control"], style["n_compared"], style["control_flip_rate"]) == (
        1,
        "blur",
        40,
        0.5,
    )
    assert (pgd["controls"], pgd["n_compared"]) == (2, 20)  # without a style of its own, each is another control
    assert pgd["control"] == "blur/marble"


def test_the_strongest_attack_is_told_in_words() -> None:
    table = pooled(rows("style", 8), rows("noise", 1), rows("weak", 0))
    (line,) = pooled_in_words(table)
    assert line.startswith("Over 2 styles and 2 classifiers (unrelated), style/net flips 80% [")
    assert "of 40 rows of 10 photos, design effect 4." in line
    assert "It flips more than every control at the same distance; the closest, noise, flips 10%" in line
    assert list(pooled_in_words(table.iloc[:0])) == []


def test_the_one_sided_sign_flip_and_its_normal_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sign_flip([1, 1, 1], list("abc"), one_sided=True) == 1 / 8
    assert sign_flip([-1, -1, -1], list("abc"), one_sided=True) == 1.0
    assert sign_flip([1, 1, -1], list("abc"), one_sided=True) == 4 / 8
    rng = np.random.default_rng(0)
    differences, photos = rng.choice([-1, 0, 1], 3000, p=[0.2, 0.5, 0.3]), np.arange(3000) // 3
    exact = [sign_flip(d, photos, one_sided=side) for side in (True, False) for d in (differences, -differences)]
    monkeypatch.setattr("artattack.results.statistics._COUNTED", 0)
    limit = [sign_flip(d, photos, one_sided=side) for side in (True, False) for d in (differences, -differences)]
    assert np.log(limit) == pytest.approx(np.log(exact), rel=0.1, abs=1e-3)
    assert math.isnan(sign_flip([], []))
    assert sign_flip([0, 0], list("ab")) == 1.0
