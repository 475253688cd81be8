"""Transforms of images that attacks look at in the place of the image itself, so that what they find transfers.

A transform is a function of images (N, H, W, 3) float32 in [0, 1] and a seed (2,) int32 that returns images of the same
shape, differentiable, inside `tf.function` as well. Its draws follow from the seed and are the same for all images,
so that an image's result does not depend on those beside it; `each_transformed` gives each image a seed of its own. A
new transform is a function here, a line in `TRANSFORMS` and its name in `artattack.attacks.options.TRANSFORM_NAMES`.

`styless` is a name among them, but no function of images: it acts within the network that looks at them
(`artattack.attacks.restyled`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import pi

import numpy as np
import tensorflow as tf
from scipy.fft import dct

_SCALES = 5  # copies in the paper of `si`
_SEEDS_OF_A_PLACE = 2**24  # more than there are views of one step

Transform = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def eot(x: tf.Tensor, seed: tf.Tensor, shrink: float = 0.75, shift: float = 0.1, noise: float = 0.05) -> tf.Tensor:
    """Shrink and shift images, and add noise: expectation over transformations (Athalye et al., ICML 2018).

    What is shrunk lies on grey. TensorFlow's gradient of the shrinking is the inverse view of the upstream gradient,
    which is near its transpose, not equal to it.

    Args:
        x: the images.
        seed: of all draws.
        shrink: the least share of their sides that images are shrunk to.
        shift: the most that they are shifted by, over the side.
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

    The paper enlarges images of 299 px to between 299 and 330 px, and pads them to 330. Here, so that the shape stays,
    they are shrunk by as much and padded to the size they had.

    Args:
        x: the images.
        seed: of all draws.
        probability: of doing so; otherwise images stay as they are.
        least: the least share of their sides that images are shrunk to; 1 leaves them as they are.
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
    each strip again across; strips, and blocks within their strip, change places. Each block is then rotated about its
    centre, with black where nothing of it is left.

    Args:
        x: the images.
        seed: of all draws.
        blocks: how many a side is cut into.
        degrees: the greatest angle.
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
    for i in (above, above + 1.0):  # bilinear, between the four pixels around
        for j in (before, before + 1.0):
            inside = (i >= top) & (i <= bottom) & (j >= left) & (j <= right)
            weight = tf.where(inside, (1.0 - tf.abs(row - i)) * (1.0 - tf.abs(column - j)), 0.0)
            at = tf.where(inside, i * width + j, 0.0)
            out += tf.reshape(weight, (-1, 1)) * tf.gather(values, tf.cast(tf.reshape(at, [-1]), tf.int32), axis=1)
    return tf.reshape(out, (-1, height, width, 3))


def ssm(x: tf.Tensor, seed: tf.Tensor, rho: float = 0.5, sigma: float = 16 / 255) -> tf.Tensor:
    """Add noise and weigh frequencies at random: the spectrum simulation attack (Long et al., ECCV 2022).

    Values may leave [0, 1] a little, as in the paper.

    Args:
        x: the images.
        seed: of all draws.
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

    Taken in turn instead of drawn: seeds that follow one another have exponents that do, so that five views of a step
    are the five copies of the paper, and one view changes from step to step.

    Args:
        x: the images.
        seed: i is the sum of its numbers, modulo 5.
    """
    exponent = tf.reduce_sum(tf.math.floormod(seed, _SCALES)) % _SCALES
    return x / tf.cast(2**exponent, x.dtype)


TRANSFORMS: dict[str, Transform] = {"eot": eot, "di": di, "bsr": bsr, "ssm": ssm, "si": si}


def transformed(x: tf.Tensor, names: Sequence[str], seed: tf.Tensor, view: int | tf.Tensor = 0) -> tf.Tensor:
    """Return one of the views of images that a step of an attack looks at: transforms, one after another.

    Args:
        x: (N, H, W, 3) float32 in [0, 1].
        names: in their order, each of which draws for itself; what is not in `TRANSFORMS` acts elsewhere.
        seed: (2,) int32, of the step.
        view: which of the step's views, counted from 0; each draws for itself.
    """
    for place, name in enumerate(names):
        if name in TRANSFORMS:
            x = TRANSFORMS[name](x, seed_of_view(seed, view, place))
    return x


def seed_of_view(seed: tf.Tensor, view: int | tf.Tensor, place: int) -> tf.Tensor:
    """Return the seed (..., 2) of one transform in one view, from that of the step, likewise.

    Args:
        seed: of the step.
        view: which of its views, counted from 0.
        place: of the transform among those of the view, counted from 0.
    """
    return seed + tf.stack([view + place * _SEEDS_OF_A_PLACE, 0])


def each_transformed(
    x: tf.Tensor, names: Sequence[str], seeds: tf.Tensor, step: int | tf.Tensor, view: int | tf.Tensor = 0
) -> tf.Tensor:
    """Return a view of each image by a seed of its own: as `transformed`, image by image.

    Args:
        x: (N, H, W, 3) float32 in [0, 1].
        names: as for `transformed`.
        seeds: (N,) int32, of the images.
        step: of the attack, counted from 0.
        view: which of the step's views, likewise.
    """

    def one(image_and_seed: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, seed = image_and_seed
        return transformed(image[tf.newaxis], names, tf.stack([seed, step]), view)[0]

    return tf.map_fn(one, (x, seeds), fn_output_signature=tf.TensorSpec(x.shape[1:], x.dtype))


def _shrinking(length: int, share: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    """Matrix (length, length) that shrinks a side to a share of it by linear interpolation.

    Args:
        length: of the side.
        share: above 0, at most 1.
        where: what is shrunk lies, from 0, the beginning, to 1, the end.
    """
    places = tf.range(float(length))
    source = (places + 0.5 - where * (1.0 - share) * float(length)) / share - 0.5
    return tf.nn.relu(1.0 - tf.abs(source[:, tf.newaxis] - places))


def _shuffled(height: int, width: int, draws: tf.Tensor, blocks: int, degrees: float) -> tuple[tf.Tensor, ...]:
    """Return what each pixel shows, when strips of rows are shuffled, and blocks within each.

    Returns:
        Seven arrays (height, width) float32: the row and column it shows; the first row and column, and the last ones,
        of the block these lie in; and the angle of that block, in radians.
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
    """Return what each place of a side shows, when the side is cut in pieces that change places.

    Args:
        length: of the side.
        sizes: a draw (K,) from [0, 1) for each piece: one more than it is in proportion to the piece's size.
        order: likewise; pieces go by it.

    Returns:
        Four arrays (length,) int32: the place that is shown, the first and last of its piece, and which piece that is.
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
    """Matrix (length, length) of the orthonormal discrete cosine transform, its inverse when transposed."""
    return np.asarray(dct(np.eye(length), axis=0, norm="ortho"))
