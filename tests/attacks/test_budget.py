"""Moving along a line until a distance is met, and onto balls."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from artattack.attacks.budget import bring_to, match, within
from artattack.attacks.controls import perturb as control
from artattack.attacks.projection import project
from artattack.bound import Bound
from artattack.distances import DISTANCES, l2
from artattack.errors import ArtattackError
from artattack.inputs.images import quantize


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
    out = match(x, moved, 8 / 255, "linf")
    assert out[0, 0, 0, 0] == pytest.approx(8 / 255)
    assert out.sum() == pytest.approx(8 / 255)


@pytest.mark.parametrize("k", [1, 2, 8, 16])
def test_an_image_at_exactly_its_linf_budget_stays(k: int) -> None:
    """In float32 the difference of two 8-bit values k levels apart is often a little more than k/255."""
    rng = np.random.default_rng(k)
    levels = rng.integers(20, 236, (2, 16, 16, 3))
    x, moved = (
        np.asarray(v, np.float32) / np.float32(255) for v in (levels, levels + k * rng.choice([-1, 1], levels.shape))
    )
    assert (np.abs(moved.astype(np.float64) - x).max((1, 2, 3)) > k / 255).all()  # what would be measured
    assert within(x, moved, k / 255, "linf").all()
    assert not within(x, moved, (k - 0.01) / 255, "linf").any()
    np.testing.assert_array_equal(match(x, moved, k / 255, "linf"), moved)


@pytest.mark.parametrize(("similarity", "target"), [("ssim", 0.6), ("psnr", 20.0)])
def test_similarity_falls_to_its_target(similarity: str, target: float) -> None:
    x, moved = _images(1)
    reached = DISTANCES[similarity](x, match(x, moved, target, similarity))
    assert (reached >= target).all()
    np.testing.assert_allclose(reached, target, rtol=0.03)


def test_colour_difference_rises_to_its_target() -> None:
    x, moved = _images(1)
    reached = DISTANCES["delta_e"](x, match(x, moved, 10.0, "delta_e"))
    assert (reached <= 10.0).all()
    np.testing.assert_allclose(reached, 10.0, rtol=0.03)


def test_near_images_stay_unless_told_to_go_beyond() -> None:
    x, moved = _images(2)
    near = quantize(x + 0.05 * (moved - x))
    target = 3 * l2(x, near)
    np.testing.assert_array_equal(match(x, near, target), near)
    np.testing.assert_allclose(l2(x, match(x, near, target, beyond=True)), target, rtol=0.01)


def test_images_are_brought_back_or_on_to_a_distance_and_stay_where_they_stand_at_it() -> None:
    x = np.full((4, 16, 16, 3), 100 / 255, np.float32)
    levels = np.array([10, 11, 2, 30])  # of 768 values each: an L2 of sqrt(768) * levels / 255
    files = np.float32((100 + levels) / 255)[:, None, None, None] * np.ones_like(x)
    target = np.sqrt(768) * 10.05 / 255
    brought = bring_to(x, files, Bound("l2", target))
    np.testing.assert_array_equal(brought[0], files[0])  # 99.5 % of the way
    reached = l2(x, brought)
    assert (reached <= target + 1e-9).all()
    np.testing.assert_allclose(reached, np.sqrt(768) * 10 / 255, rtol=1e-6)  # on the grid, the nearest below


def test_an_image_that_the_cube_stops_goes_as_far_as_its_line() -> None:
    x = np.full((2, 16, 16, 3), 250 / 255, np.float32)
    x[1] = 0
    files = x.copy()
    files[0, :4] += 1 / 255  # up to white: 5 levels of 4 x 16 x 3 values at most
    files[1, :4] += 1 / 255
    brought = bring_to(x, quantize(files), Bound("l2", 10.0))
    np.testing.assert_allclose(l2(x, brought), [np.sqrt(192) * 5 / 255, 10.0], rtol=0.01)


@pytest.mark.parametrize(("distance", "target"), [("ssim", 0.9), ("ssim", 0.6), ("delta_e", 8.0), ("psnr", 20.0)])
def test_any_distance_is_reached_from_nearer_and_from_farther(distance: str, target: float) -> None:
    x, moved = _images(6)
    near, far = (quantize(x + share * (moved - x)) for share in (0.02, 1.0))
    for files in (near, far):
        np.testing.assert_allclose(
            DISTANCES[distance](x, bring_to(x, files, Bound(distance, target))), target, rtol=0.02
        )


def test_linf_counts_whole_levels() -> None:
    """A radius of 2.5 levels leaves two: an image two levels away stands there."""
    x = np.full((1, 16, 16, 3), 0.5, np.float32)
    x = quantize(x)
    files = x.copy()
    files[0, 0, 0] += 2 / 255
    files[0, 1] += 1 / 255
    files = quantize(files)
    np.testing.assert_array_equal(bring_to(x, files, Bound("linf", 2.5 / 255)), files)


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


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), norm=st.sampled_from(["linf", "l2"]), radius=st.floats(0.01, 3.0))
def test_projection_ends_within_the_ball_and_the_cube(seed: int, norm: str, radius: float) -> None:
    rng = np.random.default_rng(seed)
    original = rng.random((2, 3, 3, 3)).astype(np.float32)
    x = original + rng.normal(size=original.shape).astype(np.float32)
    out = project(tf.constant(x), tf.constant(original), (norm, radius)).numpy()
    change = (out - original).reshape(2, -1)
    distance = np.abs(change).max(1) if norm == "linf" else np.linalg.norm(change, axis=1)
    assert (distance <= radius + 1e-5).all()
    assert out.min() >= 0
    assert out.max() <= 1
    np.testing.assert_allclose(project(tf.constant(out), tf.constant(original), (norm, radius)), out, atol=1e-5)


def test_linf_projection_is_the_nearest_point() -> None:
    original = np.random.default_rng(0).random((1, 4, 4, 3)).astype(np.float32)
    x = original + np.random.default_rng(0).normal(size=original.shape).astype(np.float32)
    nearest = np.clip(np.clip(x, original - 0.1, original + 0.1), 0, 1)
    np.testing.assert_allclose(project(tf.constant(x), tf.constant(original), ("linf", 0.1)), nearest, atol=1e-6)


@pytest.mark.parametrize("budget", [None, ("linf", 0.1), ("l2", 0.5)])
def test_images_within_stay_where_they_are(budget: tuple[str, float] | None) -> None:
    rng = np.random.default_rng(1)
    original = rng.uniform(0.1, 0.9, (2, 4, 4, 3)).astype(np.float32)
    x = original + rng.uniform(-0.07, 0.07, original.shape).astype(np.float32)
    assert l2(original, x).max() < 0.5
    np.testing.assert_allclose(project(tf.constant(x), tf.constant(original), budget), x, atol=1e-7)


def test_l2_projection_shortens_the_change_by_hand() -> None:
    # (0.6, 0.8) is 1 long; a ball of radius 0.5 holds half. The third pixel is clipped to 1 first, and stays there.
    original = np.zeros((1, 1, 1, 3), np.float32)
    original[..., 2] = 1.0
    x = tf.constant([[[[0.6, 0.8, 7.0]]]])
    np.testing.assert_allclose(project(x, tf.constant(original), ("l2", 0.5))[0, 0, 0], [0.3, 0.4, 1.0], rtol=1e-5)


def test_psnr_projection_by_hand() -> None:
    # 20 dB are a root mean square of 0.1: the root of 3 values' squares is 0.1 * sqrt(3), along (0.6, 0.8, 0).
    x = tf.constant([[[[0.6, 0.8, 0.0]]]])
    out = project(x, tf.zeros((1, 1, 1, 3)), ("psnr", 20.0))
    np.testing.assert_allclose(out[0, 0, 0], np.array([0.06, 0.08, 0.0]) * np.sqrt(3), rtol=1e-5)
    assert peak_signal_noise_ratio(np.zeros((1, 1, 3)), out[0].numpy(), data_range=1) == pytest.approx(20)


def test_without_a_budget_images_are_clipped() -> None:
    x = tf.constant([[[[-0.5, 0.5, 1.5]]]])
    np.testing.assert_array_equal(project(x, tf.fill((1, 1, 1, 3), 0.9), None)[0, 0, 0], [0.0, 0.5, 1.0])
