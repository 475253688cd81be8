"""Within a run: attacks against controls, pairs of attacks, and curves over budgets."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artattack.errors import ArtattackError
from artattack.results.against_controls import adjust, claims_of, judge_against_controls, verdicts_in_words
from artattack.results.columns import AREA_COLUMNS, CONTROL_COLUMNS, PAIR_COLUMNS
from artattack.results.curves import sum_up_curves
from artattack.results.paired import paired_difference, pooled_difference
from artattack.results.pairs import pair_attacks
from artattack.results.records import records_frame, variant_labels
from artattack.results.standing import budgets_reached, stands_at
from artattack.results.statistics import newcombe
from artattack.results.summary import summarise, transfer_matrix


def pairs(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[bool], list[bool]]:
    a = [True] * both + [True] * only_a + [False] * only_b + [False] * neither
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return a, b


def attack(
    flips: str, name: str = "style", classifier: str = "lite0", first: int = 0, **values: Any
) -> list[dict[str, Any]]:
    """The records of an attack: a letter for each image, flipped (x), not (.), failed (e)."""
    return [
        {
            "image": f"i{number}",
            "kind": "control" if name in ("noise", "blur") else "style" if name == "style" else "baseline",
            "attack": name,
            "classifier": classifier,
            **({"error": "out of memory"} if letter == "e" else {"flip": letter == "x"}),
            **values,
        }
        for number, letter in enumerate(flips, first)
    ]


STYLE: dict[str, Any] = {"style": "waves", "source": "quicknet"}
DISTANCE = st.floats(0.5, 40)
COPIED = {"matched_to": "style/waves/quicknet"}


def test_labels() -> None:
    rows = [
        *attack("x", **STYLE),
        *attack("x", "noise", **COPIED),
        *attack("x", "fgsm", source="lite0"),
        {"image": "unreadable", "error": "no image"},
        *attack("x", "fgsm", source="lite0", budget_distance="linf", budget=1 / 64),
    ]
    expected = [
        "style/waves/quicknet",
        "noise as style/waves/quicknet",
        "fgsm/lite0",
        "",
        "fgsm/lite0 at linf=0.015625",
    ]
    assert variant_labels(records_frame(rows)).tolist() == expected
    assert variant_labels(records_frame([])).tolist() == []


def test_paired_difference_uses_the_images_both_know() -> None:
    records = records_frame(
        [
            *attack("xxxx..e.x", **STYLE),
            *attack("x...x.xe", "noise", **COPIED),
            *attack("xxxxxxxxx", "noise", "other", **COPIED),
        ]
    )
    found = paired_difference(records, "style/waves/quicknet", "noise as style/waves/quicknet", classifier="lite0")
    assert found[:4] == (6, 4 / 6, 2 / 6, 2 / 6)
    assert (found.low, found.high) == newcombe(*pairs(1, 3, 1, 1))
    assert found[6:] == (3, 1, pytest.approx(2 * (1 + 4) / 16))
    backwards = paired_difference(records, "noise as style/waves/quicknet", "style/waves/quicknet", classifier="lite0")
    assert backwards.difference == -found.difference
    assert backwards.p_value == found.p_value


def test_paired_difference_of_success_leaves_skipped_images_out() -> None:
    rows = attack("xx.", **STYLE) + attack("xx.", "fgsm", source="lite0")
    for row, success in zip(rows, [True, None, False, False, None, False], strict=True):
        row["success"] = success
    records = records_frame(rows)
    found = paired_difference(records, "style/waves/quicknet", "fgsm/lite0", classifier="lite0", what="success")
    assert found[:4] == (2, 0.5, 0.0, 0.5)


def test_paired_difference_of_no_common_image() -> None:
    records = records_frame(attack("xx", "a") + attack("xx", "b", first=2))
    found = paired_difference(records, "a", "b", classifier="lite0")
    assert found.n == found.only_a == found.only_b == 0
    assert np.isnan([found.rate_a, found.rate_b, found.difference, found.low, found.high, found.p_value]).all()


def test_paired_difference_names_a_missing_attack_or_classifier() -> None:
    records = records_frame(attack("x", **STYLE) + attack("x", "noise", **COPIED))
    with pytest.raises(ArtattackError, match="unknown attack 'style/wave/quicknet'; did you mean 'style/waves"):
        paired_difference(records, "noise as style/waves/quicknet", "style/wave/quicknet", classifier="lite0")
    with pytest.raises(ArtattackError, match="unknown classifier 'lite1'; did you mean 'lite0'"):
        paired_difference(records, "style/waves/quicknet", "noise as style/waves/quicknet", classifier="lite1")
    twice = records_frame(attack("x", **STYLE) * 2)
    message = "image 'i0' is there twice under 'style/waves/quicknet', classifier 'lite0'"
    with pytest.raises(ArtattackError, match=message):
        paired_difference(twice, "style/waves/quicknet", "style/waves/quicknet", classifier="lite0")
    with pytest.raises(ArtattackError, match=message):
        judge_against_controls(twice)


def test_attacks_against_their_controls() -> None:
    other: dict[str, Any] = {"style": "glass", "source": "quicknet"}
    records = records_frame(
        [
            {"image": "unreadable", "error": "no image"},
            *attack("xxxxxxxxxx", **STYLE),  # 9 more than blur alone: 2 / 512
            *attack("xxxxxxxx", **other),
            *attack("xx..", "fgsm", source="lite0"),
            *attack("..........", "noise", **COPIED),
            *attack("x.........", "blur", **COPIED),
            *attack("xxxxxxx.", "blur", matched_to="style/glass/quicknet"),
            *attack("xxxxx.....", classifier="other", **STYLE),
            *attack("..........", "noise", "other", **COPIED),
            *attack("x........e", "blur", "other", **COPIED),
            *attack(".e", "pgd", "other", source="lite0"),
            *attack("........", "weak", "other"),
            *attack("xxxxxxxx", "noise", "other", matched_to="weak"),
        ]
    )
    table = judge_against_controls(records)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == CONTROL_COLUMNS
    waves, glass = "style/waves/quicknet", "style/glass/quicknet"
    counts = ["variant", "classifier", "n", "control", "only_variant", "only_control", "verdict"]
    found = [tuple(None if pd.isna(v) else v for v in row) for row in table[counts].to_numpy(object)]
    assert found == [
        (waves, "lite0", 10, f"blur as {waves}", 9, 0, "beats"),
        (glass, "lite0", 8, f"blur as {glass}", 1, 0, "no better"),
        ("fgsm/lite0", "lite0", 4, None, None, None, "no control"),
        (waves, "other", 9, f"blur as {waves}", 4, 0, "no better"),
        ("pgd/lite0", "other", 1, None, None, None, "no control"),
        ("weak", "other", 8, "noise as weak", 0, 8, "worse"),
    ]
    numbers = table.set_index(["variant", "classifier"])
    assert numbers["flip_rate"].tolist() == pytest.approx([1, 1, 0.5, 5 / 9, 0, 0])
    assert numbers["control_flip_rate"].dropna().tolist() == pytest.approx([0.1, 7 / 8, 1 / 9, 1])
    assert numbers["difference"].dropna().tolist() == pytest.approx([0.9, 1 / 8, 4 / 9, -1])
    p = [2 / 512, 1, math.nan, 2 / 16, math.nan, 2 / 256]
    assert numbers["p"].tolist() == pytest.approx(p, nan_ok=True)
    # Twice: that they beat, of four claims, 1/512 * 4, 1/16 * 3, 1, 1; that they are worse, of four too, 1/256 * 4.
    adjusted = [8 / 512, 1, math.nan, 6 / 16, math.nan, 8 / 256]
    assert numbers["p_holm"].tolist() == pytest.approx(adjusted, nan_ok=True)
    low, high = newcombe(*pairs(1, 9, 0, 0))
    assert numbers["difference_low"].iloc[0] == pytest.approx(low)
    assert numbers["difference_high"].iloc[0] == pytest.approx(high)


def judged(images: str, controls: str) -> dict[str, Any]:
    """The row of an attack A beside controls a, b, ...: a word for each image says who flips it."""
    rows = attack("".join("x" if "A" in word else "." for word in images.split()), **STYLE)
    for name in controls:
        flips = "".join("x" if name in word else "." for word in images.split())
        rows += [row | {"kind": "control"} for row in attack(flips, name, **COPIED)]
    (row,) = judge_against_controls(records_frame(rows)).to_dict("records")
    return row


def test_another_control_never_makes_it_easier_to_beat_them_all() -> None:
    # Beside a, 9 images to 2: 2 * (55 + 11 + 1) / 2048. Beside b, which flips more, 6 to 0: 2 / 64.
    images = "Aab " * 7 + "Ab " * 3 + "A " * 6 + "a a . ."
    alone, other, both = (judged(images, controls) for controls in ("a", "b", "ab"))
    assert (alone["p"], alone["verdict"]) == (pytest.approx(134 / 2048), "no better")
    assert (other["p"], other["verdict"]) == (pytest.approx(2 / 64), "beats")
    assert (other["control_flip_rate"], alone["control_flip_rate"]) == (0.5, 0.45)
    assert (both["p"], both["verdict"], both["controls"]) == (alone["p"], "no better", 2)
    assert (both["control"], both["only_variant"], both["only_control"]) == ("a as style/waves/quicknet", 9, 2)


def test_one_control_of_many_that_does_more_has_to_do_much_more() -> None:
    images = "a " * 6 + "Aabcde " * 4  # a flips 6 images more, the others as many as the attack
    one, five = judged(images, "a"), judged(images, "abcde")
    assert (one["p"], one["verdict"]) == (pytest.approx(2 / 64), "worse")
    assert (five["p"], five["verdict"]) == (pytest.approx(5 * 2 / 64), "no better")
    assert five["control"] == "a as style/waves/quicknet"
    eight = judged("a " * 8 + "Aabcde " * 4, "abcde")
    assert (eight["p"], eight["verdict"]) == (pytest.approx(5 * 2 / 256), "worse")


def test_the_deciding_control_is_the_one_that_does_most_where_p_values_are_the_same() -> None:
    assert claims_of([0, 0], [5, 8]) == (1.0, 2 / 256, 1, 1)
    assert claims_of([3, 3, 3], [3, 3, 3]).decides == 0
    assert claims_of([0], [0]) == (1.0, 1.0, 0, 0)
    assert claims_of([0], [0]).p == 1.0


def test_claims_are_adjusted_apart_and_doubled() -> None:
    beats, worse = claims_of([7], [0]), claims_of([0], [8])  # 1 / 128 and 1 / 256
    assert adjust([beats, worse, None, beats]) == pytest.approx([6 / 128, 6 / 256, math.nan, 6 / 128], nan_ok=True)
    assert adjust([]) == []


def test_a_control_scored_on_clearly_fewer_images_does_not_count_and_is_named() -> None:
    few: list[dict[str, Any]] = [
        *attack("xxxxxxxxxx", **STYLE),
        *attack("xeeeeeeeee", "noise", **COPIED),  # alone it would keep the attack from beating anything
        *attack("........ee", "blur", **COPIED),
    ]
    (row,) = judge_against_controls(records_frame(few)).to_dict("records")
    assert (row["n"], row["controls"], row["control"]) == (8, 1, "blur as style/waves/quicknet")
    assert (row["p"], row["verdict"]) == (pytest.approx(2 / 256), "beats")
    assert row["left_out"] == "noise as style/waves/quicknet was scored on 1 of 10 images"
    (words,) = verdicts_in_words(judge_against_controls(records_frame(few)))
    assert words.endswith("Not compared: noise as style/waves/quicknet was scored on 1 of 10 images.")
    fewer = records_frame([row for row in few if row["attack"] != "blur"] + attack(".......eee", "blur", **COPIED))
    (row,) = judge_against_controls(fewer).to_dict("records")
    assert (row["n"], row["controls"], row["verdict"]) == (10, 0, "no control")
    assert row["left_out"].endswith("; blur as style/waves/quicknet was scored on 7 of 10 images")
    (words,) = verdicts_in_words(judge_against_controls(fewer))
    assert words.startswith("style/waves/quicknet on lite0: no control at the same distance. Not compared: noise")


def test_images_on_which_the_attack_itself_failed_are_not_missing_from_a_control() -> None:
    rows = attack("xxxxxxeeee", **STYLE) + attack("......eeee", "noise", **COPIED)
    (row,) = judge_against_controls(records_frame(rows)).to_dict("records")
    assert (row["n"], row["verdict"]) == (6, "beats")
    assert pd.isna(row["left_out"])


def test_any_kind_but_control_and_clean_is_of_an_attack() -> None:
    rows = attack("xxxxxx", "patch") + attack("......", "noise", matched_to="patch") + attack("......", "clean")
    kinds = {"patch": "sticker", "noise": "control", "clean": "clean"}
    records = records_frame([row | {"kind": kinds[row["attack"]]} for row in rows])
    assert judge_against_controls(records)["verdict"].tolist() == ["beats"]
    assert pair_attacks(records).empty
    assert list(transfer_matrix(summarise(records)).index) == [("patch", "", "")]


def test_many_tests_make_each_verdict_harder() -> None:
    one = attack("xxxxxx", **STYLE) + attack("......", "noise", **COPIED)  # p = 2 / 64
    assert judge_against_controls(records_frame(one))["verdict"].tolist() == ["beats"]
    two = one + [row | {"classifier": "other"} for row in one]
    assert judge_against_controls(records_frame(two))["verdict"].tolist() == ["no better", "no better"]
    assert judge_against_controls(records_frame(two), 0.9)["verdict"].tolist() == ["beats", "beats"]


def test_a_control_that_failed_is_no_control() -> None:
    table = judge_against_controls(records_frame(attack("xx", **STYLE) + attack("ee", "noise", **COPIED)))
    assert table[["n", "flip_rate", "verdict"]].to_numpy().tolist() == [[2, 1.0, "no control"]]
    failed = judge_against_controls(records_frame(attack("ee", **STYLE)))
    assert failed["n"].tolist() == [0]
    assert failed["flip_rate"].isna().all()


def test_comparison_of_nothing() -> None:
    table = judge_against_controls(records_frame([]))
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == CONTROL_COLUMNS
    assert table.empty


# ---- at budgets


def curve(flips: dict[float, str], name: str = "style", distance: str = "l2", **values: Any) -> list[dict[str, Any]]:
    """The records of an attack at some budgets, as `attack` writes them."""
    return [
        row for budget, letters in flips.items()
        for row in attack(letters, name, budget_distance=distance, budget=budget, **values)
    ]  # fmt: skip


def test_a_control_at_the_same_budget_is_at_the_same_distance() -> None:
    records = records_frame(
        [
            *attack("xxxxxx", **STYLE),
            *attack("......", "noise", **COPIED),
            *curve({5: "xxxxxx", 10: "xxxxxx"}, **STYLE),
            *curve({5: "......", 10: "xxxxx."}, "noise"),
            *curve({5: "xxxxxx"}, "noise", "linf"),
        ]
    )
    table = judge_against_controls(records)
    found = table[["budget", "control", "only_variant", "verdict"]].to_numpy(object).tolist()
    assert [tuple(None if pd.isna(v) else v for v in row) for row in found] == [
        (None, "noise as style/waves/quicknet", 6, "no better"),  # 2 / 64 of three tests: one family
        (5, "noise at l2=5", 6, "no better"),
        (10, "noise at l2=10", 1, "no better"),
    ]
    assert table["variant"].tolist()[1:] == [f"style/waves/quicknet at l2={budget}" for budget in (5, 10)]
    assert table["p_holm"].tolist() == pytest.approx([6 / 64, 6 / 64, 1])


def at(rows: list[dict[str, Any]], *distances: float, name: str = "l2") -> list[dict[str, Any]]:
    """Return records with their distances, the last of which holds for all further ones."""
    return [row | {name: distances[min(i, len(distances) - 1)]} for i, row in enumerate(rows)]


def test_an_attack_that_stands_short_of_a_budget_has_no_control_there() -> None:
    """Made within 10 and judged at 20, it is worse than controls at 20 for its distance alone."""
    inside = attack("x.........", budget_distance="l2", budget=20, **STYLE)
    blur = at(attack("xxxxxxxxxx", "blur", budget_distance="l2", budget=20), 19.9)
    (row,) = judge_against_controls(records_frame(at(inside, 19.5) + blur)).to_dict("records")
    assert (row["n"], row["control"], row["verdict"]) == (10, "blur at l2=20", "worse")  # 9 images: 2 / 512
    short = records_frame(at(inside, 19.5, 19.5, 19.5, 9.9) + blur)
    (row,) = judge_against_controls(short).to_dict("records")
    assert (row["n"], row["controls"], row["flip_rate"], row["verdict"]) == (10, 0, 0.1, "no control")
    assert row["left_out"] == "the attack itself stands at l2=20 with 3 of 10 images"
    (words,) = verdicts_in_words(judge_against_controls(short))
    assert words == (
        "style/waves/quicknet at l2=20 on lite0: no control at the same distance. Not compared: the attack itself "
        "stands at l2=20 with 3 of 10 images."
    )


def test_controls_of_one_attack_serve_another_in_the_same_ball() -> None:
    """A second attack at the distance of the first needs no controls of its own, except of another style."""
    own = at(attack("xxxxxxxxxx", **STYLE), 10)
    second = at(attack("xxxxxxxxx.", **{**STYLE, "style": "glass"}), 10.2)
    far = at(attack("xxxxxxxxxx", "pgd", source="lite0"), 4)
    controls = [
        *at(attack("x.........", "noise", **COPIED), 10),
        *at(attack("xxxxxxxxxx", "blur", style="waves", **COPIED), 10),
    ]
    table = judge_against_controls(records_frame(own + second + far + controls)).set_index("variant")
    assert table["controls"].to_dict() == {"style/waves/quicknet": 2, "style/glass/quicknet": 1, "pgd/lite0": 0}
    glass = table.loc["style/glass/quicknet"]
    assert (glass["control"], glass["only_variant"], glass["verdict"]) == ("noise as style/waves/quicknet", 8, "beats")
    assert table["left_out"].isna().all()
    with_own = [*controls, *at(attack("xxxxx.....", "noise", matched_to="style/glass/quicknet"), 10.2)]
    (row,) = judge_against_controls(records_frame(own + second + with_own)).to_dict("records")[1:]
    assert (row["controls"], row["control"]) == (1, "noise as style/glass/quicknet")  # its own, and not both


def test_a_control_counts_on_the_images_that_it_moves_as_far() -> None:
    own = at(attack("xxxxxxxxxx", **STYLE), 10)
    near = at(attack("xx........", "noise", **COPIED), 3, 10.4)  # the first image is elsewhere
    (row,) = judge_against_controls(records_frame(own + near)).to_dict("records")
    assert (row["n"], row["only_variant"], row["verdict"]) == (9, 8, "beats")
    far_off = at(attack("..........", "blur", **COPIED), 3, 3, 3, 10)
    (row,) = judge_against_controls(records_frame(own + near + far_off)).to_dict("records")
    assert (row["controls"], row["control"]) == (1, "noise as style/waves/quicknet")
    assert row["left_out"] == "blur as style/waves/quicknet is at the attack's distance on 7 of 10 images"


def test_a_control_is_compared_in_the_distance_that_it_copies() -> None:
    own = [row | {"l2": 30.0} for row in at(attack("xxxxxxxx", **STYLE), 0.8, name="ssim")]
    copied = attack("........", "noise", parameters='{"distance": "ssim"}', **COPIED)
    # 1 - SSIM: 0.2 for the attack; 0.205 is within 5 % of it, 0.25 is not, whatever the L2.
    for ssim, verdict in ((0.795, "beats"), (0.75, "no control")):
        table = judge_against_controls(records_frame(own + at(copied, ssim, name="ssim")))
        assert table["verdict"].tolist() == [verdict]


@pytest.mark.parametrize(
    ("distance", "budget", "there", "short"),
    [
        ("ssim", 0.9, 0.904, 0.912),
        ("l2", 20.0, 19.1, 18.9),
        ("psnr", 30.0, 30.4, 30.5),
        ("linf", 0.03, 7 / 255, 6 / 255),
    ],
)
def test_images_that_stand_at_a_budget(distance: str, budget: float, there: float, short: float) -> None:
    """SSIM 0.9 is 0.1 from the untouched image, and 0.904 lies 4 % short; files have 7 steps of 1/255 below 0.03."""
    assert stands_at([there, short, None, budget], distance, budget).tolist() == [True, False, False, True]
    rows = attack("x..e", budget_distance=distance, budget=budget)
    summary = summarise(records_frame(at(rows, there, short, name=distance)))
    assert summary[["n", "n_standing", "standing_share"]].to_numpy().tolist() == [[3, 1, pytest.approx(1 / 3)]]


def test_no_share_stands_where_there_is_no_budget() -> None:
    assert summarise(records_frame(at(attack("x."), 5))).loc[0, ["n_standing", "standing_share"]].isna().all()


def test_an_attack_whose_ball_is_a_budget_has_one_verdict() -> None:
    ball: dict[str, Any] = {"eps_norm": "l2", "eps": 10.0}
    rows = [
        *at(attack("xxxxxx", **STYLE, **ball), 10),
        *at(attack("......", "noise", **COPIED), 10),
        *at(attack("xxxxxx", budget_distance="l2", budget=10, **STYLE, **ball), 10),
        *at(attack("......", "noise", budget_distance="l2", budget=10), 10),
    ]
    table = judge_against_controls(records_frame(rows))
    assert table["variant"].tolist() == ["style/waves/quicknet at l2=10"]
    assert (table["verdict"].tolist(), table["p_holm"].tolist()) == (["beats"], [pytest.approx(2 / 64)])
    other = records_frame([row | ({"eps": 5.0} if row.get("eps") and "budget" not in row else {}) for row in rows])
    assert len(judge_against_controls(other)) == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), DISTANCE, DISTANCE), min_size=1, max_size=20))
def test_a_comparison_is_of_images_at_one_distance(images: list[tuple[bool, bool, float, float]]) -> None:
    own = [row | {"l2": l2} for row, (_, _, l2, _) in zip(
        attack("".join("x" if a else "." for a, *_ in images), **STYLE), images, strict=True)]  # fmt: skip
    control = [row | {"l2": l2} for row, (*_, l2) in zip(
        attack("".join("x" if b else "." for _, b, *_ in images), "noise", **COPIED), images, strict=True)]  # fmt: skip
    (row,) = judge_against_controls(records_frame(own + control)).to_dict("records")
    near = [(a, b) for a, b, x, y in images if abs(x - y) <= 0.05 * x]
    if len(near) >= 0.8 * len(images):
        assert row["n"] == len(near)
        assert (row["only_variant"], row["only_control"]) == (sum(a > b for a, b in near), sum(b > a for a, b in near))
    else:
        assert (row["verdict"], row["controls"]) == ("no control", 0)


def test_areas_by_hand() -> None:
    # Flip rates 0, 1/2, 1 at distances 0, 2, 6: areas 0.5 * 2 * 0.5 + 4 * 0.75 = 3.5 over a width of 6.
    records = records_frame(curve({2: "x.", 6: "xx"}, **STYLE) + curve({2: "..", 6: "x."}, "noise"))
    table = sum_up_curves(records)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == AREA_COLUMNS
    assert table["flip_area"].tolist() == pytest.approx([3.5 / 6, 0.5 * 4 * 0.5 / 6])
    assert table["half_flip_budget"].tolist() == pytest.approx([2.0, 6.0])
    assert table["largest_budget"].tolist() == [6.0, 6.0]
    assert table["n"].tolist() == [2, 2]
    assert table["kind"].tolist() == ["style", "control"]
    # The curves of the single images have areas (0.5 * 2 + 4) / 6 and 0.5 * 4 / 6, and resampling two gives no less.
    low, high = table.loc[0, ["flip_area_low", "flip_area_high"]]
    assert 2 / 6 <= low <= 3.5 / 6 <= high <= 5 / 6


def test_half_the_images_flip_between_two_budgets_or_never() -> None:
    records = records_frame(curve({1: "x...", 3: "xxx."}, **STYLE) + curve({1: "x...", 3: "x..."}, "noise"))
    # From 1/4 at 1 to 3/4 at 3: half at 2.
    assert sum_up_curves(records)["half_flip_budget"].tolist() == pytest.approx([2.0, math.nan], nan_ok=True)


def test_similarity_falls_as_distance_grows() -> None:
    # Distances 1 - SSIM: 0.2 (no flip) and 0.6 (all): area 0.5 * 0.4 / 0.6; half of them at 0.4, an SSIM of 0.6.
    table = sum_up_curves(records_frame(curve({0.4: "xx", 0.8: ".."}, distance="ssim", **STYLE)))
    assert table.loc[0, "flip_area"] == pytest.approx(0.2 / 0.6)
    assert table.loc[0, "half_flip_budget"] == pytest.approx(0.6)
    assert table.loc[0, "largest_budget"] == pytest.approx(0.4)


def test_areas_count_images_known_at_every_budget_alone() -> None:
    table = sum_up_curves(records_frame(curve({2: "xe.", 4: "xxe"}, **STYLE)))
    assert table.loc[0, "n"] == 1
    assert table.loc[0, "flip_area"] == pytest.approx(0.75)
    assert sum_up_curves(records_frame(attack("x", **STYLE))).empty


def test_a_curve_ends_where_its_attack_ends() -> None:
    """Made within 10 and shown at 5, 10, 20: without the point at 20, which would be a flat tail."""
    rows = [
        row | {"l2": min(row["budget"], 10.0)} for row in curve({5: "x...", 10: "xx..", 20: "xx.."}, **STYLE)
    ]  # fmt: skip
    (row,) = sum_up_curves(records_frame(rows)).to_dict("records")
    assert row["largest_budget"] == 10
    assert row["flip_area"] == pytest.approx((0.5 * 5 * 0.25 + 5 * 0.375) / 10)
    assert budgets_reached(records_frame(rows)) == [5, 10]
    half = [row | {"l2": 2.0} for row in rows]
    (row,) = sum_up_curves(records_frame(half)).to_dict("records")
    assert (row["n"], row["largest_budget"] != row["largest_budget"]) == (0, True)
    similar = [row | {"ssim": row["budget"]} for row in curve({0.4: "x", 0.8: "."}, distance="ssim", **STYLE)]
    assert budgets_reached(records_frame(similar)) == [0.8, 0.4]


def test_a_curve_of_smallest_changes_ends_where_all_images_are_found() -> None:
    """Each image counts from its own distance on, untouched before: 3 and 9 of four images, or 30, beyond them all."""
    own = [3.0, 3.0, 9.0, 9.0]

    def rows(own: list[float]) -> list[dict[str, Any]]:
        letters = {b: "".join("x" if d <= b else "." for d in own) for b in (5, 10, 20, 40)}
        return [
            row | {"l2": d if d <= row["budget"] else 0.0}
            for row, d in zip(curve(letters, "deepfool"), own * 4, strict=True)
        ]

    assert budgets_reached(records_frame(rows(own))) == [5, 10]
    assert budgets_reached(records_frame(rows([3.0, 3.0, 9.0, 50.0]))) == [5, 10, 20, 40]


# ---- over styles and classifiers, where photos repeat


def test_pooled_difference_counts_photos() -> None:
    styles = ("waves", "marble", "glass")
    a = [row for style in styles for row in attack("xxxxxx..", style=style)]
    b = [row for style in styles for row in attack("........", "blend", style=style)]
    found = pooled_difference(records_frame(a), records_frame(b))
    assert found[:5] == (24, 8, 0.75, 0.0, 0.75)
    assert found.p_value == pytest.approx(2 / 64)  # of six photos, where McNemar's test of 18 rows says 2 / 2^18
    assert found.low < 0.45
    # The variance of the mean is v / 8, of 24 photos v / 24: three, but for the small-sample factors 8/7 and 24/23.
    assert found.design_effect == pytest.approx(23 / 7, rel=0.1)
    # A control without a style stands beside each of them.
    jpeg = records_frame(attack("........", "jpeg"))
    assert pooled_difference(records_frame(a), jpeg, by=("image", "classifier"))[:5] == found[:5]
    one = [row for row in a if row["style"] == "waves"], [row for row in b if row["style"] == "waves"]
    assert pooled_difference(*map(records_frame, one)).p_value == pytest.approx(2 / 64)
    with pytest.raises(ArtattackError, match="rows are there twice that image do not tell apart"):
        pooled_difference(records_frame(a), records_frame(b), by=("image",))


def test_attacks_against_each_other() -> None:
    records = records_frame(
        [
            *attack("xxxxxx..", **STYLE),
            *attack("......x.", "fgsm", source="lite0"),
            *attack("xxxxxxxx", "noise", **COPIED),
            *attack("xxx", classifier="other", **STYLE),
            *attack("xxx", "fgsm", "other", source="lite0"),
            *curve({5: "xxxxxxxx"}, **STYLE),
        ]
    )
    table = pair_attacks(records)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == PAIR_COLUMNS
    names = ["classifier", "a", "b", "n", "only_a", "only_b"]
    assert table[names].to_numpy(object).tolist() == [
        ["lite0", "style/waves/quicknet", "fgsm/lite0", 8, 6, 1],
        ["other", "style/waves/quicknet", "fgsm/lite0", 3, 0, 0],
    ]
    assert table["p"].tolist() == pytest.approx([2 * (1 + 7) / 128, 1])
    assert table["p_holm"].tolist() == pytest.approx([4 * (1 + 7) / 128, 1])


def test_attacks_are_compared_at_each_budget_that_both_reach() -> None:
    at_10, at_20 = ({"budget_distance": "l2", "budget": budget} for budget in (10.0, 20.0))
    pgd, style = {"name": "pgd", "source": "lite0"}, STYLE
    rows = [
        *attack("xxxxxx....", **style),
        *attack("xx........", **pgd),
        *attack("xxxxx.....", **style, **at_10, l2=10.0),
        *attack("...x.....", **pgd, **at_10, l2=9.7),
        *attack("x", first=9, **pgd, **at_10, l2=8.0),  # this image stands short of the budget
        *attack("xxxxxxx...", **style, **at_20, l2=20.0),
        *attack("xx.....", **pgd, **at_20, l2=20.0),
        *attack("xxx", first=7, **pgd, **at_20, l2=15.0),  # 7 of 10 at the budget are too few
    ]
    table = pair_attacks(records_frame(rows))
    names = ["a", "b", "n", "only_a", "only_b"]
    assert table[names].to_numpy(object).tolist() == [
        ["style/waves/quicknet", "pgd/lite0", 10, 4, 0],
        ["style/waves/quicknet at l2=10", "pgd/lite0 at l2=10", 9, 4, 0],
    ]
    assert table["p"].tolist() == pytest.approx([2 / 16, 2 / 16])
    assert table["p_holm"].tolist() == pytest.approx([4 / 16, 4 / 16])  # two rows, adjusted together


def test_transfer_is_source_by_classifier() -> None:
    rows = [
        *attack("x.", "fgsm", "lite0", source="lite0"),
        *attack("..", "fgsm", "tiny", source="lite0"),
        *attack("xx", "fgsm", "tiny", source="tiny"),
        *attack("xx", "noise", "tiny", matched_to="fgsm/tiny"),
    ]
    table = transfer_matrix(summarise(records_frame(rows)))
    assert list(table.columns) == ["lite0", "tiny"]
    assert list(table.index) == [("fgsm", "", "lite0"), ("fgsm", "", "tiny")]
    np.testing.assert_array_equal(table.to_numpy(), [[0.5, 0.0], [np.nan, 1.0]])


def test_verdicts_in_words() -> None:
    rows = attack("xxxxxx", **STYLE) + attack("......", "noise", **COPIED) + attack("x", "fgsm", source="lite0")
    beats, none = verdicts_in_words(judge_against_controls(records_frame(rows)))
    low, high = newcombe(*pairs(0, 6, 0, 0))
    assert beats == (
        "style/waves/quicknet on lite0 flips more than every control; the closest is noise as style/waves/quicknet: "
        f"100% against 0% of 6 images, difference +100 points [{100 * low:+.0f}, {100 * high:+.0f}], adjusted p 0.031."
    )
    assert none == "fgsm/lite0 on lite0: no control at the same distance."
