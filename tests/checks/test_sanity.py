"""Each check passes on a plain model, and fails on one built to fail it, for a reason worked out by hand.

Most models score an image by its mean z alone: class 1 where the score is above 0, class 0 where not. The clean
images all have the same mean Z0, so that what an attack must find is the same for each and known.
"""

import inspect
import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import larq as lq
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tf_keras
from typer.testing import CliRunner, Result

import artattack
from artattack import cli
from artattack.attacks.baselines import make_baseline
from artattack.checks import all_sound, check_models, run_checks, sanity, subject, targets_of_run
from artattack.checks.checking import BROKEN
from artattack.checks.sanity import CHECKS, NotApplicableError, Outcome
from artattack.checks.subject import Subject
from artattack.commands import results
from artattack.errors import ArtattackError
from artattack.models.defences import parse_defences
from artattack.models.defended import DefendedNetwork, defended
from artattack.models.model import Model, Preprocessing
from artattack.results.columns import CHECK_COLUMNS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

N, SIZE = 10, 8
SHAPE = (SIZE, SIZE, 3)
VALUES = math.prod(SHAPE)
STEP = 1 / 255
Z0 = 120 * STEP
EPS = 8 * STEP  # so that PGD of 20 steps makes steps of 2.5 * 8 / 255 / 20, one grey level

Function = Callable[[tf.Tensor], tf.Tensor]


def images_of_one_mean() -> np.ndarray:
    """Grey images of mean Z0 and other patterns: as many pixels above it as below."""
    rng = np.random.default_rng(0)
    halves = np.repeat([-1, 1], VALUES // 2)
    patterns = [rng.permutation(halves).reshape(SHAPE) * amplitude for amplitude in range(1, N + 1)]
    return ((120 + np.stack(patterns)) / 255).astype(np.float32)


X = images_of_one_mean()


def model_of(network: Any, name: str = "tiny", *, binary: bool = False, cls: type[Model] = Model) -> Model:
    return cls(name, "random", "", binary, network, (SIZE, SIZE), Preprocessing(), None, (), ())


def scored_by(score: Function) -> Model:
    """A model of two classes with logits 0 and score(images)."""

    def logits(x: tf.Tensor) -> tf.Tensor:
        values = score(x)
        return tf.stack([tf.zeros_like(values), values], 1)

    image = tf_keras.Input(SHAPE)
    return model_of(tf_keras.Model(image, tf_keras.layers.Lambda(logits)(image)))


def mean(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(x, (1, 2, 3))


def brighter(x: tf.Tensor) -> tf.Tensor:
    """The honest score: class 1 from a mean of Z0 and one and a half grey levels on."""
    return mean(x) - Z0 - 1.5 * STEP


def with_gradient(function: Function, slope: Function) -> Function:
    """The function's values, with another derivative by x."""

    @tf.custom_gradient
    def changed(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        return function(x), lambda upstream: tf.reshape(upstream, [-1, 1, 1, 1]) * slope(x)

    return changed


def check(name: str, model: Model, x: np.ndarray = X, eps: float = EPS, others: tuple[Model, ...] = ()) -> Outcome:
    tested = Subject(model.name, model, x, eps=eps, steps=20, seed=0)
    tested.others = {f"other{k}": Subject("other", o, x, eps=eps, steps=20, seed=0) for k, o in enumerate(others)}
    return next(c for c in CHECKS if c.name == name).run(tested)


def images_at_margins() -> tuple[np.ndarray, np.ndarray]:
    """Images, and the weights w of a linear score w x, of which PGD flips half at 4 / 255.

    PGD moves a linear score by eps |w|_1 at most. Images are put at margins of 1/4 to 7/4 of that.
    """
    rng = np.random.default_rng(1)
    w = rng.normal(size=VALUES).astype(np.float32)
    x = np.round(rng.uniform(60, 190, (N, VALUES))) / 255
    reach = 4 * STEP * np.abs(w).sum()
    margins = np.linspace(0.25, 1.75, N) * reach * np.where(np.arange(N) % 2, 1, -1)
    x += ((margins - x @ w) / (w @ w))[:, None] * w  # then on the 8-bit grid again, which changes little
    return np.round(x * 255).astype(np.float32).reshape(N, *SHAPE) / 255, w


def linear_model(w: np.ndarray) -> Model:
    image = tf_keras.Input(SHAPE)
    dense = tf_keras.layers.Dense(2, use_bias=False)
    network = tf_keras.Model(image, dense(tf_keras.layers.Flatten()(image)))
    dense.set_weights([np.stack([np.zeros_like(w), w], 1)])
    return model_of(network, "float")


def binary_model(w: np.ndarray, bias: float) -> Model:
    """Logits 0 and sign(w x + bias), through larq's straight-through estimator: slope 1 within -1..1, else 0."""
    image = tf_keras.Input(SHAPE)
    dense = tf_keras.layers.Dense(1)
    sign = lq.layers.QuantDense(2, input_quantizer="ste_sign", use_bias=False)
    network = tf_keras.Model(image, sign(dense(tf_keras.layers.Flatten()(image))))
    dense.set_weights([w[:, None], np.array([bias], np.float32)])
    sign.set_weights([np.array([[0.0, 1.0]], np.float32)])
    return model_of(network, "binary", binary=True)


def test_plain_models_pass_every_check() -> None:
    # On a linear score of two classes PGD ends in the best point of the ball at any temperature, and so does one
    # step; nothing in the ball can beat it. With |w x| < 1, sign() passes that very gradient on.
    x, w = images_at_margins()
    small = (w / (2 * np.abs(x.reshape(N, -1) @ w).max() + 2 * np.abs(w).sum())).astype(np.float32)
    checks = check_models([linear_model(w), binary_model(small, 0.0)], x, eps=4 * STEP)
    assert list(checks.columns) == list(CHECK_COLUMNS)
    status = checks.set_index(["classifier", "check"])["status"]
    assert status.pop(("float", "surrogate")) == "not run"
    for name in ("float", "binary"):
        for of_defences in ("unread", "straight-through"):
            assert status.pop((name, of_defences)) == "not run"
    assert set(status) == {"pass"}, checks[checks["status"] != "pass"].to_string()
    assert all_sound(checks)
    figures = checks.set_index(["classifier", "check"])["figures"]
    # Margins of 1/4 to 7/4 of what PGD can move at 4 / 255: of ten, the five below 1.
    assert figures["float", "convergence"].startswith("at 4/255 PGD 5 of 10 in 20 steps; 60 steps add 0")


def test_wrapped_model_that_is_not_the_network_is_found() -> None:
    class Swapped(Model):
        """Takes red for blue, as a wrapper that forgets the order of channels."""

        def logits(self, x: tf.Tensor) -> tf.Tensor:
            return super().logits(tf.reverse(x, [-1]))

    # Class 1 where red outweighs blue: swapped, the classes are the other way round on all images.
    redness = scored_by(lambda x: mean(x[..., :1]) - mean(x[..., 2:]))
    x = X.copy()
    x[..., 0] += 20 * STEP
    assert check("native", redness, x).passed
    outcome = check("native", model_of(redness.network, cls=Swapped), x)
    assert not outcome.passed
    assert "same class on 0 of 10" in outcome.figures


def test_a_model_restricted_to_some_classes_is_its_network() -> None:
    image = tf_keras.Input(SHAPE)
    network = tf_keras.Model(image, tf_keras.layers.Dense(3)(tf_keras.layers.Flatten()(image)))
    full = replace(model_of(network), label_space=(7, 8, 9))
    assert check("native", full.restricted_to((9, 7)), X).passed


def test_probabilities_are_found() -> None:
    honest = scored_by(brighter)
    softmax = tf_keras.Model(honest.network.input, tf_keras.layers.Softmax()(honest.network.output))
    assert check("logits", honest).passed
    assert not check("logits", model_of(softmax)).passed


def test_random_model_is_found() -> None:
    # Noise as large as the distance from the decision: logits change by far more than 0.01 % of their range.
    outcome = check("deterministic", scored_by(lambda x: brighter(x) + tf.random.normal(tf.shape(x)[:1])))
    assert not outcome.passed
    assert check("deterministic", scored_by(brighter)).passed


def rounded_to_16_levels(x: tf.Tensor) -> tf.Tensor:
    return brighter(tf.round(16.0 * x) / 16.0)  # TensorFlow gives round() no gradient at all


def no_slope(x: tf.Tensor) -> tf.Tensor:
    return tf.zeros_like(x)


@pytest.mark.parametrize(
    ("score", "what"),
    [
        (rounded_to_16_levels, "100 % zeros, more than half in 10 of 10"),
        (with_gradient(brighter, no_slope), "100 % zeros, more than half in 10 of 10"),
        # Below 2 the derivative of relu is 0 and that of sqrt(0) infinite: 0 * inf is not a number.
        (lambda x: brighter(x) + mean(tf.sqrt(tf.nn.relu(x - 2.0))), "not finite in 10"),
    ],
)
def test_missing_and_broken_gradients_are_found(score: Function, what: str) -> None:
    outcome = check("gradients", scored_by(score))
    assert not outcome.passed
    assert outcome.figures.count(what) == 2  # of both losses


def test_saturated_logits_are_found() -> None:
    # At a margin of 1000 the other class' probability e^-1000 is 0 in float32 and cross-entropy flat; the margin
    # itself is not. Divided by 100 the probability is e^-10, and PGD finds its way.
    saturated = scored_by(lambda x: 1000.0 / (1.5 * STEP) * brighter(x))
    outcome = check("gradients", saturated)
    assert not outcome.passed
    assert "cross-entropy: 100 % zeros, more than half in 10 of 10" in outcome.figures
    assert "margin: 0 % zeros" in outcome.figures
    outcome = check("temperature", saturated)
    assert not outcome.passed
    assert "PGD 0 of 10" in outcome.figures
    assert "T=100 10" in outcome.figures


def test_budget_that_costs_success_is_found() -> None:
    # Class 1 is a band half a grey level to three and a half above Z0, but the gradient always says: brighter.
    # PGD ends at the far side of its ball: in the band for 2 / 255, past it for 4, 8 and 16.
    def band(x: tf.Tensor) -> tf.Tensor:
        return 1.5 * STEP - tf.abs(mean(x) - Z0 - 2.0 * STEP)

    outcome = check("growing-budget", scored_by(with_gradient(band, tf.ones_like)))
    assert not outcome.passed
    assert outcome.figures.startswith("2/255: 10, 4/255: 0, 8/255: 0, 16/255: 0 of 10 images; largest drop +100 ")
    assert check("growing-budget", scored_by(brighter)).passed


def test_model_that_only_stops_many_small_steps_is_found() -> None:
    # A ripple of four grey levels on the slope: from Z0 the score rises, falls again two levels on, and PGD in
    # steps of one level turns back there. One step of eight levels lands beyond the threshold at six.
    def rippled(x: tf.Tensor) -> tf.Tensor:
        rise = (mean(x) - Z0) / STEP
        return rise + 2.0 * tf.sin(2.0 * math.pi * rise / 4.0) - 6.0

    outcome = check("iterative", scored_by(rippled))
    assert not outcome.passed
    assert "PGD 0 of 10; FGSM 10" in outcome.figures
    assert check("iterative", scored_by(brighter)).passed


def reversed_gradient() -> Model:
    """Class 1 where the first value is half a level above 120; the gradient points the other way.

    The other values count next to nothing, so that every gradient is there.
    """
    weight = np.full(SHAPE, 1e-5, np.float32)
    weight[0, 0, 0] = 1.0

    def score(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(weight * (x - np.float32(Z0)), (1, 2, 3)) - 0.5 * STEP

    return scored_by(with_gradient(score, lambda x: -tf.ones_like(x) * weight))


def images_of_one_first_value() -> np.ndarray:
    x = X.copy()
    x[:, 0, 0, 0] = np.float32(Z0)
    return x


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("unbounded", "flips 0 of 10"),
        # A draw brightens the first value, and so flips, with probability 1/2; twenty all fail once in a million.
        ("noise", "noise flips 10 of the other 10"),
        ("black-box", "PGD 0 of 10"),
        ("transfer", "PGD 0 of 10; PGD on other0 10"),
    ],
)
def test_reversed_gradients_are_found(name: str, figure: str) -> None:
    honest = scored_by(lambda x: x[:, 0, 0, 0] - np.float32(Z0 + 0.5 * STEP) + 1e-4 * mean(x - np.float32(Z0)))
    outcome = check(name, reversed_gradient(), images_of_one_first_value(), others=(honest,))
    assert not outcome.passed
    assert figure in outcome.figures
    assert check(name, honest, images_of_one_first_value(), others=(honest,)).passed


def test_attack_with_a_sign_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def descending(name: str, estimator: Any, parameters: dict[str, Any], seed: int | None = None) -> Any:
        """PGD led to the class that is seen already, as if it descended; other attacks as they are."""
        wrong = {"targeted": True} if name == "pgd" else {}
        return make_baseline(name, estimator, parameters | wrong, seed)

    monkeypatch.setattr(subject, "make_baseline", descending)
    honest = scored_by(brighter)
    for name, figure in (("unbounded", "flips 0 of 10"), ("iterative", "PGD 0 of 10; FGSM 10")):
        outcome = check(name, honest)
        assert not outcome.passed
        assert figure in outcome.figures


def test_attack_that_has_not_converged_is_found() -> None:
    # No gradient at the clean images themselves, an honest one anywhere else: only a random start gets away.
    def slope(x: tf.Tensor) -> tf.Tensor:
        away = tf.abs(mean(x) - Z0) > 1e-5
        return tf.ones_like(x) * tf.cast(tf.reshape(away, [-1, 1, 1, 1]), x.dtype)

    outcome = check("convergence", scored_by(with_gradient(brighter, slope)))
    assert not outcome.passed
    assert "PGD 0 of 10 in 20 steps; 60 steps add 0, 3 random starts add 10" in outcome.figures


def test_masked_straight_through_gradients_are_found() -> None:
    # The sign is taken of 150 * (z - Z0 - 1.5 / 255) / (1.5 / 255): -150 for clean images, where the straight-through
    # gradient, clipped at 1, is 0, as are those of the surrogates that fade out. The identity passes on.
    slope = 150.0 / (1.5 * STEP)
    w = np.full(VALUES, slope / VALUES, np.float32)
    outcome = check("surrogate", binary_model(w, -slope * (Z0 + 1.5 * STEP)))
    assert not outcome.passed
    assert outcome.figures.startswith("at 8/255 PGD 0 of 10; identity 10, approx-sign 0, swish-sign 0, tanh 0; ")


def test_checks_that_do_not_apply_say_why() -> None:
    with pytest.raises(NotApplicableError, match="not binarized"):
        check("surrogate", scored_by(brighter))
    with pytest.raises(NotApplicableError, match="needs a second classifier"):
        check("transfer", scored_by(brighter))


def test_check_that_breaks_down_leaves_the_others_alone() -> None:
    # Without any gradient ART's PGD cannot work at all.
    checks = check_models([scored_by(rounded_to_16_levels)], X, eps=EPS).set_index("check")
    assert checks["status"]["native"] == "pass"
    assert checks["status"]["gradients"] == "fail"
    assert checks["status"]["iterative"] == "not run"
    assert checks["figures"]["iterative"].startswith(BROKEN)


def test_attacks_are_compared_where_some_images_withstand() -> None:
    # Margins of 1/4 to 7/4 of what PGD moves at 4 / 255, in ten equal steps: 16 and 8 / 255 flip all, 4 half.
    x, w = images_at_margins()
    tested = Subject("float", linear_model(w), x, eps=16 * STEP, steps=20, seed=0)
    assert [eps / STEP for eps in tested.budgets] == pytest.approx([16, 8, 4])
    assert tested.white_box.sum() == 5
    assert sanity.growing_budget(tested).figures.startswith("2/255: 2, 4/255: 5, 8/255: 10, 16/255: 10, 32/255: 10 of")


def test_few_images_are_no_proof_and_the_interval_says_so() -> None:
    # Two of ten lost and none won: Newcombe's interval of the difference still holds 0; of six it does not.
    def differing(count: int) -> bool:
        a = np.arange(N) < count
        return sanity._gain([(a, np.zeros(N, bool))])[0]

    assert [differing(count) for count in (0, 2, 6, 10)] == [False, False, True, True]
    # One odd image of ten: Wilson from 1.8 %, within the 5 % allowed; two: from 5.7 %.
    assert [sanity._too_many(odd, 10) for odd in (0, 1, 2)] == [False, False, True]


@pytest.mark.parametrize(
    ("x", "options", "what"),
    [
        (X[:4], {}, "at least 5"),
        (X[0], {}, "at least 5"),
        (X, {"eps": 0.0}, "radius"),
        (X, {"eps": 8.0}, "radius"),
        (X, {"eps": "8"}, "radius"),
        (X, {"eps": "much"}, "not a number"),
        (X, {"steps": 0}, "steps"),
    ],
)
def test_input_that_makes_no_sense_is_refused(x: np.ndarray, options: dict[str, Any], what: str) -> None:
    with pytest.raises(ArtattackError, match=what):
        check_models([scored_by(brighter)], x, **options)


def artattack_says(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)), prog_name="artattack")


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    benchmark = {
        "images": {"size": 64, "limit": 6},
        "classifiers": "mine",
        "models": {"mine": {"model": "quicknet_tiny"}},
        "feature_model": "mine",
        "attacks": [{"attack": "fgsm", "source": "mine", "eps": "8/255"}],
    }
    artattack.run_benchmark(benchmark, out=path)
    return path


def some_checks(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(sanity, "CHECKS", tuple(check for check in CHECKS if check.name in names))


def test_command_checks_a_run_with_its_own_images_and_models(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_checks(monkeypatch, "native", "logits", "deterministic", "gradients", "iterative", "transfer")
    result = artattack_says("check", finished_run, "--steps", 2, "--limit", 5)
    assert result.exit_code == 0, result.output
    assert "mine" in result.output
    assert "5 passed, 0 failed, 1 not run" in result.output
    written = pd.read_csv(finished_run / "checks.csv")
    assert list(written.columns) == list(CHECK_COLUMNS)
    assert set(written["classifier"]) == {"mine"}
    assert "of 5" in written.set_index("check")["figures"]["native"]  # --limit
    assert written.set_index("check")["status"].to_dict() == {
        "native": "pass",
        "logits": "pass",
        "deterministic": "pass",
        "gradients": "pass",
        "iterative": "pass",
        "transfer": "not run",
    }


def test_command_fails_with_1_and_says_what_a_failed_check_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(subject: Subject) -> Outcome:
        return Outcome(False, "3 of 4", "The model is made of glass.")

    monkeypatch.setattr(sanity, "CHECKS", (sanity.Check("glass", None, fails),))
    result = artattack_says("check", "quicknet_tiny", "--limit", 5, "-o", tmp_path / "new" / "checks.csv")
    assert result.exit_code == 1
    assert "glass: The model is made of glass." in result.output
    assert pd.read_csv(tmp_path / "new" / "checks.csv")["status"].tolist() == ["fail"]


def test_python_and_the_command_line_have_the_same_defaults() -> None:
    ours, theirs = (inspect.signature(function).parameters for function in (run_checks, results.check))
    for name in ("limit", "eps", "steps", "seed"):
        assert ours[name].default == theirs[name].default


def test_command_says_what_it_does_with_examples() -> None:
    result = artattack_says("check", "--help")
    assert result.exit_code == 0
    assert "Examples" in result.output
    assert "Exit codes" in result.output


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["quicknet_tinny"], "did you mean 'quicknet_tiny'?"),
        (["quicknet_tiny", "quicknet_tiny"], "twice"),
        (["quicknet_tiny", "--eps", "8"], "radius"),
        (["quicknet_tiny", "--eps", "much"], "not a number"),
        (["."], "no run folder"),
    ],
)
def test_command_refuses_unusable_models(
    arguments: list[str], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = artattack_says("check", *arguments)
    assert result.exit_code == 2
    assert what in " ".join(result.output.split())


def test_run_with_other_weights_by_now_is_refused(finished_run: Path, tmp_path: Path) -> None:
    info = json.loads((finished_run / "run.json").read_text())
    del info["sha256"]  # else the change would be taken for damage
    info["config"]["models"]["mine"]["sha256"] = "0" * 64
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "original").symlink_to(finished_run / "images" / "original")
    (tmp_path / "run.json").write_text(json.dumps(info))
    with pytest.raises(ArtattackError, match="other weights"):
        targets_of_run(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(info | {"status": "running"}))
    with pytest.raises(ArtattackError, match="not finished"):
        targets_of_run(tmp_path)


MARGINS, WEIGHTS = images_at_margins()  # of a linear score, of which PGD flips five of ten at 4 / 255


def of_margins(name: str, model: Any) -> Outcome:
    return check(name, model, MARGINS, 4 * STEP)


def guarded(*defences: Any, kind: type[DefendedNetwork] = DefendedNetwork) -> DefendedNetwork:
    made = defended(linear_model(WEIGHTS), parse_defences(list(defences)), 0)
    return kind(**{field.name: getattr(made, field.name) for field in fields(made)})


class Masked(DefendedNetwork):
    """A defence that changes nothing and turns gradients round, so that PGD climbs down."""

    @cached_property
    def _steps(self) -> Any:
        @tf.custom_gradient
        def turned(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
            return tf.identity(x), lambda upstream: -upstream

        return (lambda x, seeds: turned(x),)


HARMLESS = {"FeatureSqueezing": {"bit_depth": 8}}


def test_an_unread_attack_that_beats_a_reading_one_shows_hidden_gradients() -> None:
    honest = of_margins("unread", guarded(HARMLESS))
    assert honest.passed
    assert "PGD 5 of 10; PGD on the undefended network 5" in honest.figures
    masked = of_margins("unread", guarded(HARMLESS, kind=Masked))
    assert not masked.passed
    assert "PGD 0 of 10; PGD on the undefended network 5" in masked.figures
    with pytest.raises(NotApplicableError, match="no defences"):
        of_margins("unread", linear_model(WEIGHTS))


def test_a_gradient_of_its_own_that_the_identity_beats_is_masked() -> None:
    masked = of_margins("straight-through", guarded("SpatialSmoothing", kind=Masked))
    assert not masked.passed
    assert "PGD 0 of 10; straight through 5" in masked.figures
    with pytest.raises(NotApplicableError, match="gradient of its own"):
        of_margins("straight-through", guarded(HARMLESS))


def test_the_network_behind_a_defence_is_the_one_called_directly() -> None:
    assert of_margins("native", guarded({"FeatureSqueezing": {"bit_depth": 1}})).passed
    wrong = guarded(HARMLESS)
    swapped = replace(wrong.undefended, outputs=(1, 0))  # type: ignore[type-var]
    assert of_margins("native", replace(wrong, undefended=swapped)).passed


def test_a_random_defence_is_asked_for_two_sets_of_draws() -> None:
    quiet = of_margins("deterministic", guarded({"GaussianAugmentation": {"sigma": 1e-6}}))
    assert quiet.passed
    assert "0 of 10 classes change" in quiet.figures
    assert not of_margins("deterministic", guarded({"GaussianAugmentation": {"sigma": 0.5}})).passed


def test_flips_of_a_random_defence_are_those_of_its_scores() -> None:
    model = guarded({"GaussianAugmentation": {"sigma": 0.1}})
    tested = Subject("tiny", model, MARGINS, eps=4 * STEP, steps=2, seed=0)
    np.testing.assert_array_equal(tested.labels, model.predict(MARGINS).argmax(1))
    assert not tested.flips(MARGINS).any()
