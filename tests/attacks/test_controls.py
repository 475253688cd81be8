"""Controls: the change of each to an image, and its distance."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.signal import fftconvolve

from artattack.attacks.controls import CONTROLS, blur, jpeg
from artattack.attacks.controls import perturb as control
from artattack.distances import DISTANCES
from artattack.errors import ArtattackError
from artattack.inputs.images import quantize

SIZE = 48
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Two images on the 8-bit grid: one smooth, one with detail."""
    i, j = np.mgrid[:SIZE, :SIZE] / SIZE
    smooth = np.stack([0.2 + 0.6 * i, 0.5 + 0.3 * np.sin(6 * j), 0.7 - 0.4 * i * j], -1)
    return quantize(np.stack([smooth, 0.25 + 0.5 * RNG.random((SIZE, SIZE, 3))]).astype(np.float32))


@pytest.fixture(scope="module")
def stripes() -> np.ndarray:
    return np.tile(np.float32([0, 0, 1, 1])[:, None], (SIZE, SIZE // 4, 3))


def test_a_control_moves_on_a_line_or_on_a_path() -> None:
    assert all((control.line is None) != (control.path is None) for control in CONTROLS.values())


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize(("distance", "target"), [("l2", [1.5, 6.0]), ("linf", [0.1, 0.1]), ("ssim", [0.9, 0.8])])
def test_each_stands_at_the_distance_it_is_told(
    x: np.ndarray, stripes: np.ndarray, name: str, distance: str, target: list[float]
) -> None:
    out = control(name, x, np.array(target), [1, 2], distance, stripes)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, quantize(out))
    found = DISTANCES[distance](x, out)
    sign = -1 if distance == "ssim" else 1
    assert (sign * found <= sign * np.array(target) + 1e-9).all()
    # A step of the 8-bit grid moves a colour shift by 1/255 in each of the values of a channel.
    coarse = {"colour": 0.25} if distance == "l2" else {"colour": 0.1}
    np.testing.assert_allclose(found, target, rtol=coarse.get(name, 0.05))


def test_noise_is_white_and_follows_from_its_seed(x: np.ndarray) -> None:
    first, again, other = (control("noise", x, np.array([3.0, 3.0]), seeds) for seeds in ([1, 2], [1, 2], [5, 2]))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[1], other[1])
    assert (first[0] != other[0]).any()
    change = (first - x)[0, :, :, 0]
    for shift in ((0, 1), (1, 0), (3, 2)):
        assert abs(np.corrcoef(change.ravel(), np.roll(change, shift, (0, 1)).ravel())[0, 1]) < 0.1


def test_colour_shifts_all_pixels_alike(x: np.ndarray) -> None:
    change = (control("colour", x, np.array([2.0, 2.0]), [3, 4]) - x)[1]
    for channel in range(3):
        assert np.ptp(change[..., channel]) < 1.01 / 255  # the 8-bit grid
    assert len({float(change[0, 0, channel]) for channel in range(3)}) == 3


def test_blend_lies_between_the_image_and_the_style(x: np.ndarray, stripes: np.ndarray) -> None:
    out = control("blend", x, np.array([4.0, 4.0]), [0, 0], style=stripes)
    alpha = np.sum((out - x) * (stripes - x), axis=(1, 2, 3)) / np.sum((stripes - x) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(alpha, 4.0 / np.sqrt(np.sum((stripes - x) ** 2, axis=(1, 2, 3))), rtol=0.02)
    np.testing.assert_allclose(out, x + alpha[:, None, None, None] * (stripes - x), atol=1 / 255)


def test_blur_is_a_gaussian(x: np.ndarray) -> None:
    sigma = 0.1 * SIZE / 4
    i = np.arange(-20, 21)
    kernel = np.exp(-(i**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    image = x[1]
    expected = np.stack(
        [
            fftconvolve(np.pad(image[..., c], 20, mode="symmetric"), np.outer(kernel, kernel), mode="valid")
            for c in range(3)
        ],
        -1,
    )
    np.testing.assert_allclose(blur(image, 0.1), expected, atol=1e-4)


@pytest.mark.parametrize(("strength", "quality"), [(0.0, 100), (0.5, 50), (1.0, 1)])
def test_jpeg_is_pillows(x: np.ndarray, strength: float, quality: int) -> None:
    file = io.BytesIO()
    Image.fromarray((x[0] * 255).round().astype(np.uint8)).save(file, "jpeg", quality=quality)
    np.testing.assert_allclose(jpeg(x[0], strength), np.asarray(Image.open(file)) / 255, atol=1e-6)


def test_a_path_that_ends_too_early_goes_straight_on(x: np.ndarray) -> None:
    strongest = float(DISTANCES["l2"](x[:1], quantize(blur(x[0], 1.0))[None])[0])
    wanted = 1.2 * strongest
    out = control("blur", x[:1], np.array([wanted]), [0])
    np.testing.assert_allclose(DISTANCES["l2"](x[:1], out), wanted, rtol=0.02)


def test_no_distance_is_no_change(x: np.ndarray, stripes: np.ndarray) -> None:
    for name in CONTROLS:
        np.testing.assert_array_equal(control(name, x, np.zeros(2), [0, 1], style=stripes), x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"name": "nois"}, "unknown control 'nois'; did you mean 'noise'"), ({"distance": "l3"}, "unknown distance 'l3'")],
)
def test_mistyped_names(x: np.ndarray, arguments: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {"name": "noise", "x": x, "target": np.ones(2), "seeds": [0, 1]}
    with pytest.raises(ArtattackError, match=message):
        control(**usual | arguments)
