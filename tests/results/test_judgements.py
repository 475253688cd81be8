"""Style judges: judgements, recognition rates, agreement, confusions."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from artattack.results.judgements import (
    NO_STYLE,
    Judgement,
    agreements,
    confusions,
    from_json,
    judgements_of,
    paintings,
    sum_up_judgements,
    to_json,
)
from artattack.results.records import records_frame
from artattack.results.statistics import cohens_kappa, newcombe, wilson

STYLES = ("waves", "marble")


def said(judge: str, style: str, nearest: str, before: str = "marble") -> Judgement:
    return Judgement(judge, "kin" if judge == "lite2" else "unrelated", style, nearest, before, 1.0, 0.5)


def row(image: str, style: str, *judgements: Judgement, **more: Any) -> dict[str, Any]:
    """Records of a painting that two classifiers saw."""
    first = judgements[0]
    told = {"style_judge": first.judge, "style_nearest": first.nearest, "style_identified": first.identified}
    told |= {"style_nearest_before": first.nearest_before, "style_identified_before": first.identified_before}
    told |= {"style_judgements": to_json(judgements)}
    place = {"image": image, "kind": "style", "attack": "style", "style": style, "source": "net"}
    return place | told | {"classifier": "c", "flip": False} | more


@pytest.fixture
def records() -> pd.DataFrame:
    """Of four photos in two styles, lite2 recognises all, and hardnet three in waves and none in marble."""
    rows = []
    for n in range(4):
        waves = "waves" if n else NO_STYLE
        rows.append(row(f"i{n}", "waves", said("lite2", "waves", "waves"), said("hardnet", "waves", waves)))
        rows.append(row(f"i{n}", "marble", said("lite2", "marble", "marble"), said("hardnet", "marble", "waves")))
    control = row("i0", "waves", said("lite2", "waves", "marble"), said("hardnet", "waves", NO_STYLE))
    rows.append(control | {"kind": "control", "attack": "jpeg", "style": None, "matched_to": "style/waves/net"})
    twice = [more | {"classifier": name} for more in rows for name in ("a", "b")]
    return records_frame(twice)


def test_each_judge_has_its_row(records: pd.DataFrame) -> None:
    told = judgements_of(records)
    assert len(told) == 2 * (8 + 1)  # independent of the number of classifiers
    assert told["painted"].tolist()[-2:] == ["waves", "waves"]  # the control's is that of what it copies
    table = sum_up_judgements(records).set_index(["kind", "style", "judge"])
    assert table["identified"].tolist() == [4, 3, 4, 0, 0, 0]
    assert table["none"].tolist() == [0, 1, 0, 0, 0, 1]
    hardnet = table.loc["style", "waves", "hardnet"]
    assert (hardnet["n"], hardnet["identified_before"], hardnet["gain"]) == (4, 0, 0.75)
    assert (hardnet["identified_rate_low"], hardnet["identified_rate_high"]) == tuple(map(float, wilson(3, 4)))
    assert (hardnet["gain_low"], hardnet["gain_high"]) == newcombe([0, 1, 1, 1], [0, 0, 0, 0])
    marble = table.loc["style", "marble", "lite2"]
    assert (marble["identified_before"], marble["gain"], marble["relation"]) == (4, 0.0, "kin")


def test_agreement_and_confusion_count_the_attacks_paintings(records: pd.DataFrame) -> None:
    painted = paintings(judgements_of(records))
    (found,) = agreements(painted)
    assert (found.a, found.b, found.found.n, found.found.agree, found.found.clusters) == ("lite2", "hardnet", 8, 3, 4)
    # lite2 says waves 4, marble 4; hardnet waves 7, none 1: chance 4/8 * 7/8, kappa (3/8 - 7/16) / (1 - 7/16).
    assert found.found.kappa == pytest.approx((3 / 8 - 7 / 16) / (9 / 16))
    tables = dict(confusions(painted))
    assert tables["hardnet"].to_dict("index") == {
        "waves": {"waves": 3, "marble": 0, NO_STYLE: 1},
        "marble": {"waves": 4, "marble": 0, NO_STYLE: 0},
    }
    assert np.array_equal(tables["lite2"].to_numpy(), [[4, 0, 0], [0, 4, 0]])


def test_runs_of_earlier_versions_had_one_judge(records: pd.DataFrame) -> None:
    old = records.assign(style_judgements=pd.NA)
    table = sum_up_judgements(old)
    assert set(table["judge"]) == {"lite2"}
    assert table["identified"].tolist() == [4, 4, 0]
    assert table["relation"].isna().all()
    assert list(agreements(judgements_of(old))) == []
    assert sum_up_judgements(records_frame([])).empty


def test_judgements_are_kept_as_json() -> None:
    told = [Judgement("a", "kin", "waves", NO_STYLE, "marble", 1 / 3, 0.25)]
    assert from_json(to_json(told)) == [told[0]._replace(before=0.333333)]
    assert from_json(None) == []


def test_kappa_by_hand() -> None:
    # The example of Cohen's paper, as counts of 2 x 2: 20, 5, 10, 15 of 50. po = 0.7, pe = 0.5.
    a = ["y"] * 25 + ["n"] * 25
    b = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    found = cohens_kappa(a, b, range(50))
    assert (found.kappa, found.agree, found.n, found.clusters) == (pytest.approx(0.4), 35, 50, 50)
    from statsmodels.stats.inter_rater import cohens_kappa as theirs

    other = theirs([[20, 5], [10, 15]])
    assert (found.low, found.high) == pytest.approx((other.kappa_low, other.kappa_upp), abs=0.03)


def test_kappa_of_people_who_differ_has_a_wide_interval_where_people_are_resampled() -> None:
    # Three people always say the same as the classifier, three never do: kappa is 0 whichever photos are drawn.
    a = [photo % 2 for photo in range(40) for _ in range(6)]
    b = [photo % 2 if person < 3 else 1 - photo % 2 for photo in range(40) for person in range(6)]
    photos = [photo for photo in range(40) for _ in range(6)]
    people = [*range(6)] * 40
    of_photos = cohens_kappa(a, b, photos)
    assert (of_photos.kappa, of_photos.low, of_photos.high) == pytest.approx((0, 0, 0), abs=1e-12)
    of_both = cohens_kappa(a, b, photos, people)
    assert of_both.kappa == pytest.approx(0, abs=1e-12)
    assert of_both.low < -0.6
    assert of_both.high > 0.6
    order = np.random.default_rng(0).permutation(len(a))
    again = cohens_kappa(*(np.asarray(side)[order] for side in (a, b, photos, people)))
    assert again == of_both


def test_kappas_interval_counts_photos() -> None:
    a, b = list("yynnyynn") * 5, list("ynnyyynn") * 5
    once = cohens_kappa(a, b, range(40))
    again = cohens_kappa(a * 6, b * 6, [*range(40)] * 6)
    assert (again.kappa, again.low, again.high) == pytest.approx((once.kappa, once.low, once.high))
    assert (again.n, again.clusters) == (240, 40)
    assert math.isnan(cohens_kappa(["y"], ["y"], ["a"]).kappa)  # chance agrees fully
    assert cohens_kappa(list("yn"), list("yn"), list("aa"))[:1] == (1.0,)
    assert math.isnan(cohens_kappa(list("yn"), list("yn"), list("aa")).low)  # one photo
    assert math.isnan(cohens_kappa([], [], []).kappa)
    with pytest.raises(ValueError, match="same length"):
        cohens_kappa(["y"], ["y"], [])
