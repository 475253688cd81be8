"""Adversarial guidance: a loss that fools classifiers during style transfer.

The attack optimises style and misclassification together, as AdvCam (Duan et al., CVPR 2020) and tAdv (Bhattad et al.,
ICLR 2020) do. Guides give logits, never probabilities. Two losses come from generative attacks and compare a guide's
outputs for an image with those for its original: `relativistic` (Naseer et al., NeurIPS 2019) in the logits, `features`
(BIA, Zhang et al., ICLR 2022) in a middle layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from artattack.attacks.features import Features
from artattack.attacks.options import StyleOptions
from artattack.attacks.restyled import restyled
from artattack.attacks.transforms import seed_of_view, transformed
from artattack.errors import ArtattackError
from artattack.inputs.labels import class_index, class_name, names_of
from artattack.models.classifier import Classifier
from artattack.models.model import Model, resize

_LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)  # the values that 8 bits can hold


class Guidance:
    """Leads one or more classifiers, the guides, away from their predictions on the originals, or to a target class.

    Guides read images on the 8-bit grid of a PNG, so that fooling them survives the rounding.

    Args:
        models: the guides, with differentiable `logits`; their losses are averaged.
        options: style attack options: loss, layers, confidence, temperature, views, transforms and target.

    Raises:
        ArtattackError: a guide does not have the target class, cannot be restyled for the transform `styless`, or has
            no layers for the loss `features`.
    """

    def __init__(self, models: Sequence[Any], options: StyleOptions) -> None:
        self._models = models
        self._options = options
        self._targets = [_output(model, options.target) for model in models] if options.target else None
        self._names = options.transforms or ("di",)
        self._restyled = restyled(models, self._names)
        by_features = options.guide_loss == "features"
        self._features = [_Layers(model, options.guide_layers) for model in models] if by_features else []

    def references(self, x: np.ndarray) -> list[tf.Tensor]:
        """Return each guide's reference outputs (N,) int32: the target, or its predictions on originals x."""
        if self._targets is not None:
            return [tf.fill((len(x),), target) for target in self._targets]
        return [tf.constant(model.predict(x).argmax(1), tf.int32) for model in self._models]

    def loss(
        self, x: tf.Tensor, original: tf.Tensor, references: list[tf.Tensor], seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the loss (N,) of images x (N, H, W, 3), and whether every guide is fooled, (N,) bool.

        With views and without `early_stop`, guides see only the views, and no image counts as fooled: the loss over
        views predicts transfer, and a look at the image itself would cost another forward pass.

        Args:
            x: the images, float32 in [0, 1]; guides see them rounded to 8 bits.
            original: their originals, of the same shape and range; `relativistic` and `features` read them, through
                the transforms of the same view.
            references: the result of `references`.
            seed: (2,) int32, seed of this step's views.
        """
        x = rounded(x)
        views = range(self._options.copies)
        losses = [loss for view in views for loss in self._losses(x, original, references, (view, seed))]
        fooled = tf.zeros(tf.shape(x)[:1], tf.bool)
        if not views or self._options.early_stop:
            logits = [model.logits(x) for model in self._models]
            fooled = tf.reduce_all(tf.stack([self._is_fooled(*p) for p in zip(logits, references, strict=True)]), 0)
            losses = losses or self._losses(x, original, references, None, logits)
        return tf.add_n(losses) / float(len(losses)), fooled

    def _losses(
        self,
        x: tf.Tensor,
        original: tf.Tensor,
        references: list[tf.Tensor],
        view: tuple[int, tf.Tensor] | None,
        logits: list[tf.Tensor] | None = None,
    ) -> list[tf.Tensor]:
        """Return each guide's loss (N,) in one view, its number and the step's seed, or of the images as they are.

        Args:
            x: the images.
            original: their originals.
            references: the result of `references`.
            view: number and seed.
            logits: the guides' logits of the images, if known.
        """
        if self._features:
            seen, before = (transformed(y, self._names, view[1], view[0]) if view else y for y in (x, original))
            return [similarity(layers(seen), layers(before)) for layers in self._features]
        logits = self._logits_of(x, view) if logits is None else logits
        if self._options.guide_loss == "relativistic":
            own = self._logits_of(original, view)
            logits = [after - tf.stop_gradient(before) for after, before in zip(logits, own, strict=True)]
        return [self._loss(*pair) for pair in zip(logits, references, strict=True)]

    def _logits_of(self, x: tf.Tensor, view: tuple[int, tf.Tensor] | None) -> list[tf.Tensor]:
        """Return each guide's logits of images in one view, or of the images as they are."""
        if view is None:
            return [model.logits(x) for model in self._models]
        number, seed = view
        seen = transformed(x, self._names, seed, number)
        if not self._restyled:
            return [model.logits(seen) for model in self._models]
        drawn_by = seed_of_view(seed, number, self._names.index("styless"))
        seeds = tf.repeat(drawn_by[tf.newaxis], tf.shape(x)[0], 0)
        return [network.logits(seen, seeds) for network in self._restyled]

    def _loss(self, logits: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Return the loss (N,) of logits (N, K) or, for `relativistic`, of their difference from the originals'."""
        logits = logits / self._options.temperature
        sign = -1.0 if self._targets is None else 1.0
        if self._options.guide_loss == "margin":
            return tf.nn.relu(sign * -margin(logits, outputs) + self._options.margin)
        return sign * tf.nn.sparse_softmax_cross_entropy_with_logits(outputs, logits)

    def _is_fooled(self, logits: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        seen = tf.argmax(logits, 1, tf.int32)
        return seen != outputs if self._targets is None else seen == outputs


class _Layers:
    """Outputs of some layers of a guide, for images scaled to its input size.

    Args:
        model: the guide.
        layers: layer specifications; None for the guide's content layers.
    """

    def __init__(self, model: Any, layers: Sequence[str] | None) -> None:
        chosen = layers or (model.content_layers if isinstance(model, Model) else ())
        if not isinstance(model, Model) or not chosen:
            raise ArtattackError(
                f"guide_loss features: '{model.name}' is no TensorFlow network with known layers; choose another loss"
            )
        self._size = model.input_size
        self._features = Features(model, chosen)

    def __call__(self, x: tf.Tensor) -> list[tf.Tensor]:
        """Return the outputs (N, h, w, C) of images (N, H, W, 3) in each layer."""
        return self._features(resize(x, self._size))


def similarity(features: Sequence[tf.Tensor], others: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the cosine similarity of features with those of other images, averaged over layers, (N,) float32.

    BIA (Zhang et al., ICLR 2022, eq. 3) trains a generator to lower it in one layer. No gradient flows to the others.

    Args:
        features: outputs (N, h, w, C) of each layer.
        others: likewise.
    """

    def of_layer(ours: tf.Tensor, theirs: tf.Tensor) -> tf.Tensor:
        flat = (tf.reshape(tf.cast(f, tf.float32), (tf.shape(f)[0], -1)) for f in (ours, tf.stop_gradient(theirs)))
        a, b = (tf.math.l2_normalize(f, 1) for f in flat)
        return tf.reduce_sum(a * b, 1)

    return tf.add_n([of_layer(*pair) for pair in zip(features, others, strict=True)]) / float(len(features))


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
