"""The style attack's hot loop: compiled gradient descent on a batch of images of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize

from artattack.attacks.failing import ImagesFailedError
from artattack.attacks.guidance import Guidance
from artattack.attacks.objective import DescentLoss, Targets, total_variation
from artattack.attacks.options import StyleOptions
from artattack.attacks.parametrization import Fourier, Pixel
from artattack.attacks.projection import project
from artattack.runtime import quietly
from artattack.tracing import compiled, forgetting_gradients

_STEPS_PER_CALL = 20  # between two returns to Python, which updates the progress bar and handles interrupts
_LOOK_AT = "look at the network's weights and preprocessing, which may overflow, and at the weights of the losses"
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's own (Kingma & Ba, ICLR 2015)


class Numbers(NamedTuple):
    """Options passed to the compiled descent as float32 scalars, so that changing them recompiles nothing."""

    learning_rate: tf.Tensor
    style_weight: tf.Tensor
    content_weight: tf.Tensor
    tv_weight: tf.Tensor
    guide_weight: tf.Tensor
    radius: tf.Tensor  # value of the budget, in its unit; without a budget 1, the largest possible change of a pixel

    @classmethod
    def of(cls, options: StyleOptions) -> Numbers:
        """Return the scalars of the options."""
        radius = options.budget.value if options.budget else 1.0
        values = (options.rate, *(getattr(options, name) for name in _WEIGHTS), radius)
        return cls(*(tf.constant(value, tf.float32) for value in values))


_WEIGHTS = ("style_weight", "content_weight", "tv_weight", "guide_weight")
_SWITCHES = ("style_weight", "content_weight", "tv_weight")  # a term with weight 0 is not computed


def compiled_options(options: StyleOptions) -> StyleOptions:
    """Return the cache key of a compiled descent: the options, with those that need no recompilation fixed.

    Fixed options are `Numbers`, the number of steps, and options read before or after the descent.
    """
    fixed: dict[str, Any] = {"steps": 1, "learning_rate": 1.0, "init": "content", "match": None, "style_mask": None}
    fixed |= dict.fromkeys(_WEIGHTS, 1.0) | {name: float(getattr(options, name) > 0) for name in _SWITCHES}
    fixed |= {"mask": options.mask and Path(), "budget": options.budget and options.budget._replace(value=1.0)}
    return options.model_copy(update=fixed)


class DescentBatch(NamedTuple):
    """One batch of a descent.

    Attributes:
        original: originals (N, H, W, 3) float32 in [0, 1].
        first: initial images, of the same shape and range.
        targets: targets of the objective.
        references: for each guide, its reference outputs (N,) int32.
        mask: (1, H, W, 1) in [0, 1], where images may change; None for everywhere.
        seed: () int32, seed of all random choices.
        numbers: scalar options.
    """

    original: tf.Tensor
    first: tf.Tensor
    targets: Targets
    references: list[tf.Tensor]
    mask: tf.Tensor | None
    seed: tf.Tensor
    numbers: Numbers


class State(NamedTuple):
    """State of a descent.

    Attributes:
        step: () int32, number of steps taken.
        parameters: parameters of the images, (N, ...).
        momentum: Adam's first moment of the gradient, of the same shape.
        variance: Adam's second moment of the gradient, of the same shape.
        best: (N, H, W, 3), the best iterate of each image.
        score: (N,), loss of the best iterate.
        fooled: (N,) bool, whether the best iterate fools every guide.
        done: (N,) bool, whether the image has stopped early, so that its best iterate is final.
        finite: (N,) bool, whether any step led to a finite loss.
    """

    step: tf.Tensor
    parameters: tf.Tensor
    momentum: tf.Tensor
    variance: tf.Tensor
    best: tf.Tensor
    score: tf.Tensor
    fooled: tf.Tensor
    done: tf.Tensor
    finite: tf.Tensor


class Descent:
    """Minimizes an objective over images of one size, each image independently.

    Args:
        objective: loss to minimize, such as style and content in a backbone's features.
        guidance: classifiers to fool, or None.
        options: style attack options; only those in `compiled_options` matter.
        size: (H, W) of the images.
    """

    def __init__(
        self,
        objective: DescentLoss,
        guidance: Guidance | None,
        options: StyleOptions,
        size: tuple[int, int],
    ) -> None:
        self._objective = objective
        self._guidance = guidance
        self._options = compiled_options(options)
        self._form = Fourier(*size, options.decay) if options.parametrization == "fourier" else Pixel()
        self._compiled: Any = None

    def __call__(
        self,
        original: np.ndarray,
        first: np.ndarray,
        styles: list[tf.Tensor],
        options: StyleOptions,
        *,
        mask: tf.Tensor | None = None,
        seed: int = 0,
        keep: str = "best",
        on_steps: Callable[[int], None] = lambda steps: None,
    ) -> np.ndarray:
        """Return each image's best iterate: the lowest loss among iterates that fool every guide or, if none, all.

        Args:
            original: images (N, H, W, 3) in [0, 1].
            first: initial images, of the same shape and range.
            styles: style targets for each image, such as `Objective.style_targets`.
            options: options with the same `compiled_options` as the descent's own.
            mask: (1, H, W, 1) in [0, 1], where images may change; None for everywhere.
            seed: seed of jitter and random views.
            keep: `best`, or `last` to return the last iterates instead.
            on_steps: called at intervals with the number of new steps, summed over images.

        Returns:
            (N, H, W, 3) float32 in [0, 1].

        Raises:
            ImagesFailedError: no step on some image led to a finite loss, or its last iterate is not finite. The error
                holds the results of the other images, which do not depend on the failed ones.
        """
        assert compiled_options(options) == self._options
        x, start = tf.constant(original, tf.float32), tf.constant(first, tf.float32)
        if mask is not None:
            start = tf.where(mask > 0, start, x)
        references = self._guidance.references(original) if self._guidance else []
        with _precision(options.precision):
            numbers = Numbers.of(options)
            work = DescentBatch(
                x,
                self._project(start, x, numbers),
                Targets(styles, self._objective.content_targets(x)),
                references,
                mask,
                tf.constant(seed % 2**31, tf.int32),
                numbers,
            )
            descend = self._by_lbfgs if options.optimizer == "lbfgs" else self._by_adam
            images, finite = descend(work, options.steps, keep, on_steps)
        why = {int(i): f"no step led to a finite loss: {_LOOK_AT}" for i in np.flatnonzero(~finite)}
        for i in np.flatnonzero(~np.isfinite(images).all((1, 2, 3))):
            why.setdefault(int(i), f"the last iterate is not finite: {_LOOK_AT}")
        if why:
            raise ImagesFailedError(images, why)
        return images

    def _by_adam(
        self, work: DescentBatch, steps: int, keep: str, on_steps: Callable[[int], None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return images (N, H, W, 3), and whether any step led to a finite loss, (N,) bool.

        An image without such a step is the initial image, or with `keep="last"` the last iterate.
        """
        n = len(work.original)
        parameters = self._form.start(work.first)
        zeros = tf.zeros_like(parameters)
        worst = tf.fill((n,), np.float32(np.inf))
        no = tf.zeros((n,), tf.bool)
        state = State(tf.constant(0), parameters, zeros, zeros, work.first, worst, no, no, no)
        advance = self._compile(self._steps, state, work, tf.constant(0))
        for done in range(0, steps, _STEPS_PER_CALL):
            now = min(_STEPS_PER_CALL, steps - done)
            state = advance(state, work, tf.constant(now))
            on_steps(now * n)
        last = state.parameters
        # One more step evaluates the last iterate; compiling that separately would take longer than the step.
        state = advance(state, work, tf.constant(1))
        images = state.best if keep == "best" else self._image(last, work)
        return images.numpy(), (state.finite | state.done).numpy()

    def _compile(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Compile the one function that this descent calls, once, for batches of any size."""
        if self._compiled is None:
            with forgetting_gradients():
                specs = tf.nest.map_structure(_of_any_batch, arguments)
                self._compiled = compiled(function).get_concrete_function(*specs)
            if self._options.precision != "float32":  # the first call optimizes the graph, and prints what it converts
                with quietly():
                    self._compiled(*arguments)
        return self._compiled

    def _steps(self, state: State, work: DescentBatch, steps: tf.Tensor) -> State:
        def goes_on(taken: tf.Tensor, state: State) -> tf.Tensor:
            return (taken < steps) & ~tf.reduce_all(state.done)

        def step(taken: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
            with tf.GradientTape() as tape:
                tape.watch(state.parameters)
                x = self._image(state.parameters, work)
                loss, fooled = self._loss(x, work, state.step)
            gradient = tape.gradient(loss, state.parameters)
            return taken + 1, self._adam(self._judged(state, x, loss, fooled), work, gradient)

        last: State = tf.while_loop(goes_on, step, (tf.constant(0), state))[1]
        return last

    def _image(self, parameters: tf.Tensor, work: DescentBatch) -> tf.Tensor:
        x = self._form.image(parameters, work.first)
        if work.mask is not None:
            x = work.original + work.mask * (x - work.original)
        if isinstance(self._form, Pixel):
            return x  # each step ends with a projection
        return self._project(x, work.original, work.numbers)

    def _project(self, x: tf.Tensor, original: tf.Tensor, numbers: Numbers) -> tf.Tensor:
        return project(x, original, self._options.budget and self._options.budget._replace(value=numbers.radius))

    def _loss(self, x: tf.Tensor, work: DescentBatch, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the loss (N,) at a step, and whether every guide is fooled, (N,) bool."""
        options, numbers = self._options, work.numbers
        seed, targets, mask, seen = tf.stack([work.seed, step]), work.targets, work.mask, x
        if options.jitter:
            shift = tf.random.stateless_uniform((2,), seed, -options.jitter, options.jitter + 1, tf.int32)
            seen = tf.roll(x, shift, (1, 2))
            mask = None if mask is None else tf.roll(mask, shift, (1, 2))
            targets = targets._replace(contents=self._objective.content_targets(tf.roll(work.original, shift, (1, 2))))
        losses = self._objective(seen, targets, mask)
        loss = numbers.style_weight * losses.style + numbers.content_weight * losses.content
        if options.tv_weight:
            loss += numbers.tv_weight * total_variation(x)
        if self._guidance is None:
            return loss, tf.zeros_like(loss, tf.bool)
        guide_loss, fooled = self._guidance.loss(x, work.original, work.references, tf.bitwise.invert(seed))
        loss += numbers.guide_weight * guide_loss
        return loss, tf.logical_and(fooled, tf.math.is_finite(loss))

    def _judged(self, state: State, x: tf.Tensor, loss: tf.Tensor, fooled: tf.Tensor) -> State:
        """Keep better iterates: an iterate that fools every guide before one that does not, then the lower loss."""
        finite = tf.math.is_finite(loss)
        better = tf.where(tf.equal(fooled, state.fooled), loss < state.score, fooled)
        better = better & finite & ~state.done
        return state._replace(
            best=tf.where(better[:, None, None, None], x, state.best),
            score=tf.where(better, loss, state.score),
            fooled=state.fooled | fooled,
            done=state.done | fooled if self._options.early_stop else state.done,
            finite=state.finite | (finite & (state.step > 0)),
        )

    def _adam(self, state: State, work: DescentBatch, gradient: tf.Tensor) -> State:
        """Take one step of Adam (Kingma & Ba, ICLR 2015, algorithm 1)."""
        step = state.step + 1
        time = tf.cast(step, tf.float32)
        momentum = _BETA_1 * state.momentum + (1.0 - _BETA_1) * gradient
        variance = _BETA_2 * state.variance + (1.0 - _BETA_2) * tf.square(gradient)
        scale = work.numbers.learning_rate * tf.sqrt(1.0 - _BETA_2**time) / (1.0 - _BETA_1**time)
        parameters = state.parameters - scale * momentum / (tf.sqrt(variance) + _EPSILON)
        if isinstance(self._form, Pixel):
            parameters = self._project(parameters, work.original, work.numbers)
        return state._replace(step=step, parameters=parameters, momentum=momentum, variance=variance)

    def _by_lbfgs(
        self, work: DescentBatch, steps: int, keep: str, on_steps: Callable[[int], None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Minimize with SciPy's L-BFGS-B, one image at a time, because its line search handles one loss."""
        out, finite = [], []
        for i in range(len(work.original)):
            image, is_finite = self._one_by_lbfgs(_nth(work, i), steps, keep)
            out.append(image)
            finite.append(is_finite)
            on_steps(steps)
        return np.concatenate(out), np.array(finite)

    def _one_by_lbfgs(self, work: DescentBatch, steps: int, keep: str) -> tuple[np.ndarray, bool]:
        """Return one image (1, H, W, 3), and whether any loss was finite and had a finite gradient."""
        start = self._form.start(work.first)
        slope = self._compile(self._loss_and_gradient, start, work)
        best: tuple[tuple[bool, float], tf.Tensor] = (True, np.inf), start
        finite = False

        def on_host(flat: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal best, finite
            parameters = tf.constant(flat.reshape(start.shape), tf.float32)
            loss, fooled, gradient = (value.numpy() for value in slope(parameters, work))
            rank = not fooled, float(loss)
            if np.isfinite(loss) and rank < best[0]:
                best = rank, parameters
            finite |= bool(np.isfinite(loss) and np.isfinite(gradient).all())
            return float(loss), gradient.ravel().astype(np.float64)

        found = minimize(
            on_host,
            start.numpy().ravel(),
            method="L-BFGS-B",
            jac=True,
            bounds=self._bounds(work),
            options={"maxiter": steps},
        )
        kept = best[1] if keep == "best" else tf.constant(found.x.reshape(start.shape), tf.float32)
        return self._image(kept, work).numpy(), finite

    def _loss_and_gradient(self, parameters: tf.Tensor, work: DescentBatch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            loss, fooled = self._loss(self._image(parameters, work), work, tf.constant(0))
        return loss[0], fooled[0], tape.gradient(loss, parameters)

    def _bounds(self, work: DescentBatch) -> Any:
        if not isinstance(self._form, Pixel):
            return None
        radius = work.numbers.radius.numpy()  # of linf, as the attack has checked
        low, high = (np.clip(work.original.numpy() + sign * radius, 0, 1).ravel() for sign in (-1, 1))
        return list(zip(low, high, strict=True))


def _nth(work: DescentBatch, i: int) -> DescentBatch:
    """Return the batch with image `i` alone."""
    row = slice(i, i + 1)
    return work._replace(
        original=work.original[row],
        first=work.first[row],
        targets=tf.nest.map_structure(lambda target: target[row], work.targets),
        references=[outputs[row] for outputs in work.references],
    )


def _of_any_batch(tensor: tf.Tensor | None) -> tf.TensorSpec | None:
    if tensor is None:
        return None
    return tf.TensorSpec((None, *tensor.shape[1:]) if tensor.shape.rank else (), tensor.dtype)


@contextmanager
def _precision(name: str) -> Iterator[None]:
    """Let TensorFlow run convolutions in bfloat16 with float32 sums, on processors that support it."""
    if name == "float32":
        yield
        return
    before = tf.config.optimizer.get_experimental_options().get("auto_mixed_precision_onednn_bfloat16", False)
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": before})
