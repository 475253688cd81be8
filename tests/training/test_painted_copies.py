"""Painted copies: their styles and distances, and batches of which half is painted."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from artattack.errors import ArtattackError
from artattack.training.painted_copies import Copies, with_copies


def grey(count: int, side: int) -> np.ndarray:
    return np.full((count, side, side, 3), 0.5, np.float32)


def test_copies_stand_at_distances_within_the_range_in_trained_or_held_out_styles(case: Any) -> None:
    copies = Copies.of(case.paint, (), (), (1.0, 4.0))
    assert (copies.trained, copies.held_out) == (("more",), ("less",))
    x = grey(40, case.side)
    for held_out, sign in ((False, 1), (True, -1)):
        change = copies.drawn(x, np.random.default_rng(0), held_out=held_out) - x
        lengths = np.linalg.norm(change.reshape(len(x), -1), axis=1)
        assert 1 - 1e-4 <= lengths.min() < 1.5 < 2.5 < lengths.max() <= 4 + 1e-4
        assert (np.sign(change[..., 2]) == sign).all()
        assert not change[..., :2].any()


def test_styles_are_chosen_by_name(case: Any) -> None:
    assert Copies.of(case.paint, ("less",), (), (1, 1)).held_out == ("more",)
    assert Copies.of(case.paint, (), ("more",), (1, 1)).trained == ("less",)
    with pytest.raises(ArtattackError, match="unknown style of the painter 'les'; did you mean 'less'"):
        Copies.of(case.paint, ("les",), (), (1, 1))


def test_half_of_each_batch_is_painted_whatever_batch_training_begins_with(case: Any) -> None:
    """At L2 3.2 over 16 x 16 pixels of one channel, each value moves by 0.2; of the range [-1, 1], by 0.4."""
    copies = Copies.of(case.paint, (), (), (3.2, 3.2))
    shown = tf.data.Dataset.from_tensor_slices((2 * grey(18, case.side) - 1, np.arange(18))).batch(6)
    whole = list(with_copies(shown, copies, 3, 0).as_numpy_iterator())
    for x, labels in whole:
        moved = x[..., 2] != 0
        assert moved.reshape(6, -1).all(axis=1).sum() == 3
        np.testing.assert_allclose(x[..., 2][moved], 0.4, atol=1e-5)
        assert len(labels) == 6
    resumed = list(with_copies(shown.skip(1), copies, 3, 1).as_numpy_iterator())
    for (x, _), (again, _) in zip(whole[1:], resumed, strict=True):
        np.testing.assert_array_equal(x, again)
    assert not np.array_equal(whole[0][0], whole[1][0])  # other places in each batch
