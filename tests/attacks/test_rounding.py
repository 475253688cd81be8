"""From an attack's images to 8-bit files: budgets are kept, flips are not lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artattack.attacks.rounding import round_within, walk_to_flip, with_room
from artattack.bound import Bound
from artattack.distances import DISTANCES
from artattack.inputs.images import as_measured, quantize


def levels(images: np.ndarray) -> np.ndarray:
    return np.rint(images.astype(np.float64) * 255).astype(int)


def pair(seed: int, spread: float, n: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = quantize(rng.random((n, 12, 12, 3)).astype(np.float32))
    return x, np.clip(x + spread * rng.uniform(-1, 1, x.shape), 0, 1).astype(np.float32)


def test_linf_of_a_half_level_takes_the_next_level_inside() -> None:
    """2.5 levels away, rounding half up gives 3 on one side: outside. By hand: 2."""
    x = np.full((1, 2, 2, 3), 100 / 255, np.float32)
    made = x + np.array([2.5, -2.5, 0.4], np.float32) / 255
    np.testing.assert_array_equal(levels(quantize(made))[0, 0, 0], [103, 98, 100])
    np.testing.assert_array_equal(levels(round_within(x, made, Bound("linf", 2.5 / 255)))[0, 0, 0], [102, 98, 100])


@pytest.mark.parametrize("k", [1, 2, 4, 8, 16, 255])
def test_whole_levels_stay_whole(k: int) -> None:
    """An image at exactly k/255, as FGSM leaves it in float32, is within k/255."""
    rng = np.random.default_rng(k)
    x = quantize(rng.random((2, 8, 8, 3)).astype(np.float32))
    made = np.clip(x + np.float32(k / 255) * rng.choice([-1, 1], x.shape), 0, 1).astype(np.float32)
    np.testing.assert_array_equal(round_within(x, made, Bound("linf", k / 255)), quantize(made))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), norm=st.sampled_from(["linf", "l2", "l1"]), share=st.floats(0.2, 1.0))
def test_files_keep_the_ball_of_their_attack(seed: int, norm: str, share: float) -> None:
    x, made = pair(seed, 0.02)
    radius = share * float(DISTANCES[norm](x, made).max())
    files = round_within(x, made, Bound(norm, radius))
    np.testing.assert_array_equal(files, quantize(files))
    assert (DISTANCES[norm](as_measured(x), as_measured(files)) <= radius + 1e-9).all()
    inside = DISTANCES[norm](as_measured(x), as_measured(quantize(made))) <= radius
    np.testing.assert_array_equal(files[inside], quantize(made)[inside])  # what is inside stays


def test_without_a_ball_images_are_rounded() -> None:
    x, made = pair(0, 0.3)
    np.testing.assert_array_equal(round_within(x, made), quantize(made))


def brighter_than(x: np.ndarray, by: float):  # type: ignore[no-untyped-def]
    """A decision boundary: images whose mean is brighter than their originals' by so many levels."""
    return lambda images: (images.astype(np.float64) - x).mean((1, 2, 3)) * 255 > by


def test_a_flip_that_rounding_undoes_is_walked_on_to_the_nearest_8_bit_image_that_flips() -> None:
    """All values are 0.3 levels brighter, beyond a boundary at 0.25: the nearest 8-bit image beyond it is one level."""
    x = np.full((1, 4, 4, 3), 50 / 255, np.float32)
    made = x + np.float32(0.3 / 255)
    flips = brighter_than(x, 0.25)
    assert flips(made).all()
    assert not flips(quantize(made)).any()
    np.testing.assert_array_equal(levels(walk_to_flip(x, made, flips)), 51)


def test_it_walks_no_farther_than_it_must() -> None:
    """Values move by 0.01 to 2 levels along a line: compared with a search of every factor from 1 on in small steps."""
    x = np.full((1, 10, 10, 3), 100 / 255, np.float32)
    direction = np.linspace(0.01, 2.0, x.size, dtype=np.float32).reshape(x.shape) / 255
    made = x + direction
    boundary = (quantize(made) - x).mean() * 255 + 0.05  # a little beyond what rounding leaves
    flips = brighter_than(x, boundary)
    walked = walk_to_flip(x, x + 1.06 * direction, flips)
    assert flips(walked).all()
    nearest = next(f for f in np.arange(1.0, 3.0, 0.001) if flips(quantize(x + np.float32(f) * direction)).all())
    farther = (levels(walked) - levels(quantize(x + np.float32(nearest) * direction))).mean()
    assert 0 <= farther < 0.01  # levels, on the mean


def test_images_that_flip_anyway_or_never_are_only_rounded() -> None:
    x, made = pair(3, 0.1, n=3)
    asked = []

    def flips(images: np.ndarray) -> np.ndarray:
        asked.append(images)
        return np.array([True, False, len(asked) == 1])  # the third flips as made, and then never again

    np.testing.assert_array_equal(walk_to_flip(x, made, flips), quantize(made))


def test_tiny_perturbations_are_found_at_once() -> None:
    """A millionth of a level: the walk starts where the first value changes."""
    x = np.full((1, 4, 4, 3), 50 / 255, np.float32)
    made = x.copy()
    made[0, 0, 0, 0] += 2e-7
    original = x.copy()

    def flips(images: np.ndarray) -> np.ndarray:
        return (images != original).any((1, 2, 3))

    walked = walk_to_flip(x, made, flips)
    assert np.abs(levels(walked) - 50).sum() == 1


def test_room_for_rounding_is_four_standard_deviations_of_its_error() -> None:
    """By hand, for an image of 224 px: 100 - 0.1929 - 0.0906 and 1505.28 - 0.1929 - 0.3514, squared."""
    values = 3 * 224 * 224
    assert with_room(Bound("l2", 10.0), values).value == pytest.approx(99.7165**0.5, abs=1e-5)
    assert with_room(Bound("psnr", 20.0), values).value == pytest.approx(20.00157, abs=1e-5)
    for ball in (Bound("linf", 8 / 255), Bound("l2", 0.01), Bound("ssim", 0.9)):
        assert with_room(ball, values) == ball


@pytest.mark.parametrize("ball", [Bound("l2", 4.0), Bound("psnr", 25.0)])
def test_images_at_the_edge_of_the_smaller_ball_are_only_rounded(ball: Bound) -> None:
    rng = np.random.default_rng(0)
    x = quantize(rng.uniform(0.3, 0.7, (8, 40, 40, 3)).astype(np.float32))
    change = rng.normal(size=x.shape)
    inner = with_room(ball, x[0].size)
    radius = inner.value if ball.distance == "l2" else np.sqrt(x[0].size * 10 ** (-inner.value / 10))
    made = (x + change * radius / np.sqrt((change**2).sum((1, 2, 3), keepdims=True))).astype(np.float32)
    np.testing.assert_array_equal(round_within(x, made, ball), quantize(made))
    assert ball.contains(x, quantize(made)).all()
