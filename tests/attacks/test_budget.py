"""Moving along a line until a distance is met."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artattack.attacks.budget import match
from artattack.attacks.controls import control
from artattack.distances import DISTANCES, l2
from artattack.errors import ArtattackError
from artattack.images import quantize


def _images(seed: int, n: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return quantize(rng.random((n, 16, 16, 3)).astype(np.float32)), rng.random((n, 16, 16, 3)).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0.1, 0.95), distance=st.sampled_from(["l2", "linf", "l1"]))
def test_distance_is_met_from_below(seed: int, share: float, distance: str) -> None:
    x, moved = _images(seed)
    target = share * DISTANCES[distance](x, moved)
    reached = DISTANCES[distance](x, match(x, moved, target, distance))
    assert (reached <= target).all()
    # One 8-bit step of every value at most is lost to the grid.
    assert (reached >= target - DISTANCES[distance](np.zeros_like(x), np.full_like(x, 1 / 255))).all()


def test_linf_by_hand() -> None:
    x = np.zeros((1, 16, 16, 3), np.float32)
    moved = x.copy()
    moved[0, 0, 0, 0] = 1.0
    out = match(x, moved, 8 / 255 + 1e-6, "linf")
    assert out[0, 0, 0, 0] == pytest.approx(8 / 255)
    assert out.sum() == pytest.approx(8 / 255)


def test_similarity_falls_to_its_target() -> None:
    x, moved = _images(1)
    reached = DISTANCES["ssim"](x, match(x, moved, 0.6, "ssim"))
    assert (reached >= 0.6).all()
    np.testing.assert_allclose(reached, 0.6, atol=0.02)


def test_near_images_stay_unless_told_to_go_beyond() -> None:
    x, moved = _images(2)
    near = quantize(x + 0.05 * (moved - x))
    target = 3 * l2(x, near)
    np.testing.assert_array_equal(match(x, near, target), near)
    np.testing.assert_allclose(l2(x, match(x, near, target, beyond=True)), target, rtol=0.01)


def test_each_image_has_its_own_target() -> None:
    x, moved = _images(3)
    target = np.array([0.5, 2.0])
    np.testing.assert_allclose(l2(x, match(x, moved, target)), target, rtol=0.02)


def test_unknown_distance_names_the_nearest() -> None:
    x, moved = _images(4)
    with pytest.raises(ArtattackError, match="did you mean 'linf'"):
        match(x, moved, 1.0, "linff")


def test_noise_stands_at_its_distance_even_where_it_is_clipped() -> None:
    x = np.ones((2, 16, 16, 3), np.float32)  # half of all noise is clipped away
    out = control("noise", x, np.array([1.0, 5.0]), seeds=[1, 2])
    np.testing.assert_allclose(l2(x, out), [1.0, 5.0], rtol=0.02)


def test_noise_of_an_image_does_not_depend_on_its_batch() -> None:
    x, _ = _images(5, n=3)
    target = np.array([1.0, 2.0, 3.0])
    together = control("noise", x, target, seeds=[1, 2, 3])
    np.testing.assert_array_equal(control("noise", x[1:2], target[1:2], seeds=[2]), together[1:2])
    assert (control("noise", x[1:2], target[1:2], seeds=[4]) != together[1:2]).any()
