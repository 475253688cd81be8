"""Transforms against closed forms, NumPy, SciPy and their own transposes."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy.fft import dctn
from scipy.ndimage import affine_transform

from artattack.attacks import transforms
from artattack.attacks.options import TRANSFORM_NAMES
from artattack.attacks.transforms import TRANSFORMS, bsr, di, each_transformed, eot, ssm, transformed

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 16, 12
X = RNG.random((2, HEIGHT, WIDTH, 3)).astype(np.float32)
SEEDS = ([1, 2], [5, 0], [7, 7], [-3, 8], [2**31 - 1, 1])

every_transform = pytest.mark.parametrize("name", TRANSFORMS)
every_seed = pytest.mark.parametrize("seed", SEEDS, ids=str)


def seen(name: str, seed: list[int], x: np.ndarray = X, **options: Any) -> np.ndarray:
    transform: Callable[..., tf.Tensor] = TRANSFORMS[name]
    return transform(tf.constant(x), tf.constant(seed), **options).numpy()  # type: ignore[no-any-return]


def placed(x: np.ndarray, matrix: np.ndarray, offset: np.ndarray, beyond: float) -> np.ndarray:
    """Images (N, H, W, 3) seen through an affine map by SciPy: pixel p shows matrix p + offset."""
    planes = x.transpose(0, 3, 1, 2).reshape(-1, *x.shape[1:3])
    out = [affine_transform(p, matrix, offset, order=1, mode="grid-constant", cval=beyond) for p in planes]
    return np.stack(out).reshape(len(x), 3, *x.shape[1:3]).transpose(0, 2, 3, 1)


def test_the_table_has_the_names_that_benchmark_files_know() -> None:
    assert (*TRANSFORMS, "styless") == TRANSFORM_NAMES


# ---- what all have in common


@every_transform
@every_seed
def test_a_view_follows_from_its_seed_alone_with_any_other_images(name: str, seed: list[int]) -> None:
    out = seen(name, seed)
    assert out.shape == X.shape
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, seen(name, seed))
    for others in ([0], [1], [1, 0], [0, 0, 1]):
        np.testing.assert_allclose(seen(name, seed, X[others]), out[others], atol=1e-6)
    compiled = tf.function(
        TRANSFORMS[name], input_signature=[tf.TensorSpec((None, HEIGHT, WIDTH, 3)), tf.TensorSpec((2,), tf.int32)]
    )
    np.testing.assert_allclose(compiled(X, tf.constant(seed)), out, atol=1e-5)


@every_transform
@pytest.mark.parametrize("change", [[1, 0], [0, 1]], ids=["run", "step"])
def test_other_seeds_give_other_views(name: str, change: list[int]) -> None:
    out = [seen(name, [first * change[0], first * change[1] + 3]) for first in range(12)]
    assert sum(np.abs(one - other).max() > 1e-3 for one, other in pairwise(out)) >= 6


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name != "eot"])
@every_seed
def test_the_gradient_is_the_transpose(name: str, seed: list[int]) -> None:
    """They are affine: f(x + u) - f(x) = J u, and <J u, v> = <u, J' v>."""
    u, v = RNG.standard_normal((2, *X.shape)).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(X))
        out = TRANSFORMS[name](x, tf.constant(seed))
    pulled = tape.gradient(out, x, tf.constant(v)).numpy()
    pushed = seen(name, seed, X + u) - out.numpy()
    size = np.linalg.norm(pushed) * np.linalg.norm(v)
    assert abs((pushed * v).sum() - (u * pulled).sum()) < 1e-5 * size
    assert np.abs(pulled).max() > 0.01


# ---- eot


@every_seed
def test_random_view_against_scipy(seed: list[int]) -> None:
    share, down, right = tf.random.stateless_uniform((3,), seed).numpy()
    side = 1 - 0.25 * share  # of the image's side
    corner = np.array([((1 - side) / 2 + (0.2 * down - 0.1)) * HEIGHT, ((1 - side) / 2 + (0.2 * right - 0.1)) * WIDTH])
    expected = placed(X, np.eye(2) / side, -corner / side, 0.5)
    np.testing.assert_allclose(seen("eot", seed, noise=0.0), expected, atol=1e-4)


def test_random_views_noise_is_white_and_of_its_size() -> None:
    grey = tf.fill((1, 64, 64, 3), 0.5)
    noise = eot(grey, tf.constant([3, 4])).numpy() - 0.5
    assert noise.std() == pytest.approx(0.05, rel=0.05)
    assert abs(noise.mean()) < 0.002


def test_random_views_lie_in_the_range_of_images() -> None:
    out = np.stack([seen("eot", [0, step], np.round(X)) for step in range(5)])
    assert 0 <= out.min() <= out.max() <= 1


def test_random_views_gradient_points_where_the_transpose_does() -> None:
    """TensorFlow's is not the transpose itself; of gradients that differ from pixel to pixel it is near enough."""
    height = width = 64
    x, v = tf.fill((1, height, width, 3), 0.5), RNG.standard_normal((1, height, width, 3)).astype(np.float32)
    for step in range(5):
        draws = tf.random.stateless_uniform((3,), [0, step])
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = eot(x, tf.constant([0, step]), noise=0.0)
        with tf.GradientTape() as exact:
            exact.watch(x)
            side = 1.0 - 0.25 * draws[0]
            corners = (1.0 - side) / 2.0 + 0.2 * draws[1:] - 0.1
            rows, columns = (transforms._shrinking(64, side, corner / (1.0 - side)) for corner in tf.unstack(corners))
            same = tf.einsum("ih,nhwc,jw->nijc", rows, x - 0.5, columns) + 0.5
        found, true = tape.gradient(out, x, v).numpy().ravel(), exact.gradient(same, x, v).numpy().ravel()
        assert found @ true / np.linalg.norm(found) / np.linalg.norm(true) > 0.9


# ---- di


@every_seed
def test_diverse_inputs_against_scipy(seed: list[int]) -> None:
    _, size, down, right = tf.random.stateless_uniform((4,), seed).numpy().astype(float)
    share = 299 / 330 + (1 - 299 / 330) * size
    corner = np.array([down * HEIGHT, right * WIDTH]) * (1 - share)
    # Pixel centres lie half a pixel in: the centre p + 1/2 shows (p + 1/2 - corner) / share.
    expected = placed(X, np.eye(2) / share, (0.5 - corner) / share - 0.5, 0.0)
    np.testing.assert_allclose(seen("di", seed, probability=1.0), expected, atol=1e-4)


@every_seed
def test_diverse_inputs_of_full_size_or_no_probability_are_the_images(seed: list[int]) -> None:
    np.testing.assert_array_equal(seen("di", seed, least=1.0), X)
    np.testing.assert_array_equal(seen("di", seed, probability=0.0), X)


@every_seed
def test_a_white_diverse_input_is_a_white_rectangle_of_the_drawn_size_on_black(seed: list[int]) -> None:
    share = 0.5 + 0.5 * float(tf.random.stateless_uniform((4,), seed)[1])
    out = seen("di", seed, np.ones((1, 40, 30, 3), np.float32), probability=1.0, least=0.5)[0, :, :, 0]
    for side, line in ((40, out.max(1)), (30, out.max(0))):
        white = np.flatnonzero(line > 1 - 1e-5)
        assert abs(len(white) - share * side) < 2  # edges are grey
        assert (np.diff(white) == 1).all()
        assert (line > 1e-5).sum() <= len(white) + 2
    np.testing.assert_allclose(out, np.outer(out.max(1), out.max(0)), atol=1e-5)


def test_half_of_the_diverse_inputs_are_the_images() -> None:
    x = tf.constant(X[:1, :4, :4])
    alike = [np.array_equal(di(x, tf.constant([9, step])), x) for step in range(400)]
    assert np.mean(alike) == pytest.approx(0.5, abs=0.1)  # four standard deviations


# ---- bsr


def cut(length: int, sizes: np.ndarray) -> list[int]:
    """Where a side is cut, each piece in proportion to 1 and its draw."""
    shares = np.cumsum(1 + sizes, dtype=np.float32)
    return [int(place) for place in np.round(shares / shares[-1] * np.float32(length))[:-1]]


def block_shuffled(x: np.ndarray, draws: np.ndarray, blocks: int, degrees: float) -> np.ndarray:
    """One image (H, W, 3) by np.split and np.concatenate, its blocks rotated by SciPy."""
    if draws[0] >= 0.5:
        rotated = block_shuffled(x.swapaxes(0, 1), np.append(0, draws[1:]), blocks, -degrees)
        return rotated.swapaxes(0, 1)
    sizes, order = draws[1 : 1 + blocks], draws[1 + blocks : 1 + 2 * blocks]
    rest = draws[1 + 2 * blocks :].reshape(blocks, 3, blocks)
    strips = []
    for strip, (widths, turns, angles) in zip(np.split(x, cut(len(x), sizes)), rest, strict=True):
        pieces = []
        for piece, draw in zip(np.split(strip, cut(x.shape[1], widths), axis=1), angles, strict=True):
            angle = np.deg2rad((2 * draw - 1) * degrees)
            matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            middle = (np.array(piece.shape[:2]) - 1) / 2
            pieces.append(placed(piece[None], matrix, middle - matrix @ middle, 0.0)[0])
        strips.append(np.concatenate([pieces[i] for i in np.argsort(turns)], axis=1))
    return np.concatenate([strips[i] for i in np.argsort(order)])


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("degrees", [0.0, 24.0])
@every_seed
def test_block_shuffle_and_rotation_against_scipy(seed: list[int], blocks: int, degrees: float) -> None:
    draws = tf.random.stateless_uniform((1 + blocks * (2 + 3 * blocks),), seed).numpy()
    expected = np.stack([block_shuffled(x, draws, blocks, degrees) for x in X])
    np.testing.assert_allclose(seen("bsr", seed, blocks=blocks, degrees=degrees), expected, atol=1e-4)


@every_seed
def test_one_block_that_is_not_rotated_is_the_image(seed: list[int]) -> None:
    np.testing.assert_array_equal(seen("bsr", seed, blocks=1, degrees=0.0), X)


@every_seed
def test_blocks_that_are_not_rotated_change_places_only(seed: list[int]) -> None:
    out = seen("bsr", seed, degrees=0.0)
    for one, other in zip(out.reshape(2, -1, 3), X.reshape(2, -1, 3), strict=True):
        np.testing.assert_array_equal(one[np.lexsort(one.T)], other[np.lexsort(other.T)])


def test_strips_are_cut_along_rows_and_along_columns_in_thirds_at_the_least() -> None:
    """The image names its pixels; a block's corner is where row or column jumps."""
    side = 30
    names = np.stack([*np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), np.zeros((side, side))], -1)
    whole_rows, whole_columns, cuts = 0, 0, []
    for step in range(40):
        out = bsr(tf.constant(names[None], tf.float32), tf.constant([0, step]), degrees=0.0)[0].numpy()
        row_jumps, column_jumps = (np.diff(out[:, :, 0], axis=0) != 1), (np.diff(out[:, :, 1], axis=1) != 1)
        rows, columns = row_jumps.all(1), column_jumps.all(0)  # jumps from side to side
        whole_rows += rows.any() and not columns.any()
        whole_columns += columns.any() and not rows.any()
        cuts += [*(np.flatnonzero(rows) + 1), *(np.flatnonzero(columns) + 1)]
    assert whole_rows >= 5
    assert whole_columns >= 5
    assert side / 3 <= min(cuts) < max(cuts) <= 2 * side / 3


def test_default_blocks_are_two_by_two_and_turn_by_up_to_24_degrees() -> None:
    np.testing.assert_array_equal(seen("bsr", [4, 4]), seen("bsr", [4, 4], blocks=2, degrees=24.0))
    assert np.abs(seen("bsr", [4, 4]) - seen("bsr", [4, 4], degrees=0.0)).max() > 0.01


# ---- ssm


@every_seed
def test_spectrum_simulation_without_noise_and_mask_is_the_image(seed: list[int]) -> None:
    np.testing.assert_allclose(seen("ssm", seed, rho=0.0, sigma=0.0), X, atol=1e-5)


@every_seed
def test_spectrum_simulation_multiplies_scipys_cosine_transform(seed: list[int]) -> None:
    out = seen("ssm", seed, sigma=0.0)
    before, after = (dctn(images.astype(float), axes=(1, 2), norm="ortho") for images in (X, out))
    mask = after / before
    assert 0.499 < mask.min() < 0.52
    assert 1.48 < mask.max() < 1.501
    assert mask.mean() == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(mask[0], mask[1], atol=5e-3)


def test_spectrum_simulations_noise_is_white_and_of_its_size() -> None:
    x = tf.fill((1, 64, 64, 3), 0.5)
    noise = ssm(x, tf.constant([3, 4]), rho=0.0).numpy() - 0.5
    assert noise.std() == pytest.approx(16 / 255, rel=0.05)
    assert abs(noise.mean()) < 0.002


# ---- si


@pytest.mark.parametrize(
    ("seed", "over"), [([0, 0], 1), ([1, 0], 2), ([0, 2], 4), ([2, 1], 8), ([2, 2], 16), ([3, 2], 1), ([-1, 0], 16)]
)
def test_scales_by_hand(seed: list[int], over: int) -> None:
    np.testing.assert_array_equal(seen("si", seed), X / np.float32(over))


# ---- several


def test_five_views_of_a_step_are_the_five_scales() -> None:
    for seed in SEEDS[:-1]:  # the last wraps around
        views = [transformed(tf.constant(X), ["si"], tf.constant(seed), view) for view in range(5)]
        brightness = sorted(float(tf.reduce_max(view)) / X.max() for view in views)
        np.testing.assert_allclose(brightness, [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1], rtol=1e-6)


def test_transforms_follow_one_another_with_seeds_of_their_own() -> None:
    x, seed = tf.constant(X), tf.constant([3, 5])
    expected = bsr(eot(x, tf.constant([3, 5])), tf.constant([3 + 2**24, 5]))
    np.testing.assert_array_equal(transformed(x, ["eot", "bsr"], seed), expected)
    other_way = eot(bsr(x, tf.constant([3, 5])), tf.constant([3 + 2**24, 5]))
    np.testing.assert_array_equal(transformed(x, ["bsr", "eot"], seed), other_way)


def test_each_view_has_a_seed_of_its_own() -> None:
    x, seed = tf.constant(X), tf.constant([3, 5])
    np.testing.assert_array_equal(transformed(x, ["ssm"], seed, 2), ssm(x, tf.constant([5, 5])))
    np.testing.assert_array_equal(transformed(x, ["ssm"], seed, tf.constant(2)), ssm(x, tf.constant([5, 5])))


def test_no_transforms_leave_the_image() -> None:
    np.testing.assert_array_equal(transformed(tf.constant(X), [], tf.constant([1, 1])), X)


@pytest.mark.parametrize("names", [["di"], ["bsr", "ssm"], ["si"]], ids=str)
def test_each_image_is_transformed_by_its_own_seed(names: list[str]) -> None:
    seeds, step, view = tf.constant([4, 11]), tf.constant(2), tf.constant(1)
    x, v = tf.constant(X), tf.constant(RNG.standard_normal(X.shape), tf.float32)

    @tf.function
    def together(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = each_transformed(x, names, seeds, step, view)
        return out, tape.gradient(out, x, v)

    for i, (out, gradient) in enumerate(zip(*together(x), strict=True)):
        with tf.GradientTape() as tape:
            tape.watch(one := x[i : i + 1])
            alone = transformed(one, names, tf.stack([seeds[i], step]), view)
        np.testing.assert_allclose(out, alone[0], atol=1e-5)
        np.testing.assert_allclose(gradient, tape.gradient(alone, one, v[i : i + 1])[0], atol=1e-5)
