"""The hot loop: gradient descent on the pixels of a batch, compiled, without a look at the host in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from artattack.attacks.objective import Objective
from artattack.config import StyleOptions

_STEPS_PER_CALL = 20  # between two looks at the host: often enough for a progress bar and an interrupt
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's own (Kingma & Ba, ICLR 2015)


class State(NamedTuple):
    """Where the descent of a batch stands: `step` (), `best_loss` (N,), the others (N, H, W, 3)."""

    step: tf.Tensor
    x: tf.Tensor
    momentum: tf.Tensor
    variance: tf.Tensor
    best: tf.Tensor
    best_loss: tf.Tensor


class Descent:
    """Minimises a style objective from the originals on, each image by itself, with Adam.

    Args:
        objective: style and content in a backbone's features.
        options: of the style attack.
    """

    def __init__(self, objective: Objective, options: StyleOptions) -> None:
        self._objective = objective
        self._options = options
        self._advance = tf.function(self._steps)
        self._finish = tf.function(self._keep_best)

    def __call__(
        self, x: np.ndarray, styles: Sequence[tf.Tensor], on_steps: Callable[[int], None] = lambda steps: None
    ) -> np.ndarray:
        """Return the iterates of least loss, (N, H, W, 3) float32, of originals (N, H, W, 3) in [0, 1].

        Args:
            x: originals.
            styles: targets from `Objective.style_targets`, for this height and width.
            on_steps: called now and then with the steps done since, summed over images.
        """
        start = tf.constant(x, tf.float32)
        contents = self._objective.content_targets(start)
        zeros = tf.zeros_like(start)
        worst = tf.fill((len(x),), np.float32(np.inf))
        state = State(tf.constant(0), start, zeros, zeros, start, worst)
        for done in range(0, self._options.steps, _STEPS_PER_CALL):
            steps = min(_STEPS_PER_CALL, self._options.steps - done)
            state = self._advance(state, tf.constant(steps), list(styles), contents)
            on_steps(steps * len(x))
        return self._finish(state, list(styles), contents).best.numpy()  # type: ignore[no-any-return]

    def _loss(self, x: tf.Tensor, styles: list[tf.Tensor], contents: list[tf.Tensor]) -> tf.Tensor:
        losses, options = self._objective(x, styles, contents), self._options
        return (
            options.style_weight * losses.style
            + options.content_weight * losses.content
            + options.tv_weight * losses.total_variation
        )

    def _steps(
        self, state: State, steps: tf.Tensor, styles: list[tf.Tensor], contents: list[tf.Tensor]
    ) -> State:
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                tape.watch(state.x)
                loss = self._loss(state.x, styles, contents)
            state = _adam(_better(state, loss), tape.gradient(loss, state.x), self._options.learning_rate)
        return state

    def _keep_best(self, state: State, styles: list[tf.Tensor], contents: list[tf.Tensor]) -> State:
        return _better(state, self._loss(state.x, styles, contents))


def _better(state: State, loss: tf.Tensor) -> State:
    """Keep the images whose loss (N,) is their least so far."""
    better = loss < state.best_loss
    return state._replace(
        best=tf.where(better[:, None, None, None], state.x, state.best),
        best_loss=tf.where(better, loss, state.best_loss),
    )


def _adam(state: State, gradient: tf.Tensor, learning_rate: float) -> State:
    """Take one step of Adam (Kingma & Ba, ICLR 2015, algorithm 1), then clip to [0, 1]."""
    step = state.step + 1
    time = tf.cast(step, tf.float32)
    momentum = _BETA_1 * state.momentum + (1.0 - _BETA_1) * gradient
    variance = _BETA_2 * state.variance + (1.0 - _BETA_2) * tf.square(gradient)
    scale = learning_rate * tf.sqrt(1.0 - _BETA_2**time) / (1.0 - _BETA_1**time)
    x = tf.clip_by_value(state.x - scale * momentum / (tf.sqrt(variance) + _EPSILON), 0.0, 1.0)
    return state._replace(step=step, x=x, momentum=momentum, variance=variance)
