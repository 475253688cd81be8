"""The loss of a style attack: style, content and total variation, per image.

Each term is normalized so that the same weights suit every backbone, layer and image size: style and content are
squared distances divided by the squared norm of their target (1 is the distance of an all-zero output), and total
variation is a mean absolute difference per value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from artattack.attacks.features import Features
from artattack.attacks.gradients import padded
from artattack.attacks.options import StyleOptions
from artattack.errors import ArtattackError
from artattack.models.model import Model
from artattack.models.network import layer_names
from artattack.tracing import compiled, forgetting_gradients

_MEMORY = 2**31  # bytes that a batch's activations may take
_LARGEST_BATCH = 32  # beyond, batches are no faster
_NEAR = 1e-3  # style distance below which a layer's share in a geometric mean stops growing


def gram(features: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Gram matrices (N, C, C) float32 of features (N, H, W, C): inner products of channels over positions.

    Gatys, Ecker & Bethge, CVPR 2016, eq. 3, divided by the number of positions H W; with weights (1, H, W, 1)
    or (N, H, W, 1), by their sum.
    """
    weighted = features if weights is None else features * tf.cast(weights, features.dtype)
    product = tf.matmul(_by_position(weighted), _by_position(features), transpose_a=True)
    return tf.cast(product, tf.float32) / _positions(features, weights)


def mean_variance(features: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Mean and standard deviation (N, 2, C) float32 of each channel (Huang & Belongie, AdaIN, ICCV 2017)."""
    features = tf.cast(features, tf.float32)
    weights = tf.ones_like(features[:1, :, :, :1]) if weights is None else weights
    total = tf.reduce_sum(weights, (1, 2))
    mean = tf.reduce_sum(weights * features, (1, 2)) / total
    deviation = tf.math.squared_difference(features, mean[:, None, None])
    variance = tf.reduce_sum(weights * deviation, (1, 2)) / total
    return tf.stack([mean, tf.sqrt(variance + 1e-6)], 1)  # the root's gradient at 0 is infinite


def histogram(features: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Sorted values (N, H W, C) of each channel: its histogram's quantile function.

    The squared distance of two such outputs is, up to the factor H W, the optimal transport cost between the channels'
    histograms, the histogram loss of Risser, Wilmot & Barnes (2017). Weights are ignored.
    """
    return tf.sort(_by_position(tf.cast(features, tf.float32)), 1)


STATISTICS: dict[str, Callable[[tf.Tensor, tf.Tensor | None], tf.Tensor]] = {
    "gram": gram,
    "mean-variance": mean_variance,
    "histogram": histogram,
}


def _by_position(features: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(features)
    return tf.reshape(features, (shape[0], shape[1] * shape[2], features.shape[-1]))


def _positions(features: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Return the number of positions, or the sum of their weights (N or 1, 1, 1)."""
    if weights is None:
        return tf.cast(tf.shape(features)[1] * tf.shape(features)[2], tf.float32)
    return tf.reduce_sum(weights, (1, 2))[:, None]


def relative_distance(value: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Squared distance of (N, ...) to a target (N or 1, ...), divided by the target's squared norm; (N,) float32."""
    axes = list(range(1, len(value.shape)))
    value, target = tf.cast(value, tf.float32), tf.cast(target, tf.float32)
    scale = tf.reduce_sum(tf.square(target), axes) + 1e-12
    return tf.reduce_sum(tf.math.squared_difference(value, target), axes) / scale


Mean = Callable[[Sequence[tf.Tensor], Sequence[float]], tf.Tensor]


def arithmetic_mean(values: Sequence[tf.Tensor], weights: Sequence[float]) -> tf.Tensor:
    """Weighted mean (N,) of non-negative values (N,): the style loss of Gatys, Ecker & Bethge (CVPR 2016, eq. 5)."""
    return tf.add_n([weight * value for weight, value in zip(weights, values, strict=True)]) / sum(weights)


def geometric_mean(values: Sequence[tf.Tensor], weights: Sequence[float]) -> tf.Tensor:
    """Weighted geometric mean (N,) of non-negative values (N,): halving any value counts the same.

    Its gradient weighs each layer by the inverse of its distance, so that near layers still matter beside far ones. A
    thousandth is added to each value, and subtracted at the end, so that the gradient at 0 is finite.
    """
    logarithms = [tf.math.log(value + _NEAR) for value in values]
    return tf.exp(arithmetic_mean(logarithms, weights)) - _NEAR


MEANS: dict[str, Mean] = {"arithmetic": arithmetic_mean, "geometric": geometric_mean}


class FeatureDistance:
    """Distance of images in a network's features: |f(y) - f(x)| / |f(x)|, averaged over layers.

    Images are measured one by one, so that no result depends on other images.

    Args:
        features: the feature network.
    """

    def __init__(self, features: Features) -> None:
        def of_one(before: tf.Tensor, after: tf.Tensor) -> tf.Tensor:
            pairs = zip(features(after), features(before), strict=True)
            return tf.reduce_mean([tf.sqrt(relative_distance(moved, own)) for moved, own in pairs])

        one = tf.TensorSpec((1, None, None, 3), tf.float32)
        self._of_one = compiled(of_one, input_signature=[one, one])

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the distances (N,) float32 of images x to y, both (N, H, W, 3) in [0, 1]; 0 for identical images."""
        singles = [(tf.constant(image[None], tf.float32) for image in pair) for pair in zip(x, y, strict=True)]
        return np.array([self._of_one(*pair) for pair in singles], np.float32)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def total_variation(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Anisotropic total variation (N,) of (N, H, W, C): sum of |neighbour differences|, divided by H W C.

    The hand-written gradient equals TensorFlow's, which takes five times as long because of the slices.
    """
    down, right = x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]
    values = float(x.shape[1] * x.shape[2] * x.shape[3])
    total = tf.reduce_sum(tf.abs(down), (1, 2, 3)) + tf.reduce_sum(tf.abs(right), (1, 2, 3))

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        below, after = tf.sign(down), tf.sign(right)
        slope = padded(below, 1, 0) - padded(below, 1, 1) + padded(after, 2, 0) - padded(after, 2, 1)
        return slope * (upstream / values)[:, None, None, None]

    return total / values, gradient


class Losses(NamedTuple):
    """Loss terms in a backbone's features, each (N,) float32, unweighted."""

    style: tf.Tensor
    content: tf.Tensor


class Targets(NamedTuple):
    """Targets of an objective.

    Attributes:
        styles: for each style layer, its statistics (N or 1, ...).
        contents: for each content layer, its features (N, h, w, C).
    """

    styles: list[tf.Tensor]
    contents: list[tf.Tensor]


class DescentLoss(Protocol):
    """Protocol of a descent's loss: `Objective`, or another loss in feature space."""

    def content_targets(self, x: tf.Tensor) -> list[tf.Tensor]:
        """Return the content targets of originals (N, H, W, 3)."""

    def __call__(self, x: tf.Tensor, targets: Targets, mask: tf.Tensor | None = None) -> Losses:
        """Return the losses of images (N, H, W, 3)."""


class Objective:
    """Style and content of images in one backbone's features.

    Args:
        model: the backbone.
        options: style attack options: layers, their weights, statistics, pooling and surrogate.

    Raises:
        ArtattackError: no such layer or surrogate, no default style layers, a fixed input size up to the layers, or
            layer weights that are negative, all 0, or of another number than the style layers.
    """

    def __init__(self, model: Model, options: StyleOptions) -> None:
        style = model.style_layers if options.style_layers is None else options.style_layers
        content = model.content_layers if options.content_layers is None else options.content_layers
        style = layer_names(model.network, style if options.style_weight else ())
        content = layer_names(model.network, content if options.content_weight else ())
        if not style and options.style_weight:
            raise ArtattackError(f"backbone '{model.name}' has no default style layers: name some with style_layers")
        self._weights = [1.0] * len(style) if options.style_layer_weights is None else options.style_layer_weights
        if len(self._weights) != len(style):
            raise ArtattackError(f"style_layer_weights: {len(style)} layers, but {len(self._weights)} weights")
        if style and not (min(self._weights) >= 0 and 0 < sum(self._weights) < np.inf):
            raise ArtattackError(f"style_layer_weights: from 0 on, and not all 0, not {tuple(self._weights)}")
        self._features: _Read = _no_features
        self._content_features: _Read = _no_features
        if style or content:
            average = options.pooling == "average"
            features = Features(model, (*style, *content), gradient=options.surrogate, average_pooling=average)
            self._features = features
            if content:
                self._content_features = features.only(range(len(style), len(style) + len(content)))
        self._style_count = len(style)
        self._mean = MEANS[options.style_mean]
        self._style_distances = compiled(self._style_distances_of, reduce_retracing=True)
        self._statistics = STATISTICS[options.statistics]
        self._batch_sizes: dict[tuple[int, int], int] = {}

    def batch_size(self, height: int, width: int) -> int:
        """Return the number of images of that size that fit in memory together.

        The first call for a size traces the network.
        """
        size = height, width
        if size not in self._batch_sizes:
            needed = self._features.bytes_per_image(*size) if isinstance(self._features, Features) else 1
            self._batch_sizes[size] = int(np.clip(_MEMORY // needed, 1, _LARGEST_BATCH))
        return self._batch_sizes[size]

    def style_targets(self, styles: tf.Tensor, mask: tf.Tensor | None = None, *, blend: bool = True) -> list[tf.Tensor]:
        """Return the statistics of styles for each style layer: their mean (1, ...), or one for each style (S, ...).

        The mean minimizes the sum of squared distances to the styles' own statistics.

        Args:
            styles: images (S, H, W, 3).
            mask: (1, H, W, 1), 1 where the styles count.
            blend: whether to average over styles.
        """
        statistics = self._statistics_of(self._features(styles), mask)
        return [tf.reduce_mean(s, 0, keepdims=True) for s in statistics] if blend else statistics

    def content_targets(self, x: tf.Tensor) -> list[tf.Tensor]:
        """Return the features (N, h, w, C) of originals (N, H, W, 3), for each content layer."""
        return self._content_features(x)

    def __call__(self, x: tf.Tensor, targets: Targets, mask: tf.Tensor | None = None) -> Losses:
        """Return the losses of images (N, H, W, 3).

        Args:
            x: the images.
            targets: style and content targets for the same height and width.
            mask: (1, H, W, 1), 1 where style is measured.
        """
        features = self._features(x)
        content = [
            relative_distance(f, target)
            for f, target in zip(features[self._style_count :], targets.contents, strict=True)
        ]
        none = tf.zeros(tf.shape(x)[:1])
        return Losses(
            self._distance(self._statistics_of(features, mask), targets.styles, self._mean)
            if self._style_count
            else none,
            tf.add_n(content) / len(content) if content else none,
        )

    def style_distance(self, x: np.ndarray, styles: list[tf.Tensor], mask: tf.Tensor | None = None) -> np.ndarray:
        """Return the style distance (N,) of images (N, H, W, 3) to `style_targets`; see `style_distances`."""
        return self.style_distances(x, [styles], mask)[:, 0]

    def style_distances(
        self, x: np.ndarray, styles: Sequence[list[tf.Tensor]], mask: tf.Tensor | None = None
    ) -> np.ndarray:
        """Return the style distances (N, S) of images (N, H, W, 3) to the `style_targets` of S styles.

        Each is the weighted arithmetic mean over layers, whatever `style_mean` the loss has, so that attacks can be
        compared. Images are measured one by one, so that no result depends on other images.
        """
        with forgetting_gradients():
            return np.stack([self._style_distances(tf.constant(image[None]), styles, mask).numpy() for image in x])

    def _style_distances_of(self, x: tf.Tensor, styles: Sequence[list[tf.Tensor]], mask: tf.Tensor | None) -> tf.Tensor:
        """Return the distances (S,) of one image (1, H, W, 3)."""
        found = self._statistics_of(self._features(x), mask)
        return tf.concat([self._distance(found, targets, arithmetic_mean) for targets in styles], 0)

    def _statistics_of(self, features: list[tf.Tensor], mask: tf.Tensor | None) -> list[tf.Tensor]:
        return [self._statistics(f, _shrunk(mask, f)) for f in features[: self._style_count]]

    def _distance(self, statistics: list[tf.Tensor], targets: list[tf.Tensor], mean: Mean) -> tf.Tensor:
        """Return the distance (N,) of statistics to a style's targets."""
        return mean([relative_distance(*pair) for pair in zip(statistics, targets, strict=True)], self._weights)


_Read = Callable[[tf.Tensor], list[tf.Tensor]]  # images to features


def _no_features(x: tf.Tensor) -> list[tf.Tensor]:
    return []


def _shrunk(mask: tf.Tensor | None, features: tf.Tensor) -> tf.Tensor | None:
    """Return a mask (1, H, W, 1) at the size of features (N, h, w, C)."""
    return None if mask is None else tf.image.resize(mask, tf.shape(features)[1:3], method="area")
