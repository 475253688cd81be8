"""Parametrizations of a style attack's images: pixels or a Fourier spectrum."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# Matrix square root of the covariance of ImageNet's colours, measured by Lucid (Olah, Mordvintsev & Schubert, Feature
# Visualization, Distill 2017). Columns are the decorrelated colours.
_COLOUR = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], np.float32)


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
        height, width: size of the images.
        decay: the power.
    """

    def __init__(self, height: int, width: int, decay: float = 1.0) -> None:
        self._size = (height, width)
        down, right = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
        scale = np.maximum(np.hypot(down, right), 1.0 / max(height, width)) ** -decay
        # By Parseval: columns of the half spectrum count twice. In the first and the Nyquist column, only the half with
        # the symmetry of a real image's spectrum has an effect, and it counts once.
        counts = np.full(right.shape[1], 2.0)
        counts[0] = 0.5
        if width % 2 == 0:
            counts[-1] = 0.5
        power = 2.0 * (counts * scale**2).sum()  # real and imaginary parts
        colour = _COLOUR / np.sqrt((_COLOUR**2).sum() / 3.0)
        self._colour = tf.constant(colour.T)
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
