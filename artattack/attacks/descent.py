"""The hot loop: gradient descent on a batch of images of one size, compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize

from artattack.attacks.guidance import Guidance
from artattack.attacks.objective import Objective, Targets, total_variation
from artattack.attacks.options import StyleOptions
from artattack.attacks.parametrization import Fourier, Pixel
from artattack.attacks.projection import project

_STEPS_PER_CALL = 20  # between two looks at the host: often enough for a progress bar and an interrupt
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's own (Kingma & Ba, ICLR 2015)


class Work(NamedTuple):
    """What a batch is about: originals and first images (N, H, W, 3), targets, guides' outputs, a seed ()."""

    original: tf.Tensor
    first: tf.Tensor
    targets: Targets
    references: list[tf.Tensor]
    seed: tf.Tensor


class State(NamedTuple):
    """Where the descent stands: the step (), parameters with Adam's moments, and the best of each image so far.

    `best` is (N, H, W, 3); its loss `score`, whether it leads all guides `astray`, and `done` are (N,). The best of
    an image that is done does not change any more.
    """

    step: tf.Tensor
    parameters: tf.Tensor
    momentum: tf.Tensor
    variance: tf.Tensor
    best: tf.Tensor
    score: tf.Tensor
    astray: tf.Tensor
    done: tf.Tensor


class Descent:
    """Minimises an objective over images of one size, each image by itself.

    Args:
        objective: style and content in a backbone's features.
        guidance: classifiers to lead astray, or None.
        options: of the style attack.
        mask: (1, H, W, 1) in [0, 1], where images may change, or None for everywhere.
        size: (H, W) of the images.
    """

    def __init__(
        self,
        objective: Objective,
        guidance: Guidance | None,
        options: StyleOptions,
        mask: tf.Tensor | None,
        size: tuple[int, int],
    ) -> None:
        self._objective = objective
        self._guidance = guidance
        self._options = options
        self._mask = mask
        self._form = Fourier(*size) if options.parametrization == "fourier" else Pixel()
        self._advance = tf.function(self._steps)
        self._compiled: Any = None
        self._slope = tf.function(self._loss_and_gradient)

    def __call__(
        self,
        original: np.ndarray,
        first: np.ndarray,
        styles: list[tf.Tensor],
        seed: int,
        on_steps: Callable[[int], None] = lambda steps: None,
        *,
        keep: str = "best",
    ) -> np.ndarray:
        """Return the best iterates, (N, H, W, 3) float32: of least loss, those that lead all guides astray first.

        Args:
            original: images (N, H, W, 3) in [0, 1].
            first: where the descent starts, likewise.
            styles: targets from `Objective.style_targets`, one for each image.
            seed: of jitter and random views.
            on_steps: called now and then with the steps done since, summed over images.
            keep: `best`, or `last` to return the last iterates instead.
        """
        x, start = tf.constant(original, tf.float32), tf.constant(first, tf.float32)
        if self._mask is not None:
            start = tf.where(self._mask > 0, start, x)
        with _precision(self._options.precision):
            work = Work(
                x,
                project(start, x, self._options.budget),
                Targets(styles, self._objective.content_targets(x)),
                self._guidance.references(original) if self._guidance else [],
                tf.constant(seed % 2**31, tf.int32),
            )
            if self._options.optimizer == "lbfgs":
                return self._by_lbfgs(work, on_steps, keep)
            return self._by_adam(work, on_steps, keep)

    def _by_adam(self, work: Work, on_steps: Callable[[int], None], keep: str) -> np.ndarray:
        n = len(work.original)
        parameters = self._form.start(work.first)
        zeros = tf.zeros_like(parameters)
        worst = tf.fill((n,), np.float32(np.inf))
        no = tf.zeros((n,), tf.bool)
        state = State(tf.constant(0), parameters, zeros, zeros, work.first, worst, no, no)
        if self._compiled is None:  # one trace, whatever the size of later batches
            state_spec, work_spec = tf.nest.map_structure(_of_any_batch, (state, work))
            steps_spec = tf.TensorSpec((), tf.int32)
            self._compiled = self._advance.get_concrete_function(state_spec, work_spec, steps_spec)
        for done in range(0, self._options.steps, _STEPS_PER_CALL):
            steps = min(_STEPS_PER_CALL, self._options.steps - done)
            state = self._compiled(state, work, tf.constant(steps))
            on_steps(steps * n)
        if keep == "last":
            return self._image(state.parameters, work).numpy()  # type: ignore[no-any-return]
        # One step too many judges the last iterate; to compile that by itself would take longer than the step.
        return self._compiled(state, work, tf.constant(1)).best.numpy()  # type: ignore[no-any-return]

    def _steps(self, state: State, work: Work, steps: tf.Tensor) -> State:
        for _ in tf.range(steps):
            if tf.reduce_all(state.done):
                break
            with tf.GradientTape() as tape:
                tape.watch(state.parameters)
                x = self._image(state.parameters, work)
                loss, astray = self._loss(x, work, state.step)
            gradient = tape.gradient(loss, state.parameters)
            state = self._adam(self._judged(state, x, loss, astray), work, gradient)
        return state

    def _image(self, parameters: tf.Tensor, work: Work) -> tf.Tensor:
        x = self._form.image(parameters, work.first)
        if self._mask is not None:
            x = work.original + self._mask * (x - work.original)
        if isinstance(self._form, Pixel):
            return x  # each step ends within the budget
        return project(x, work.original, self._options.budget)

    def _loss(self, x: tf.Tensor, work: Work, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the loss (N,) and whether all guides are astray (N,), at a step."""
        options, seed, targets, mask, seen = self._options, tf.stack([work.seed, step]), work.targets, self._mask, x
        if options.jitter:
            shift = tf.random.stateless_uniform((2,), seed, -options.jitter, options.jitter + 1, tf.int32)
            seen = tf.roll(x, shift, (1, 2))
            mask = None if mask is None else tf.roll(mask, shift, (1, 2))
            targets = targets._replace(contents=self._objective.content_targets(tf.roll(work.original, shift, (1, 2))))
        losses = self._objective(seen, targets, mask)
        loss = (
            options.style_weight * losses.style
            + options.content_weight * losses.content
            + options.tv_weight * total_variation(x)
        )
        if self._guidance is None:
            return loss, tf.zeros_like(loss, tf.bool)
        guide_loss, astray = self._guidance.loss(x, work.references, tf.bitwise.invert(seed))
        loss += options.guide_weight * guide_loss
        return loss, tf.logical_and(astray, tf.math.is_finite(loss))

    def _judged(self, state: State, x: tf.Tensor, loss: tf.Tensor, astray: tf.Tensor) -> State:
        """Keep the images that are better than before: of less loss, but any astray before any that is not."""
        better = tf.where(tf.equal(astray, state.astray), loss < state.score, astray)
        better = tf.logical_and(better, tf.logical_not(state.done))
        return state._replace(
            best=tf.where(better[:, None, None, None], x, state.best),
            score=tf.where(better, loss, state.score),
            astray=tf.logical_or(state.astray, astray),
            done=tf.logical_or(state.done, astray) if self._options.early_stop else state.done,
        )

    def _adam(self, state: State, work: Work, gradient: tf.Tensor) -> State:
        """Take one step of Adam (Kingma & Ba, ICLR 2015, algorithm 1)."""
        step = state.step + 1
        time = tf.cast(step, tf.float32)
        momentum = _BETA_1 * state.momentum + (1.0 - _BETA_1) * gradient
        variance = _BETA_2 * state.variance + (1.0 - _BETA_2) * tf.square(gradient)
        scale = self._options.learning_rate * tf.sqrt(1.0 - _BETA_2**time) / (1.0 - _BETA_1**time)
        parameters = state.parameters - scale * momentum / (tf.sqrt(variance) + _EPSILON)
        if isinstance(self._form, Pixel):
            parameters = project(parameters, work.original, self._options.budget)
        return state._replace(step=step, parameters=parameters, momentum=momentum, variance=variance)

    def _by_lbfgs(self, work: Work, on_steps: Callable[[int], None], keep: str) -> np.ndarray:
        """Minimise with SciPy's L-BFGS-B, one image at a time: its line search is about one loss."""
        out = []
        for i in range(len(work.original)):
            out.append(self._one_by_lbfgs(_nth(work, i), keep))
            on_steps(self._options.steps)
        return np.concatenate(out)

    def _one_by_lbfgs(self, work: Work, keep: str) -> np.ndarray:
        start = self._form.start(work.first).numpy()
        best = (True, np.inf), start

        def on_host(flat: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal best
            parameters = flat.reshape(start.shape).astype(np.float32)
            loss, astray, gradient = self._slope(tf.constant(parameters), work)
            rank = not astray, float(loss)
            if rank < best[0]:
                best = rank, parameters
            return float(loss), gradient.numpy().ravel().astype(np.float64)

        options = {"maxiter": self._options.steps}
        found = minimize(
            on_host, start.ravel(), method="L-BFGS-B", jac=True, bounds=self._bounds(work), options=options
        )
        kept = best[1] if keep == "best" else found.x.reshape(start.shape).astype(np.float32)
        return self._image(tf.constant(kept), work).numpy()  # type: ignore[no-any-return]

    def _loss_and_gradient(self, parameters: tf.Tensor, work: Work) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            loss, astray = self._loss(self._image(parameters, work), work, tf.constant(0))
        return loss[0], astray[0], tape.gradient(loss, parameters)

    def _bounds(self, work: Work) -> Any:
        if not isinstance(self._form, Pixel):
            return None
        radius = self._options.budget[1] if self._options.budget else 1.0  # linf, as the attack has checked
        low, high = (np.clip(work.original.numpy() + sign * radius, 0, 1).ravel() for sign in (-1, 1))
        return list(zip(low, high, strict=True))


def _nth(work: Work, i: int) -> Work:
    """Return the work of one image of a batch."""
    row = slice(i, i + 1)
    return Work(
        work.original[row],
        work.first[row],
        tf.nest.map_structure(lambda target: target[row], work.targets),
        [outputs[row] for outputs in work.references],
        work.seed,
    )


def _of_any_batch(tensor: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec((None, *tensor.shape[1:]) if tensor.shape.rank else (), tensor.dtype)


@contextmanager
def _precision(name: str) -> Iterator[None]:
    """Let TensorFlow run convolutions in bfloat16 with float32 sums, where the processor has instructions for it."""
    if name == "float32":
        yield
        return
    before = tf.config.optimizer.get_experimental_options().get("auto_mixed_precision_onednn_bfloat16", False)
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": before})
