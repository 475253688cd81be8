"""The painter's network, and painting with it: one forward pass from images to paintings inside a ball.

An image transformation network (Johnson, Alahi & Fei-Fei, ECCV 2016) with conditional instance normalization, so that
one network holds several styles (Dumoulin, Shlens & Kudlur, ICLR 2017), and reflection padding. Its upsampling is
bilinear: nearest upsampling paints a grid of its own. The network computes at half the image's resolution. The layer
after the upsampling also sees the first layer's output, and the last layer also sees the image, each 2 x 2 pixels as 12
channels. The 12 channels of its output become a change of full resolution (sub-pixel convolution: Shi et al., CVPR
2016), so that fine strokes cost little. `without_grid` subtracts what repeats with the network's stride.
`Smoothing` applies a spectrum with the card's `decay`: a steep one keeps a painter that learns from the style loss from
painting the backbone's grid.

A painting starts from the photo blended with the style, which keeps the style's own texture, or from the photo itself.
The card's `reach` bounds the network's change, and `project` scales the whole change into the ball. A painter of
several balls has normalization parameters for each style in each ball; between two balls it mixes them, as it mixes
styles.

Residual blocks may be binarized: convolutions of 1-bit weights with 1-bit activations, each with a shortcut of its own
that keeps real values (Bi-Real Net: Liu et al., ECCV 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import larq as lq
import numpy as np
import tensorflow as tf
import tf_keras

from artattack.attacks.painter_card import PainterCard, PainterFile
from artattack.attacks.parametrization import Smoothing
from artattack.attacks.projection import project, shortened
from artattack.bound import Bound
from artattack.errors import ArtattackError
from artattack.models.local import read_network
from artattack.runtime import usable_cores
from artattack.tracing import compiled

FILTERS = (16, 48)  # channels at a half and at a quarter of the resolution
BINARY_FILTERS = (16, 64)  # the same with binarized blocks; bits are packed by 32
BLOCKS = 4  # residual blocks
STRIDE = 4  # the network takes sides that are multiples of it
LEAST = 16  # px; smaller images are padded to it, because reflection needs a map larger than the padding
_EPSILON = 1e-5  # of normalization
_FIRST_CHANGE = 0.003  # standard deviation of the last kernel's initial values
_PIXELS = 8 * 224 * 224  # pixels that a core paints at once
_SIZES_KEPT = 8  # image sizes whose smoothing is kept


def build_network(
    rows: int, *, binary: bool = False, filters: Sequence[int] | None = None, blocks: int | None = None
) -> Any:
    """Build a painter's network; standard layers and TensorFlow functions only, so that any Keras 2 reads its file.

    Args:
        rows: number of rows of normalization parameters, one for each style in each ball.
        binary: whether residual blocks have 1-bit weights and activations, in layers of larq.
        filters: channels at a half and at a quarter of the resolution; by default `FILTERS` or `BINARY_FILTERS`.
        blocks: residual blocks; by default `BLOCKS`.

    Returns:
        A network from initial images (N, H, W, 3) in [0, 1], H and W multiples of 4, and weights of rows (N, R) to a
        change (N, H, W, 3) in decorrelated colours, before smoothing.
    """
    layers = tf_keras.layers
    image, mix = layers.Input((None, None, 3), name="image"), layers.Input((rows,), name="mix")
    fine, coarse = filters or (BINARY_FILTERS if binary else FILTERS)

    def convolved(x: Any, channels: int, name: str, kernel: int = 3, stride: int = 1) -> Any:
        return layers.Conv2D(channels, kernel, stride, use_bias=False, name=name)(reflected(x, kernel // 2))

    def normalized(x: Any, name: str, active: bool = True) -> Any:
        x = conditional_normalization(x, mix, name)
        return layers.ReLU(name=f"{name}_relu")(x) if active else x

    scaled = 2.0 * image - 1.0
    half = normalized(convolved(scaled, fine, "down1", 5, 2), "down1_norm")

    def block(x: Any, name: str) -> Any:
        inner = normalized(convolved(x, coarse, f"{name}a"), f"{name}a_norm")
        inner = normalized(convolved(inner, coarse, f"{name}b"), f"{name}b_norm", active=False)
        return layers.Add(name=f"{name}_sum")([x, inner])

    def binary_block(x: Any, name: str) -> Any:
        for part in "ab":
            inner = lq.layers.QuantConv2D(
                coarse,
                3,
                input_quantizer="ste_sign",
                kernel_quantizer="ste_sign",
                kernel_constraint="weight_clip",
                use_bias=False,
                name=f"{name}{part}",
            )(reflected(x, 1))
            inner = normalized(inner, f"{name}{part}_norm", active=False)
            x = layers.Add(name=f"{name}{part}_sum")([x, inner])
        return x

    # Without ReLU before binarized blocks: the sign of values that are never negative says nothing.
    x = normalized(convolved(half, coarse, "down2", 3, 2), "down2_norm", active=not binary)
    for number in range(BLOCKS if blocks is None else blocks):
        x = (binary_block if binary else block)(x, f"block{number}")
    x = layers.Conv2D(fine, 1, use_bias=False, name="up_few")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear", name="up")(x)
    x = layers.Concatenate(name="up_joined")([x, half])
    x = normalized(convolved(x, fine, "up_conv"), "up_norm")
    x = layers.Concatenate(name="change_joined")([x, tf.nn.space_to_depth(scaled, 2)])
    first = tf_keras.initializers.RandomNormal(stddev=_FIRST_CHANGE)
    x = layers.Conv2D(12, 3, use_bias=False, kernel_initializer=first, name="change")(reflected(x, 1))
    change = without_grid(tf.nn.depth_to_space(x, 2))
    network = tf_keras.Model([image, mix], change, name="painter")
    last = network.get_layer("change")
    last.set_weights([np.tile(last.get_weights()[0][..., :3], 4)])  # a smooth start: pixels of a square begin alike
    return network


def reflected(x: Any, border: int) -> Any:
    """Return maps (N, H, W, C) with a border of mirror images, as `tf.pad` in mode `REFLECT`, which is far slower."""
    for axis in (1, 2):
        before = [_line(x, axis, k) for k in range(border, 0, -1)]
        after = [_line(x, axis, -k) for k in range(2, border + 2)]
        x = tf.concat([*before, x, *after], axis)
    return x


def _line(x: Any, axis: int, place: int) -> Any:
    """Return one row (axis 1) or column (axis 2) of maps, as a map; a negative place counts from the end."""
    line = slice(place, place + 1)
    return x[:, line] if axis == 1 else x[:, :, line]


def without_grid(change: Any) -> Any:
    """Return a change (N, H, W, 3) without the pattern that repeats every `STRIDE` px around each pixel.

    A network with strides treats the 16 places within a stride differently, and so tends to paint a grid, strong where
    nothing else is. The result lacks, for each place, the mean over the 3 x 3 nearest pixels of that place, except for
    the mean colour of the 12 x 12 pixels around.
    """
    places = tf.nn.space_to_depth(change, STRIDE)  # (N, H / 4, W / 4, 48): places within a stride, then colours
    means = tf.nn.avg_pool2d(reflected(places, 1), 3, 1, "VALID")
    colours = tf.nn.avg_pool2d(tf.nn.depth_to_space(means, STRIDE), STRIDE, STRIDE, "VALID")
    return tf.nn.depth_to_space(places - means + tf.tile(colours, [1, 1, 1, STRIDE**2]), STRIDE)


def conditional_normalization(x: Any, mix: Any, name: str) -> Any:
    """Return conditional instance normalization of (N, H, W, C): scale and offset by style (Dumoulin et al., eq. 5).

    z = gamma (x - mean) / sqrt(variance + 1e-5) + beta, with the mean and variance of each image's channel over its
    positions. The weights (N, R) mix the rows of gamma and beta (R, C), which start at 1 and 0.
    """
    layers, channels = tf_keras.layers, x.shape[-1]

    def of_style(part: str, initial: str) -> Any:
        rows = layers.Dense(channels, use_bias=False, kernel_initializer=initial, name=f"{name}_{part}")(mix)
        return layers.Reshape((1, 1, channels), name=f"{name}_{part}_map")(rows)

    mean = tf.math.reduce_mean(x, (1, 2), keepdims=True)
    variance = tf.math.reduce_mean(tf.math.squared_difference(x, mean), (1, 2), keepdims=True)
    slope = of_style("scale", "ones") * tf.math.rsqrt(variance + _EPSILON)
    return x * slope + (of_style("offset", "zeros") - mean * slope)


def style_layers(network: Any) -> list[Any]:
    """Return the layers of a painter's network that hold the rows of styles in balls."""
    return [layer for layer in network.layers if layer.name.endswith(("_norm_scale", "_norm_offset"))]


def with_rows(network: Any, mixes: np.ndarray) -> Any:
    """Return a painter's network for other styles or balls: each row a mix of the rows of the original.

    Args:
        network: the original, of R rows.
        mixes: (T, R) float32; an identity matrix with further rows adds styles.
    """
    inputs = [tf_keras.Input((None, None, 3), name="image"), tf_keras.Input((len(mixes),), name="mix")]
    changed = tf_keras.models.clone_model(network, inputs)
    for layer in changed.layers:
        layer.trainable = True  # a painter to which styles were added trained only some of them
    own = {layer.name for layer in style_layers(network)}
    for layer in network.layers:
        values = layer.get_weights()
        changed.get_layer(layer.name).set_weights([mixes @ v for v in values] if layer.name in own else values)
    return changed


def of_one_size(network: Any, size: tuple[int, int]) -> Any:
    """Return a painter's network for images of one size (H, W), whose operations can be counted."""
    rows = network.inputs[1].shape[-1]
    inputs = [tf_keras.Input((*size, 3), name="image"), tf_keras.Input((rows,), name="mix")]
    return tf_keras.models.clone_model(network, inputs)


def check_network(network: Any, path: Path, card: PainterCard) -> None:
    """Raise ArtattackError unless a network is a painter's, for the styles and balls of its card."""
    shapes = [tuple(part.shape) for part in (*getattr(network, "inputs", ()), *getattr(network, "outputs", ()))]
    if shapes != [(None, None, None, 3), (None, card.rows), (None, None, None, 3)]:
        raise ArtattackError(
            f"painter '{path}': not a painter's network for the {len(card.styles)} styles x {len(card.balls)} balls of "
            "its card; `artattack train-painter` writes both"
        )


def mirrored(styles: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return square images (N, S, S, 3) at another size (N, H, W, 3): cropped, or continued by their mirror images.

    Strokes keep their size in pixels.
    """
    side = styles.shape[1]
    down, right = (np.arange(length) % (2 * side) for length in (height, width))
    return styles[:, np.minimum(down, 2 * side - 1 - down)][:, :, np.minimum(right, 2 * side - 1 - right)]


def blended(x: tf.Tensor, styles: tf.Tensor, ball: Bound) -> tf.Tensor:
    """Return initial images (N, H, W, 3): images blended with styles up to the edge of a ball.

    As in the style attack with `init: style`, projecting a style onto the ball blends it with the image.

    Args:
        x: images (N, H, W, 3) in [0, 1].
        styles: a style for each image, of the same shape and range.
        ball: the ball for which the painter paints, as for `project`.
    """
    return project(styles, x, ball)


def painted(
    x: tf.Tensor, first: tf.Tensor, change: tf.Tensor, reach: float | None, ball: Bound, budget: Bound | None = None
) -> tf.Tensor:
    """Return paintings (N, H, W, 3) in [0, 1] inside the ball: the initial image plus the change; differentiable.

    Args:
        x: images (N, H, W, 3) in [0, 1].
        first: initial images of the same shape and range, from which the network computed the change.
        change: the network's output for them, smoothed; not yet within `reach`.
        reach: the largest change to initial images as a share of the ball's radius, or None.
        ball: the ball for which the painter paints, as for `project`.
        budget: ball of the paintings; by default the same.
    """
    if reach is not None:
        change = shortened(change, ball, reach)
    return project(first + change, x, budget or ball)


def rows_of(mix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weights (..., R) of a network's rows, from those (..., S) of styles and (B,) of balls, R = S B.

    Row s B + b belongs to style s and ball b.
    """
    return np.asarray((mix[..., np.newaxis] * weights).reshape(*mix.shape[:-1], -1), np.float32)


class Painter:
    """A trained painter.

    Args:
        file: the painter's file and card.

    Attributes:
        network: the Keras network, as `build_network` returns it.
        card: the painter's card.
        styles: images (S, 224, 224, 3) in [0, 1] that initial images blend in, or None.
        smoothing: function from the height and width of images to their `Smoothing`; the latest ones are kept.

    Raises:
        ArtattackError: the file or the picture of its styles cannot be read, or holds no painter.
    """

    def __init__(self, file: PainterFile) -> None:
        network = read_network(file.path)
        check_network(network, file.path, file.card)
        self._set(network, file.card, file.read_styles())

    @classmethod
    def of(cls, network: Any, card: PainterCard, styles: np.ndarray | None) -> Painter:
        """Return a painter with a network in memory; styles as `PainterFile.read_styles`."""
        painter = cls.__new__(cls)
        painter._set(network, card, styles)
        return painter

    def _set(self, network: Any, card: PainterCard, styles: np.ndarray | None) -> None:
        self.network = network
        self.card = card
        self.styles = styles
        shapes = [tf.TensorSpec((None, None, None, 3)), tf.TensorSpec((None, card.rows))]
        self._change = compiled(lambda x, mix: network([x, mix], training=False), input_signature=shapes)
        self.smoothing = lru_cache(_SIZES_KEPT)(lambda h, w: Smoothing(h, w, card.decay, card.lowest))
        self._painting = lru_cache(_SIZES_KEPT)(self._make_painting)

    def paint(
        self, x: np.ndarray, mix: np.ndarray, budget: Bound | None = None, batch_size: int | None = None
    ) -> np.ndarray:
        """Paint images of any size with one forward pass.

        Args:
            x: images (N, H, W, 3) float32 in [0, 1].
            mix: weights of the styles, (S,) or (N, S).
            budget: ball of the paintings; by default the largest of training.
            batch_size: images that a core paints at once; by default equal parts for an even number of cores, with at
                most the pixels of 8 images of 224 px. Larger images are painted one after another.

        Returns:
            (N, H, W, 3) float32 in [0, 1].
        """
        if not len(x):
            return np.asarray(x, np.float32)
        height, width = x.shape[1:3]
        most = max(1, _PIXELS // (height * width))
        at_once = batch_size or math.ceil(len(x) / (2 * math.ceil(len(x) / (2 * most))))
        mixes = np.broadcast_to(np.asarray(mix, np.float32), (len(x), len(self.card.styles)))
        ball, weights = self.card.ball_for(budget, x[0].size)
        distance, value = budget or ball
        painting = self._painting(height, width, distance)

        def part(start: int) -> np.ndarray:
            few, own = np.asarray(x[start : start + at_once], np.float32), mixes[start : start + at_once]
            styles = few
            if self.styles is not None:
                styles = self.mixed(own[:1] if (own == own[0]).all() else own, height, width)
            rows = rows_of(own, weights)
            return np.asarray(painting(few, styles, rows, np.float32(ball.value), np.float32(value)).numpy())

        starts = range(0, len(x), at_once)
        if len(starts) == 1 or height * width > _PIXELS:  # several large images would take too much memory
            parts = [part(start) for start in starts]
        else:  # a core for each part uses cores better than all cores for one part
            with ThreadPoolExecutor(usable_cores()) as pool:
                parts = list(pool.map(part, starts))
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _make_painting(self, height: int, width: int, distance: str) -> Any:
        """Return the compiled function to paintings.

        Its arguments are images, their styles, the weights of rows, and the values of the ball for which the network
        paints and of the ball of the paintings.
        """
        smoothing = self.smoothing(height, width)
        rows, columns = (_reflected(side) for side in (height, width))

        def painting(
            x: tf.Tensor, styles: tf.Tensor, mixes: tf.Tensor, level: tf.Tensor, value: tf.Tensor
        ) -> tf.Tensor:
            ball = Bound(self.card.budget.distance, level)
            first = x if self.styles is None else blended(x, styles, ball)
            seen = first
            if (len(rows), len(columns)) != (height, width):
                seen = tf.gather(tf.gather(first, rows, axis=1), columns, axis=2)
            change = smoothing(self._change(seen, mixes)[:, :height, :width])
            return painted(x, first, change, self.card.reach, ball, Bound(distance, value))

        images, number = tf.TensorSpec((None, height, width, 3)), tf.TensorSpec(())
        return compiled(painting, input_signature=[images, images, tf.TensorSpec((None, None)), number, number])

    def mixed(self, mixes: np.ndarray, height: int, width: int) -> np.ndarray:
        """Return mixes (N, S) of the styles as images (N, H, W, 3), for a painter with styles."""
        assert self.styles is not None
        side = max(height, width)  # of a style, small images show a part
        return mirrored(np.tensordot(mixes, self.styles[:, :side, :side], 1), height, width)


def _reflected(side: int) -> np.ndarray:
    """Return the rows that extend an image downwards, by reflection, to a side that the network takes."""
    return np.pad(np.arange(side), (0, max(LEAST, -(-side // STRIDE) * STRIDE) - side), "reflect")
