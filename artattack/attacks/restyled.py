"""StyLess: networks with restyled early features, whose adversarial images transfer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import tensorflow as tf

from artattack.errors import ArtattackError
from artattack.inputs.styles import load_styles, style_names
from artattack.models.model import Model, resize
from artattack.models.network import keras_of, layer_names

_SHARE = 0.2  # of another style in the mixture, as in the authors' code
_NONE = 1e-6  # added to variances, which may be 0


class RestyledNetwork:
    """A network whose early features have other means and standard deviations (StyLess, Liang & Xiao, CVPR 2023).

    After the model's first style layer, or the last layer before it through which all connections pass, each channel is
    normalized over the positions of an image (instance normalization). It then gets a mean and a standard deviation
    that are 4/5 the image's own and 1/5 those of a bundled style, each multiplied by a draw from a normal distribution
    around 1, clipped to [0, 2].

    The paper takes the statistics of the untouched image, and rejects draws that lose its class. Here the statistics
    are those of the current image, constant for the gradient, and no draw is rejected.

    Args:
        model: the network, with its style layers.

    Raises:
        ArtattackError: the network is not a TensorFlow network, has no style layers, or no layer that all connections
            pass through.
    """

    def __init__(self, model: Any) -> None:
        if not isinstance(model, Model) or not model.style_layers:
            raise ArtattackError(f"transform styless: '{model.name}' is no TensorFlow network with layers for style")
        self._model = model
        self._early, self._late = _cut(model)
        self._styles = [tf.constant(value.numpy()) for value in _moments(self._features(_bundled_styles(model)))]

    def logits(self, x: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Return logits (N, K) float32 of images (N, H, W, 3) in [0, 1], differentiable.

        Args:
            x: the images.
            seeds: (N, 2) int32, seeds of each image's draws.
        """
        features = self._features(x)
        mean, deviation = _moments(features)
        factors, which = self._draws(seeds, features.shape[-1])
        mixed = [
            (1.0 - _SHARE) * own + _SHARE * tf.gather(styles, which)
            for own, styles in zip((mean, deviation), self._styles, strict=True)
        ]
        shift, scale = (tf.stop_gradient(factors[:, i] * value) for i, value in enumerate(mixed))
        normal = (features - mean) / deviation
        logits = tf.cast(self._late(normal * scale + shift, training=False), tf.float32)
        return logits if self._model.outputs is None else tf.gather(logits, self._model.outputs, axis=1)

    def _features(self, x: tf.Tensor) -> tf.Tensor:
        return self._early(self._model.preprocessing(resize(x, self._model.input_size)), training=False)

    def _draws(self, seeds: tf.Tensor, channels: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Return each image's factors (N, 2, 1, 1, C) in [0, 2], and the index of its style, (N,) int32."""

        def one(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            factors = tf.random.stateless_normal((2, 1, 1, channels), seed, 1.0)
            which = tf.random.stateless_uniform((), seed, 0, len(self._styles[0]), tf.int32)
            return tf.clip_by_value(factors, 0.0, 2.0), which

        factors, which = tf.map_fn(one, seeds, fn_output_signature=(tf.float32, tf.int32))
        return factors, which


def restyled(models: Sequence[Any], transforms: Sequence[str]) -> tuple[RestyledNetwork, ...]:
    """Return restyled networks if the transforms name `styless`, else an empty tuple.

    Raises:
        ArtattackError: as for `RestyledNetwork`.
    """
    return tuple(RestyledNetwork(model) for model in models) if "styless" in transforms else ()


def _cut(model: Model) -> tuple[Any, Any]:
    """Cut a network in two at a layer that all connections pass: the first style layer, or the last one before it."""
    network, keras = model.network, keras_of(model.network)
    names = [layer.name for layer in network.layers]
    (last,) = layer_names(network, model.style_layers[:1])
    for name in reversed(names[1 : names.index(last) + 1]):
        middle = network.get_layer(name).output
        with suppress(ValueError):  # a connection passes this layer by
            return keras.Model(network.input, middle), keras.Model(middle, network.output)
    raise ArtattackError(f"transform styless: '{model.name}' has connections past each layer up to its '{last}'")


def _moments(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return means and standard deviations, each (N, 1, 1, C), over the positions of features (N, h, w, C)."""
    mean, variance = tf.nn.moments(tf.cast(features, tf.float32), (1, 2), keepdims=True)
    return mean, tf.sqrt(variance + _NONE)


def _bundled_styles(model: Model) -> tf.Tensor:
    return tf.concat([load_styles(name, model.input_size) for name in style_names()], 0)
