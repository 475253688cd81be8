"""The momentum attack: iterated sign gradients with momentum, which transfer to other classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod, sqrt
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from art.attacks import EvasionAttack
from art.estimators import BaseEstimator, LossGradientsMixin

from artattack.attacks.failing import ImagesFailedError
from artattack.attacks.options import MomentumOptions, parse_options_of
from artattack.attacks.projection import project
from artattack.attacks.restyled import RestyledNetwork, restyled
from artattack.attacks.transforms import each_transformed, seed_of_view
from artattack.errors import ArtattackError
from artattack.models.estimator import ArtEstimator
from artattack.tracing import compiled, forgetting_gradients

_OPTIONS = MomentumOptions.model_fields


class MomentumAttack(EvasionAttack):  # type: ignore[misc]
    """Climbs the source's cross-entropy with momentum, within a ball (MI-FGSM, Dong et al., CVPR 2018).

    At each step

        g = decay * g + gradient / mean |gradient|
        x = x + eps_step * sign(g), brought back into the ball

    with g / |g| instead of sign(g) in l2. The mean of |gradient| is that of the authors' code; the paper has the sum.
    Options add the transfer attacks built on it:

    - `nesterov` takes the gradient one momentum step ahead, at x + eps_step * decay * g (NI-FGSM, Lin et al., ICLR
      2020). In l2, which the paper does not cover, this step is divided by the root of the number of values, which
      makes it about as long as a step of the attack.
    - `kernel` smooths the gradient with a Gaussian whose standard deviation is a third of its radius (TI-FGSM, Dong et
      al., CVPR 2019).
    - `transforms` transforms the source's input, in `views` copies per step whose gradients are averaged.

    Args:
        estimator: the source, from `artattack.models.estimator.to_estimator`.
        seed: seed of the transforms of each image, unless `generate` gets seeds.
        batch_size: number of images attacked at once.
        options: the fields of `artattack.attacks.options.MomentumOptions`, described there; `eps` has no default.

    Raises:
        ArtattackError: an option is unknown or out of range, or the estimator is not from `to_estimator`.
    """

    attack_params: ClassVar[list[str]] = [*EvasionAttack.attack_params, "seed", "batch_size", *_OPTIONS]
    _estimator_requirements = (BaseEstimator, LossGradientsMixin)

    def __init__(self, estimator: Any, *, seed: int = 0, batch_size: int = 32, **options: Any) -> None:
        if not isinstance(estimator, ArtEstimator):
            raise ArtattackError(
                f"MomentumAttack needs a source that artattack.models.estimator.to_estimator gives, not "
                f"{type(estimator).__name__}: artattack.load_model gives a model by name or from a file"
            )
        super().__init__(estimator=estimator)
        self.seed = seed
        self.batch_size = batch_size
        for name, value in parse_options_of(MomentumOptions, options):
            setattr(self, name, value)
        self._climbs: dict[MomentumOptions, Climb] = {}
        self._check_params()

    @property
    def options(self) -> MomentumOptions:
        """The current options, validated."""
        return parse_options_of(MomentumOptions, {name: getattr(self, name) for name in _OPTIONS})

    def _check_params(self) -> None:
        super()._check_params()
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ArtattackError(f"seed: a whole number from 0 on, not {self.seed!r}")
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ArtattackError(f"batch_size: a whole number above 0, not {self.batch_size!r}")
        self._networks(self.options)  # raises an error if the source cannot be restyled

    def _networks(self, options: MomentumOptions) -> tuple[RestyledNetwork, ...]:
        """Return the restyled source if the transforms include `styless`; it is made once."""
        return self._restyled if "styless" in (options.transforms or ()) else ()

    @cached_property
    def _restyled(self) -> tuple[RestyledNetwork, ...]:
        return restyled([self.estimator.artattack_model], ("styless",))

    def generate(
        self, x: np.ndarray, y: np.ndarray | None = None, *, seeds: Sequence[int] | None = None, **kwargs: Any
    ) -> np.ndarray:
        """Return adversarial versions of images.

        Args:
            x: images (N, H, W, 3) in [0, 1], of the estimator's input shape.
            y: labels, one-hot (N, K) or indices (N,) of the source's outputs: the classes to lead images away from, by
                default the source's predictions; a targeted attack needs the classes to lead images to.
            seeds: non-negative seeds, one for each image, instead of `seed`.
            kwargs: part of ART's contract; ignored.

        Returns:
            (N, H, W, 3) float32 in [0, 1].

        Raises:
            ArtattackError: images, labels or seeds are invalid.
            ImagesFailedError: the source's gradients of some images are not finite; the error holds the other results.
        """
        x = np.asarray(x, np.float32)
        if x.shape[1:] != self.estimator.input_shape:
            raise ArtattackError(
                f"images have shape (N, {', '.join(map(str, self.estimator.input_shape))}), not {x.shape}"
            )
        if len(x) == 0:
            return x
        if not (x.min() >= 0 and x.max() <= 1):  # also where there is a NaN
            raise ArtattackError("images lie in [0, 1]; these do not")
        options = self.options
        labels = self._labels(x, y, options.targeted)
        if seeds is not None and len(seeds) != len(x):
            raise ArtattackError(f"seeds: one for each image is wanted, {len(x)}, not {len(seeds)}")
        drawn = np.array([seed % 2**31 for seed in ([self.seed] * len(x) if seeds is None else seeds)], np.int32)
        program = options.model_copy(update={"eps": 1.0, "eps_step": None})  # one for balls of all radii
        if program not in self._climbs:
            self._climbs[program] = Climb(self.estimator, program, self._networks(program))
        climb = self._climbs[program]
        batches = (slice(i, i + self.batch_size) for i in range(0, len(x), self.batch_size))
        made: np.ndarray = np.concatenate(
            [climb(x[b], labels[b], drawn[b], options.eps, options.step) for b in batches]
        )
        if len(broken := np.flatnonzero(~np.isfinite(made).all((1, 2, 3)))):
            why = f"gradients of source '{self.estimator.artattack_model.name}' are not finite"
            raise ImagesFailedError(made, {int(i): why for i in broken})
        return made

    def _labels(self, x: np.ndarray, y: np.ndarray | None, targeted: bool) -> np.ndarray:
        """Return labels (N, K) float32."""
        if y is None and targeted:
            raise ArtattackError("the attack is targeted: give generate the classes y to aim at")
        labels: np.ndarray = self.estimator.predict(x).argmax(1) if y is None else np.asarray(y)
        classes = self.estimator.nb_classes
        if labels.shape == (len(x), classes) and classes > 1:
            return np.asarray(labels, np.float32)
        labels = labels.reshape(-1)
        if len(labels) != len(x) or not ((labels >= 0) & (labels < classes)).all():
            raise ArtattackError(f"labels must be one for each image, in 0..{classes - 1}, the source's outputs")
        return np.asarray(np.eye(classes, dtype=np.float32)[labels.astype(int)])


class Climb:
    """The compiled steps of the momentum attack, for batches of any size and balls of any radius.

    Args:
        estimator: the source.
        options: options of the attack, of which `eps` and `eps_step` are not read.
        networks: the restyled source if the transforms include `styless`, else ().
    """

    def __init__(
        self, estimator: ArtEstimator, options: MomentumOptions, networks: tuple[RestyledNetwork, ...] = ()
    ) -> None:
        self._estimator = estimator
        self._options = options
        self._smooth = tf.constant(_gaussian(options.kernel)) if options.kernel else None
        self._restyled = networks
        images = tf.TensorSpec((None, *estimator.input_shape), tf.float32)
        labels = tf.TensorSpec((None, estimator.nb_classes), tf.float32)
        seeds, size = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.float32)
        with forgetting_gradients():
            self._compiled = compiled(self._steps).get_concrete_function(images, labels, seeds, size, size)

    def __call__(self, x: np.ndarray, labels: np.ndarray, seeds: np.ndarray, eps: float, step: float) -> np.ndarray:
        """Return the last iterates (N, H, W, 3) float32.

        Args:
            x: images (N, H, W, 3) float32 in [0, 1].
            labels: (N, K) float32, one-hot.
            seeds: (N,) int32, seeds of each image's transforms.
            eps: radius of the ball, in its norm.
            step: step size, in that norm.
        """
        sizes = tf.constant(eps, tf.float32), tf.constant(step, tf.float32)
        return np.asarray(self._compiled(tf.constant(x), tf.constant(labels), tf.constant(seeds), *sizes).numpy())

    def _steps(
        self, original: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor, eps: tf.Tensor, length: tf.Tensor
    ) -> tf.Tensor:
        options, sign = self._options, -1.0 if self._options.targeted else 1.0

        def take(step: tf.Tensor, x: tf.Tensor, momentum: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            gradient = sign * self._gradient(self._ahead(x, momentum, length), labels, seeds, step)
            if self._smooth is not None:
                gradient = tf.nn.depthwise_conv2d(gradient, self._smooth, (1, 1, 1, 1), "SAME")
            size = tf.reduce_mean(tf.abs(gradient), (1, 2, 3), keepdims=True)
            momentum = options.decay * momentum + tf.math.divide_no_nan(gradient, size)
            x = project(x + length * self._direction(momentum), original, options.ball._replace(value=eps))
            return step + 1, x, momentum

        start = tf.constant(0), original, tf.zeros_like(original)
        return tf.while_loop(lambda step, *_: step < options.max_iter, take, start)[1]

    def _ahead(self, x: tf.Tensor, momentum: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """Return the images at which the gradient is taken."""
        if not self._options.nesterov:
            return x
        if self._options.norm == 2:
            length /= sqrt(prod(self._estimator.input_shape))
        return x + length * self._options.decay * momentum

    def _gradient(self, x: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Return the loss gradient (N, H, W, 3), averaged over the views of a step."""
        names = self._options.transforms
        if not names:
            return self._estimator.loss_gradient(x, labels)

        def add(view: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(x)
                seen = each_transformed(x, names, seeds, step, view)
                top = self._restyled_loss(seen, labels, seeds, step, view) if self._restyled else seen
            below = None if self._restyled else self._estimator.loss_gradient(seen, labels)
            return view + 1, total + tape.gradient(top, x, below)

        start = tf.constant(0), tf.zeros_like(x)
        total = tf.while_loop(lambda view, _: view < self._options.views, add, start)[1]
        return total / float(self._options.views)

    def _restyled_loss(
        self, seen: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor, view: tf.Tensor
    ) -> tf.Tensor:
        """Return the cross-entropy (N,) of the restyled source."""
        of_step = tf.stack([seeds, tf.fill(tf.shape(seeds), step)], 1)
        assert self._options.transforms
        drawn_by = seed_of_view(of_step, view, self._options.transforms.index("styless"))
        return tf.nn.softmax_cross_entropy_with_logits(labels, self._restyled[0].logits(seen, drawn_by))

    def _direction(self, momentum: tf.Tensor) -> tf.Tensor:
        """Return a step of length 1 in the direction of the momentum."""
        if self._options.norm == "inf":
            return tf.sign(momentum)
        return tf.math.divide_no_nan(momentum, tf.sqrt(tf.reduce_sum(tf.square(momentum), (1, 2, 3), keepdims=True)))


def _gaussian(side: int) -> np.ndarray:
    """Return a Gaussian kernel that sums to 1 in each channel, (side, side, 3, 1) float32.

    Its standard deviation is a third of its radius, as in the code of Dong et al. (CVPR 2019).
    """
    line = np.exp(-np.square(np.linspace(-3.0, 3.0, side)) / 2.0)
    kernel = np.outer(line, line) / np.square(line.sum())
    return np.repeat(kernel[:, :, None, None], 3, 2).astype(np.float32)
