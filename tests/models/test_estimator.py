"""ART estimators of models: the same results as ART's own classifier, and closed forms."""

import art.attacks.evasion as evasion
import larq as lq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from art.estimators.classification import TensorFlowV2Classifier

from artattack.errors import ArtattackError
from artattack.models.estimator import to_estimator
from artattack.models.model import Model, Preprocessing

SIZE, CLASSES = 12, 7
RNG = np.random.default_rng(0)
X = RNG.random((5, SIZE, SIZE, 3), dtype=np.float32)
Y = np.eye(CLASSES, dtype=np.float32)[[0, 3, 6, 3, 1]]


def model_of(network, binary=False):
    return Model(
        name="small",
        weights="random",
        weights_sha256="",
        binary=binary,
        network=network,
        input_size=(SIZE, SIZE),
        preprocessing=Preprocessing((120.0, 110.0, 100.0), (60.0, 50.0, 40.0), bgr=True),
        label_space=None,
        style_layers=(),
        content_layers=(),
    )


def binary_model():
    """Pieces of a QuickNet: binarized convolution, batch norm and a shortcut."""
    tf_keras.utils.set_random_seed(1)
    image = tf_keras.Input((SIZE, SIZE, 3))
    y = tf_keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    shortcut = tf_keras.layers.BatchNormalization()(y)
    y = lq.layers.QuantConv2D(
        8, 3, padding="same", pad_values=1.0, input_quantizer="ste_sign", kernel_quantizer="ste_sign"
    )(shortcut)
    y = tf_keras.layers.add([shortcut, tf_keras.layers.BatchNormalization()(y)])
    return model_of(tf_keras.Model(image, tf_keras.layers.Dense(CLASSES)(tf_keras.layers.Flatten()(y))), True)


def float_model():
    tf_keras.utils.set_random_seed(2)
    image = tf_keras.Input((SIZE, SIZE, 3))
    y = tf_keras.layers.Conv2D(6, 3, strides=2, activation="tanh")(image)
    y = tf_keras.layers.BatchNormalization(momentum=0.5)(y)
    return model_of(tf_keras.Model(image, tf_keras.layers.Dense(CLASSES)(tf_keras.layers.Flatten()(y))))


def linear_model():
    """Logits flatten(x) @ W, so that gradients have closed forms; returns also W (H, W, 3, K)."""
    weights = np.random.default_rng(3).normal(0, 0.1, (SIZE * SIZE * 3, CLASSES)).astype(np.float32)
    image = tf_keras.Input((SIZE, SIZE, 3))
    dense = tf_keras.layers.Dense(CLASSES, use_bias=False)
    network = tf_keras.Model(image, dense(tf_keras.layers.Flatten()(image)))
    dense.set_weights([weights])
    model = model_of(network)
    model.preprocessing = Preprocessing()  # the identity on [0, 1]
    return model, weights.reshape(SIZE, SIZE, 3, CLASSES)


def stock(model, function=None, shape=(SIZE, SIZE, 3)):
    """ART's own classifier of the same logits (or of `function`)."""
    return TensorFlowV2Classifier(
        model=lambda x, training=False: (function or model.logits)(x),
        nb_classes=CLASSES,
        input_shape=shape,
        loss_object=tf_keras.losses.CategoricalCrossentropy(from_logits=True, reduction="sum"),
        clip_values=(0, 1),
        preprocessing=None,
    )


def assert_same(actual, expected):
    assert actual.shape == expected.shape
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(scope="module", params=[binary_model, float_model])
def pair(request):
    model = request.param()
    return to_estimator(model), stock(model)


def test_the_model_comes_back():
    model = float_model()
    assert to_estimator(model).artattack_model is model


@pytest.mark.parametrize("batch_size", [1, 2, 5, 128])
def test_predict_as_stock(pair, batch_size):
    assert_same(pair[0].predict(X, batch_size=batch_size), pair[1].predict(X))


def test_predict_computes_no_more_than_batch_size_images_at_once(monkeypatch):
    model, seen = float_model(), []
    spy = tf_keras.layers.Lambda(lambda x: tf.py_function(lambda v: seen.append(len(v)) or v, [x], tf.float32))
    image = tf_keras.Input((SIZE, SIZE, 3))
    model.network = tf_keras.Model(image, model.network(tf.ensure_shape(spy(image), (None, SIZE, SIZE, 3))))
    to_estimator(model).predict(X, batch_size=2)
    assert seen == [2, 2, 1]


def test_loss_gradient_as_stock(pair):
    assert_same(pair[0].loss_gradient(X, Y), pair[1].loss_gradient(X, Y))


def test_loss_gradient_takes_indices_and_distributions(pair):
    one_hot = pair[0].loss_gradient(X, Y)
    assert_same(pair[0].loss_gradient(X, Y.argmax(1)), one_hot)
    assert_same(pair[0].loss_gradient(X, Y.argmax(1)[:, np.newaxis]), one_hot)
    soft = (Y + 1) / (CLASSES + 1)
    assert_same(pair[0].loss_gradient(X, soft), pair[1].loss_gradient(X, soft))


def test_loss_gradient_keeps_tensors_tensors_and_arrays_arrays(pair):
    as_tensor = pair[0].loss_gradient(tf.constant(X), tf.constant(Y))
    assert tf.is_tensor(as_tensor)
    as_array = pair[0].loss_gradient(X.astype(np.float64), Y)
    assert isinstance(as_array, np.ndarray)
    assert as_array.dtype == np.float32
    assert_same(as_tensor.numpy(), as_array)


def test_an_images_gradient_does_not_depend_on_its_neighbours(pair):
    alone = np.concatenate([pair[0].loss_gradient(X[i : i + 1], Y[i : i + 1]) for i in range(len(X))])
    assert_same(pair[0].loss_gradient(X, Y), alone)


@pytest.mark.parametrize("label", [None, 4, [0, 3, 6, 3, 1], np.array([2, 2, 2, 0, 5])])
def test_class_gradient_as_stock(pair, label):
    assert_same(pair[0].class_gradient(X, label), pair[1].class_gradient(X, label))


def test_class_gradient_of_all_classes_in_several_pieces(monkeypatch):
    monkeypatch.setattr("artattack.models.estimator.ROWS", 4)
    model, weights = linear_model()
    expected = np.broadcast_to(np.moveaxis(weights, -1, 0), (5, CLASSES, SIZE, SIZE, 3))
    assert_same(to_estimator(model).class_gradient(X), expected)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_compute_loss_as_stock(pair, reduction):
    assert_same(pair[0].compute_loss(X, Y, reduction=reduction), pair[1].compute_loss(X, Y, reduction=reduction))


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_temperature_divides_logits_in_every_quantity(temperature):
    model, weights = linear_model()
    estimator = to_estimator(model, temperature=temperature)
    logits = np.einsum("nhwc,hwck->nk", X, weights) / temperature
    odds = np.exp(logits)
    p = odds / odds.sum(axis=1, keepdims=True)
    assert_same(estimator.predict(X), logits)
    assert_same(estimator.model(X, training=False).numpy(), logits)
    assert_same(estimator.compute_loss(X, Y), -np.log((p * Y).sum(axis=1)))
    assert_same(estimator.loss_gradient(X, Y), np.einsum("nk,hwck->nhwc", p - Y, weights) / temperature)
    assert_same(estimator.class_gradient(X, 2)[:, 0], np.repeat(weights[np.newaxis, ..., 2], 5, 0) / temperature)


def test_temperature_revives_a_saturated_gradient():
    model, _ = linear_model()
    model.preprocessing = Preprocessing(std=(0.01, 0.01, 0.01))  # logits 25500 times as large
    y = np.eye(CLASSES, dtype=np.float32)[model.predict(X).argmax(1)]
    assert not to_estimator(model).loss_gradient(X, y).any()
    assert to_estimator(model, temperature=25500).loss_gradient(X, y).any(axis=(1, 2, 3)).all()


def test_probabilities_as_stock():
    model = binary_model()
    estimator = to_estimator(model, probabilities=True)
    softmax = stock(model, lambda x: tf.nn.softmax(model.logits(x)))
    assert_same(estimator.predict(X), softmax.predict(X))
    assert_same(estimator.class_gradient(X), softmax.class_gradient(X))
    assert_same(estimator.loss_gradient(X, Y), stock(model).loss_gradient(X, Y))


def test_images_of_another_size_are_resized_inside():
    model, shape = float_model(), (20, 16, 3)
    estimator, reference = to_estimator(model, input_shape=shape), stock(model, shape=shape)
    x = RNG.random((3, *shape), dtype=np.float32)
    assert estimator.input_shape == shape
    assert_same(estimator.predict(x), reference.predict(x))
    assert_same(estimator.loss_gradient(x, Y[:3]), reference.loss_gradient(x, Y[:3]))


def test_a_restricted_model_is_a_classifier_of_its_classes():
    """What ART sees of the kept classes alone: closed forms of softmax over two of a linear model's logits."""
    full, weights = linear_model()
    full.label_space = (5, 4, 3, 2, 1, 0, 999)
    estimator = to_estimator(full.restricted_to((4, 999)))
    weights = weights[..., [1, 6]]
    logits = np.einsum("nhwc,hwck->nk", X, weights)
    labels = np.array([0, 1, 1, 0, 1])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert estimator.nb_classes == 2
    assert_same(estimator.predict(X), logits)
    assert estimator.predict(X[:0]).shape == (0, 2)
    assert_same(estimator.model(X).numpy(), logits)
    assert_same(estimator.compute_loss(X, labels), -np.log(p[np.arange(5), labels]))
    assert_same(estimator.loss_gradient(X, labels), np.einsum("nk,hwck->nhwc", p - np.eye(2)[labels], weights))
    every = np.broadcast_to(np.moveaxis(weights, -1, 0), (5, 2, SIZE, SIZE, 3))
    assert_same(estimator.class_gradient(X), every)
    assert_same(estimator.class_gradient(X, labels), np.moveaxis(weights, -1, 0)[labels][:, np.newaxis])
    attack = evasion.ProjectedGradientDescent(estimator, eps=0.1, eps_step=0.02, max_iter=5, verbose=False)
    seen = logits.argmax(1)
    before, after = (estimator.compute_loss(x, seen) for x in (X, attack.generate(X, np.eye(2)[seen])))
    assert (after > before).all()


def test_each_function_is_traced_once_for_all_batch_sizes(monkeypatch):
    model, traces = float_model(), []
    logits = model.logits
    monkeypatch.setattr(model, "logits", lambda x: traces.append(x.shape) or logits(x))
    estimator = to_estimator(model)
    for count in (5, 3, 1):
        estimator.predict(X[:count], batch_size=2)
        estimator.loss_gradient(X[:count], Y[:count])
        estimator.loss_gradient(tf.constant(X[:count]), tf.constant(Y[:count]))
        estimator.compute_loss(X[:count], Y[:count])
        estimator.class_gradient(X[:count])
        estimator.class_gradient(X[:count], 1)
        estimator.model(X[:count])
    assert traces == [(None, SIZE, SIZE, 3)] * 5  # predict, loss_gradient, compute_loss, class_gradient, model


@pytest.mark.parametrize(
    "make",
    [
        lambda e: evasion.FastGradientMethod(e, eps=0.05),
        lambda e: evasion.ProjectedGradientDescent(e, eps=0.05, eps_step=0.02, max_iter=4, batch_size=2, verbose=False),
        lambda e: evasion.ProjectedGradientDescent(
            e, norm=2, eps=1.0, eps_step=0.3, max_iter=4, batch_size=5, verbose=False
        ),
        lambda e: evasion.DeepFool(e, max_iter=5, nb_grads=4, batch_size=2, verbose=False),
        lambda e: evasion.CarliniL2Method(
            e,
            max_iter=5,
            learning_rate=0.2,
            initial_const=10,
            binary_search_steps=2,
            batch_size=2,
            verbose=False,
        ),
    ],
)
def test_attacks_find_the_same_images_as_with_stock_art(pair, make):
    seen = np.eye(CLASSES, dtype=np.float32)[pair[1].predict(X).argmax(axis=1)]
    found = [make(estimator).generate(X, seen) for estimator in pair]
    assert_same(found[0] - X, found[1] - X)


@pytest.mark.parametrize("loss_type", [None, "cross_entropy", "difference_logits_ratio"])
def test_autopgd_lowers_the_score_of_the_class(loss_type):
    model = binary_model()
    estimator = to_estimator(model)
    labels = model.predict(X).argmax(axis=1)
    np.random.seed(0)
    attack = evasion.AutoProjectedGradientDescent(
        estimator, eps=0.05, eps_step=0.02, max_iter=5, nb_random_init=1, loss_type=loss_type, verbose=False
    )
    found = attack.generate(X, labels)
    assert 0 < np.abs(found - X).max() <= 0.05 + 1e-6
    before, after = (estimator.compute_loss(x, labels) for x in (X, found))
    assert after.mean() > before.mean() + 0.5


def test_stock_classifiers_around_its_model_agree(pair):
    rebuilt = TensorFlowV2Classifier(
        pair[0].model, CLASSES, (SIZE, SIZE, 3), loss_object=pair[0].loss_object, preprocessing=None
    )
    assert_same(rebuilt.predict(X), pair[1].predict(X))
    assert_same(rebuilt.loss_gradient(X, Y), pair[1].loss_gradient(X, Y))


@pytest.mark.parametrize("x", [X[0], X[:, 1:], np.zeros((2, SIZE, SIZE, 1))])
def test_images_of_the_wrong_shape_are_refused(x):
    estimator = to_estimator(linear_model()[0])
    for ask in (
        estimator.predict,
        estimator.class_gradient,
        lambda x: estimator.loss_gradient(x, Y[: len(x)]),
    ):
        with pytest.raises(ArtattackError, match=r"takes images of shape \(N, 12, 12, 3\)"):
            ask(x)


@pytest.mark.parametrize("temperature", [0, -1, float("nan")])
def test_temperature_must_be_above_zero(temperature):
    with pytest.raises(ArtattackError, match="temperature"):
        to_estimator(linear_model()[0], temperature=temperature)


def test_defences_are_refused_rather_than_ignored():
    from art.defences.preprocessor import SpatialSmoothingTensorFlowV2

    with pytest.raises(ArtattackError, match="defences"):
        to_estimator(linear_model()[0]).set_params(preprocessing_defences=[SpatialSmoothingTensorFlowV2()])
