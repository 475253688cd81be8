import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from artattack.errors import ArtattackError
from artattack.evaluation.scoring import score_batch
from artattack.inputs.labels import IMAGENET, class_name
from artattack.results.scores import kl_divergence, top_k

SPACE = (0, 281, 440)  # tench, tabby, beer bottle


def logits(*rows: list[float]) -> np.ndarray:
    """Logits whose softmax is the rows, up to a constant that must not matter."""
    return (np.log(np.array(rows)) + 7.0).astype(np.float32)


def score(
    clean: list[float], adversarial: list[float], true: int, space: tuple[int, ...] | None = SPACE
) -> dict[str, Any]:
    (row,) = score_batch(logits(clean), logits(adversarial), np.array([true]), space)
    return row


def test_a_success_worked_out_by_hand() -> None:
    row = score([0.1, 0.7, 0.2], [0.1, 0.3, 0.6], true=281)
    assert json.loads(row.pop("top5_before")) == [
        [281, class_name(281), pytest.approx(0.7)],
        [440, class_name(440), pytest.approx(0.2)],
        [0, class_name(0), pytest.approx(0.1)],
    ]
    assert [c for c, _, _ in json.loads(row.pop("top5_after"))] == [440, 281, 0]
    numbers = {name: value for name, value in row.items() if isinstance(value, float)}
    assert numbers == pytest.approx(
        {
            "top1_confidence_before": 0.7,
            "top1_confidence_after": 0.6,
            "true_confidence_before": 0.7,
            "true_confidence_after": 0.3,
            "confidence_shift": -0.4,
            "true_confidence_shift": -0.4,
            "kl_divergence": 0.7 * math.log(7 / 3) + 0.2 * math.log(1 / 3),
        }
    )
    assert {name: value for name, value in row.items() if name not in numbers} == {
        "classes": 3,
        "rank_after": 2,
        "top5_flip": False,
        "in_label_space": True,
        "top1_class_before": 281,
        "top1_name_before": class_name(281),
        "top1_class_after": 440,
        "top1_name_after": class_name(440),
        "correct_before": True,
        "flip": True,
        "flip_to_style_class": None,  # there is no style
        "target_hit": None,  # nor a target
        "style_class_confidence_after": None,
        "entry_class_before": None,  # of a classifier of three classes
        "entry_class_after": None,
        "success": True,
    }


@pytest.mark.parametrize(
    ("clean", "adversarial", "true", "flip", "correct", "success"),
    [
        ([0.1, 0.7, 0.2], [0.3, 0.4, 0.3], 281, False, True, False),  # held
        (
            [0.1, 0.7, 0.2],
            [0.1, 0.2, 0.7],
            440,
            True,
            False,
            None,
        ),  # wrong before: skipped, though right after
        ([0.1, 0.7, 0.2], [0.7, 0.1, 0.2], 440, True, False, None),  # wrong before and after
    ],
)
def test_held_and_skipped(
    clean: list[float], adversarial: list[float], true: int, flip: bool, correct: bool, success: bool | None
) -> None:
    row = score(clean, adversarial, true)
    assert (row["flip"], row["correct_before"], row["success"]) == (flip, correct, success)


def test_shift_follows_the_class_before_and_the_true_class_apart() -> None:
    row = score([0.1, 0.7, 0.2], [0.5, 0.1, 0.4], true=440)
    assert row["confidence_shift"] == pytest.approx(0.1 - 0.7)
    assert row["true_confidence_shift"] == pytest.approx(0.4 - 0.2)


@pytest.mark.parametrize(
    ("true", "space", "inside"), [(-1, SPACE, None), (-1, None, None), (7, SPACE, False), (1, None, False)]
)
def test_no_truth_without_a_label_the_classifier_knows(
    true: int, space: tuple[int, ...] | None, inside: bool | None
) -> None:
    row = score([0.1, 0.7, 0.2], [0.7, 0.2, 0.1], true, space)
    assert row["in_label_space"] is inside
    truth = [
        "true_confidence_before",
        "true_confidence_after",
        "correct_before",
        "success",
        "true_confidence_shift",
    ]
    assert [row[name] for name in truth] == [None] * 5
    assert row["flip"] is True
    assert row["confidence_shift"] == pytest.approx(0.2 - 0.7)


def test_foreign_classes_are_output_indices() -> None:
    row = score([0.1, 0.7, 0.2], [0.7, 0.2, 0.1], 1, None)
    assert (row["top1_class_before"], row["top1_name_before"]) == (1, "output 1")
    assert json.loads(row["top5_after"])[0] == [0, "output 0", pytest.approx(0.7)]


def test_each_image_has_its_own_row() -> None:
    rng = np.random.default_rng(0)
    clean, adversarial = rng.normal(0, 3, (2, 5, 1000)).astype(np.float32)
    true = np.array([clean[0].argmax(), 3, -1, adversarial[3].argmax(), 999])
    rows = score_batch(clean, adversarial, true, IMAGENET)
    for i, row in enumerate(rows):
        assert score_batch(clean[i : i + 1], adversarial[i : i + 1], true[i : i + 1], IMAGENET) == [row]
        assert row["top1_class_before"] == clean[i].argmax()
        assert row["top1_class_after"] == adversarial[i].argmax()
        p = np.exp(clean[i].astype(float)) / np.exp(clean[i].astype(float)).sum()
        assert [c for _, _, c in json.loads(row["top5_before"])] == pytest.approx(sorted(p)[:-6:-1])
    assert score_batch(clean[:0], adversarial[:0], true[:0], IMAGENET) == []


def test_top_k_ends_with_the_classes_and_ties_go_to_the_first() -> None:
    ((first, second),) = top_k(np.array([[3.0, 3.0 + math.log(3)]]), (440, 281))
    assert first == (281, class_name(281), pytest.approx(0.75))
    assert second == (440, class_name(440), pytest.approx(0.25))
    assert [c for c, _, _ in top_k(np.zeros((1, 7)), None)[0]] == [0, 1, 2, 3, 4]
    assert [c for c, _, _ in top_k(np.zeros((1, 7)), None, k=2)[0]] == [0, 1]
    huge = top_k(np.array([[1000.0, 2000.0, 1500.0]], np.float32), None)[0]  # confidences 0, 1, 0
    assert [c for c, _, _ in huge] == [1, 2, 0]
    assert huge[0][2] == 1.0


@settings(deadline=None)
@given(
    st.lists(st.lists(st.floats(-30, 30, width=32), min_size=4, max_size=4), min_size=2, max_size=2),
    st.integers(-1, 4),
)
def test_nothing_shifts_where_nothing_changes_and_shifts_are_differences(rows: list[list[float]], true: int) -> None:
    clean, adversarial = np.array(rows, np.float32)[:, None]
    space, truth = (0, 1, 2, 3), np.array([true])
    (same,) = score_batch(clean, clean, truth, space)
    assert same["confidence_shift"] == 0
    assert not same["flip"]
    assert not same["success"]
    (there,) = score_batch(clean, adversarial, truth, space)
    (back,) = score_batch(adversarial, clean, truth, space)
    assert there["flip"] == back["flip"]
    if 0 <= true < 4:
        assert there["true_confidence_shift"] == -back["true_confidence_shift"]
        assert there["true_confidence_before"] == back["true_confidence_after"]
    assert there["confidence_shift"] <= there["top1_confidence_after"] - there["top1_confidence_before"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_an_error(bad: float) -> None:
    good, broken = np.zeros((3, 3)), np.zeros((3, 3))
    broken[1, 2] = bad
    for clean, adversarial in [(good, broken), (broken, good)]:
        with pytest.raises(ArtattackError, match=r"not finite for 1 of 3 images \(first: number 1"):
            score_batch(clean, adversarial, np.array([0, 0, 0]), SPACE)


@pytest.mark.parametrize(
    ("clean", "adversarial", "true", "message"),
    [
        ((2, 3), (2, 4), 2, r"\(2, 3\), \(2, 4\) and \(2,\)"),
        ((2, 3), (2, 3), 1, r"\(2, 3\), \(2, 3\) and \(1,\)"),
        ((2, 4), (2, 4), 2, "has 4 outputs, its label space 3 classes"),
        ((2, 0), (2, 0), 2, "a logit for each of two or more classes, got 0 for each image"),
        (
            (2, 1),
            (2, 1),
            2,
            "a logit for each of two or more classes, got 1 for each image: a single output cannot flip",
        ),
        ((2, 3, 1), (2, 3, 1), 2, r"shape \(images, classes\), got \(2, 3, 1\)"),
    ],
)
def test_shapes_that_do_not_fit(clean: Any, adversarial: Any, true: int, message: str) -> None:
    with pytest.raises(ArtattackError, match=message):
        score_batch(np.zeros(clean), np.zeros(adversarial), np.zeros(true, np.int64), SPACE)


def test_rank_of_the_class_seen_before_and_whether_the_top_five_still_have_it() -> None:
    space = tuple(range(7))
    clean = np.float32([[9, 0, 0, 0, 0, 0, 0]] * 3)
    after = np.float32([[9, 1, 2, 3, 4, 5, 6], [2.5, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6]])
    rows = score_batch(clean, after, np.array([-1, -1, -1]), space)
    assert [row["rank_after"] for row in rows] == [1, 5, 7]
    assert [row["top5_flip"] for row in rows] == [False, False, True]


def test_kl_divergence_against_scipy_and_where_confidences_are_no_floats() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.normal(0, 3, (2, 5, 9))
    odds = [np.exp(logits) / np.exp(logits).sum(1, keepdims=True) for logits in (p, q)]
    np.testing.assert_allclose(kl_divergence(p, q), entropy(odds[0], odds[1], axis=1), rtol=1e-9)
    # Sure of the first class before, of the second after: log(1) - log(exp(-2000)).
    np.testing.assert_allclose(kl_divergence(np.array([[2000.0, 0.0]]), np.array([[0.0, 2000.0]])), [2000.0])
    np.testing.assert_array_equal(kl_divergence(p, p), np.zeros(5))


def test_the_class_of_a_style_worked_out_by_hand() -> None:
    """The style shows a beer bottle: one image becomes one, one was one before, and one is labelled so."""
    clean = logits([0.1, 0.7, 0.2], [0.1, 0.2, 0.7], [0.7, 0.2, 0.1])
    adversarial = logits([0.1, 0.3, 0.6], [0.0 + 1e-9, 0.2, 0.8], [0.1, 0.2, 0.7])
    rows = score_batch(clean, adversarial, np.array([281, 281, 440]), SPACE, style_class=440)
    assert [row["flip_to_style_class"] for row in rows] == [True, False, None]
    assert rows[0]["style_class_confidence_after"] == pytest.approx(0.6)
    assert rows[2]["style_class_confidence_after"] is None


def test_a_target_is_hit_where_it_is_seen_after_and_was_not_before() -> None:
    """Led to 440: hit, missed, there before, its own class; led to a class that the classifier lacks; led nowhere."""
    clean = logits([0.1, 0.7, 0.2], [0.1, 0.7, 0.2], [0.1, 0.2, 0.7], [0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.7, 0.2, 0.1])
    after = logits([0.1, 0.3, 0.6], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [0.1, 0.2, 0.7])
    true, led = np.array([281, 281, 281, 440, 281, 281]), np.array([440, 440, 440, 440, 999, -1])
    rows = score_batch(clean, after, true, SPACE, target_classes=led)
    assert [row["target_hit"] for row in rows] == [True, False, False, None, None, None]
    assert [row["target_hit"] for row in score_batch(clean, after, true, SPACE)] == [None] * 6
