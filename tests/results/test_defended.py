"""Defended classifiers beside undefended ones, on records whose rates are counted by hand."""

from typing import Any

import pandas as pd
import pytest

from artattack.results.columns import DEFENCE_COLUMNS
from artattack.results.defended import compare_defences, defences_in_words
from artattack.results.records import records_frame

IMAGES = range(10)
PLAIN = {"classifier": "plain", "classifier_network": "abc"}
GUARDED = {
    "classifier": "guarded",
    "classifier_network": "abc",
    "classifier_defences": "JpegCompression(quality=50)",
}
OTHER = {"classifier": "other", "classifier_network": "def"}


def rows(
    classifier: dict[str, str],
    kind: str,
    attack: str,
    flipped: set[int],
    source: str | None = None,
    right: set[int] | None = None,
    **more: Any,
) -> list[dict[str, Any]]:
    """Return records of ten images of class 7: right before on all but image 9, and after where nothing flipped."""
    return [
        {
            "image": f"i{i}",
            "kind": kind,
            "attack": attack,
            "source": source,
            "true_class": 7,
            "in_label_space": True,
            "correct_before": i in (set(range(9)) if right is None else right),
            "flip": i in flipped,
            "top1_class_after": 1 if i in flipped or i == 9 else 7,
            **classifier,
            **more,
        }
        for i in IMAGES
    ]


def records(*parts: list[dict[str, Any]]) -> pd.DataFrame:
    return records_frame([row for part in parts for row in part])


SEEN, KIN = ({"classifier_seen": relation == "seen", "classifier_relation": relation} for relation in ("seen", "kin"))
RUN = records(
    rows(PLAIN, "clean", "clean", set()),
    rows(GUARDED, "clean", "clean", set(), right={0, 1, 2, 3, 4, 5, 6}),
    rows(PLAIN, "baseline", "pgd", {0, 1, 2, 3, 4, 5, 6, 7}, "plain", **SEEN),
    rows(GUARDED, "baseline", "pgd", {0, 1, 8}, "plain", **KIN),
    rows(OTHER, "baseline", "pgd", {0}, "plain", classifier_seen=False, classifier_relation="unrelated"),
    rows(PLAIN, "baseline", "pgd", {0}, "guarded", source_gradient="straight-through", **KIN),
    rows(GUARDED, "baseline", "pgd", set(range(10)), "guarded", source_gradient="straight-through", **SEEN),
)


def test_flips_saved_and_accuracy_given_up_are_counted_image_by_image() -> None:
    table = compare_defences(RUN)
    assert dict(table.dtypes.astype(str)) == DEFENCE_COLUMNS
    assert {*table["classifier"]} == {"guarded"}
    assert {*table["undefended"]} == {"plain"}
    found = table.set_index(["variant", "variant_undefended", "rate"])

    clean = found.loc[("clean", "clean", "clean_accuracy")]  # right on 7 of 10 and 9 of 10
    assert clean[["n", "rate_defended", "rate_undefended", "only_undefended", "only_defended"]].tolist() == [
        10,
        0.7,
        0.9,
        2,
        0,
    ]
    unread = found.loc[("pgd/plain", "pgd/plain", "flip_rate")]
    assert (unread["rate_undefended"], unread["rate_defended"], unread["n"]) == (0.8, 0.3, 10)
    assert (unread["only_undefended"], unread["only_defended"]) == (6, 1)
    assert (unread["relation"], unread["relation_undefended"]) == ("kin", "seen")
    assert unread["difference"] == pytest.approx(-0.5)
    # Newcombe's method 10 by hand, of 2 flips of both, 1 of the defended, 6 of the undefended alone, 1 of neither.
    assert unread["difference_low"] == pytest.approx(-0.76364, abs=1e-5)
    assert unread["difference_high"] == pytest.approx(-0.02152, abs=1e-5)
    assert unread["p"] == pytest.approx(2 * (1 + 7) / 2**7)  # McNemar: at most 1 of 7
    assert pd.isna(unread["source_gradient"])


def test_each_under_the_attack_that_read_itself() -> None:
    found = compare_defences(RUN).set_index(["variant", "variant_undefended", "rate"])
    row = found.loc[("pgd/guarded", "pgd/plain", "flip_rate")]
    assert (row["rate_defended"], row["rate_undefended"], row["source_gradient"]) == (1.0, 0.8, "straight-through")
    assert (row["relation"], row["relation_undefended"]) == ("seen", "seen")
    robust = found.loc[("pgd/guarded", "pgd/plain", "robust_accuracy")]  # right after: none, and image 8
    assert (robust["rate_defended"], robust["rate_undefended"]) == (0.0, 0.1)
    assert ("pgd/plain", "pgd/guarded", "flip_rate") not in found.index


def test_errors_and_abstentions() -> None:
    failed = rows(GUARDED, "baseline", "pgd", {0, 1}, "plain", **KIN)
    for row in failed:
        row["abstained_after"] = row["image"] in ("i1", "i2", "i4")
    failed[4] = {key: failed[4][key] for key in ("image", "kind", "attack", "source", *GUARDED)} | {"error": "broken"}
    table = compare_defences(records(rows(PLAIN, "baseline", "pgd", set(), "plain", **SEEN), failed))
    flips = table[table["rate"] == "flip_rate"].iloc[0]
    assert (flips["n"], flips["rate_defended"], flips["abstentions"]) == (9, pytest.approx(2 / 9), 2)


def test_without_a_pair_there_is_no_row() -> None:
    alone = records(rows(GUARDED, "clean", "clean", set()), rows(OTHER, "clean", "clean", set()))
    assert compare_defences(alone).empty
    assert compare_defences(records(rows(PLAIN, "clean", "clean", set()))).empty


def test_a_sentence_tells_the_attack_that_read_the_defence() -> None:
    (line,) = defences_in_words(compare_defences(RUN))
    assert line.startswith(
        "guarded, JpegCompression(quality=50), is right on 70% of 10 untouched images (plain: 90%, -20 points ["
    )
    assert "flips on 100% of 10 under pgd/guarded (plain under pgd/plain: 80%, +20 points [" in line
    unread = RUN[RUN["source"].fillna("plain") != "guarded"]
    (line,) = defences_in_words(compare_defences(unread))
    assert "flips on 30% of 10 under pgd/plain (plain: 80%, -50 points [" in line
    assert line.endswith("; no attack read it.")
