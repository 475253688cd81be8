"""Defences in front of models: outputs and gradients against NumPy, and mistakes in one line."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from PIL import Image
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import binomtest

import artattack
from artattack.attacks.baselines import make_baseline
from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import make_plan
from artattack.inputs.labels import own_classes
from artattack.models import Model
from artattack.models.classifier import DRAWS
from artattack.models.defences import DEFENCES, check_sizes, gradient_word, parse_defences
from artattack.models.defended import Defended, DefendedNetwork, defended
from artattack.models.estimator import to_estimator
from artattack.models.model import Preprocessing

SIDE, CLASSES = 8, 4
SHAPE = (SIDE, SIDE, 3)
RNG = np.random.default_rng(0)
W = RNG.normal(0, 0.5, (*SHAPE, CLASSES)).astype(np.float32)
X = (RNG.integers(0, 256, (3, *SHAPE)) / 255).astype(np.float32)


def linear() -> Model:
    """A network whose logits are the products of images with W."""
    image = tf_keras.Input(SHAPE)
    dense = tf_keras.layers.Dense(CLASSES, use_bias=False)
    network = tf_keras.Model(image, dense(tf_keras.layers.Flatten()(image)))
    dense.set_weights([W.reshape(-1, CLASSES)])
    return Model("linear", "file", "abc", False, network, (SIDE, SIDE), Preprocessing(), None, (), ())


def guarded(*defences: object, seed: int = 0) -> DefendedNetwork:
    made = defended(linear(), parse_defences(list(defences)), seed)
    assert isinstance(made, DefendedNetwork)
    return made


def times_w(x: np.ndarray) -> np.ndarray:
    return np.einsum("nhwc,hwck->nk", x.astype(np.float64), W)


def class_gradients(model: DefendedNetwork, x: np.ndarray, label: int) -> np.ndarray:
    return to_estimator(model).class_gradient(x, label)[:, 0]


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file)) / 255


def test_squeezing_rounds_to_levels_and_jpeg_follows():
    squeezed = np.rint(X * 15) / 15
    np.testing.assert_allclose(guarded({"FeatureSqueezing": {"bit_depth": 4}}).predict(X), times_w(squeezed), atol=1e-4)
    both = guarded({"FeatureSqueezing": {"bit_depth": 4}}, {"JpegCompression": {"quality": 30}})
    compressed = np.stack([jpeg(image, 30) for image in squeezed])
    np.testing.assert_allclose(both.predict(X), times_w(compressed), atol=1e-4)
    assert abs(compressed - squeezed).max() > 0.05
    unrounded = X + np.float32(0.9 / 255)  # a file holds the next level, and so does what JPEG gets
    up = np.minimum(X + np.float32(1 / 255), 1)
    one = guarded({"JpegCompression": {"quality": 90}})
    np.testing.assert_allclose(one.predict(np.minimum(unrounded, 1)), one.predict(up), atol=1e-4)


def test_the_gradient_passes_straight_through():
    model = guarded({"JpegCompression": {"quality": 30}}, {"FeatureSqueezing": {"bit_depth": 2}})
    found = class_gradients(model, X, 2)
    np.testing.assert_allclose(found, np.broadcast_to(W[..., 2], found.shape), atol=1e-5)


def test_the_median_filter_has_its_own_gradient():
    """The gradient of a median is W of every window at the place of its median, and 0 elsewhere."""
    image = RNG.permutation(np.arange(SIDE * SIDE * 3)).reshape(SHAPE) / (SIDE * SIDE * 3)  # no two values are equal
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    medians, expected = np.zeros(SHAPE), np.zeros(SHAPE)
    place = np.pad(np.arange(SIDE * SIDE).reshape(SIDE, SIDE), 1, mode="reflect")
    for i, j, c in np.ndindex(*SHAPE):
        window = padded[i : i + 3, j : j + 3, c].ravel()
        chosen = place[i : i + 3, j : j + 3].ravel()[window.argsort()[4]]
        medians[i, j, c] = np.median(window)
        expected[*divmod(chosen, SIDE), c] += W[i, j, c, 1]
    model, x = guarded("SpatialSmoothing"), image[None].astype(np.float32)
    np.testing.assert_allclose(model.predict(x), times_w(medians[None]), atol=1e-4)
    np.testing.assert_allclose(class_gradients(model, x, 1)[0], expected, atol=1e-5)
    straight = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(straight)
        value = replace(model, straight_through=True).logits(straight)[0, 1]
    np.testing.assert_allclose(tape.gradient(value, straight)[0], W[..., 1], atol=1e-5)


def test_a_random_defence_is_averaged_over_draws_for_scores_and_attacks():
    """The logits are the logarithm of the mean softmax over draws, and so is their gradient."""
    model = guarded({"GaussianAugmentation": {"sigma": 0.3}})
    assert model.draws == model.copies == DRAWS
    seen = [model.defend(X, draw) for draw in range(DRAWS)]
    assert all(abs(seen[0] - other).max() > 0.1 for other in seen[1:])
    assert 0.1 < np.std((seen[0] - X)[(X > 0.5) & (X < 0.6)]) < 0.4
    mean = logsumexp([log_softmax(times_w(x), 1) for x in seen], 0) - np.log(DRAWS)
    np.testing.assert_allclose(model.predict(X), mean, atol=1e-4)

    read = model.as_read()
    drawn = np.stack([times_w(read.defend(X, draw)) for draw in range(DRAWS)])  # (D, N, K)
    np.testing.assert_allclose(
        to_estimator(model).predict(X), logsumexp(log_softmax(drawn, 2), 0) - np.log(DRAWS), atol=1e-4
    )
    assert abs(to_estimator(model).predict(X) - model.predict(X)).max() > 1e-3  # other draws than those of scores
    p = softmax(drawn, 2)
    share = p[..., 1] / p[..., 1].sum(0)  # (D, N): weight of each draw in the gradient of log mean p
    by_draw = W[..., 1] - np.einsum("dnk,hwck->dnhwc", p, W)
    expected = np.einsum("dn,dnhwc->nhwc", share, by_draw)
    np.testing.assert_allclose(class_gradients(model, X, 1), expected, atol=1e-4)
    loss = to_estimator(model).loss_gradient(X, np.full(len(X), 1))
    np.testing.assert_allclose(loss, -expected, atol=1e-4)


def test_draws_follow_from_the_seed_and_the_image_alone():
    defence = {"ResizeAndPad": {"least": 0.5}}
    model, again, other = guarded(defence), guarded(defence), guarded(defence, seed=1)
    found = model.predict(X)
    np.testing.assert_array_equal(found, again.predict(X))
    np.testing.assert_allclose(found[::-1], model.predict(X[::-1]), atol=1e-5)
    np.testing.assert_allclose(found[:1], model.predict(X[:1]), atol=1e-5)
    assert abs(found - other.predict(X)).max() > 1e-2
    state = np.random.get_state()[1].copy()
    guarded("TotalVarMin").predict(X)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_resize_and_pad_shrinks_and_pads_with_black():
    model = guarded({"ResizeAndPad": {"least": 0.5}})
    white = np.ones((20, *SHAPE), np.float32) - np.arange(20, dtype=np.float32)[:, None, None, None] / 1000
    seen = model.defend(white)
    sides = []
    for image, value in zip(seen, white[:, 0, 0, 0], strict=True):
        lit = image[..., 0] > 0.5 * value
        rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
        assert len(rows) == np.ptp(rows) + 1
        assert len(columns) == np.ptp(columns) + 1
        np.testing.assert_allclose(image[lit], value, atol=1e-5)
        np.testing.assert_array_equal(image[~lit], 0)
        assert len(rows) == len(columns)
        sides.append(len(rows))
    assert {*sides} == {4, 5, 6, 7, 8}
    draws = [model.as_read().defend(X[:1], draw)[0] for draw in range(DRAWS)]
    assert len({image.tobytes() for image in draws}) > 1
    x = tf.constant(X[:1])  # a linear map, so that the average of draws has a gradient in closed form
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(model.as_read().logits(x) * [1.0, 0, 0, 0])
    step = RNG.normal(size=(1, *SHAPE)).astype(np.float32)
    gradient = float(np.sum(tape.gradient(value, x) * step))
    p = np.stack([softmax(times_w(image[None]))[0] for image in draws])
    moved = _drawn_alike(model.as_read(), X[:1], step)
    by_draw = [times_w(change[None])[0] for change in moved]
    expected = sum(p[d, 0] / p[:, 0].sum() * (by_draw[d][0] - p[d] @ by_draw[d]) for d in range(DRAWS))
    assert gradient == pytest.approx(expected, rel=1e-3, abs=1e-4)


def _drawn_alike(model, x, change):
    """Return a change of an image as each draw of that image maps it."""
    seeds = model._seeds(x, DRAWS)[0]
    return [model._through(change, seeds[draw : draw + 1])[0] for draw in range(DRAWS)]


def test_smoothing_votes_and_abstains():
    defence = {"RandomizedSmoothing": {"scale": 0.5, "sample_size": 40, "alpha": 0.01}}
    model = guarded(defence)
    found = model.predict(X)
    shares = softmax(found.astype(np.float64), 1)
    votes = np.rint(40 * shares)
    np.testing.assert_allclose(votes, 40 * shares, atol=1e-3)
    np.testing.assert_array_equal(votes.sum(1), 40)
    expected = []
    for row in votes:
        second, first = np.sort(row)[-2:].astype(int)
        expected.append(binomtest(first, first + second, 0.5).pvalue > 0.01)
    np.testing.assert_array_equal(model.abstains(found), expected)
    logits = np.log(np.maximum([[30, 10, 0, 0], [28, 12, 0, 0]], 1e-38) / 40)  # p = 0.0022, 0.017
    assert model.abstains(logits).tolist() == [False, True]
    assert guarded("SpatialSmoothing").abstains(found) is None


def test_other_draws_change_answers_that_lie_near_a_boundary():
    """Attacks and scores have separate draws, so that an attack does not know the next draw."""
    model = guarded({"RandomizedSmoothing": {"scale": 0.5, "sample_size": 40}})
    assert model.draws == 40
    assert abs(model.predict(X) - model.as_read().predict(X)).max() > 1e-2
    np.testing.assert_array_equal(model.as_read().predict(X), model.as_read().as_read().predict(X))


def test_noise_at_a_boundary_splits_the_votes():
    """Where the two classes of a linear network score the same, half of the noisy copies fall on each side."""
    half = np.full((1, *SHAPE), 0.5, np.float32)
    image = tf_keras.Input(SHAPE)
    dense = tf_keras.layers.Dense(2)
    network = tf_keras.Model(image, dense(tf_keras.layers.Flatten()(image)))
    weights = np.stack([W[..., 0].ravel(), -W[..., 0].ravel()], 1)
    dense.set_weights([weights, -0.5 * weights.sum(0)])
    two = Model("two", "file", "two", False, network, (SIDE, SIDE), Preprocessing(), None, (), ())
    voting = defended(two, parse_defences({"RandomizedSmoothing": {"scale": 0.5, "sample_size": 1000}}), 0)
    assert softmax(voting.predict(half).astype(np.float64), 1)[0, 0] == pytest.approx(0.5, abs=0.06)


def test_an_attack_reads_through_the_defence():
    """FGSM moves each pixel by eps against W of the class seen, also where squeezing has no slope."""
    model = guarded({"FeatureSqueezing": {"bit_depth": 1}})
    x = np.full((1, *SHAPE), 0.4, np.float32)
    estimator = to_estimator(model)
    attack = make_baseline("fgsm", estimator, {"eps": 0.1}, seed=0)
    p = softmax(times_w(np.rint(x)), 1)[0]
    slope = np.einsum("k,hwck->hwc", p - np.eye(CLASSES)[1], W)
    np.testing.assert_allclose(attack.generate(x, np.array([1]))[0] - x[0], 0.1 * np.sign(slope), atol=1e-6)


def test_a_model_that_only_predicts_is_scored_and_gives_no_gradients():
    model = artattack.load_model(
        lambda x: 10 * x.mean((1, 2)), input_size=SIDE, classes=["r", "g", "b"], defences=[{"JpegCompression": None}]
    )
    assert type(model) is Defended
    assert model.gives == "logits"
    compressed = np.stack([jpeg(image, 50) for image in X])
    np.testing.assert_allclose(model.predict(X), 10 * compressed.mean((1, 2)), atol=1e-4)
    assert not hasattr(to_estimator(model), "loss_gradient")


def test_a_defended_model_knows_fewer_classes_too():
    model = replace(guarded({"FeatureSqueezing": {"bit_depth": 4}}), label_space=own_classes(["a", "b", "c", "d"]))
    few = model.restricted_to([1, 3])
    np.testing.assert_allclose(few.predict(X), times_w(np.rint(X * 15) / 15)[:, [1, 3]], atol=1e-4)
    np.testing.assert_allclose(few.logits(tf.constant(X)), few.predict(X), atol=1e-5)


@pytest.mark.parametrize("name", DEFENCES)
def test_every_defence_works_and_says_how_it_is_read(name):
    given = {
        "GaussianAugmentation": {"sigma": 0.1},
        "FeatureSqueezing": {"bit_depth": 3},
        "ResizeAndPad": {"least": 0.5},
    }
    model = guarded({name: given.get(name)})
    assert np.isfinite(model.predict(X)).all()
    assert np.isfinite(to_estimator(model).loss_gradient(X, np.array([0, 1, 2]))).all()
    assert model.source_gradient == gradient_word(model.defences)
    assert ("averaged" in model.source_gradient) == DEFENCES[name].random


def test_one_defence_without_gradient_makes_all_straight_through():
    def word(*defences):
        return gradient_word(parse_defences(list(defences)))

    assert word() is None
    assert word("SpatialSmoothing") == "own"
    assert word("SpatialSmoothing", "JpegCompression") == "straight-through"
    assert word("ResizeAndPad") == "own, averaged"
    assert word("TotalVarMin") == "straight-through, averaged"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("JpegCompresion", "unknown defence 'JpegCompresion'; did you mean 'JpegCompression'"),
        ({"JpegCompression": {"qualty": 50}}, "unknown parameter of JpegCompression 'qualty'; did you mean 'quality'"),
        ({"JpegCompression": {"quality": 0}}, "quality is a whole number from 1 to 100, not 0"),
        ({"JpegCompression": {"quality": True}}, "quality is a whole number from 1 to 100, not True"),
        ({"FeatureSqueezing": None}, "needs bit_depth"),
        ({"SpatialSmoothing": {"window_size": 4}}, "odd"),
        ({"TotalVarMin": {"solver": "Newton"}}, "solver is one of L-BFGS-B"),
        ({"ResizeAndPad": {"least": 1}}, "least is a number above 0 and below 1"),
        ({"GaussianAugmentation": {"sigma": float("nan")}}, "sigma is a number above 0"),
        ({"JpegCompression": 50}, "parameters are a mapping such as {quality: 50}"),
        ({"JpegCompression": {}, "SpatialSmoothing": {}}, "a defence is a name or"),
        (7, "a defence is a name or"),
        (["RandomizedSmoothing", "JpegCompression"], "put it last"),
        ("PixelDefend", "PixelCNN"),
        ("ThermometerEncoding", "channels"),
        ("CutoutTensorFlowV2", "in training"),
    ],
)
def test_mistakes_are_told_in_one_line(given, message):
    with pytest.raises(ArtattackError, match=r".") as error:
        parse_defences(given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_small_images_are_refused_with_the_defence():
    with pytest.raises(ArtattackError, match=r"at most 15 px wide"):
        check_sizes(parse_defences({"SpatialSmoothing": {"window_size": 17}}), (8, 9))
    check_sizes(parse_defences({"SpatialSmoothing": {"window_size": 15}}), (8, 9))
    with pytest.raises(ArtattackError, match="smaller `least`"):
        guarded({"ResizeAndPad": {"least": 0.9}}).predict(X)  # 0.9 * 8 px rounds up to 8


MODELS = {"guarded": {"model": "quicknet_tiny", "weights": "random", "defences": ["JpegCompression"]}}


def benchmark(**changes):
    given = {"images": {"limit": 1, "size": 32}, "models": MODELS, "classifiers": ["guarded"], "attacks": []} | changes
    return parse_benchmark(given)


def test_a_benchmark_file_names_defences():
    assert benchmark().models["guarded"].defences == [{"JpegCompression": {"quality": 50}}]
    wrong = {"guarded": MODELS["guarded"] | {"defences": ["Jpeg"]}}
    with pytest.raises(ArtattackError, match=r"models\.guarded\.defences: unknown defence 'Jpeg'"):
        benchmark(models=wrong)


def test_a_plan_refuses_layers_gradients_and_sizes_that_a_defended_model_lacks():
    backbone = benchmark(attacks=[{"attack": "style", "backbone": "guarded"}])
    with pytest.raises(ArtattackError, match=r"model 'guarded' has defences, and this role reads layers"):
        make_plan(backbone)
    large = {"guarded": MODELS["guarded"] | {"defences": [{"SpatialSmoothing": {"window_size": 99}}]}}
    with pytest.raises(ArtattackError, match=r"models\.guarded: SpatialSmoothing\(window_size=99\)"):
        make_plan(benchmark(models=large))
    make_plan(benchmark(attacks=[{"attack": "pgd", "source": "guarded", "eps": "8/255"}]))
    model = artattack.load_model(
        lambda x: 10 * x.mean((1, 2)), input_size=SIDE, classes=["r", "g", "b"], defences="JpegCompression"
    )
    read = {"classifiers": ["mine"], "attacks": [{"attack": "pgd", "source": "mine", "eps": "8/255"}], "models": {}}
    with pytest.raises(ArtattackError, match="only predicts"):
        make_plan(benchmark(**read), {"mine": model})
