"""What a style attack minimises: style, content and total variation, per image.

Each term is normalised so that the same weights serve every backbone, layer and image size: style and
content are squared distances relative to the size of what they aim at (1 = as far away as nothing at all),
total variation is a mean absolute difference per value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from artattack.attacks.features import Features
from artattack.models.model import Model


def gram(features: tf.Tensor) -> tf.Tensor:
    """Gram matrices (N, C, C) float32 of features (N, H, W, C): inner products of channels over positions.

    Gatys, Ecker & Bethge, CVPR 2016, eq. 3, divided by the number of positions H W.
    """
    shape = tf.shape(features)
    flat = tf.reshape(features, (shape[0], shape[1] * shape[2], features.shape[-1]))
    product = tf.cast(tf.matmul(flat, flat, transpose_a=True), tf.float32)
    return product / tf.cast(shape[1] * shape[2], tf.float32)


def relative_distance(value: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Squared distance of (N, ...) to a target (N or 1, ...), over the target's squared norm; shape (N,)."""
    axes = list(range(1, len(value.shape)))
    value, target = tf.cast(value, tf.float32), tf.cast(target, tf.float32)
    scale = tf.reduce_sum(tf.square(target), axes) + 1e-12
    return tf.reduce_sum(tf.math.squared_difference(value, target), axes) / scale


def total_variation(x: tf.Tensor) -> tf.Tensor:
    """Anisotropic total variation of (N, H, W, C): sum of |neighbour differences| over H W C; shape (N,)."""
    down = tf.reduce_sum(tf.abs(x[:, 1:] - x[:, :-1]), (1, 2, 3))
    right = tf.reduce_sum(tf.abs(x[:, :, 1:] - x[:, :, :-1]), (1, 2, 3))
    return (down + right) / float(x.shape[1] * x.shape[2] * x.shape[3])


class Losses(NamedTuple):
    """The terms, each (N,) float32, unweighted."""

    style: tf.Tensor
    content: tf.Tensor
    total_variation: tf.Tensor


class Objective:
    """Style and content of images in one backbone's features.

    Args:
        model: the backbone.
        style_layers: specifications of the layers whose Gram matrices say what style is; averaged over.
        content_layers: of those whose activations say what content is; averaged over; may be empty.
    """

    def __init__(self, model: Model, style_layers: Sequence[str], content_layers: Sequence[str]) -> None:
        self._all_features = Features(model, (*style_layers, *content_layers))
        self._style_count = len(style_layers)

    def _features(self, x: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        features = self._all_features(x)
        return features[: self._style_count], features[self._style_count :]

    def style_targets(self, styles: tf.Tensor) -> list[tf.Tensor]:
        """Return the mean Gram matrix (1, C, C) of some styles (S, H, W, 3), for each style layer.

        The mean is where the sum of the squared distances to each style's own Gram matrix is least.
        """
        return [tf.reduce_mean(gram(f), 0, keepdims=True) for f in self._features(styles)[0]]

    def content_targets(self, x: tf.Tensor) -> list[tf.Tensor]:
        """Return the features (N, h, w, C) of originals (N, H, W, 3), for each content layer."""
        return self._features(x)[1]

    def __call__(self, x: tf.Tensor, styles: Sequence[tf.Tensor], contents: Sequence[tf.Tensor]) -> Losses:
        """Return the losses of images (N, H, W, 3) against targets from the two methods above."""
        style_features, content_features = self._features(x)
        none = tf.zeros(tf.shape(x)[:1])
        style = [relative_distance(gram(f), target) for f, target in zip(style_features, styles, strict=True)]
        content = [relative_distance(f, target) for f, target in zip(content_features, contents, strict=True)]
        return Losses(
            tf.add_n(style) / len(style) if style else none,
            tf.add_n(content) / len(content) if content else none,
            total_variation(x),
        )
