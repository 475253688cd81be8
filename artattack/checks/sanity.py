"""The checks: conditions that any sound evaluation of a classifier meets.

After Carlini et al., On Evaluating Adversarial Robustness, 2019, and Athalye et al., Obfuscated Gradients Give a
False Sense of Security, ICML 2018; for binarized networks Galloway et al., Attacking Binarized Neural Networks,
ICLR 2018, and Gupta & Ajanthan, Improved Gradient-Based Adversarial Attacks for Quantized Networks, AAAI 2022.

Every check takes a `Subject` and returns an `Outcome`. Attacks are compared at the subject's `radius`. To compare two
rates on the same images, a check uses the 95 % interval of their paired difference
(`artattack.results.statistics.newcombe`), with Bonferroni correction for several comparisons, and fails if the interval
lies above 0. To judge single images, a check allows a share of `ALLOWANCE` of them to violate its condition, and fails
if the Wilson interval of the violating share lies above it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from artattack.attacks.guidance import margin
from artattack.attacks.surrogate import SURROGATES
from artattack.checks.subject import STRAIGHT_THROUGH, Array, Flips, Subject, network_of
from artattack.distances import l2
from artattack.models.model import Model, resize
from artattack.results.statistics import newcombe, wilson
from artattack.tracing import compiled

ALLOWANCE = 0.05  # share of images that may violate a check's condition

_LEVEL = 0.05  # significance level of a check
_HALVINGS = 2  # minimum number of halved radii to compare
_TEMPERATURES = (0.1, 10.0, 100.0)
_MORE_STEPS = 3  # factor on the number of steps
_RESTARTS = 3
_QUERIES = 100  # query budget of Square
_DRAWS = 20  # noise samples of each kind
_BLIND = 0.5  # share of zeros from which a gradient counts as missing
_CLOSE = 0.01  # tolerance, as a share of the range of an image's logits: rounding can flip signs in a network
_SAME = 1e-4  # tolerance between two runs, as a share of that range


class NotApplicableError(Exception):
    """The check does not apply to this classifier; the message gives the reason."""


@dataclass(frozen=True)
class Outcome:
    """Result of a check: whether it passed, its numbers in one line, and their meaning in one sentence."""

    passed: bool
    figures: str
    meaning: str


@dataclass(frozen=True)
class Check:
    """A check: its short id, the attack it examines, if any, and the function that runs it."""

    name: str
    attack: str | None
    run: Callable[[Subject], Outcome]


def native(subject: Subject) -> Outcome:
    """Clean predictions equal those of the network called directly, one image at a time."""
    network = subject.undefended or subject
    direct = _native_logits(network_of(subject.model), subject.x)
    wrapped = network.estimator().predict(subject.x)
    spread = np.ptp(direct, axis=1)
    lead = direct.max(1) - np.take_along_axis(direct, wrapped.argmax(1)[:, None], 1)[:, 0]
    differ = ~(lead <= _CLOSE * spread)  # also where there is a NaN
    gap = np.abs(direct - wrapped).max(1) / np.where(spread > 0, spread, 1.0)
    same = len(differ) - int(differ.sum())
    return Outcome(
        same == len(differ),
        f"same class on {same} of {len(differ)} images; logits differ by up to {100 * gap.max():.2g} % of their range "
        f"(a lead of {100 * _CLOSE:g} % counts as a tie)",
        "The wrapped model and the network called directly agree."
        if same == len(differ)
        else "The wrapped model and the network disagree: first check its preprocessing, resizing and outputs.",
    )


def logits(subject: Subject) -> Outcome:
    """Outputs are logits: a second softmax on probabilities would flatten every gradient."""
    outputs = subject.estimator().predict(subject.x)
    probabilities = (outputs.min(1) >= 0) & np.isclose(outputs.sum(1), 1.0, atol=1e-3)
    count = int(probabilities.sum())
    return Outcome(
        count < len(outputs),
        f"{count} of {len(outputs)} outputs are non-negative and sum to 1; values {outputs.min():.3g} to "
        f"{outputs.max():.3g}",
        "The model returns logits, as the losses assume."
        if count < len(outputs)
        else "The model returns probabilities: remove its last softmax, which flattens the gradients of attacks.",
    )


def deterministic(subject: Subject) -> Outcome:
    """The same images give the same outputs; random outputs need attacks that average (Athalye et al.)."""
    if subject.model.copies > 1:
        return _draws_agree(subject)
    first, second = (subject.estimator().predict(subject.x) for _ in range(2))
    spread = np.ptp(first, axis=1)
    gap = float((np.abs(first - second).max(1) / np.where(spread > 0, spread, 1.0)).max())
    flips = int((first.argmax(1) != second.argmax(1)).sum())
    passed = flips == 0 and gap <= _SAME
    return Outcome(
        passed,
        f"{flips} of {len(first)} classes change on a second call; logits by up to {100 * gap:.2g} % of their range "
        f"(at most {100 * _SAME:g} %)",
        "The model is deterministic."
        if passed
        else "The model is random: attack the average of many outputs, and score each image many times.",
    )


def gradients(subject: Subject) -> Outcome:
    """Gradients of cross-entropy and of a margin loss exist and are finite (Athalye et al.)."""
    n = len(subject.x)
    parts: list[str] = []
    passed = True
    for name, loss in _LOSSES.items():
        gradient = _loss_gradients(subject, loss).reshape(n, -1)
        zeros, bad = (gradient == 0).mean(1), ~np.isfinite(gradient).all(1)
        blind = int((zeros > _BLIND).sum())
        passed &= not bad.any() and not _too_many(blind, n)
        parts.append(
            f"{name}: {100 * zeros.mean():.3g} % zeros, more than half in {blind} of {n} images, "
            f"not finite in {int(bad.sum())}"
        )
    return Outcome(
        passed,
        "; ".join(parts),
        "Attacks have usable gradients."
        if passed
        else "Gradients vanish or are not finite, so failed attacks show no robustness: divide the logits by a "
        "temperature, or use a margin loss, a surrogate gradient or an attack without gradients.",
    )


def growing_budget(subject: Subject) -> Outcome:
    """Success does not fall as the budget grows: a larger ball contains the smaller one (Carlini et al.)."""
    halvings = max(len(subject.budgets), _HALVINGS)  # one more halving than it took to withstand PGD
    budgets = [subject.eps / 2**k for k in range(halvings, -1, -1)] + [min(1.0, 2 * subject.eps)]
    flips = [subject.flips(subject.pgd(eps=eps)) for eps in budgets]
    best = [max(flips[:k], key=np.mean) for k in range(1, len(flips))]
    falls, worst = _gain(list(zip(best, flips[1:], strict=True)))
    curve = ", ".join(f"{_levels(eps)}: {int(found.sum())}" for eps, found in zip(budgets, flips, strict=True))
    return Outcome(
        not falls,
        f"{curve} of {len(subject.x)} images; largest drop {worst}",
        "A larger budget does not lower the success rate, beyond chance."
        if not falls
        else "A larger budget lowers the success rate: the attack oversteps or follows broken gradients; use more and "
        "smaller steps, and keep the best iterate.",
    )


def iterative(subject: Subject) -> Outcome:
    """PGD succeeds at least as often as FGSM, one step of the ball's radius (Athalye et al.; Carlini et al.)."""
    one_step = subject.flips(subject.attack("fgsm", {"eps": subject.radius}))
    return _against_white_box(
        subject,
        {"FGSM": one_step},
        "FGSM does not beat PGD, beyond chance.",
        "FGSM beats PGD, so PGD gets stuck: gradients are masked near the images; "
        "use random starts and attacks without gradients.",
    )


def transfer(subject: Subject) -> Outcome:
    """White-box PGD succeeds at least as often as PGD on another model (Carlini et al.)."""
    if not subject.others:
        raise NotApplicableError("transfer needs a second classifier: check two at once")
    found = {f"PGD on {name}": subject.flips(other.pgd(eps=subject.radius)) for name, other in subject.others.items()}
    return _against_white_box(
        subject,
        found,
        "No transferred attack beats the white-box attack, beyond chance.",
        "A transferred attack beats the white-box attack, so the model's own gradients are masked: "
        "report the transferred attack too, and do not read the white-box figure as robustness.",
    )


def black_box(subject: Subject) -> Outcome:
    """Square, an attack without gradients, flips no image that withstands PGD (Carlini et al.)."""
    if subject.white_box.all():
        return _nothing_left(subject, "PGD flips every image; no attack can beat it.")
    left = ~subject.white_box
    parameters = {"eps": subject.radius, "max_iter": _QUERIES}
    odd = int(subject.flips(subject.attack("square", parameters, rows=left), left).sum())
    passed = not _too_many(odd, len(left))
    return Outcome(
        passed,
        f"{_pgd(subject)}; Square in {_QUERIES} queries flips {odd} of the other {int(left.sum())} "
        f"({100 * ALLOWANCE:g} % of all allowed)",
        "Square adds little or nothing to PGD."
        if passed
        else "Square flips images that withstand PGD, so the gradients are masked: "
        "report Square, and do not read PGD's figure as robustness.",
    )


def unbounded(subject: Subject) -> Outcome:
    """Unbounded PGD flips every image (Athalye et al.; Carlini et al.)."""
    flips = subject.flips(subject.pgd(eps=1.0))
    return Outcome(
        bool(flips.all()),
        f"PGD with eps 1 flips {int(flips.sum())} of {len(flips)} (must be all)",
        "The unbounded attack always succeeds."
        if flips.all()
        else "The unbounded attack fails on some images: it optimises the wrong objective, "
        "or it has no usable gradients.",
    )


def convergence(subject: Subject) -> Outcome:
    """More iterations and restarts flip no further images (Carlini et al.)."""
    if subject.white_box.all():
        return _nothing_left(subject, "PGD flips every image; more iterations and restarts cannot add any.")
    left = ~subject.white_box
    attacked = {
        f"{_MORE_STEPS * subject.steps} steps": subject.pgd(steps=_MORE_STEPS * subject.steps, rows=left),
        f"{_RESTARTS} random starts": subject.pgd(restarts=_RESTARTS, rows=left),
    }
    gains = {name: int(subject.flips(images, left).sum()) for name, images in attacked.items()}
    more = any(_too_many(gain, len(subject.x)) for gain in gains.values())
    listed = ", ".join(f"{name} add {gain}" for name, gain in gains.items())
    return Outcome(
        not more,
        f"{_pgd(subject)} in {subject.steps} steps; {listed} ({100 * ALLOWANCE:g} % allowed)",
        "More steps and restarts add little or nothing: PGD has converged."
        if not more
        else "PGD has not converged: give it more steps, or random starts, until its success stops growing.",
    )


def temperature(subject: Subject) -> Outcome:
    """Dividing the logits by a temperature does not raise the success rate (Gupta & Ajanthan, AAAI 2022)."""
    if subject.white_box.all():
        return _nothing_left(subject, "PGD flips every image; no temperature can beat it.")
    found = {f"T={t:g}": subject.flips(subject.pgd(temperature=t)) for t in _TEMPERATURES}
    return _against_white_box(
        subject,
        found,
        "No temperature beats plain PGD, beyond chance: the softmax in the loss is not saturated.",
        "A temperature beats plain PGD: the size of the logits misleads cross-entropy. Attack with the better "
        "temperature (`temperature` of to_estimator), or with a margin loss.",
    )


def noise(subject: Subject) -> Outcome:
    """Noise of PGD's linf, or of PGD's l2 inside the ball, flips no image that withstands PGD (Carlini et al.)."""
    n, left = len(subject.x), ~subject.white_box
    if not left.any():
        return _nothing_left(subject, "PGD flips every image; noise cannot add any.")
    flipped = np.zeros(n, bool)
    radius, lengths = np.float32(subject.radius), l2(subject.x, subject.pgd())
    for draw in range(_DRAWS):
        rng = np.random.default_rng((subject.seed, draw))
        signs = rng.choice(np.array([-1.0, 1.0], np.float32), subject.x.shape)
        normal = rng.standard_normal(subject.x.shape, np.float32)
        normal *= (lengths / l2(np.zeros_like(normal), normal))[:, None, None, None]
        for change in (radius * signs, normal.clip(-radius, radius)):  # both stay within PGD's ball
            moved = np.clip(subject.x + change, 0.0, 1.0).astype(np.float32)
            flipped |= subject.flips(moved, left & ~flipped)
    odd = int(flipped.sum())
    passed = not _too_many(odd, n)
    return Outcome(
        passed,
        f"{_pgd(subject)}; noise flips {odd} of the other {int(left.sum())} "
        f"({_DRAWS} draws each of random signs and of normal noise; {100 * ALLOWANCE:g} % of all allowed)",
        "Noise of the same size adds little or nothing to PGD."
        if passed
        else "Noise flips images that withstand PGD: the attack's gradients or its loss are wrong.",
    )


def surrogate_gradient(subject: Subject) -> Outcome:
    """Surrogate gradients do not beat straight-through gradients (Athalye et al.; Galloway et al.)."""
    if not subject.model.binary:
        raise NotApplicableError("the network is not binarized, so it has no straight-through gradients")
    if subject.white_box.all():
        return _nothing_left(subject, "PGD flips every image; no surrogate gradient can beat it.")
    found = {name: subject.flips(subject.pgd(surrogate_name=name)) for name in SURROGATES}
    return _against_white_box(
        subject,
        found,
        "No surrogate gradient beats the model's own, beyond chance.",
        "A surrogate gradient of sign() beats the model's own, so these gradients are masked: "
        "report the success rate with that surrogate.",
    )


def unread(subject: Subject) -> Outcome:
    """PGD through the defences succeeds at least as often as PGD on the network without them (Athalye et al.)."""
    if subject.undefended is None:
        raise NotApplicableError("the classifier has no defences")
    if subject.white_box.all():
        return _nothing_left(subject, "PGD flips every image; an attack that did not read the defences cannot beat it.")
    return _against_white_box(
        subject,
        {"PGD on the undefended network": subject.flips(subject.undefended.pgd(eps=subject.radius))},
        "An attack that did not read the defences does not beat one that did, beyond chance.",
        "An attack that did not read the defences beats one that did, so they only hide gradients: report the attack "
        "on the undefended network, and do not read the white-box figure as robustness.",
    )


def straight_through(subject: Subject) -> Outcome:
    """The identity in place of the defences' own gradient does not beat it (BPDA, Athalye et al.)."""
    if not any(defence.info.gradient == "own" for defence in subject.model.defences):
        raise NotApplicableError("no defence of the classifier has a gradient of its own")
    if subject.white_box.all():
        return _nothing_left(subject, "PGD flips every image; no other gradient can beat it.")
    return _against_white_box(
        subject,
        {"straight through": subject.flips(subject.pgd(surrogate_name=STRAIGHT_THROUGH))},
        "Passing the gradient straight through the defences does not beat their own, beyond chance.",
        "Passing the gradient straight through the defences beats their own, which is masked: do not read the "
        "white-box figure as robustness.",
    )


CHECKS = (
    Check("native", None, native),
    Check("logits", None, logits),
    Check("deterministic", None, deterministic),
    Check("gradients", None, gradients),
    Check("growing-budget", "pgd", growing_budget),
    Check("iterative", "pgd", iterative),
    Check("transfer", "pgd", transfer),
    Check("black-box", "pgd", black_box),
    Check("unbounded", "pgd", unbounded),
    Check("convergence", "pgd", convergence),
    Check("temperature", "pgd", temperature),
    Check("noise", "pgd", noise),
    Check("surrogate", "pgd", surrogate_gradient),
    Check("unread", "pgd", unread),
    Check("straight-through", "pgd", straight_through),
)


def _draws_agree(subject: Subject) -> Outcome:
    """Compare the answers of a random defence in the draws of scores with those in the draws that attacks read."""
    odd = int((subject.estimator().predict(subject.x).argmax(1) != subject.labels).sum())
    passed = not _too_many(odd, len(subject.x))
    return Outcome(
        passed,
        f"the defence is random; {odd} of {len(subject.x)} classes change with other draws "
        f"({100 * ALLOWANCE:g} % allowed)",
        "Attacks read, and scores count, the average over several draws."
        if passed
        else "Answers change with the draws, without any attack: flips are not the attack's alone.",
    )


def _cross_entropy(values: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, values)


_LOSSES: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {"cross-entropy": _cross_entropy, "margin": margin}


def _loss_gradients(subject: Subject, loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Array:
    """Return the gradients (N, H, W, 3) of a loss at the clean images; zeros if the loss does not depend on them."""

    @compiled
    def gradient(x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            losses = loss(subject.model.logits(x), labels)
        return tape.gradient(losses, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    images, labels = subject.x, subject.labels.astype(np.int32)
    batches = [gradient(images[i : i + 1], labels[i : i + 1]).numpy() for i in range(len(images))]
    return np.concatenate(batches)


def _native_logits(model: Model, x: Array) -> Array:
    """Return logits (N, K) of the network called eagerly, with its preprocessing computed in float64."""
    mean, std = (np.asarray(values, np.float64) for values in (model.preprocessing.mean, model.preprocessing.std))
    rows = []
    for image in x:
        pixels = np.asarray(resize(tf.constant(image[None]), model.input_size), np.float64)
        pixels = pixels[..., ::-1] if model.preprocessing.bgr else pixels
        inputs = tf.constant((255.0 * pixels - mean) / std, tf.float32)
        rows.append(np.asarray(tf.cast(model.network(inputs, training=False), tf.float32)))
    outputs: Array = np.concatenate(rows)
    return outputs if model.outputs is None else outputs[:, model.outputs]


def _against_white_box(subject: Subject, found: dict[str, Flips], good: str, bad: str) -> Outcome:
    beaten, difference = _gain([(flips, subject.white_box) for flips in found.values()])
    listed = ", ".join(f"{name} {int(flips.sum())}" for name, flips in found.items())
    figures = f"{_pgd(subject)}; {listed}; largest lead over PGD {difference}"
    return Outcome(not beaten, figures, bad if beaten else good)


def _nothing_left(subject: Subject, meaning: str) -> Outcome:
    return Outcome(True, _pgd(subject), meaning)


def _gain(pairs: Sequence[tuple[Flips, Flips]]) -> tuple[bool, str]:
    """Return whether the first rate of any pair exceeds the second beyond chance, and the largest difference."""
    confidence = 1 - _LEVEL / len(pairs)
    differences = [(float(a.mean() - b.mean()), newcombe(a, b, confidence)) for a, b in pairs]
    most, (low, high) = max(differences)
    beyond = any(interval[0] > 0 for _, interval in differences)
    return beyond, f"{100 * most:+.0f} [{100 * low:.0f}, {100 * high:.0f}] %"


def _too_many(odd: int, n: int) -> bool:
    return bool(wilson(odd, n)[0] > ALLOWANCE)


def _pgd(subject: Subject) -> str:
    return f"at {_levels(subject.radius)} PGD {int(subject.white_box.sum())} of {len(subject.x)}"


def _levels(eps: float) -> str:
    return f"{255 * eps:.3g}/255"
