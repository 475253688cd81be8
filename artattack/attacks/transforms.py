"""Transforms of a network's input during an attack, which make its images transfer.

A transform is a differentiable function of images (N, H, W, 3) float32 in [0, 1] and a seed (2,) int32 that returns
images of the same shape, also inside `tf.function`. Its draws follow from the seed and are the same for all images, so
that no result depends on other images; `each_transformed` gives each image its own seed. A new transform is a function
here, a line in `TRANSFORMS` and a name in `artattack.attacks.options.TRANSFORM_NAMES`.

The transform `styless` is not a function of images: it acts inside the network (`artattack.attacks.restyled`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import pi

import numpy as np
import tensorflow as tf
from scipy.fft import dct

_SCALES = 5  # number of copies in the paper of `si`
_SEEDS_OF_A_PLACE = 2**24  # more than the views of one step

Transform = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def eot(x: tf.Tensor, seed: tf.Tensor, shrink: float = 0.75, shift: float = 0.1, noise: float = 0.05) -> tf.Tensor:
    """Shrink and shift images, and add noise: expectation over transformations (Athalye et al., ICML 2018).

    The background is grey. TensorFlow's gradient of the shrinking applies the inverse transform to the upstream
    gradient, which approximates the transpose.

    Args:
        x: the images.
        seed: seed of all draws.
        shrink: minimum size after shrinking, as a share of the sides.
        shift: maximum shift, as a share of the side.
        noise: standard deviation of the noise.
    """
    height, width = x.shape[1:3]
    choice = tf.random.stateless_uniform((3,), seed)
    side = 1.0 - (1.0 - shrink) * choice[0]
    offset = (2.0 * choice[1:] - 1.0) * shift + (1.0 - side) / 2.0
    # One row of a projective transform: output pixel p shows input pixel (p - offset) / side.
    right, down = -offset[1] * width / side, -offset[0] * height / side
    transform = tf.stack([1.0 / side, 0.0, right, 0.0, 1.0 / side, down, 0.0, 0.0])
    shrunk = tf.raw_ops.ImageProjectiveTransformV3(
        images=x - 0.5,
        transforms=tf.broadcast_to(transform, (1, 8)),
        output_shape=(height, width),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    drawn = tf.random.stateless_normal(x.shape[1:], seed, stddev=noise)
    return tf.clip_by_value(shrunk + 0.5 + drawn, 0.0, 1.0)


def di(x: tf.Tensor, seed: tf.Tensor, probability: float = 0.5, least: float = 299 / 330) -> tf.Tensor:
    """Resize images and pad them with black at random: diverse inputs (Xie et al., CVPR 2019).

    The paper enlarges images of 299 px to between 299 and 330 px, and pads them to 330. Here images keep their shape:
    they shrink by the same ratio and are padded to their own size.

    Args:
        x: the images.
        seed: seed of all draws.
        probability: probability of resizing; otherwise images stay unchanged.
        least: minimum size after shrinking, as a share of the sides; 1 leaves images unchanged.
    """
    draws = tf.random.stateless_uniform((4,), seed)
    share = tf.where(draws[0] < probability, least + (1.0 - least) * draws[1], 1.0)
    rows, columns = (
        _shrinking(side, share, draw) for side, draw in zip(x.shape[1:3], (draws[2], draws[3]), strict=True)
    )
    return tf.einsum("ih,nhwc,jw->nijc", rows, x, columns)


def bsr(x: tf.Tensor, seed: tf.Tensor, blocks: int = 2, degrees: float = 24.0) -> tf.Tensor:
    """Cut images into blocks, shuffle and rotate them: block shuffle and rotation (Wang et al., CVPR 2024).

    As in the authors' code, images are cut into strips, along rows or columns, in proportions drawn from [1, 2], and
    each strip into blocks; strips, and blocks within their strip, are shuffled. Each block is then rotated about its
    centre, with a black background.

    Args:
        x: the images.
        seed: seed of all draws.
        blocks: number of blocks per side.
        degrees: maximum angle.
    """
    height, width = x.shape[1:3]
    draws = tf.random.stateless_uniform((1 + blocks * (2 + 3 * blocks),), seed)

    def across() -> tuple[tf.Tensor, ...]:
        return _shuffled(height, width, draws[1:], blocks, degrees)

    def along() -> tuple[tf.Tensor, ...]:
        turned = [tf.transpose(one) for one in _shuffled(width, height, draws[1:], blocks, degrees)]
        column, row, left, top, right, bottom, angle = turned
        return row, column, top, left, bottom, right, angle

    row, column, top, left, bottom, right, angle = tf.cond(draws[0] < 0.5, across, along)
    row, column = _rotated(row, column, (top + bottom) / 2.0, (left + right) / 2.0, angle)
    above, before = tf.floor(row), tf.floor(column)
    values = tf.reshape(x, (-1, height * width, 3))
    out = tf.zeros_like(values)
    for i in (above, above + 1.0):  # bilinear, between the four neighbouring pixels
        for j in (before, before + 1.0):
            inside = (i >= top) & (i <= bottom) & (j >= left) & (j <= right)
            weight = tf.where(inside, (1.0 - tf.abs(row - i)) * (1.0 - tf.abs(column - j)), 0.0)
            at = tf.where(inside, i * width + j, 0.0)
            out += tf.reshape(weight, (-1, 1)) * tf.gather(values, tf.cast(tf.reshape(at, [-1]), tf.int32), axis=1)
    return tf.reshape(out, (-1, height, width, 3))


def ssm(x: tf.Tensor, seed: tf.Tensor, rho: float = 0.5, sigma: float = 16 / 255) -> tf.Tensor:
    """Add noise and weight frequencies at random: the spectrum simulation attack (Long et al., ECCV 2022).

    Values may leave [0, 1] slightly, as in the paper.

    Args:
        x: the images.
        seed: seed of all draws.
        rho: each coefficient of the image's cosine transform is multiplied by a draw from [1 - rho, 1 + rho].
        sigma: standard deviation of the noise.
    """
    shape = x.shape[1:]
    of_noise, of_mask = tf.unstack(tf.random.split(seed, 2))
    noisy = x + tf.random.stateless_normal(shape, of_noise, stddev=sigma)
    mask = tf.random.stateless_uniform(shape, of_mask, 1.0 - rho, 1.0 + rho)
    rows, columns = (tf.constant(_cosines(side), x.dtype) for side in shape[:2])
    spectrum = mask * tf.einsum("ih,nhwc,jw->nijc", rows, noisy, columns)
    return tf.einsum("hi,nhwc,wj->nijc", rows, spectrum, columns)


def si(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Darken images to x / 2^i, i from 0 to 4: scale invariance (Lin et al., ICLR 2020).

    The exponent is not drawn: consecutive seeds have consecutive exponents, so that five views of a step are the five
    copies of the paper, and a single view changes from step to step.

    Args:
        x: the images.
        seed: i is the sum of its elements, modulo 5.
    """
    exponent = tf.reduce_sum(tf.math.floormod(seed, _SCALES)) % _SCALES
    return x / tf.cast(2**exponent, x.dtype)


TRANSFORMS: dict[str, Transform] = {"eot": eot, "di": di, "bsr": bsr, "ssm": ssm, "si": si}


def transformed(x: tf.Tensor, names: Sequence[str], seed: tf.Tensor, view: int | tf.Tensor = 0) -> tf.Tensor:
    """Return one view of images at a step of an attack: all transforms, one after another.

    Args:
        x: (N, H, W, 3) float32 in [0, 1].
        names: transforms in order, with independent draws; names that are not in `TRANSFORMS` are ignored.
        seed: (2,) int32, the step's seed.
        view: index of the view, from 0; views have independent draws.
    """
    for place, name in enumerate(names):
        if name in TRANSFORMS:
            x = TRANSFORMS[name](x, seed_of_view(seed, view, place))
    return x


def seed_of_view(seed: tf.Tensor, view: int | tf.Tensor, place: int) -> tf.Tensor:
    """Return the seed (..., 2) of one transform in one view.

    Args:
        seed: (..., 2), the step's seed.
        view: index of the view, from 0.
        place: index of the transform, from 0.
    """
    return seed + tf.stack([view + place * _SEEDS_OF_A_PLACE, 0])


def each_transformed(
    x: tf.Tensor, names: Sequence[str], seeds: tf.Tensor, step: int | tf.Tensor, view: int | tf.Tensor = 0
) -> tf.Tensor:
    """Return one view of images, each transformed by its own seed.

    Args:
        x: (N, H, W, 3) float32 in [0, 1].
        names: transforms, as for `transformed`.
        seeds: (N,) int32, the images' seeds.
        step: index of the attack's step, from 0.
        view: index of the view, from 0.
    """

    def one(image_and_seed: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, seed = image_and_seed
        return transformed(image[tf.newaxis], names, tf.stack([seed, step]), view)[0]

    return tf.map_fn(one, (x, seeds), fn_output_signature=tf.TensorSpec(x.shape[1:], x.dtype))


def _shrinking(length: int, share: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    """Return a matrix (length, length) that shrinks a side by linear interpolation.

    Args:
        length: length of the side.
        share: ratio of the new length to the old, above 0 and at most 1.
        where: position of the shrunk side, from 0 (start) to 1 (end).
    """
    places = tf.range(float(length))
    source = (places + 0.5 - where * (1.0 - share) * float(length)) / share - 0.5
    return tf.nn.relu(1.0 - tf.abs(source[:, tf.newaxis] - places))


def _shuffled(height: int, width: int, draws: tf.Tensor, blocks: int, degrees: float) -> tuple[tf.Tensor, ...]:
    """Return the source of each pixel after strips of rows, and blocks within each strip, are shuffled.

    Returns:
        Seven arrays (height, width) float32: source row and column; first row, first column, last row and last column
        of the source block; and the block's angle in radians.
    """
    of_strips, of_blocks = draws[: 2 * blocks], tf.reshape(draws[2 * blocks :], (blocks, 3, blocks))
    row, top, bottom, strip = _in_pieces(height, of_strips[:blocks], of_strips[blocks:])
    of_columns = [_in_pieces(width, of_blocks[i, 0], of_blocks[i, 1]) for i in range(blocks)]
    column, left, right, block = (tf.gather(tf.stack(values), strip) for values in zip(*of_columns, strict=True))
    angles = (2.0 * of_blocks[:, 2] - 1.0) * degrees * pi / 180.0
    angle = tf.gather_nd(angles, tf.stack([tf.repeat(strip[:, tf.newaxis], width, 1), block], -1))
    row, top, bottom = (
        tf.repeat(tf.cast(values, tf.float32)[:, tf.newaxis], width, 1) for values in (row, top, bottom)
    )
    column, left, right = (tf.cast(values, tf.float32) for values in (column, left, right))
    return row, column, top, left, bottom, right, angle


def _in_pieces(length: int, sizes: tf.Tensor, order: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Return the source of each position of a side after it is cut into pieces that are shuffled.

    Args:
        length: length of the side.
        sizes: a draw (K,) from [0, 1) for each piece; piece sizes are proportional to 1 + draw.
        order: a draw (K,) for each piece; pieces are sorted by it.

    Returns:
        Four arrays (length,) int32: source position, first and last position of its piece, and index of the piece.
    """
    shares = tf.cumsum(1.0 + sizes)
    ends = tf.cast(tf.round(shares / shares[-1] * float(length)), tf.int32)
    starts = tf.concat([[0], ends[:-1]], 0)
    turns = tf.argsort(order)
    until = tf.cumsum(tf.gather(ends - starts, turns))
    turn = tf.searchsorted(until, tf.range(length), side="right")
    piece = tf.gather(turns, turn)
    into_piece = tf.range(length) - tf.gather(until, turn) + tf.gather(ends - starts, piece)
    first = tf.gather(starts, piece)
    return first + into_piece, first, tf.gather(ends, piece) - 1, piece


def _rotated(
    row: tf.Tensor, column: tf.Tensor, middle: tf.Tensor, centre: tf.Tensor, angle: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotate rows and columns about their middle row and centre column."""
    down, right, cosine, sine = row - middle, column - centre, tf.cos(angle), tf.sin(angle)
    return middle + cosine * down + sine * right, centre - sine * down + cosine * right


@lru_cache(maxsize=16)
def _cosines(length: int) -> np.ndarray:
    """Return the matrix (length, length) of the orthonormal discrete cosine transform; its transpose is its inverse."""
    return np.asarray(dct(np.eye(length), axis=0, norm="ortho"))
