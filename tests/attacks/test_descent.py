"""The iterate that the descent keeps, case by case."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from artattack.attacks.descent import Descent, State
from artattack.attacks.objective import Objective
from artattack.attacks.options import StyleOptions
from artattack.models.model import Model

SIZE = (2, 2)


def keep(model: Model, before: tuple[float, bool, bool], after: tuple[float, bool], **options: Any) -> State:
    """Return the best iterates for an image of zeros (score, fooled, done) and one of ones (loss, fooled)."""
    chosen = StyleOptions(**options)
    descent = Descent(Objective(model, chosen), None, chosen, SIZE)
    zeros, ones = tf.zeros((1, *SIZE, 3)), tf.ones((1, *SIZE, 3))
    score, fooled, done = (tf.constant([value]) for value in before)
    loss, now_fooled = (tf.constant([value]) for value in after)
    return descent._judged(
        State(tf.constant(0), zeros, zeros, zeros, zeros, score, fooled, done, tf.constant([False])),
        ones,
        loss,
        now_fooled,
    )


@pytest.mark.parametrize(
    ("before", "after", "is_better"),
    [
        ((2.0, False, False), (1.0, False), True),
        ((1.0, False, False), (2.0, False), False),
        ((1.00, False, False), (0.99, False), True),
        ((2.0, True, False), (1.0, True), True),
        ((1.0, True, False), (2.0, True), False),
        ((1.0, False, False), (9.0, True), True),  # fooling iterates come before others
        ((9.0, True, False), (1.0, False), False),
        ((9.0, True, True), (1.0, True), False),  # done
        ((1.0, False, False), (np.nan, False), False),
        ((np.inf, False, False), (-np.inf, False), False),  # no loss at all, rather than the least
    ],
)
def test_which_is_better(
    model: Model, before: tuple[float, bool, bool], after: tuple[float, bool], is_better: bool
) -> None:
    state = keep(model, before, after)
    assert bool(tf.reduce_all(state.best == 1)) == is_better
    assert float(state.score[0]) == np.float32(after[0] if is_better else before[0])
    assert bool(state.fooled[0]) == (before[1] or after[1])


@pytest.mark.parametrize("early_stop", [True, False])
def test_done_once_fooled_with_early_stop(model: Model, early_stop: bool) -> None:
    assert bool(keep(model, (1.0, False, False), (9.0, True), early_stop=early_stop).done[0]) == early_stop
    assert not keep(model, (9.0, False, False), (1.0, False), early_stop=early_stop).done[0]
