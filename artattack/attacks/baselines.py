"""ART's evasion attacks, made with ART's own parameters, seeded image by image."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artattack.attacks.art_attacks import BaselineInfo, baseline_info
from artattack.attacks.art_parameters import check_parameters, norm_word
from artattack.attacks.failing import ImagesFailedError
from artattack.attacks.imported import construct
from artattack.bound import Bound
from artattack.errors import ArtattackError, one_line

_DRAWS = ("num_random_init", "random_eps")  # parameters with which a gradient attack draws at random


def make_baseline(
    name: str,
    estimator: Any,
    parameters: Mapping[str, Any],
    seed: int | None = None,
    max_queries: int | None = None,
) -> Any:
    """Return one of ART's evasion attacks, ready to `generate`.

    Args:
        name: short name or ART's class name.
        estimator: the source: an `ArtEstimator`, or another ART classifier.
        parameters: arguments of ART's class. Numbers may be written `8/255`. Missing parameters have ART's defaults,
            except that attacks are untargeted, show no progress bars, and take steps in proportion to the radius
            (`artattack.attacks.art_parameters.default_step`).
        seed: seed of every random choice of `generate`, restarted for each image, so that neither an image's
            neighbours nor earlier calls matter. Without it, pass seeds to `generate`, or call it within `seeded`.
        max_queries: maximum number of queries to the source per image, for attacks without gradients. An attack that
            reaches the limit returns the nearest query that succeeded; without one, the query nearest to success by its
            logits or, if the attack reads decisions only, the original.

    Returns:
        An `art.attacks.EvasionAttack` with `generate(x, y=None, seeds=None, seen=None)`. It takes images (N, H, W, 3)
        in [0, 1]; labels, one-hot (N, K) or indices (N,) of the source's outputs; a seed for each image; and the
        source's predictions (N,), if the caller knows them: each counts as a query. It returns images of the same
        shape, float32. Without labels, an untargeted attack takes the source's predictions. A targeted attack needs
        `y`. `generate` raises ArtattackError for invalid labels, and ImagesFailedError, which holds the other images'
        results, if the attack fails on some images of a batch.

    Raises:
        ArtattackError: the attack, a parameter or its value is invalid, or a distance is larger than any image reaches.
    """
    info = baseline_info(name)
    check_max_queries(info, max_queries)
    art_class = _art_class(info)
    height, width, *_ = shape = estimator.input_shape
    values = check_parameters(info, parameters, (height, width) if shape[-1] == 3 else None)
    try:
        attack = art_class(_readable(info, estimator), **values)
    except (ValueError, TypeError, AssertionError, LookupError, NotImplementedError) as error:
        raise ArtattackError(f"attack '{info.name}' does not accept {dict(parameters)}: {one_line(error)}") from error
    for inner in getattr(attack, "attacks", ()):  # AutoAttack makes attacks of its own
        if hasattr(inner, "verbose"):
            inner.verbose = False
    attack.targeted = attack.targeted or info.always_targeted
    attack.generate = _Generate(info, attack, seed, max_queries)
    return attack


def make_imported(
    attack: type, info: BaselineInfo, estimator: Any, parameters: Mapping[str, Any], max_queries: int | None = None
) -> Any:
    """Make an attack with ART's contract from a class of another package.

    Args:
        attack: a class that `artattack.attacks.imported.find_attack` returned, other than an `Entry`.
        info: its name, the outputs that it reads and its treatment of a batch.
        estimator: the source, as `artattack.models.estimator.to_estimator` returns it.
        parameters: keyword arguments of the class.
        max_queries: as in `make_baseline`.

    Returns:
        An object with `estimator`, `targeted` and `generate` as in `make_baseline`, and the instance as `attack`.
        Images are clipped to [0, 1]; `generate` raises ArtattackError if the class returns another shape.

    Raises:
        ArtattackError: the class does not accept the parameters.
    """
    try:
        made = construct(attack, estimator, parameters)
    except Exception as error:  # foreign code may raise anything
        raise ArtattackError(
            f"attack '{info.name}' does not accept {dict(parameters)}: {one_line(error, typed=True)}"
        ) from error

    def generate(x: NDArray[Any], y: NDArray[Any] | None, **kwargs: Any) -> NDArray[Any]:
        images = np.asarray(made.generate(np.array(x), y, **kwargs), np.float32)
        if images.shape != x.shape:
            raise ArtattackError(f"attack '{info.name}' returned images of shape {images.shape} for {x.shape}")
        return np.clip(images, 0.0, 1.0)

    contract = SimpleNamespace(
        estimator=estimator, targeted=bool(getattr(made, "targeted", False)), generate=generate, attack=made
    )
    contract.generate = _Generate(info, contract, None, max_queries)
    return contract


def check_max_queries(info: BaselineInfo, max_queries: int | None) -> None:
    """Raise ArtattackError for an invalid query limit, or for an attack that makes no queries."""
    if max_queries is None:
        return
    if info.reads == "gradients":
        raise ArtattackError(
            f"max_queries is for attacks that read answers alone, and '{info.name}' reads gradients: leave it out"
        )
    if isinstance(max_queries, bool) or not isinstance(max_queries, int) or max_queries < 1:
        raise ArtattackError(f"max_queries of attack '{info.name}': a whole number above 0, not {max_queries!r}")


def bounded_by(attack: Any) -> Bound | None:
    """Return the norm and radius of the ball that an attack of `make_baseline` stays in, or None."""
    norm = norm_word(getattr(attack, "norm", np.inf))
    return Bound(norm, float(attack.eps)) if norm is not None and norm in attack.generate.info.norms else None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every random choice of ART's attacks, and restore the generators afterwards.

    ART's attacks draw from Python's and NumPy's global generators. HopSkipJump and BoundaryAttack also create
    `np.random.RandomState()`, which the system seeds; it is replaced by a seeded class.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    unseeded = np.random.RandomState

    class Seeded(unseeded):  # type: ignore[valid-type, misc]
        def __init__(self, seed: Any = None) -> None:
            super().__init__(np.random.randint(2**32, dtype=np.uint32) if seed is None else seed)

    random.seed(seed)
    np.random.seed(seed)
    np.random.RandomState = Seeded  # type: ignore[misc]
    try:
        yield
    finally:
        np.random.RandomState = unseeded  # type: ignore[misc]
        random.setstate(python_state)
        np.random.set_state(numpy_state)


class _Generate:
    """An attack's `generate`, seeded image by image, with validated labels.

    Attributes:
        info: the attack.
        queries: (N,) queries for each image of the last call; None for attacks with gradients.
        max_queries: maximum number of queries per image, or None.
    """

    def __init__(self, info: BaselineInfo, attack: Any, seed: int | None, max_queries: int | None) -> None:
        self.info = info
        self._attack = attack
        self._generate = attack.generate
        self._seed = seed
        self._targeted = attack.targeted
        self.queries: NDArray[Any] | None = None
        self.max_queries = max_queries

    def __call__(
        self,
        x: NDArray[Any],
        y: NDArray[Any] | None = None,
        *,
        seeds: Sequence[int] | None = None,
        seen: NDArray[Any] | None = None,
        **kwargs: Any,
    ) -> NDArray[Any]:
        x = np.asarray(x, np.float32)
        labels = None if y is None else self._one_hot(np.asarray(y))
        if labels is None and self._targeted:
            raise ArtattackError(f"attack '{self.info.name}' is targeted: give generate the classes y to aim at")
        if not len(x):
            return x
        # ART's ShadowAttack treats any labels as targets; without labels it takes the source's predictions.
        if self.info.ignores_labels and not self._targeted:
            labels = None
        chosen: Sequence[int | None] = seeds or [self._seed] * len(x)
        parts = [slice(0, len(x))] if self._in_one_batch() else [slice(i, i + 1) for i in range(len(x))]
        adversarial, asked = [], []
        why: dict[int, str] = {}
        cause: Exception | None = None
        for part in parts:
            given = None if labels is None else labels[part]
            known = None if seen is None else seen[part]
            questions = _Questions(self._attack.estimator.predict, finite=part.stop - part.start == 1)
            try:
                with self._asking(questions, x[part], given, known):
                    adversarial.append(self._one_call(x[part], given, chosen[part.start], kwargs))
            except _EnoughError:
                adversarial.append(questions.best[np.newaxis])
            except Exception as error:  # ART may raise anything
                if self._in_one_batch():
                    raise
                adversarial.append(x[part])
                why[part.start], cause = one_line(error, typed=True), cause or error
            asked.append(questions.images)
        self.queries = None if self.info.reads == "gradients" else np.array(asked)
        made: NDArray[Any] = np.concatenate(adversarial)
        if why:
            raise ImagesFailedError(made, why) from cause
        return made

    @contextmanager
    def _asking(
        self, questions: _Questions, x: NDArray[Any], labels: NDArray[Any] | None, seen: NDArray[Any] | None
    ) -> Iterator[None]:
        """Count queries to the estimator, including those for `seen`, and enforce the limit.

        The limit needs the source's prediction; if it is unknown, one query asks for it.
        """
        estimator = self._attack.estimator
        questions.images += 0 if seen is None else len(x)
        if self.max_queries is not None:
            if labels is not None:
                label = int(labels[0].argmax())
            else:
                label = int(questions(x)[0].argmax() if seen is None else seen[0])
            questions.limit(self.max_queries, x[0], label, self._targeted, self.info.reads)
        estimator.predict = questions
        try:
            yield
        finally:
            del estimator.predict

    def _in_one_batch(self) -> bool:
        if self.info.together == "apart":
            return not any(getattr(self._attack, name, False) for name in _DRAWS)
        return self.info.together == "whole"

    def _one_call(
        self, x: NDArray[Any], labels: NDArray[Any] | None, seed: int | None, kwargs: dict[str, Any]
    ) -> NDArray[Any]:
        self._attack.targeted = self._targeted  # some of ART's classes change it
        for found in self.info.remembers:
            setattr(self._attack, found, None)
        with nullcontext() if seed is None else seeded(seed):
            return np.asarray(self._generate(x, labels, **kwargs), np.float32)

    def _one_hot(self, y: NDArray[Any]) -> NDArray[Any]:
        if y.ndim == 2 and y.shape[1] > 1:
            return y
        classes = self._attack.estimator.nb_classes
        y = y.reshape(-1)
        if not ((y >= 0) & (y < classes)).all():
            raise ArtattackError(f"attack '{self.info.name}': labels must be in 0..{classes - 1}, the source's outputs")
        return np.asarray(np.eye(classes, dtype=np.float32)[y.astype(int)])


class _EnoughError(Exception):
    """An attack has reached its query limit."""


class _Questions:
    """Replaces an estimator's `predict`, counts queries, and stops at the limit, if any.

    Args:
        ask: the estimator's own `predict`.
        finite: whether to raise ArtattackError for outputs that are not finite, which ART would compare with others.

    Attributes:
        images: number of queries; each image of a batch is one.
        best: (H, W, 3) float32, the query nearest to success; exists only with a limit.
    """

    def __init__(self, ask: Callable[..., NDArray[Any]], *, finite: bool) -> None:
        self.images = 0
        self._finite = finite
        self._ask = ask
        self._most: int | None = None

    def limit(self, most: int, original: NDArray[Any], label: int, targeted: bool, reads: str) -> None:
        """Stop after `most` queries; keep the best query, away from or, for a targeted attack, towards a label."""
        self.best = self._original = original
        self._most, self._label, self._targeted = most, label, targeted
        self._sees_logits = reads == "logits"
        self._least = (True, np.inf)  # whether the best query fails, and its margin or its distance

    def __call__(self, x: NDArray[Any], *args: Any, **kwargs: Any) -> NDArray[Any]:
        if self._most is not None and self.images + len(x) > self._most:
            raise _EnoughError
        self.images += len(x)
        answers = self._ask(x, *args, **kwargs)
        # ART's square attack in l2 queries images of NaN, and ignores the outputs.
        if self._finite and not np.isfinite(answers[np.isfinite(x).all((1, 2, 3))]).all():
            raise ArtattackError("the source gave values that are not finite")
        if self._most is not None:
            self._remember(np.asarray(x), answers)
        return answers

    def _remember(self, x: NDArray[Any], answers: NDArray[Any]) -> None:
        own = answers[:, self._label]
        margins = own - np.delete(answers, self._label, axis=1).max(1)
        margins = -margins if self._targeted else margins
        fails = answers.argmax(1) != self._label if self._targeted else answers.argmax(1) == self._label
        distances = np.sqrt(np.square(x - self._original).sum((1, 2, 3)))
        for k, image in enumerate(x):
            rank = (bool(fails[k]), float(margins[k] if fails[k] else distances[k]))
            if rank < self._least and (self._sees_logits or not fails[k]):
                self._least, self.best = rank, np.array(image, np.float32)


def _art_class(info: BaselineInfo) -> Any:
    from artattack.runtime import load_tensorflow

    load_tensorflow()  # with Keras 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ART warns that PyTorch is absent
        from art.attacks import evasion
    if info.name == "geoda":
        from art.attacks.evasion import geometric_decision_based_attack as module

        _keep_files_in_memory(module)
    return getattr(evasion, info.art_class)


def _keep_files_in_memory(module: ModuleType) -> None:
    """Let ART's GeoDA keep a file in memory that it would write to the working directory and read later.

    Threads share the working directory, so changing it during the attack would break other threads. The file's name
    determines its content: it holds the number of frequencies and the size of the images.
    """
    if not isinstance(module.np, _FilesInMemory):
        module.np = _FilesInMemory()  # type: ignore[attr-defined]
        module.os = SimpleNamespace(path=SimpleNamespace(exists=module.np.files.__contains__))  # type: ignore[attr-defined]


class _FilesInMemory:
    """NumPy, with `save` and `load` in memory."""

    def __init__(self) -> None:
        self.files: dict[str, NDArray[Any]] = {}
        self.save, self.load = self.files.__setitem__, self.files.__getitem__

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def _readable(info: BaselineInfo, estimator: Any) -> Any:
    """Return the estimator, with probabilities as outputs for the attacks that need them."""
    from artattack.models.estimator import to_estimator

    if not (info.probabilities and hasattr(estimator, "artattack_model")):
        return estimator
    return to_estimator(
        estimator.artattack_model,
        input_shape=estimator.input_shape,
        temperature=estimator.temperature,
        probabilities=True,
    )
