"""A painter with its loss, as a model that Keras fits, and pictures of its progress."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from artattack.attacks.guidance import Guidance
from artattack.attacks.objective import Objective, Targets, relative_distance, total_variation
from artattack.attacks.options import StyleOptions
from artattack.attacks.painter_card import STYLE_SIZE, PainterCard
from artattack.attacks.painter_network import Painter, blended, mirrored, painted
from artattack.attacks.parametrization import Smoothing
from artattack.bound import Bound
from artattack.inputs.images import save_png, to_uint8
from artattack.training.data import Array

BANDS = (0.0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 0.36, 0.71)  # edges in cycles per pixel, to the corner of the spectrum
_FAINT = 1e-5  # share of the energy that a band without any counts as
_DIFFERENCES = ("unlike", "unlike_bands", "unlike_features")  # of paintings from examples
_LONGEST = 20.0  # norm of a step's gradient; usual ones are below 10
_PERIOD = 2 * STYLE_SIZE  # px, of a style continued by its mirror images


class PainterTraining(tf_keras.Model):  # type: ignore[misc]
    """A painter's network with its loss: the style attack's on its paintings, their difference from examples, or both.

    Args:
        network: the painter's network.
        card: card of the painter, without facts.
        learnt: indices of the styles to learn, side by side among the card's.
        objective: style in the backbone's features.
        targets: style statistics of each layer, one row for each of `learnt`.
        styles: images (S, 224, 224, 3) in [0, 1] of all styles of the card, which initial images blend in, or None.
        guides: classifiers to fool.
        guidance: loss that fools the guides; None without guides.
        options: weights of the terms, and jitter.
        imitate_weight: weight of the difference from examples in pixels and in the energies of `BANDS`.
        feature_weight: weight of the difference from examples in features.
        likeness: content in the features that compare paintings with examples; None without a weight.
        size: side of the crops in pixels.
        seed: seed of shifts, of the parts of styles and of views of guides.
    """

    def __init__(
        self,
        network: Any,
        card: PainterCard,
        *,
        learnt: tuple[int, ...],
        objective: Objective,
        targets: list[tf.Tensor],
        styles: np.ndarray | None,
        guides: Sequence[Any],
        guidance: Guidance | None,
        options: StyleOptions,
        imitate_weight: float,
        feature_weight: float,
        likeness: Objective | None,
        size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.card = card
        self.learnt = learnt
        self.objective = objective
        self.targets = targets
        self.styles = styles
        self._patterns = None if styles is None else tf.constant(mirrored(styles, *[size + _PERIOD] * 2))
        self._size = size
        self._fooled = (guides, guidance)  # a tuple, so that Keras does not save the guides' weights
        self._options = options
        self._weights = dict(zip(_DIFFERENCES, (imitate_weight, imitate_weight, feature_weight), strict=True))
        self._likeness = likeness
        self._smoothing = Smoothing(size, size, card.decay, card.lowest)
        self._seed = seed % 2**31
        self._means = {name: tf_keras.metrics.Mean(name=name) for name in ("loss", "style", *_DIFFERENCES)}

    @property
    def metrics(self) -> list[Any]:
        """The means of an epoch, which Keras resets: loss, style loss, and differences from examples."""
        return list(self._means.values())

    @property
    def reads_crops(self) -> bool:
        """Whether the loss reads crops of training images, and not only examples."""
        return bool(self._options.style_weight or self._options.tv_weight or self._fooled[1])

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Take one step on crops and, if there are any, examples; crop i of step t shows turn (t B + i) mod T.

        The turns are the styles to learn, each in every ball: turn s B + b is style s in ball b of B balls.
        """
        ((x, *example),) = data
        step = tf.cast(self.optimizer.iterations, tf.int32)
        count = tf.shape(x)[0]
        turns = (step * count + tf.range(count)) % self.card.rows_of(len(self.learnt))
        with tf.GradientTape() as tape:
            losses = self._all_losses(x, turns, example, tf.stack([self._seed, step]))
            mean = tf.reduce_mean(losses["loss"])
        variables = self.network.trainable_variables
        gradients = limited(tape.gradient(mean, variables))
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self._told(losses)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Return the mean losses of crops in given turns, unshifted, and of examples."""
        x, turns, *example = data
        return self._told(self._all_losses(x, tf.cast(turns, tf.int32), example, None))

    def _all_losses(
        self, x: tf.Tensor, turns: tf.Tensor, example: Sequence[tf.Tensor], seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Return the losses (B,) of crops and examples, by their metrics' names."""
        losses = self._losses_of(x, turns, seed)
        if not example:
            return losses
        differences = self._differences(*example, seed=seed)
        weighted = [self._weights[name] * far for name, far in differences.items()]
        return losses | differences | {"loss": tf.add_n([losses["loss"], *weighted])}

    def _told(self, found: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        for name, values in found.items():
            self._means[name].update_state(values)
        return {name: self._means[name].result() for name in found}

    def _losses_of(self, x: tf.Tensor, turns: tf.Tensor, seed: tf.Tensor | None) -> dict[str, tf.Tensor]:
        """Return the loss and the style loss (B,) of crops (B, S, S, 3) in [-1, 1], painted in given turns."""
        x = (x + 1.0) / 2.0
        options = self._options
        corner = tf.zeros((2,), tf.int32)
        if seed is not None:
            corner = tf.random.stateless_uniform((2,), seed + 2, 0, STYLE_SIZE + 1, tf.int32)
        made = self._painted(x, turns, tf.tile(corner[None], [tf.shape(x)[0], 1]))
        loss, told = tf.zeros_like(turns, tf.float32), {}
        if options.style_weight or seed is None:  # validation tells the style loss even if it has no weight
            styles = turns // len(self.card.balls)
            targets = Targets([tf.gather(layer, styles) for layer in self.targets], [])
            style = self.objective(self._shifted(made, seed), targets).style
            loss, told = options.style_weight * style, {"style": style}
        if options.tv_weight:
            loss += options.tv_weight * total_variation(made)
        guides, guidance = self._fooled
        if guidance is not None:
            own = [tf.stop_gradient(tf.argmax(guide.logits(x), 1, tf.int32)) for guide in guides]
            views = tf.bitwise.invert(tf.zeros((2,), tf.int32) if seed is None else seed)
            loss += options.guide_weight * guidance.loss(made, x, own, views)[0]
        return told | {"loss": loss}

    def _differences(
        self,
        originals: tf.Tensor,
        paintings: tf.Tensor,
        turns: tf.Tensor,
        corners: tf.Tensor,
        *,
        seed: tf.Tensor | None,
    ) -> dict[str, tf.Tensor]:
        """Return how far crops are painted from examples, each (B,).

        `unlike` is the squared difference over the examples' squared change. Alone, it would teach the mean of all
        changes that the attack might make, with too little energy in fine strokes; hence `unlike_bands`, the
        `band_distance`. `unlike_features` is the relative squared distance of the backbone's features (perceptual loss:
        Johnson et al., ECCV 2016), under one random shift of both.

        Args:
            originals: uint8 (B, S, S, 3).
            paintings: the attack's images of them, likewise.
            turns: int32 (B,), their turns.
            corners: int32 (B, 2), their upper left corners in the images.
            seed: int32 (2,), of the shift; None for no shift.
        """
        x, wanted = (tf.cast(images, tf.float32) / 255.0 for images in (originals, paintings))
        made = self._painted(x, turns, corners)
        change, target = made - x, wanted - x
        differences = {"unlike": relative_distance(change, target), "unlike_bands": band_distance(change, target)}
        if self._likeness is not None:
            seen, example = (self._shifted(images, seed) for images in (made, wanted))
            targets = Targets([], self._likeness.content_targets(example))
            differences["unlike_features"] = self._likeness(seen, targets).content
        return differences

    def _shifted(self, images: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """Return images (B, S, S, 3) rolled by up to `jitter` px, all alike; with no seed, as they are."""
        if seed is None or not self._options.jitter:
            return images
        most = self._options.jitter
        return tf.roll(images, tf.random.stateless_uniform((2,), seed, -most, most + 1, tf.int32), (1, 2))

    def _painted(self, x: tf.Tensor, turns: tf.Tensor, corners: tf.Tensor) -> tf.Tensor:
        """Return the paintings (B, S, S, 3) of crops.

        Args:
            x: crops (B, S, S, 3) in [0, 1].
            turns: int32 (B,), their turns.
            corners: int32 (B, 2), the corners of the parts of the styles that initial images blend in.
        """
        balls = self.card.balls
        places = self.learnt[0] + turns // len(balls)
        levels = tf.gather(tf.constant([ball.value for ball in balls], tf.float32), turns % len(balls))
        ball = Bound(self.card.budget.distance, levels[:, None, None, None])
        first = x
        if self._patterns is not None:
            size = [1, self._size, self._size, 3]
            begins = tf.concat([places[:, None], corners % _PERIOD, tf.zeros_like(places)[:, None]], 1)
            parts = tf.map_fn(lambda begin: tf.slice(self._patterns, begin, size)[0], begins, tf.float32)
            first = blended(x, parts, ball)
        rows = tf.one_hot(turns + self.card.rows_of(self.learnt[0]), self.card.rows)
        change = self.network([first, rows], training=True)
        return painted(x, first, self._smoothing(change), self.card.reach, ball)


def band_distance(change: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Return the mean over `BANDS` of the squared log ratio of the bands' shares in the energies of two changes, (B,).

    Args:
        change: (B, S, S, 3) float32.
        target: likewise.
    """
    side = change.shape[1]
    frequencies = np.fft.fftfreq(side)
    radius = np.hypot(frequencies[:, None], frequencies[None])
    masks = np.stack([(radius >= low) & (radius < high) for low, high in pairwise(BANDS)], -1).astype(np.float32)

    def shares(x: tf.Tensor) -> tf.Tensor:
        spectrum = tf.signal.fft2d(tf.cast(tf.transpose(x, (0, 3, 1, 2)), tf.complex64))
        energies = tf.einsum(
            "bchw,hwk->bk", tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum)), masks
        )
        return energies / (tf.reduce_sum(energies, 1, keepdims=True) + 1e-12)

    ratios = tf.math.log(shares(change) + _FAINT) - tf.math.log(shares(target) + _FAINT)
    return tf.reduce_mean(tf.square(ratios), 1)


def limited(gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Return gradients shortened to a norm of at most `_LONGEST` over all of them; zeros if it is not finite.

    A crop of a single colour has no variance to normalize by: each normalization multiplies its gradient by 316, which
    overflows float32 within a few layers. Its batch then contributes nothing.
    """
    shortened, norm = tf.clip_by_global_norm(gradients, _LONGEST)
    return [tf.where(tf.math.is_finite(norm), gradient, tf.zeros_like(gradient)) for gradient in shortened]


class Pictures(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Writes a picture of held-out crops after each epoch: columns of originals, then of each style; NNNN.png.

    Paintings fill the largest ball.

    Args:
        training: the painter in training.
        crops: uint8 (M, S, S, 3).
        names: names of the styles, one column each.
        folder: folder to write to.
    """

    def __init__(self, training: PainterTraining, crops: Array, names: Sequence[str], folder: Path) -> None:
        super().__init__()
        self._painter = Painter.of(training.network, training.card, training.styles)
        self._x = crops.astype(np.float32) / 255
        self._names = names
        self._folder = folder

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the picture of an epoch."""
        mixes = np.eye(len(self._names), dtype=np.float32)
        columns = [self._x, *(self._painter.paint(self._x, mix) for mix in mixes)]
        grid = np.concatenate([np.concatenate(list(column), 0) for column in columns], 1)
        save_png(self._folder / f"{epoch + 1:04}.png", to_uint8(grid))
