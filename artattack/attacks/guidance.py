"""Adversarial guidance: a loss that fools classifiers during style transfer.

The attack optimises style and misclassification together, as AdvCam (Duan et al., CVPR 2020) and tAdv (Bhattad et al.,
ICLR 2020) do. Guides give logits, never probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from artattack.attacks.options import StyleOptions
from artattack.attacks.restyled import restyled
from artattack.attacks.transforms import seed_of_view, transformed
from artattack.errors import ArtattackError
from artattack.inputs.labels import class_index, class_name, names_of
from artattack.models.classifier import Classifier

_LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)  # the values that 8 bits can hold


class Guidance:
    """Leads one or more classifiers, the guides, away from their predictions on the originals, or to a target class.

    Guides read images on the 8-bit grid of a PNG, so that fooling them survives the rounding.

    Args:
        models: the guides, with differentiable `logits`; their losses are averaged.
        options: style attack options: loss, confidence, temperature, views, transforms and target.

    Raises:
        ArtattackError: a guide does not have the target class, or cannot be restyled for the transform `styless`.
    """

    def __init__(self, models: Sequence[Any], options: StyleOptions) -> None:
        self._models = models
        self._options = options
        self._targets = [_output(model, options.target) for model in models] if options.target else None
        self._names = options.transforms or ("di",)
        self._restyled = restyled(models, self._names)

    def references(self, x: np.ndarray) -> list[tf.Tensor]:
        """Return each guide's reference outputs (N,) int32: the target, or its predictions on originals x."""
        if self._targets is not None:
            return [tf.fill((len(x),), target) for target in self._targets]
        return [tf.constant(model.predict(x).argmax(1), tf.int32) for model in self._models]

    def loss(self, x: tf.Tensor, references: list[tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the loss (N,) of images x (N, H, W, 3), and whether every guide is fooled, (N,) bool.

        With views and without `early_stop`, guides see only the views, and no image counts as fooled: the loss over
        views predicts transfer, and a look at the image itself would cost another forward pass.

        Args:
            x: the images, float32 in [0, 1]; guides see them rounded to 8 bits.
            references: the result of `references`.
            seed: (2,) int32, seed of this step's views.
        """
        x = rounded(x)
        views = range(self._options.copies)
        seen = [pair for view in views for pair in zip(self._logits_of(view, x, seed), references, strict=True)]
        fooled = tf.zeros(tf.shape(x)[:1], tf.bool)
        if not views or self._options.early_stop:
            own = list(zip([model.logits(x) for model in self._models], references, strict=True))
            fooled = tf.reduce_all(tf.stack([self._is_fooled(*pair) for pair in own]), 0)
            seen = seen or own
        losses = [self._loss(*pair) for pair in seen]
        return tf.add_n(losses) / float(len(losses)), fooled

    def _logits_of(self, view: int, x: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
        """Return each guide's logits for one view of a step."""
        seen = transformed(x, self._names, seed, view)
        if not self._restyled:
            return [model.logits(seen) for model in self._models]
        drawn_by = seed_of_view(seed, view, self._names.index("styless"))
        seeds = tf.repeat(drawn_by[tf.newaxis], tf.shape(x)[0], 0)
        return [network.logits(seen, seeds) for network in self._restyled]

    def _loss(self, logits: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        logits = logits / self._options.temperature
        sign = -1.0 if self._targets is None else 1.0
        if self._options.guide_loss == "cross-entropy":
            return sign * tf.nn.sparse_softmax_cross_entropy_with_logits(outputs, logits)
        return tf.nn.relu(sign * -margin(logits, outputs) + self._options.margin)

    def _is_fooled(self, logits: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        seen = tf.argmax(logits, 1, tf.int32)
        return seen != outputs if self._targets is None else seen == outputs


def margin(logits: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Return an output's logit minus the largest other logit, (N,) (Carlini & Wagner 2017).

    Args:
        logits: (N, K).
        outputs: (N,) int32.
    """
    chosen = tf.one_hot(outputs, logits.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
    others = tf.where(chosen, tf.fill((), np.float32(-np.inf)), logits)
    return tf.gather(logits, outputs, batch_dims=1) - tf.reduce_max(others, 1)


def rounded(x: tf.Tensor) -> tf.Tensor:
    """Return images in [0, 1] on the 8-bit grid, equal to `quantize` to the bit; the gradient passes unchanged.

    Levels come from a table, because TensorFlow replaces a division by 255 with a product that differs in the last bit.
    """
    levels = tf.clip_by_value(tf.cast(255.0 * x + 0.5, tf.int32), 0, 255)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def straight_through(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        return tf.gather(_LEVELS, levels), lambda upstream: upstream

    return straight_through(x)


def _output(model: Classifier, target: str) -> int:
    names = names_of(model.label_space)
    index = class_index(target, names)
    if model.label_space is None or index not in model.label_space:
        raise ArtattackError(f"guide '{model.name}' does not know the target class '{class_name(index, names)}'")
    return model.label_space.index(index)
