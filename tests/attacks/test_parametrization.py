"""The Fourier parametrization against NumPy and by hand, and its purpose: no grid."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from artattack.attacks.parametrization import Fourier
from artattack.attacks.style import StyleTransferAttack
from artattack.distances import checkerboard
from artattack.inputs.image_sets import load_images
from artattack.models import load_model
from artattack.models.estimator import to_estimator

RNG = np.random.default_rng(0)
# Lucid's square root of the covariance of ImageNet's colours, scaled to move a channel by 1, root mean square.
COLOUR = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
COLOUR /= np.sqrt((COLOUR**2).sum() / 3)


def change(parameters: np.ndarray, height: int, width: int, decay: float) -> np.ndarray:
    first = tf.zeros((len(parameters), height, width, 3))
    form = Fourier(height, width, decay)
    assert parameters.shape == form.start(first).shape
    return form.image(tf.constant(parameters, tf.float32), first).numpy()  # type: ignore[no-any-return]


def one(
    row: int, column: int, height: int = 8, width: int = 8, *, part: int = 0, colour: int = 0, decay: float = 1.0
) -> np.ndarray:
    """The change that a single parameter of 1 makes, (height, width, 3)."""
    parameters = np.zeros((1, 2, 3, height, width // 2 + 1), np.float32)
    parameters[0, part, colour, row, column] = 1.0
    return change(parameters, height, width, decay)[0]  # type: ignore[no-any-return]


def test_no_spectrum_is_no_change() -> None:
    form, first = Fourier(8, 6), tf.constant(RNG.random((2, 8, 6, 3)), tf.float32)
    np.testing.assert_array_equal(form.image(form.start(first), first), first)


@pytest.mark.parametrize("colour", [0, 1, 2])
def test_one_coefficient_makes_a_wave_by_hand(colour: int) -> None:
    # Two periods from left to right: a cosine from the real part, minus a sine from the imaginary one, in red, green
    # and blue as the column of the colour matrix says.
    phase = 2 * np.pi * 2 * np.arange(8) / 8
    for part, wave in enumerate((np.cos(phase), -np.sin(phase))):
        made = one(0, 2, part=part, colour=colour)
        height = np.abs(made).max() / np.abs(COLOUR[:, colour]).max()
        assert height > 0.01
        np.testing.assert_allclose(
            made, height * wave[None, :, None] * COLOUR[:, colour] * np.ones((8, 1, 1)), atol=1e-5
        )


@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5])
def test_amplitude_falls_as_one_over_frequency_to_a_power(decay: float) -> None:
    # One period from left to right; four; three down and four right, which is five; three up likewise.
    places = [(0, 1), (0, 4), (3, 4), (-3, 4)]
    lowest, *others = (np.abs(one(row, column, 30, 30, decay=decay)).max() for row, column in places)
    # The grid misses a crest by little.
    np.testing.assert_allclose(lowest / others, np.array([4.0, 5.0, 5.0]) ** decay, rtol=0.02)


def test_mean_is_scaled_as_the_lowest_frequency() -> None:
    # A wave counts twice in the half spectrum, the mean once.
    assert np.abs(one(0, 1)).max() / np.abs(one(0, 0)).max() == pytest.approx(2.0, rel=1e-4)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 9), (16, 10)])
def test_against_numpy(height: int, width: int) -> None:
    parameters = RNG.normal(size=(2, 2, 3, height, width // 2 + 1)).astype(np.float32)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij"))
    scale = np.maximum(frequency, 1 / max(height, width)) ** -1.5
    channels = np.fft.irfft2(scale * (parameters[:, 0] + 1j * parameters[:, 1]), (height, width))
    expected = np.einsum("nchw,dc->nhwd", channels, COLOUR)
    made = change(parameters, height, width, 1.5)
    np.testing.assert_allclose(made, expected * (made.std() / expected.std()), atol=2e-4)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 12), (24, 9)])
def test_a_step_in_every_parameter_moves_pixels_by_as_much(height: int, width: int) -> None:
    # The mean square over random signs is the sum of the squares that single parameters give.
    single = np.eye(6 * height * (width // 2 + 1), dtype=np.float32).reshape(-1, 2, 3, height, width // 2 + 1)
    assert np.square(change(single, height, width, 1.5)).sum() / (3 * height * width) == pytest.approx(1.0, rel=1e-3)


def test_low_frequencies_dominate_an_attacks_change(images: np.ndarray, paint: Callable[..., np.ndarray]) -> None:
    def high(x: np.ndarray) -> float:
        """Return the share of the energy beyond a quarter of the sampling rate."""
        energy = np.square(np.abs(np.fft.fft2(x - images, axes=(1, 2)))).sum((0, 3))
        frequency = np.hypot(np.fft.fftfreq(x.shape[1])[:, None], np.fft.fftfreq(x.shape[2]))
        return float(energy[frequency > 0.25].sum() / energy.sum())

    rate = {"learning_rate": 0.02}  # with longer steps more is clipped at black and white, which makes edges
    assert high(paint(parametrization="fourier", **rate)) < 0.8 * high(paint(**rate))


PIXELS: dict[str, Any] = {
    "parametrization": "pixel",
    "jitter": 0,
    "style_weight": 1.0,
    "tv_weight": 0.3,
    "budget": None,
}


@pytest.mark.slow
def test_fourier_with_jitter_leaves_no_grid() -> None:
    # The bundled network's first layers have a stride of 4 px, which shows in pixels' gradients.
    x = load_images("samples", size=112, limit=2).x
    backbone = to_estimator(load_model("quicknet_tiny"))
    pixel, fourier = (
        checkerboard(StyleTransferAttack(backbone, steps=6, **options).generate(x) - x, 4).mean()
        for options in (PIXELS, PIXELS | {"parametrization": "fourier", "jitter": 8})
    )
    assert fourier < 2
    assert pixel > 2 * fourier
    assert pixel > 3
