import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from artattack.distances import (
    DISTANCES,
    checkerboard,
    delta_e,
    distance_columns,
    ms_ssim,
    psnr,
    ssim,
    total_variation,
)
from artattack.errors import ArtattackError

SIZE = 12


def flat(value: float, n: int = 2, size: int = SIZE) -> np.ndarray:
    return np.full((n, size, size, 3), value, np.float32)


def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two images; in the second, three values move by 0.5, -0.25 and 0.25."""
    x, y = flat(0.5), flat(0.5)
    y[1, 0, 0, 0], y[1, 3, 4, 1], y[1, 11, 11, 2] = 1.0, 0.25, 0.75
    return x, y


@pytest.mark.parametrize(
    ("name", "same", "moved"),
    [
        ("l0", 0, 3),
        ("l1", 0, 1.0),
        ("l2", 0, math.sqrt(0.25 + 0.0625 + 0.0625)),
        ("linf", 0, 0.5),
        ("psnr", math.inf, 10 * math.log10(SIZE * SIZE * 3 / 0.375)),
    ],
)
def test_norms_worked_out_by_hand(name: str, same: float, moved: float) -> None:
    x, y = pair()
    for found in (DISTANCES[name](x, y), DISTANCES[name](y, x)):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, [same, moved], rtol=1e-12)


def test_l0_sees_the_smallest_difference() -> None:
    x = flat(0.5, n=1)
    y = x.copy()
    y[0, 0, 0, 0] = np.nextafter(np.float32(0.5), np.float32(1))
    assert DISTANCES["l0"](x, y) == [1]


def gaussian_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of one channel straight from the paper's formula, over the windows that lie inside the image."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(weights, weights) / weights.sum() ** 2
    values = []
    for i in range(5, a.shape[0] - 5):
        for j in range(5, a.shape[1] - 5):
            p, q = (image[i - 5 : i + 6, j - 5 : j + 6] for image in (a, b))
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            values.append((2 * mp * mq + 1e-4) * (2 * cov + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    return float(np.mean(values))


def test_ssim_is_the_papers() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((2, 16, 19, 3))
    y = np.clip(x + rng.normal(0, 0.2, x.shape), 0, 1)
    expected = [np.mean([gaussian_ssim(a[..., c], b[..., c]) for c in range(3)]) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ssim(x, y), expected, rtol=1e-9)
    np.testing.assert_allclose(ssim(x, x), 1, rtol=1e-12)


@pytest.mark.parametrize("size", [(11, 40), (64, 47), (193, 176)])
def test_ssim_is_scikit_images(size: tuple[int, int]) -> None:
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(0)
    x = rng.random((2, *size, 3))
    y = np.clip(x + rng.normal(0, 0.2, x.shape), 0, 1)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}  # as in the paper
    expected = [structural_similarity(*two, data_range=1, channel_axis=-1, **options) for two in zip(x, y, strict=True)]
    np.testing.assert_allclose(ssim(x, y), expected, rtol=1e-12)


@pytest.mark.parametrize("side", [SIZE, 176])
def test_columns_are_the_distances(side: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 2, side, side, 3))
    columns = distance_columns(x, y)
    for name, measure in DISTANCES.items():
        np.testing.assert_array_equal(columns[name], measure(x, y))


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    assert ssim(flat(0.5, size=11), flat(0.5, size=11)).shape == (2,)
    with pytest.raises(ArtattackError, match="11 x 11 px, the images are only 10 x 10"):
        ssim(flat(0.5, size=10), flat(0.5, size=10))


def test_gmsd_is_the_papers() -> None:
    """By scikit-image: block means, Prewitt's filters, and the paper's formula with c = 170 for values up to 255."""
    from skimage.filters import prewitt_h, prewitt_v
    from skimage.transform import downscale_local_mean

    rng = np.random.default_rng(0)
    x, y = rng.random((2, 3, 24, 32, 3))
    y = x + 0.3 * (y - x)
    expected = []
    for a, b in zip(x, y, strict=True):
        grey = [downscale_local_mean(255 * image @ [0.2126, 0.7152, 0.0722], (2, 2)) for image in (a, b)]
        m, n = (np.sqrt(prewitt_h(g) ** 2 + prewitt_v(g) ** 2) for g in grey)
        expected.append(((2 * m * n + 170) / (m**2 + n**2 + 170)).std())
    np.testing.assert_allclose(DISTANCES["gmsd"](x, y), expected, rtol=1e-9)


def test_gmsd_is_blind_to_brightness_and_sees_lost_edges() -> None:
    x = np.random.default_rng(0).random((1, 32, 32, 3)) * 0.5
    np.testing.assert_allclose(DISTANCES["gmsd"](x, x + 0.3), 0, atol=1e-12)
    half = x.copy()
    half[:, :, 16:] = half[:, :, 16:].mean()
    assert DISTANCES["gmsd"](x, half) > 0.2


def test_delta_e_of_greys_is_the_lightness_difference() -> None:
    """For greys CIEDE2000 is |dL*| / S_L with L* = 116 cbrt(Y) - 16."""

    def lightness(v: float) -> float:
        return 116 * ((v + 0.055) / 1.055) ** (2.4 / 3) - 16

    l1, l2 = lightness(0.5), lightness(0.7)
    mean = (l1 + l2) / 2
    expected = (l2 - l1) / (1 + 0.015 * (mean - 50) ** 2 / math.sqrt(20 + (mean - 50) ** 2))
    np.testing.assert_allclose(delta_e(flat(0.5), flat(0.7)), expected, rtol=1e-3)
    np.testing.assert_array_equal(delta_e(flat(0.5), flat(0.5)), 0)


def test_delta_e_is_a_mean_over_pixels() -> None:
    x, y = flat(0.5, n=1), flat(0.5, n=1)
    y[:, : SIZE // 4] = 0.7
    np.testing.assert_allclose(delta_e(x, y), delta_e(x, flat(0.7, n=1)) / 4, rtol=1e-6)


@pytest.mark.parametrize("name", [*DISTANCES, "columns"])
def test_shape_mismatch_names_both(name: str) -> None:
    measure = DISTANCES.get(name, distance_columns)
    with pytest.raises(ArtattackError, match=r"\(2, 12, 12, 3\) and \(2, 13, 13, 3\)"):
        measure(flat(0), flat(0, size=13))
    with pytest.raises(ArtattackError, match=r"\(N, H, W, 3\), got \(12, 12, 3\)"):
        measure(flat(0)[0], flat(0)[0])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.permutations(range(3)))
def test_an_image_is_measured_alone(seed: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.random((2, 3, SIZE, SIZE, 3), np.float32)
    for measure in DISTANCES.values():
        np.testing.assert_allclose(measure(x[order], y[order]), measure(x, y)[order], rtol=1e-12)


def test_empty_batches() -> None:
    for measure in DISTANCES.values():
        assert measure(flat(0, n=0), flat(0, n=0)).shape == (0,)


def test_total_variation_worked_out_by_hand() -> None:
    x = np.zeros((1, 2, 3, 3))
    x[0, :, :, 0] = [[0.0, 0.5, 0.5], [1.0, 0.5, 0.0]]  # down: 1 + 0 + 0.5, across: 0.5 + 0 + 0.5 + 0.5
    np.testing.assert_allclose(total_variation(x), [3.0 / 18])


def test_columns_have_the_perturbations_total_variation() -> None:
    x, y = pair()
    columns = distance_columns(x, y)
    names = ["l0", "l1", "l2", "linf", "psnr", "ssim", "ms_ssim", "gmsd", "delta_e", "total_variation", "checkerboard"]
    assert list(columns) == names
    assert np.isnan(columns["checkerboard"]).all()  # a side of 12 px has 3 periods of 4
    # 0.5 in a corner and 0.25 in the opposite one have two neighbours each, -0.25 inside has four
    np.testing.assert_allclose(columns["total_variation"], [0, (1.0 + 0.5 + 1.0) / (SIZE * SIZE * 3)])
    np.testing.assert_array_equal(columns["psnr"], psnr(x, y))


# ---- checkerboard


def pink(n: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """1/f noise, the spectrum of natural images, with a grey mean."""
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    f[0, 0] = np.inf
    noise = np.random.default_rng(seed).standard_normal((n, height, width))
    values = np.fft.ifft2(np.fft.fft2(noise) / f).real
    return np.repeat((0.5 + 0.15 * values / values.std())[..., None], 3, axis=-1)


def grid(height: int, width: int, period: int, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Lines 1 px wide, every `period` px, of height 1 above the rest."""
    i, j = np.mgrid[:height, :width]
    lines = ((i + shift[0]) % period == 0) | ((j + shift[1]) % period == 0)
    return np.repeat(lines[None, ..., None].astype(float), 3, axis=-1)


PERIODS = [2, 4, 8, 16, (2, 4, 8, 16), 7]


@pytest.mark.parametrize("size", [(224, 224), (203, 250)])
@pytest.mark.parametrize("period", PERIODS)
def test_checkerboard_is_near_1_without_a_grid(period: int, size: tuple[int, int]) -> None:
    scores = checkerboard(pink(8, *size), period)
    assert scores.shape == (8,)
    assert 0.5 < scores.mean() < 1.3
    if period not in (2, 4):  # these have few harmonics: single images scatter
        assert scores.min() > 0.5
        assert scores.max() < 1.8


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_checkerboard_tells_a_photo_from_a_photo_with_a_grid(name: str) -> None:
    photo = getattr(data, name)()[None] / 255.0
    assert 0.7 < checkerboard(photo, 16)[0] < 1.3
    assert checkerboard(photo + 0.03 * grid(*photo.shape[1:3], 16), 16)[0] > 5


def test_checkerboard_sees_modulated_noise_in_the_absolute_value() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 128, 128, 3))
    modulated = noise * (0.5 + grid(128, 128, 4))
    assert (checkerboard(modulated, 4) < 3).all()
    assert (checkerboard(np.abs(noise), 4) < 3).all()
    assert (checkerboard(np.abs(modulated), 4) > 20).all()


@pytest.mark.parametrize("size", [(224, 224), (203, 250)])
@pytest.mark.parametrize("period", [2, 4, 8, 16, 7])
def test_checkerboard_grows_with_the_grid(period: int, size: tuple[int, int]) -> None:
    x, lines = pink(4, *size), grid(*size, period)
    scores = np.array([checkerboard(x + a * lines, period) for a in (0, 0.05, 0.1, 0.2, 0.4)])
    assert (np.diff(scores, axis=0) > 0).all()
    np.testing.assert_allclose(scores[4] / scores[3], 4, rtol=0.4)  # energy: the square of the amplitude


@pytest.mark.parametrize("period", [4, 8, 16])
def test_checkerboard_is_blind_to_grids_of_other_periods(period: int) -> None:
    x = pink(4, 210, 210)
    plain, other = checkerboard(x, period), checkerboard(x + 0.1 * grid(210, 210, 7), period)
    np.testing.assert_allclose(other, plain, atol=0.5)
    assert (checkerboard(x + 0.1 * grid(210, 210, 7), 7) > 20).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 15), st.integers(0, 15), st.floats(-0.5, 0.5))
def test_checkerboard_does_not_depend_on_phase_or_brightness(down: int, across: int, lift: float) -> None:
    x = pink(1, 128, 128)
    expected = checkerboard(x + 0.3 * grid(128, 128, 16), 16)
    np.testing.assert_allclose(checkerboard(x + lift + 0.3 * grid(128, 128, 16), 16), expected, rtol=1e-6)
    shifted = checkerboard(x + 0.3 * grid(128, 128, 16, (down, across)), 16)
    np.testing.assert_allclose(shifted, expected, rtol=0.15)  # the picture under the lines is another


def test_checkerboard_of_perturbations() -> None:
    noise = np.random.default_rng(0).normal(0, 0.03, (8, 224, 224, 3))
    assert 0.8 < checkerboard(noise, (4, 8, 16)).mean() < 1.2
    assert (checkerboard(noise + 0.03 * grid(224, 224, 16), (4, 8, 16)) > 2).all()
    np.testing.assert_array_equal(checkerboard(flat(0.0, size=64), 8), 1)


def test_checkerboard_counts_nested_periods_once() -> None:
    x = pink(2, 224, 224)
    np.testing.assert_array_equal(checkerboard(x, (2, 4, 8, 16)), checkerboard(x, 16))


@pytest.mark.parametrize(
    ("period", "message"),
    [(1, "at least 2 px, got 1"), ((), "at least 2 px"), (8, "at least 32 px a side, these are 31 x 31")],
)
def test_checkerboard_refuses(period: int | tuple[int, ...], message: str) -> None:
    with pytest.raises(ArtattackError, match=message):
        checkerboard(flat(0.5, size=31), period)


# ---- multi-scale SSIM


@pytest.mark.parametrize("size", [(192, 180), (177, 201)])
@pytest.mark.parametrize("spread", [0.02, 0.3])
def test_ms_ssim_is_tensorflows(spread: float, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf
    from tensorflow.python.ops import image_ops_impl

    # TensorFlow casts images to float32, whose rounding depends on the processor; here it computes in float64.
    monkeypatch.setattr(image_ops_impl, "convert_image_dtype", lambda image, dtype: tf.cast(image, tf.float64))
    rng = np.random.default_rng(0)
    x = rng.random((2, *size, 3)).astype(np.float32)
    x[1] = rng.random(3)
    y = np.clip(x + rng.normal(0, spread, x.shape), 0, 1).astype(np.float32)
    expected = tf.image.ssim_multiscale(*(tf.constant(part, tf.float64) for part in (x, y)), 1.0).numpy()
    assert expected.dtype == np.float64
    np.testing.assert_allclose(ms_ssim(x, y), expected, atol=1e-9)


def test_ms_ssim_of_equal_opposite_and_small_images() -> None:
    x = np.random.default_rng(0).random((2, 176, 176, 3))
    assert ms_ssim(x, x) == pytest.approx([1, 1])
    assert ms_ssim(x, 1 - x) == pytest.approx([0, 0])
    assert np.isnan(ms_ssim(x[:, :175], x[:, :175])).all()


def test_delta_e_does_not_hang_on_where_arrays_lie_in_memory() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((3, 32, 32, 3))
    y = np.clip(x + rng.normal(0, 0.03, x.shape), 0, 1)
    found, kept = set(), []
    for size in range(40):
        kept.append(np.empty(97 * size + 1))  # so that nothing lies where it lay before
        room = np.empty(x.size + size)
        moved = room[size:].reshape(x.shape)
        moved[:] = x
        found.add(tuple(delta_e(moved, y).tolist()))
    assert len(found) == 1
    assert all(value == round(value, 10) for value in found.pop())
