"""Parametrizations of a style attack's images, pixels or a Fourier spectrum; and a painter's smoothing."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# Matrix square root of the covariance of ImageNet's colours, measured by Lucid (Olah, Mordvintsev & Schubert, Feature
# Visualization, Distill 2017). Columns are the decorrelated colours.
_COLOUR = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], np.float32)
_REFERENCE = 256  # px; side of the spectrum whose mean gain sets the scale of a smoothing


def spectrum_scale(height: int, width: int, decay: float, lowest: float) -> np.ndarray:
    """Return 1 / max(frequency, lowest)^decay over the half spectrum, (H, W // 2 + 1) float64.

    Args:
        height: height of the images, in pixels.
        width: width of the images, in pixels.
        decay: the power.
        lowest: frequency below which the scale is constant, in cycles per pixel.
    """
    down, right = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    return np.asarray(np.maximum(np.hypot(down, right), lowest) ** -decay)


def _colours() -> np.ndarray:
    """Return the map (3, 3) float32 from decorrelated colours (rows) to RGB, which keeps the root mean square."""
    return np.asarray((_COLOUR / np.sqrt((_COLOUR**2).sum() / 3.0)).T)


class Pixel:
    """Optimizes pixels directly."""

    def start(self, first: tf.Tensor) -> tf.Tensor:
        """Return the parameters of the initial images (N, H, W, 3)."""
        return first

    def image(self, parameters: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
        """Return the images (N, H, W, 3) of the parameters, not clipped yet."""
        return parameters


class Fourier:
    """Optimizes the spectrum of a perturbation of the initial image, with decorrelated colours.

    Each frequency is scaled by 1 / max(frequency, 1 / max(H, W)) to a power, so that a uniform step moves low
    frequencies most; a power of 1 matches natural images. Colours are correlated as in ImageNet (Olah, Mordvintsev &
    Schubert 2017). A step of size s in every parameter moves pixels by s, root mean square, as with `Pixel`.

    Args:
        height: height of the images, in pixels.
        width: width of the images, in pixels.
        decay: the power.
    """

    def __init__(self, height: int, width: int, decay: float = 1.0) -> None:
        self._size = (height, width)
        scale = spectrum_scale(height, width, decay, 1.0 / max(height, width))
        # By Parseval: columns of the half spectrum count twice. In the first and the Nyquist column, only the half with
        # the symmetry of a real image's spectrum has an effect, and it counts once.
        counts = np.full(scale.shape[1], 2.0)
        counts[0] = 0.5
        if width % 2 == 0:
            counts[-1] = 0.5
        power = 2.0 * (counts * scale**2).sum()  # real and imaginary parts
        self._colour = tf.constant(_colours())
        self._scale = tf.constant(scale * height * width / np.sqrt(power), tf.float32)

    def start(self, first: tf.Tensor) -> tf.Tensor:
        """Return parameters (N, 2, 3, H, W // 2 + 1), all zero: no perturbation of the initial images."""
        return tf.zeros((tf.shape(first)[0], 2, 3, *self._scale.shape))

    def image(self, parameters: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
        """Return the initial images (N, H, W, 3) plus the perturbation, not clipped yet."""
        # Gradients of slices would be slow.
        spectrum = tf.complex(*tf.unstack(parameters, axis=1)) * tf.cast(self._scale, tf.complex64)
        channels = tf.signal.irfft2d(spectrum, self._size)
        return first + tf.einsum("nchw,cd->nhwd", channels, self._colour)


class Smoothing:
    """Smooths a change by the spectrum and the colours of `Fourier`, with one filter for images of every size.

    The filter is a fixed convolution kernel, apart from the periodic borders, so that a painter trained on small crops
    paints large images alike. White noise keeps its root mean square: exactly at 256 x 256 px, nearly at other sizes.

    Args:
        height: height of the images, in pixels.
        width: width of the images, in pixels.
        decay: the power.
        lowest: frequency below which the gain is constant, in cycles per pixel.

    Attributes:
        colour: (3, 3) float32, from decorrelated colours to RGB.
    """

    def __init__(self, height: int, width: int, decay: float, lowest: float) -> None:
        self._size = (height, width)
        whole = np.fft.fftfreq(_REFERENCE)
        frequencies = np.maximum(np.hypot(whole[:, None], whole[None, :]), lowest)
        gain = spectrum_scale(height, width, decay, lowest) / np.sqrt((frequencies ** (-2.0 * decay)).mean())
        self._gain = tf.constant(gain, tf.complex64)
        self.colour = tf.constant(_colours())

    def whole_gain(self) -> np.ndarray:
        """Return the gain (H, W) float32 at every frequency, in the order of NumPy's `fft2`."""
        width = self._size[1]
        half = tf.math.real(self._gain).numpy()
        columns = np.minimum(np.arange(width), width - np.arange(width))
        return np.asarray(half[:, columns], np.float32)

    def __call__(self, change: tf.Tensor) -> tf.Tensor:
        """Smooth a change (N, H, W, 3) float32 in decorrelated colours, and return it in RGB."""
        spectrum = tf.signal.rfft2d(tf.transpose(change, (0, 3, 1, 2))) * self._gain
        channels = tf.signal.irfft2d(spectrum, self._size)
        return tf.einsum("nchw,cd->nhwd", channels, self.colour)
