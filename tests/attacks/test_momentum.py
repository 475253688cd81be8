"""The momentum attack against NumPy, against ART's own momentum, and what each option does."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescentNumpy
from scipy.ndimage import correlate
from scipy.stats import norm as normal

from artattack.attacks.momentum import MomentumAttack
from artattack.attacks.options import MomentumOptions, parse_options_of
from artattack.attacks.transforms import transformed
from artattack.errors import ArtattackError
from artattack.models.estimator import ArtEstimator, to_estimator
from artattack.models.model import Model, Preprocessing

pytestmark = pytest.mark.slow

SIZE, CLASSES, EPS = 12, 4, 8 / 255
SEEDS = (6, 2**31 + 6, 7)  # of the images; the second has the draws of the first
X = np.random.default_rng(0).uniform(0.0, 1.0, (3, SIZE, SIZE, 3)).astype(np.float32)


def source(scale: float = 1.0) -> ArtEstimator:
    """A smooth network, whose gradients do not jump where rounding differs."""
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((SIZE, SIZE, 3))
    y = tf_keras.layers.Conv2D(8, 3, activation="tanh")(image)
    network = tf_keras.Model(image, tf_keras.layers.Dense(CLASSES)(tf_keras.layers.Flatten()(y)))
    network.set_weights([scale * weights for weights in network.get_weights()])
    preprocessing = Preprocessing((127.5,) * 3, (127.5,) * 3)
    return to_estimator(Model("small", "random", "", False, network, (SIZE, SIZE), preprocessing, None, (), ()))


@pytest.fixture(scope="module")
def estimator() -> ArtEstimator:
    return source()


@pytest.fixture(scope="module")
def seen(estimator: ArtEstimator) -> np.ndarray:
    return estimator.predict(X).argmax(1)  # type: ignore[no-any-return]


def length(change: np.ndarray, norm: Any) -> np.ndarray:
    return np.linalg.norm(change.reshape(len(change), -1), np.inf if norm == "inf" else 2, axis=1)


def by_numpy(estimator: ArtEstimator, y: np.ndarray, **options: Any) -> np.ndarray:
    """The papers' loops, in float64 but for the gradients."""
    given = {"norm": "inf", "max_iter": 10, "decay": 1.0, "nesterov": False, "kernel": 0, "targeted": False}
    given |= {"transforms": None, "views": 1, "eps": EPS} | options
    eps, infinite = given["eps"], given["norm"] == "inf"
    step = given.get("eps_step") or min(eps, (1 if infinite else 2.5) * eps / given["max_iter"])
    out = []
    for x, label, seed in zip(X, y, SEEDS, strict=True):
        now, momentum = x.astype(float), np.zeros(x.shape)
        for t in range(given["max_iter"]):
            root = 1 if infinite else np.sqrt(x.size)
            at = now + step * given["decay"] * momentum / root if given["nesterov"] else now
            gradient = np.zeros(x.shape)
            for view in range(given["views"]):
                with tf.GradientTape() as tape:
                    tape.watch(image := tf.constant(at[None], tf.float32))
                    look = transformed(image, given["transforms"] or (), tf.constant([seed % 2**31, t]), view)
                upstream = estimator.loss_gradient(look.numpy(), np.array([label]))
                gradient += tape.gradient(look, image, upstream)[0].numpy() / given["views"]
            if given["targeted"]:
                gradient = -gradient
            if given["kernel"]:
                line = normal.pdf(np.linspace(-3, 3, given["kernel"]))
                weights = np.outer(line, line) / np.outer(line, line).sum()
                gradient = correlate(gradient, weights[:, :, None], mode="constant")
            momentum = given["decay"] * momentum + gradient / np.abs(gradient).mean()
            if infinite:
                now = np.clip(now + step * np.sign(momentum), x - eps, x + eps).clip(0, 1)
            else:
                change = (now + step * momentum / np.linalg.norm(momentum)).clip(0, 1) - x
                now = x + change * min(1, eps / np.linalg.norm(change))
        out.append(now)
    return np.array(out, np.float32)


LOOPS: list[dict[str, Any]] = [
    {},
    {"eps": 1.0, "norm": 2},
    {"decay": 0.0},
    {"decay": 0.5, "max_iter": 4},
    {"eps_step": 2 / 255},
    {"eps": 1.0, "norm": 2, "eps_step": 0.4},
    {"nesterov": True},
    {"nesterov": True, "eps": 1.0, "norm": 2},
    {"kernel": 3},
    {"kernel": 7, "eps": 1.0, "norm": 2},
    {"targeted": True},
    {"transforms": ("si",), "views": 5},
    {"transforms": ("di", "ssm"), "views": 2, "max_iter": 3},
    {"transforms": ("bsr",), "max_iter": 3, "nesterov": True, "kernel": 3, "eps": 1.0, "norm": 2},
    {"transforms": ("eot",), "views": 3, "max_iter": 3},
]


@pytest.mark.parametrize("options", LOOPS, ids=str)
def test_every_loop_against_numpy(estimator: ArtEstimator, seen: np.ndarray, options: dict[str, Any]) -> None:
    labels = (seen + 1) % CLASSES if options.get("targeted") else seen
    found = MomentumAttack(estimator, **{"eps": EPS} | options).generate(X, labels, seeds=SEEDS)
    expected = by_numpy(estimator, labels, **options)
    wrong = np.abs(found - expected) > 1e-6
    assert wrong.sum() <= 1  # of 1296: a gradient that is 0 but for rounding has either sign
    assert np.abs(expected - X).max() > 0.01


@pytest.mark.parametrize(("norm", "eps", "step"), [("inf", EPS, 2 / 255), ("inf", 0.3, 0.1), (2, 1.0, 0.3)])
@pytest.mark.parametrize("decay", [1.0, 0.4])
def test_plain_momentum_is_that_of_art(
    estimator: ArtEstimator, norm: Any, eps: float, step: float, decay: float
) -> None:
    """ART has switched its MomentumIterativeMethod off for TensorFlow; the class it is made of runs on NumPy."""
    options = {"norm": norm, "eps": eps, "eps_step": step, "decay": decay, "max_iter": 6}
    expected = ProjectedGradientDescentNumpy(estimator, **options, verbose=False).generate(X)
    np.testing.assert_allclose(MomentumAttack(estimator, **options).generate(X), expected, atol=1e-6)


@pytest.mark.parametrize(("norm", "eps"), [("inf", EPS), ("inf", 0.3), (2, 1.0), (2, 4.0)])
@pytest.mark.parametrize("targeted", [False, True])
def test_one_step_is_arts_fast_gradient_method(estimator: ArtEstimator, norm: Any, eps: float, targeted: bool) -> None:
    labels = np.array([0, 1, 2])
    expected = FastGradientMethod(estimator, norm=norm, eps=eps, targeted=targeted).generate(X, labels)
    found = MomentumAttack(estimator, norm=norm, eps=eps, targeted=targeted, max_iter=1).generate(X, labels)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_on_a_linear_model_it_goes_straight_to_the_edge(decay: float, nesterov: bool) -> None:
    """Logits are w.x and -w.x, so gradients are -w or w times something: every step goes the same way."""
    image = tf_keras.Input((SIZE, SIZE, 3))
    network = tf_keras.Model(image, tf_keras.layers.Dense(2)(tf_keras.layers.Flatten()(image)))
    w = np.random.default_rng(1).choice([-2.0, -1.0, 1.0, 2.0], (SIZE, SIZE, 3))
    network.set_weights([np.stack([w.ravel(), -w.ravel()], 1) / 1000, np.zeros(2)])
    preprocessing = Preprocessing((127.5,) * 3, (127.5,) * 3)
    linear = to_estimator(Model("linear", "", "", False, network, (SIZE, SIZE), preprocessing, None, (), ()))
    x, labels = 0.3 + 0.4 * X[:2], np.array([0, 1])
    away = np.stack([-w, w])
    options = {"decay": decay, "nesterov": nesterov, "max_iter": 4}
    in_linf = MomentumAttack(linear, eps=EPS, **options).generate(x, labels)
    np.testing.assert_allclose(in_linf, x + EPS * np.sign(away), atol=1e-6)
    in_l2 = MomentumAttack(linear, eps=2.0, norm=2, **options).generate(x, labels)
    np.testing.assert_allclose(in_l2, x + 2.0 * away / np.linalg.norm(w), atol=1e-5)


# ---- options


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({"eps": 4 / 255}, {}),
        ({"norm": 2}, {}),
        ({"eps_step": 1 / 255}, {}),
        ({"max_iter": 3}, {}),
        ({"decay": 0.0}, {}),
        ({"nesterov": True}, {}),
        ({"kernel": 5}, {}),
        *(({"transforms": name}, {}) for name in ("eot", "di", "bsr", "ssm", "si")),
        ({"transforms": ["ssm", "bsr"]}, {"transforms": ["bsr", "ssm"]}),
        ({"transforms": "ssm", "views": 2}, {"transforms": "ssm"}),
        ({"transforms": "ssm", "seed": 1}, {"transforms": "ssm"}),
    ],
    ids=str,
)
def test_option_counts(estimator: ArtEstimator, options: dict[str, Any], plain: dict[str, Any]) -> None:
    with_it, without = (MomentumAttack(estimator, **{"eps": EPS} | o).generate(X) for o in (plain | options, plain))
    assert np.abs(with_it - without).max() > 1e-3


@pytest.mark.parametrize(("norm", "eps"), [("inf", EPS), ("inf", 0.5), (2, 0.5), (2, 3.0)])
@pytest.mark.parametrize("more", [{}, {"eps_step": 10.0}, {"nesterov": True, "transforms": "di"}], ids=str)
def test_images_stay_in_the_ball_and_reach_its_edge(
    estimator: ArtEstimator, norm: Any, eps: float, more: dict[str, Any]
) -> None:
    made = MomentumAttack(estimator, norm=norm, eps=eps, **more).generate(X)
    assert 0 <= made.min() <= made.max() <= 1
    assert (length(made - X, norm) <= eps * (1 + 1e-5) + 1e-6).all()
    assert (length(made - X, norm) > 0.99 * eps).all()


def test_the_step_is_the_paper_s_share_of_the_radius() -> None:
    assert MomentumOptions(eps=EPS).step == pytest.approx(0.8 / 255)
    assert MomentumOptions(eps=1.0, norm=2, max_iter=4).step == 0.625  # 2.5 times as long in l2, where steps turn
    assert MomentumOptions(eps=1.0, norm=2, max_iter=2).step == 1.0  # at most the radius
    assert MomentumOptions(eps=1.0, norm=2, eps_step=0.7).step == 0.7


def test_another_ball_keeps_the_step_s_share() -> None:
    given = MomentumOptions(eps="8/255", eps_step="2/255", kernel=3).within(("l2", 10.0))
    assert (given.ball, given.norm, given.kernel) == (("l2", 10.0), 2, 3)
    assert given.step == pytest.approx(2.5)
    back = MomentumOptions(eps=2.0, norm=2).within(("linf", 0.1))
    assert (back.ball, back.eps_step, back.step) == (("linf", 0.1), None, pytest.approx(0.01))


@pytest.mark.parametrize(
    ("value", "norm"), [("inf", "inf"), (np.inf, "inf"), (float("inf"), "inf"), (2, 2), (2.0, 2)], ids=str
)
def test_the_norm_as_art_writes_it(value: Any, norm: Any) -> None:
    assert MomentumOptions(eps=0.1, norm=value).norm == norm


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "eps: field required"),
        ({"eps": 0}, "eps"),
        ({"eps": "8/0"}, "'8/0' is not a number"),
        ({"eps": 2}, "linf=2: values lie in"),
        ({"eps": float("nan"), "norm": 2}, "eps"),
        ({"eps_step": -0.1}, "eps_step"),
        ({"max_iter": 0}, "max_iter"),
        ({"decay": -1}, "decay"),
        ({"norm": 1}, "norm"),
        ({"views": 0}, "views"),
        ({"views": 3}, "views: 3 copies without `transforms` are all alike"),
        ({"kernel": 4}, "has a centre if that is odd, not 4"),
        ({"kernel": 1}, "from a side of 3 on"),
        ({"transforms": "dii"}, "unknown transform 'dii'; did you mean 'di'"),
        ({"transforms": ["di", "di"]}, "'di' is there twice"),
        ({"transforms": []}, "transforms: at least one"),
        ({"epps": 0.1}, "did you mean 'eps'"),
        ({"seed": -1}, "seed: a whole number"),
        ({"batch_size": 0}, "batch_size: a whole number"),
    ],
    ids=str,
)
def test_invalid_options_give_one_line(estimator: ArtEstimator, options: dict[str, Any], message: str) -> None:
    given = options if message.startswith("eps: field") else {"eps": EPS} | options
    with pytest.raises(ArtattackError, match=message) as raised:
        MomentumAttack(estimator, **given)
    assert "\n" not in str(raised.value)


# ---- ART's contract


def test_parameters_can_be_read_and_set(estimator: ArtEstimator) -> None:
    attack = MomentumAttack(estimator, eps=EPS)
    assert {"eps", "eps_step", "norm", "max_iter", "decay", "targeted", "batch_size"} <= set(attack.attack_params)
    assert all(hasattr(attack, name) for name in attack.attack_params)
    weak = attack.generate(X)
    attack.set_params(eps=4 * EPS, kernel=3)
    np.testing.assert_array_equal(attack.generate(X), MomentumAttack(estimator, eps=4 * EPS, kernel=3).generate(X))
    attack.set_params(eps=EPS, kernel=0)
    np.testing.assert_array_equal(attack.generate(X), weak)
    with pytest.raises(ArtattackError, match="max_iter"):
        attack.set_params(max_iter=0)


def test_balls_of_all_radii_share_a_program(estimator: ArtEstimator) -> None:
    attack = MomentumAttack(estimator, eps=EPS)
    attack.generate(X)
    for options in (
        {"eps": 0.2},
        {"eps_step": 0.01},
        {"seed": 3},
        {"norm": 2, "eps": 3.0},
        {"norm": "inf", "eps": 0.1},
    ):
        attack.set_params(**options)
        attack.generate(X)
    assert len(attack._climbs) == 2


def test_labels_are_by_default_the_sources_predictions(estimator: ArtEstimator, seen: np.ndarray) -> None:
    attack = MomentumAttack(estimator, eps=EPS)
    unlabelled = attack.generate(X)
    for labels in (seen, seen[:, None], np.eye(CLASSES)[seen]):
        np.testing.assert_array_equal(attack.generate(X, labels), unlabelled)
    assert np.abs(attack.generate(X, (seen + 1) % CLASSES) - unlabelled).max() > 1e-3


def test_it_leads_away_from_the_predicted_class_or_to_its_targets(estimator: ArtEstimator, seen: np.ndarray) -> None:
    away = MomentumAttack(estimator, eps=0.2).generate(X)
    assert (estimator.predict(away).argmax(1) != seen).all()
    targets = (seen + 2) % CLASSES
    attack = MomentumAttack(estimator, eps=0.3, targeted=True)
    np.testing.assert_array_equal(estimator.predict(attack.generate(X, targets)).argmax(1), targets)
    with pytest.raises(ArtattackError, match="the attack is targeted"):
        attack.generate(X)


@pytest.mark.parametrize("transforms", [None, ("ssm",), ("bsr", "di")], ids=str)
def test_an_image_depends_neither_on_its_neighbours_nor_on_its_place(estimator: ArtEstimator, transforms: Any) -> None:
    attack = MomentumAttack(estimator, eps=EPS, transforms=transforms, max_iter=4)
    together = attack.generate(X, seeds=SEEDS)
    for i in range(len(X)):
        np.testing.assert_allclose(attack.generate(X[i : i + 1], seeds=SEEDS[i : i + 1])[0], together[i], atol=1e-6)
    np.testing.assert_allclose(attack.generate(X[::-1], seeds=SEEDS[::-1])[::-1], together, atol=1e-6)
    attack.set_params(batch_size=2)
    np.testing.assert_allclose(attack.generate(X, seeds=SEEDS), together, atol=1e-6)


def test_each_image_has_its_own_seed(estimator: ArtEstimator) -> None:
    attack = MomentumAttack(estimator, eps=EPS, transforms="ssm", max_iter=3, seed=7)
    thrice = np.repeat(X[:1], 3, 0)
    first, alike, other = attack.generate(thrice, seeds=SEEDS)
    np.testing.assert_allclose(first, alike, atol=1e-6)
    assert np.abs(first - other).max() > 1e-3
    np.testing.assert_allclose(attack.generate(thrice), np.repeat(other[None], 3, 0), atol=1e-6)
    with pytest.raises(ArtattackError, match="seeds: one for each image is wanted, 3, not 2"):
        attack.generate(thrice, seeds=[1, 2])


def test_a_seed_repeats_it_and_changes_nothing_without_transforms(estimator: ArtEstimator) -> None:
    views = {"eps": EPS, "transforms": ("ssm", "bsr"), "views": 2, "max_iter": 3}
    first = MomentumAttack(estimator, seed=2**32 - 1, **views).generate(X)
    np.testing.assert_array_equal(MomentumAttack(estimator, seed=2**32 - 1, **views).generate(X), first)
    plain = [MomentumAttack(estimator, eps=EPS, seed=seed).generate(X) for seed in (1, 2)]
    np.testing.assert_array_equal(*plain)


def test_where_there_is_no_gradient_images_stay() -> None:
    for options in ({"eps": EPS}, {"eps": 1.0, "norm": 2}, {"eps": EPS, "nesterov": True, "kernel": 3}):
        np.testing.assert_array_equal(MomentumAttack(source(0.0), **options).generate(X), X)


def test_the_source_s_temperature_counts(estimator: ArtEstimator) -> None:
    """Not for the sign of one gradient; for how the gradients of steps add up."""
    warm = to_estimator(estimator.artattack_model, temperature=50.0)
    found = [MomentumAttack(e, eps=0.3, norm="inf").generate(X) for e in (estimator, warm)]
    assert np.abs(found[0] - found[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:, :8], None, r"images have shape \(N, 12, 12, 3\), not \(3, 8, 12, 3\)"),
        (X + 1, None, "images lie in"),
        (np.full_like(X, np.nan), None, "images lie in"),
        (X, [0, 1, CLASSES], "labels must be one for each image, in 0..3"),
        (X, [0, 1], "labels must be one for each image"),
        (X, np.eye(5)[[1, 2, 3]], "labels must be one for each image"),
    ],
    ids=["shape", "range", "nan", "class", "count", "classes"],
)
def test_images_that_cannot_be_attacked_are_reported(
    estimator: ArtEstimator, x: np.ndarray, y: Any, message: str
) -> None:
    with pytest.raises(ArtattackError, match=message):
        MomentumAttack(estimator, eps=EPS).generate(x, y)


def test_no_images_are_no_images(estimator: ArtEstimator) -> None:
    assert MomentumAttack(estimator, eps=EPS).generate(X[:0]).shape == (0, SIZE, SIZE, 3)


def test_gradients_that_are_not_finite_are_said() -> None:
    with pytest.raises(ArtattackError, match="gradients of source 'small' are not finite"):
        MomentumAttack(source(np.nan), eps=EPS).generate(X, [0, 1, 2])


def test_another_estimator_is_refused() -> None:
    with pytest.raises(ArtattackError, match="to_estimator gives, not int"):
        MomentumAttack(3, eps=EPS)


def test_options_are_read_from_plain_data() -> None:
    read = parse_options_of(MomentumOptions, {"eps": "8/255", "transforms": "di", "norm": "inf"})
    assert (read.eps, read.transforms) == (8 / 255, ("di",))
