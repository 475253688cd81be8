"""The hot loop: gradient descent on the pixels of a batch, compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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
        self._compiled: dict[tuple[int, ...], tuple[Any, Any]] = {}

    def __call__(
        self,
        x: np.ndarray,
        start: np.ndarray,
        styles: Sequence[tf.Tensor],
        on_steps: Callable[[int], None] = lambda steps: None,
    ) -> np.ndarray:
        """Return the iterates of least loss, (N, H, W, 3) float32.

        Args:
            x: originals (N, H, W, 3) in [0, 1], which say what content is.
            start: where the descent starts, of the same shape.
            styles: targets from `Objective.style_targets`, for this height and width.
            on_steps: called now and then with the steps done since, summed over images.
        """
        targets = (list(styles), self._objective.content_targets(tf.constant(x, tf.float32)))
        first = tf.constant(start, tf.float32)
        zeros = tf.zeros_like(first)
        state = State(tf.constant(0), first, zeros, zeros, first, tf.fill((len(x),), np.float32(np.inf)))
        advance, finish = self._compiled_for(state, *targets)
        for done in range(0, self._options.steps, _STEPS_PER_CALL):
            steps = min(_STEPS_PER_CALL, self._options.steps - done)
            state = advance(state, tf.constant(steps), *targets)
            on_steps(steps * len(x))
        return finish(state, *targets).best.numpy()  # type: ignore[no-any-return]

    def _compiled_for(self, state: State, *targets: list[tf.Tensor]) -> tuple[Any, Any]:
        """Return the two compiled functions for the images' height and width, traced once for all batches."""
        size = tuple(state.x.shape[1:3])
        if size not in self._compiled:
            state_spec, *target_specs = tf.nest.map_structure(_of_any_batch, (state, *targets))
            self._compiled[size] = (
                self._advance.get_concrete_function(state_spec, tf.TensorSpec((), tf.int32), *target_specs),
                self._finish.get_concrete_function(state_spec, *target_specs),
            )
        return self._compiled[size]

    def _loss(self, x: tf.Tensor, styles: list[tf.Tensor], contents: list[tf.Tensor]) -> tf.Tensor:
        losses, options = self._objective(x, styles, contents), self._options
        return (
            options.style_weight * losses.style
            + options.content_weight * losses.content
            + options.tv_weight * losses.total_variation
        )

    def _steps(self, state: State, steps: tf.Tensor, styles: list[tf.Tensor], contents: list[tf.Tensor]) -> State:
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                tape.watch(state.x)
                loss = self._loss(state.x, styles, contents)
            state = _adam(_better(state, loss), tape.gradient(loss, state.x), self._options.learning_rate)
        return state

    def _keep_best(self, state: State, styles: list[tf.Tensor], contents: list[tf.Tensor]) -> State:
        return _better(state, self._loss(state.x, styles, contents))


def _of_any_batch(tensor: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec((None, *tensor.shape[1:]) if tensor.shape.rank else (), tensor.dtype)


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
