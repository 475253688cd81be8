"""A run's doubts about its classifiers, from the records of untouched images."""

from typing import Any

import pytest

from artattack.results.doubts import doubts_of
from artattack.results.records import records_frame


def rows(predicted: list[int], true: list[int | None], classes: int = 10, **values: Any) -> list[dict[str, Any]]:
    return [
        {
            "image": f"i{k}",
            "true_class": label,
            "kind": "clean",
            "attack": "clean",
            "classifier": "mine",
            "classifier_weights": "file",
            "classes": classes,
            "top1_class_before": guess,
            "top1_name_before": f"class {guess}",
            "correct_before": None if label is None else guess == label,
            "flip": False,
        }
        | values
        for k, (guess, label) in enumerate(zip(predicted, true, strict=True))
    ]


def doubts(*parts: list[dict[str, Any]]) -> tuple[str, ...]:
    return doubts_of(records_frame([row for part in parts for row in part]))


def test_all_images_in_one_class_are_doubted_from_eight_on() -> None:
    assert doubts(rows([3] * 7, [None] * 7)) == ()
    (doubt,) = doubts(rows([3] * 8, [None] * 8))
    assert "classifier 'mine' puts all 8 untouched images into one class, class 3" in doubt
    assert doubts(rows([3] * 8, [*range(8)])) == (doubt,)
    assert doubts(rows([3] * 8, [3] * 8)) == ()  # an image set of one class
    assert doubts(rows([3] * 7 + [4], [None] * 8)) == ()
    assert doubts(rows([3] * 8, [None] * 8, classifier_weights="random")) == ()  # marked as such wherever it appears
    assert doubts(rows([3] * 8, [None] * 8, kind="control")) == ()


@pytest.mark.parametrize(
    ("right", "of", "classes", "doubted"),
    [
        (0, 8, 1000, True),
        (1, 8, 1000, False),  # by guessing, once in 125 runs
        (3, 20, 10, True),  # three or more of 20 by guessing: 1 - 0.677 = 32 %
        (5, 20, 10, False),  # five or more: 4.3 %
        (4, 8, 2, False),  # half of 8 between two classes: half would be no sign of knowing anything, either
        (0, 7, 1000, False),
    ],
)
def test_as_many_hits_as_by_guessing_are_doubted(right: int, of: int, classes: int, doubted: bool) -> None:
    true: list[int | None] = [k % 7 for k in range(of)]
    predicted = [label if k < right else (label or 0) + 1 for k, label in enumerate(true)]
    found = doubts(rows([guess or 0 for guess in predicted], true, classes))
    assert [f"right on {right} of {of} untouched images" in doubt for doubt in found] == [True] * doubted


def test_flips_of_a_random_classifier_without_an_attack_are_told() -> None:
    random = rows([1, 2, 3], [1, 2, 3], classifier_draws=8)
    assert doubts(random) == ()
    random[1]["flip"] = True
    (doubt,) = doubts(random)
    assert "answers at random and flips 1 of 3 untouched images by itself" in doubt
    assert doubts(rows([1, 2, 3], [1, 2, 3])) == ()
