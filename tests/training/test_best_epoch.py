"""The best epoch of a training with losses that are not finite."""

import math
from pathlib import Path

import pandas as pd
import pytest

from artattack.training.best_epoch import best_epoch, epochs_since_best
from artattack.training.card_writing import course_facts
from artattack.training.crops import check_images


@pytest.mark.parametrize(
    ("losses", "best", "since"),
    [
        ([], None, 0),
        ([2.0, 1.0, 1.0, 3.0], 1, 2),
        ([2.0, math.nan, math.nan], 0, 2),
        ([math.nan, 2.0, math.inf], 1, 1),
        ([math.nan, math.inf], None, 2),
        ([-math.inf, 1.0], 1, 0),
    ],
)
def test_an_epoch_without_a_finite_loss_is_never_best(losses: list[float], best: int | None, since: int) -> None:
    assert best_epoch(losses) == best
    assert epochs_since_best(iter(losses)) == since


def test_a_card_names_the_best_finite_epoch() -> None:
    history = pd.DataFrame({"epoch": [0, 1, 2], "val_loss": [3.0, math.nan, 2.0], "seconds": [30.0, 30.0, 30.0]})
    assert course_facts(history) == {"epochs": 3, "best_epoch": 3, "minutes": 1.5}


def test_an_image_that_cannot_be_read_is_no_sample(tmp_path: Path) -> None:
    check_images([tmp_path / "missing.png"])
