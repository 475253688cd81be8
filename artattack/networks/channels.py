"""Feature visualisation: images that raise a channel's mean activation, found by the style attack's descent.

After Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017, with the style attack's parametrisation and
random shifts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from artattack.attacks.descent import Descent
from artattack.attacks.features import Features
from artattack.attacks.objective import Losses, Targets
from artattack.attacks.options import StyleOptions
from artattack.errors import ArtattackError
from artattack.models.model import Model
from artattack.models.network import layer_names

_CONTRAST = 0.05  # standard deviation of the grey noise at the start of the descent
_BATCH = 16  # channels per batch


class ChannelObjective:
    """A loss equal to minus the mean activation of a channel.

    Args:
        model: the network.
        layer: one of its layers, as a specification (`sum:7` or a name).

    Raises:
        ArtattackError: the layer does not exist, or its output is not a map of channels.
    """

    def __init__(self, model: Model, layer: str) -> None:
        names = layer_names(model.network, (layer,))
        shape = model.network.get_layer(names[0]).output_shape
        if len(names) != 1 or len(shape) != 4:
            raise ArtattackError(f"layer '{layer}' of '{model.name}' has no channels to visualise")
        self.channels = int(shape[-1])
        self._features = Features(model, names)

    def activations(self, x: tf.Tensor) -> tf.Tensor:
        """Return the mean over positions of each channel, (N, C) float32, for images (N, H, W, 3) in [0, 1]."""
        return tf.reduce_mean(tf.cast(self._features(x)[0], tf.float32), (1, 2))

    def content_targets(self, x: tf.Tensor) -> list[tf.Tensor]:
        """Return no targets: this objective preserves no content."""
        return []

    def __call__(self, x: tf.Tensor, targets: Targets, mask: tf.Tensor | None = None) -> Losses:
        """Return minus the weighted activation (N,) of each image; `targets.styles[0]` (N, C) has channels' weights."""
        activation = tf.reduce_sum(self.activations(x) * targets.styles[0], 1)
        return Losses(-activation, tf.zeros_like(activation))


def visualise_channels(
    objective: ChannelObjective,
    channels: Sequence[int],
    *,
    size: int,
    steps: int,
    seed: int = 0,
    on_steps: Callable[[int], None] = lambda steps: None,
) -> np.ndarray:
    """Return an image for each channel that maximises the channel's mean activation.

    Activations are divided by the standard deviation of the layer's channels on noise, so that one total variation
    weight suits all layers.

    Args:
        objective: objective of a layer.
        channels: indices of channels of that layer.
        size: side of the images, in pixels.
        steps: steps of the optimizer.
        seed: seed of the initial noise, which all images share, and of the shifts.
        on_steps: called with the steps done since the last call, summed over images.

    Returns:
        float32 (len(channels), size, size, 3) in [0, 1].
    """
    rng = np.random.default_rng(seed)
    noise = (0.5 + _CONTRAST * rng.standard_normal((1, size, size, 3))).clip(0, 1).astype(np.float32)
    unit = float(np.std(objective.activations(tf.constant(rng.random((4, size, size, 3), np.float32)))))
    options = StyleOptions(
        steps=steps, learning_rate=0.05, style_weight=1.0, tv_weight=0.5, jitter=max(1, size // 12), budget=None
    )
    descent = Descent(objective, None, options, (size, size))
    images = []
    for start in range(0, len(channels), _BATCH):
        batch = list(channels[start : start + _BATCH])
        picks = tf.one_hot(batch, objective.channels) / max(unit, 1e-6)
        first = np.repeat(noise, len(batch), 0)
        images.append(descent(first, first, [picks], options, seed=seed, on_steps=on_steps))
    return np.concatenate(images)
