"""Export of a painter for one style and one image size: from an image to its painting, in a file for devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from artattack.attacks.painter_card import PainterFile
from artattack.attacks.painter_network import LEAST, STRIDE, Painter, blended, painted, rows_of
from artattack.attacks.parametrization import Smoothing
from artattack.bound import Bound
from artattack.errors import ArtattackError
from artattack.files import write_file
from artattack.models.export import check_format, convert_function
from artattack.tracing import compiled


def export_painter(
    file: PainterFile,
    style: str,
    size: tuple[int, int],
    path: Path,
    budget: Bound | None = None,
    *,
    to: str = "tflite",
) -> int:
    """Write a painter to a file: from an image (1, H, W, 3) float32 in [0, 1] to its painting.

    The file blends, changes and clips the image, and scales the change into the ball, as `Painter.paint` does; it
    holds the style at the image's size, as float32. A TFLite file has standard operators only; a file for Larq Compute
    Engine also has that engine's operators, for binarized blocks.

    Args:
        file: the painter.
        style: a style that it has learnt, or a blend `a+b`.
        size: (H, W) of the images, multiples of 4 from 16 on.
        path: the file to write.
        budget: ball of the paintings; by default the largest of training.
        to: `tflite`, or `lce` (extra `lce`).

    Returns:
        The file's size in bytes.

    Raises:
        ArtattackError: the format or the ball is unknown, the format's converter is not installed, the painter has not
            learnt the style, the size does not fit, or the file cannot be written.
    """
    check_format(to)
    if budget:
        budget.as_ball()
    if min(size) < LEAST or any(side % STRIDE for side in size):
        raise ArtattackError(f"size {size[0]}x{size[1]}: a painter's file takes sides from {LEAST} on, multiples of 4")
    mix = file.mix(style)
    painter = Painter(file)
    smooth = _by_matrices(size, painter.smoothing(*size))
    styles = None if painter.styles is None else painter.mixed(mix[None], *size)
    ball, weights = file.card.ball_for(budget, 3 * size[0] * size[1])
    rows = rows_of(mix[None], weights)

    def paint(image: tf.Tensor) -> tf.Tensor:
        first = image if styles is None else blended(image, tf.constant(styles), ball)
        change = painter.network([first, tf.constant(rows)], training=False)
        return painted(image, first, smooth(change), file.card.reach, ball, budget)

    signature = [tf.TensorSpec((1, *size, 3), tf.float32, name="image")]
    run = compiled(paint, input_signature=signature)
    content = convert_function(run, painter.network.variables, to, f"painter '{file.path}'")
    write_file(path, content)
    return len(content)


def _by_matrices(size: tuple[int, int], smoothing: Smoothing) -> Any:
    """Return a smoothing as products with the matrices of the discrete Fourier transform, which TFLite multiplies.

    With cosines C and sines S of rows and columns, and the real gain G, a channel X becomes the real part of
    (C + iS)(G * (C - iS) X (C - iS))(C + iS), divided by the number of pixels.
    """
    (rows_c, rows_s), (columns_c, columns_s) = (_cosines_and_sines(side) for side in size)
    gain = smoothing.whole_gain() / (size[0] * size[1])

    def smooth(change: tf.Tensor) -> tf.Tensor:
        x = tf.transpose(change, (0, 3, 1, 2))
        by_c, by_s = tf.matmul(rows_c, x), tf.matmul(rows_s, x)
        real = gain * (tf.matmul(by_c, columns_c) - tf.matmul(by_s, columns_s))
        imaginary = -gain * (tf.matmul(by_c, columns_s) + tf.matmul(by_s, columns_c))
        inner_c = tf.matmul(real, columns_c) - tf.matmul(imaginary, columns_s)
        inner_s = tf.matmul(real, columns_s) + tf.matmul(imaginary, columns_c)
        smoothed = tf.transpose(tf.matmul(rows_c, inner_c) - tf.matmul(rows_s, inner_s), (0, 2, 3, 1))
        return tf.matmul(smoothed, smoothing.colour)

    return smooth


def _cosines_and_sines(side: int) -> tuple[tf.Tensor, tf.Tensor]:
    angles = 2 * np.pi * np.outer(np.arange(side), np.arange(side)) / side
    return tf.constant(np.cos(angles), tf.float32), tf.constant(np.sin(angles), tf.float32)
