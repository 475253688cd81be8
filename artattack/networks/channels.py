"""What a channel responds to: images that raise its mean activation, found by the descent of the style attack.

Feature visualisation (Olah, Mordvintsev & Schubert, Distill 2017), with the parametrisation and the random shifts that
style transfer uses.
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

_CONTRAST = 0.05  # standard deviation of the grey noise that the descent starts from
_BATCH = 16  # channels at once


class ChannelObjective:
    """The mean activation of a channel, as a loss that falls when it rises.

    Args:
        model: the network.
        layer: one of its layers, as a specification (`sum:7` or a name).

    Raises:
        ArtattackError: no such layer, or one whose output is no map of channels.
    """

    def __init__(self, model: Model, layer: str) -> None:
        names = layer_names(model.network, (layer,))
        shape = model.network.get_layer(names[0]).output_shape
        if len(names) != 1 or len(shape) != 4:
            raise ArtattackError(f"layer '{layer}' of '{model.name}' has no channels to look at")
        self.channels = int(shape[-1])
        self._features = Features(model, names)

    def activations(self, x: tf.Tensor) -> tf.Tensor:
        """Return the mean over positions of each channel, (N, C) float32, for images (N, H, W, 3) in [0, 1]."""
        return tf.reduce_mean(tf.cast(self._features(x)[0], tf.float32), (1, 2))

    def content_targets(self, x: tf.Tensor) -> list[tf.Tensor]:
        """Return nothing: there is no content to keep."""
        return []

    def __call__(self, x: tf.Tensor, targets: Targets, mask: tf.Tensor | None = None) -> Losses:
        """Return minus the activation (N,) of each image's channel, which `targets.styles[0]` (N, C) picks."""
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
    """Return an image for each channel that raises its activation as far as the descent goes.

    Activations are counted in standard deviations of the layer's channels over noise, so that one weight of total
    variation serves all layers.

    Args:
        objective: of a layer.
        channels: of it.
        size: side of the images, in pixels.
        steps: of the optimiser.
        seed: of the noise that all start from, and of the shifts.
        on_steps: called now and then with the steps done since, summed over images.

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
