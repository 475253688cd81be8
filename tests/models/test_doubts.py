"""A model's doubts: answers that change and implausible preprocessing, found at loading for every kind."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from artattack.errors import ArtattackError
from artattack.models import load_model
from artattack.models.classifier import DRAWS
from artattack.models.doubts import doubt_pictures

SIZE = 16
X = np.random.default_rng(0).uniform(size=(3, SIZE, SIZE, 3)).astype(np.float32)
AGAIN, ALONE = "differently when asked again", "differently alone than beside others"


def network(library: Any = tf_keras, *first: Any, dropout: bool | None = None, batch: bool | None = None) -> Any:
    """A small network that begins with some layers, and calls dropout and batch normalization with a `training`."""
    layers = library.layers
    inputs = library.Input((SIZE, SIZE, 3))
    x = inputs
    for layer in first:
        x = layer(x)
    x = layers.Conv2D(8, 3, strides=2)(x)
    norm = layers.BatchNormalization()
    x = norm(x) if batch is None else norm(x, training=batch)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    x = x if dropout is None else layers.Dropout(0.5)(x, training=dropout)
    return library.Model(inputs, layers.Dense(4)(x))


def saved(made: Any, path: Path) -> Path:
    made.save(path)
    return path


def test_a_keras_file_with_dropout_at_work_is_refused_or_averaged(tmp_path: Path) -> None:
    made = network(dropout=True)
    path = saved(made, tmp_path / "net.keras")
    with pytest.raises(ArtattackError, match=f"model 'net' answers the same images {AGAIN}.*random: true"):
        load_model(path, preprocessing="unit")
    model = load_model(path, preprocessing="unit", random=True)
    assert model.draws == DRAWS
    assert "averaged over 8 draws" in model.doubt
    drawn = np.mean([tf.nn.softmax(made(X)) for _ in range(2000)], axis=0)  # what 8 draws are an average of
    ours = np.mean([np.exp(model.predict(X)) for _ in range(60)], axis=0)
    np.testing.assert_allclose(np.exp(model.predict(X)).sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(ours, drawn, atol=0.02)


def test_a_keras_3_file_answers_as_keras_predicts(tmp_path: Path) -> None:
    made = network(keras, dropout=True, batch=True)  # `predict` would ignore both
    model = load_model(saved(made, tmp_path / "net.keras"), preprocessing="unit")
    np.testing.assert_allclose(model.predict(X), made.predict(X, verbose=0), atol=1e-5)


def test_a_batch_normalization_that_a_file_calls_in_training_mode_stays_there(tmp_path: Path) -> None:
    made = network(batch=True)
    path = saved(made, tmp_path / "net.keras")
    with pytest.raises(ArtattackError, match=ALONE):
        load_model(path, preprocessing="unit")
    model = load_model(path, preprocessing="unit", random=True)
    np.testing.assert_allclose(np.exp(model.predict(X)), tf.nn.softmax(made(X)), atol=1e-5)
    assert load_model(saved(network(batch=False), tmp_path / "eval.keras"), preprocessing="unit").doubts == ()


def traced(path: Path, **how: Any) -> str:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    made = torch.nn.Sequential(*layers, torch.nn.Dropout(how["dropout"]), torch.nn.Linear(8, 4))
    made.train(how["training"])
    torch.jit.save(torch.jit.trace(made, torch.rand(2, 3, SIZE, SIZE), check_trace=False), path)
    return f"torch:{path}"


@pytest.mark.parametrize(("dropout", "why"), [(0.5, AGAIN), (0.0, ALONE)])
def test_a_file_of_pytorch_traced_in_training_mode_is_refused(dropout: float, why: str, tmp_path: Path) -> None:
    spec = traced(tmp_path / "train.pt", dropout=dropout, training=True)
    with pytest.raises(ArtattackError, match=why):
        load_model(spec, preprocessing="unit", input_size=SIZE)
    spec = traced(tmp_path / "eval.pt", dropout=dropout, training=False)
    assert load_model(spec, preprocessing="unit", input_size=SIZE).doubts == ()


def centred_onnx(path: Path, dtype: str = "FLOAT", axes: tuple[int, ...] = (0,)) -> Path:
    """Means over pixels, less their mean over `axes`: over 0, a normalization by the batch."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        make.make_node("Cast", ["image"], ["float"], to=kinds.FLOAT),
        make.make_node("ReduceMean", ["float"], ["mean"], axes=[2, 3], keepdims=0),
        make.make_node("ReduceMean", ["mean"], ["centre"], axes=axes, keepdims=1),
        make.make_node("Sub", ["mean", "centre"], ["values"]),
    ]
    given = make.make_tensor_value_info("image", getattr(kinds, dtype), ["N", 3, SIZE, SIZE])
    graph = make.make_graph(nodes, "net", [given], [make.make_tensor_value_info("values", kinds.FLOAT, ["N", 3])])
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_an_onnx_file_with_statistics_of_the_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match=ALONE):
        load_model(centred_onnx(tmp_path / "train.onnx"), preprocessing="unit")
    assert load_model(centred_onnx(tmp_path / "eval.onnx", axes=(1,)), preprocessing="unit").doubts == ()


def test_functions_are_asked_a_few_times() -> None:
    asked: list[int] = []

    def steady(x: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        return x.mean((1, 2))

    model = load_model(steady, input_size=SIZE)
    assert (model.doubts, model.draws) == ((), 1)
    assert asked == [4, 4, 4, 1]  # to see what the answers are; twice, and one of them alone
    draw = np.random.default_rng(0)
    with pytest.raises(ArtattackError, match=AGAIN):
        load_model(lambda x: x.mean((1, 2)) + 0.1 * draw.normal(size=(len(x), 3)), input_size=SIZE)
    with pytest.raises(ArtattackError, match=ALONE):
        load_model(lambda x: x.mean((1, 2)) - x.mean((0, 1, 2)), input_size=SIZE)
    with pytest.raises(ArtattackError, match=AGAIN):  # of probabilities, where logarithms would be -inf
        load_model(lambda x: np.eye(3)[draw.integers(0, 3, len(x))], input_size=SIZE)
    steadily = load_model(steady, input_size=SIZE, random=True)
    assert "gave the same answers twice" in steadily.doubt


def test_a_network_that_gives_every_picture_the_same_answer_is_doubted() -> None:
    model = load_model(lambda x: np.tile([3.0, 1.0, 2.0], (len(x), 1)) + 1e-5 * x.mean((1, 2)), input_size=SIZE)
    assert "gives four different pictures the same answer" in model.doubt


def test_an_input_of_bytes_given_fractions_is_doubted(tmp_path: Path) -> None:
    path = centred_onnx(tmp_path / "net.onnx", "UINT8", axes=(1,))
    assert load_model(path, preprocessing="byte").doubts == ()
    doubts = load_model(path, preprocessing="unit").doubts
    assert "distinguishes 2 levels of a pixel: its input holds values from 0 to 255" in doubts[0]  # 0 and 1
    assert "clips" in load_model(path, preprocessing="imagenet").doubts[0]  # values below 0


@pytest.mark.parametrize("kind", [tf.uint8, tf.int8, tf.float32])
def test_a_quantized_input_that_cuts_values_off_is_doubted(kind: Any, tmp_path: Path) -> None:
    converter = tf.lite.TFLiteConverter.from_keras_model(network())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([2 * x[None] - 1] for x in X)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = kind
    path = tmp_path / "net.tflite"
    path.write_bytes(converter.convert())
    assert load_model(path, preprocessing="tf").doubts == ()
    doubt = load_model(path, preprocessing="byte").doubts[0]
    assert "clips 9" in doubt  # all but what is black, or nearly
    assert re.search(r"its input holds values from -1(.01)? to (1|0.99\d*)\b", doubt)


def divided(library: Any) -> Callable[[Any], Any]:
    return lambda x: x / 127.5 - 1.0


def nested(library: Any) -> Any:
    inputs = library.Input((SIZE, SIZE, 3))
    return library.Model(inputs, library.layers.Conv2D(3, 1)(library.layers.Rescaling(1 / 255)(inputs)))


@pytest.mark.parametrize("library", [tf_keras, keras])
@pytest.mark.parametrize(
    "first",
    [
        lambda library: library.layers.Rescaling(1 / 255),
        lambda library: library.layers.Rescaling(1 / 127.5, offset=-1),
        lambda library: library.layers.Normalization(mean=[124.0, 116.0, 104.0], variance=[3410.0, 3263.0, 3292.0]),
        divided,
        nested,
    ],
)
def test_images_scaled_before_layers_that_scale_are_doubted(first: Any, library: Any, tmp_path: Path) -> None:
    path = saved(network(library, first(library)), tmp_path / "net.keras")
    assert load_model(path, preprocessing="byte").doubts == ()
    for preprocessing in ("unit", "tf", "imagenet"):
        (doubt,) = load_model(path, preprocessing=preprocessing).doubts
        assert "begins with" in doubt
        assert doubt.endswith("give preprocessing: byte")


def test_layers_that_scale_fractions_are_doubted_when_given_bytes(tmp_path: Path) -> None:
    own = tf_keras.layers.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.0524, 0.0502, 0.0506])
    path = saved(network(tf_keras, own), tmp_path / "net.keras")
    assert load_model(path, preprocessing="unit").doubts == ()
    for preprocessing in ("byte", "imagenet"):  # scaled by nothing, and twice
        assert load_model(path, preprocessing=preprocessing).doubt.endswith("give preprocessing: unit")


def test_values_unlike_those_that_a_batch_normalization_learnt_are_doubted(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tf_keras.utils.set_random_seed(0)
    torch.manual_seed(0)
    given = doubt_pictures((SIZE, SIZE))
    made = network()
    conv, norm = made.layers[1], made.layers[2]
    values = conv(given).numpy()
    norm.moving_mean.assign(values.mean((0, 1, 2)))
    norm.moving_variance.assign(values.var((0, 1, 2)))  # as after training on pictures in [0, 1]
    path = saved(made, tmp_path / "net.keras")
    assert load_model(path, preprocessing="unit").doubts == ()
    (doubt,) = load_model(path, preprocessing="byte").doubts
    found = re.search(r"spread (\d+) times more at its first batch normalization", doubt)
    assert found is not None
    assert 200 < int(found[1]) <= 255  # 255 but for the layer's epsilon beside small variances
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    module = torch.nn.Sequential(*layers, torch.nn.Linear(8, 4))
    with torch.no_grad():
        seen = module[0](torch.from_numpy(given.transpose(0, 3, 1, 2)))
    module[1].running_mean[:], module[1].running_var[:] = seen.mean((0, 2, 3)), seen.var((0, 2, 3))
    assert load_model(module, preprocessing="unit", input_size=SIZE).doubts == ()
    assert "times more" in load_model(module, preprocessing="byte", input_size=SIZE).doubt
    assert not module[1]._forward_pre_hooks


def test_pictures_are_about_as_photos_are() -> None:
    pictures = doubt_pictures((64, 48))
    assert (pictures.shape, pictures.dtype) == ((4, 64, 48, 3), np.float32)
    assert pictures.mean() == pytest.approx(0.45, abs=0.02)
    assert pictures.std() == pytest.approx(0.27, abs=0.04)
    assert (pictures.min(), pictures.max()) == (0, 1)
    np.testing.assert_array_equal(pictures, doubt_pictures.__wrapped__((64, 48)))


def test_a_model_shows_itself_in_one_short_line() -> None:
    model = load_model(lambda x: x.mean((1, 2)), input_size=(48, 144), name="mine")
    assert repr(model) == "<Predictor 'mine': 3 classes, 48 x 144 px, python>"


def test_many_models_are_asked_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for k in range(8):
        made = tf_keras.Sequential(
            [tf_keras.layers.GlobalMaxPool2D(input_shape=(SIZE, SIZE, 3)), tf_keras.layers.Dense(3)]
        )
        model = load_model(saved(made, tmp_path / f"net{k}.keras"), preprocessing="unit")
        with caplog.at_level("WARNING", logger="tensorflow"):  # the product may have set another level
            model.predict(X)
    assert not caplog.records
