"""Models that only predict: ONNX and TFLite files and functions, against Keras originals and numbers by hand."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from scipy.special import log_softmax, softmax

from artattack.attacks.art_attacks import baseline_info, baseline_infos
from artattack.attacks.baselines import _Generate, make_baseline
from artattack.errors import ArtattackError
from artattack.inputs.labels import LabelSpace, imagenet_classes
from artattack.models import load_model
from artattack.models.estimator import to_estimator
from artattack.models.opened import imagenet_classes_of

SIZE, CLASSES = 12, 5
X = np.random.default_rng(0).uniform(size=(5, SIZE, SIZE, 3)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(3, CLASSES)).astype(np.float32)
BIAS = np.random.default_rng(2).normal(size=CLASSES).astype(np.float32)


def by_hand(x: np.ndarray, scale: float = 2.0, shift: float = -1.0) -> np.ndarray:
    """Logits of the network below: means over the pixels of channels mapped to [-1, 1], times a matrix."""
    return np.asarray((scale * x + shift).mean((1, 2)) @ WEIGHTS + BIAS)


def network(last: str | None = None, size: int | None = SIZE) -> Any:
    inputs = tf_keras.Input((size, size, 3))
    x = tf_keras.layers.GlobalAveragePooling2D()(inputs)
    made = tf_keras.Model(inputs, tf_keras.layers.Dense(CLASSES, activation=last)(x))
    made.set_weights([WEIGHTS, BIAS])
    return made


def onnx_file(
    path: Path,
    shape: tuple[Any, ...] = ("N", 3, SIZE, SIZE),
    *,
    dtype: str = "FLOAT",
    softmax: bool = False,
    bias: np.ndarray = BIAS,
    names: str = "",
) -> Path:
    """The same network, for channels first or last."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make, kinds = onnx.helper, onnx.TensorProto
    axes = [1, 2] if shape[-1] == 3 else [2, 3]
    nodes = [
        make.make_node("Cast", ["image"], ["float"], to=kinds.FLOAT),
        make.make_node("ReduceMean", ["float"], ["mean"], axes=axes, keepdims=0),
        make.make_node("MatMul", ["mean", "weights"], ["product"]),
        make.make_node("Add", ["product", "bias"], ["sum"]),
        make.make_node("Softmax" if softmax else "Identity", ["sum"], ["values"]),
    ]
    graph = make.make_graph(
        nodes,
        "network",
        [make.make_tensor_value_info("image", getattr(kinds, dtype), shape)],
        [make.make_tensor_value_info("values", kinds.FLOAT, [shape[0], CLASSES])],
        [onnx.numpy_helper.from_array(WEIGHTS, "weights"), onnx.numpy_helper.from_array(bias, "bias")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)])
    model.ir_version = 8
    if names:
        make.set_model_props(model, {"names": names})
    onnx.save(model, path)
    return path


def tflite_file(path: Path, last: str | None = None, *, quantized: tuple[Any, Any] | None = None, **sides: Any) -> Path:
    converter = tf.lite.TFLiteConverter.from_keras_model(network(last, **sides))
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([2 * x[None] - 1] for x in X)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = quantized
    path.write_bytes(converter.convert())
    return path


@pytest.mark.parametrize(
    "shape", [("N", 3, SIZE, SIZE), (None, SIZE, SIZE, 3), (1, 3, SIZE, SIZE), (2, SIZE, SIZE, 3), ("N", 3, "H", "W")]
)
def test_onnx_files_of_either_layout_and_any_batch(shape: tuple[Any, ...], tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "net.onnx", shape)
    size = SIZE if "H" in shape else None
    model = load_model(f"onnx:{path}", preprocessing="tf", label_space=[10, 0, 1, 7, 8], input_size=size)
    np.testing.assert_allclose(model.predict(X), by_hand(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.predict(X[:1]), by_hand(X[:1]), rtol=1e-5, atol=1e-5)
    assert (model.name, model.weights, model.gives, model.input_size) == ("net", "file", "logits", (SIZE, SIZE))
    assert (model.classes, model.label_space, model.probabilities) == (CLASSES, (10, 0, 1, 7, 8), False)
    assert model.predict(X[:0]).shape == (0, CLASSES)


@pytest.mark.parametrize("dtype", ["FLOAT16", "DOUBLE", "UINT8"])
def test_onnx_files_of_other_numbers(dtype: str, tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "net.onnx", dtype=dtype)
    model = load_model(path, preprocessing="byte" if dtype == "UINT8" else "tf", name="mine")
    pixels = np.rint(255 * X) / 255
    expected = by_hand(pixels, 255.0, 0.0) if dtype == "UINT8" else by_hand(pixels)
    np.testing.assert_allclose(model.predict(pixels), expected, rtol=1e-5, atol=2e-3 if dtype == "FLOAT16" else 1e-4)
    assert model.name == "mine"


def test_images_are_resized_as_for_the_keras_original(tmp_path: Path) -> None:
    network().save(tmp_path / "net.keras")
    large = np.random.default_rng(3).uniform(size=(3, 30, 20, 3)).astype(np.float32)
    original = load_model(tmp_path / "net.keras", preprocessing="caffe")
    for path in (onnx_file(tmp_path / "net.onnx"), tflite_file(tmp_path / "net.tflite")):
        model = load_model(path, preprocessing="caffe")
        np.testing.assert_allclose(model.predict(large), original.predict(large), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sides", [{}, {"size": None}])
def test_tflite_files(sides: dict[str, Any], tmp_path: Path) -> None:
    path = tflite_file(tmp_path / "net.tflite", **sides)
    model = load_model(f"tflite:{path}", preprocessing="tf", input_size=SIZE)
    np.testing.assert_allclose(model.predict(X), by_hand(X), rtol=1e-5, atol=1e-5)
    assert (model.input_size, model.label_space, model.classes) == ((SIZE, SIZE), None, CLASSES)
    if sides:
        with pytest.raises(ArtattackError, match="fixes no input size; give input_size"):
            load_model(path, preprocessing="tf")
    else:
        with pytest.raises(ArtattackError, match="takes images of 12 x 12 pixels; leave out input_size"):
            load_model(path, preprocessing="tf", input_size=13)


@pytest.mark.parametrize("quantized", [(tf.uint8, tf.uint8), (tf.int8, tf.int8), (tf.uint8, tf.int8)])
def test_quantized_tflite_files_by_their_scale_and_zero_point(quantized: tuple[Any, Any], tmp_path: Path) -> None:
    model = load_model(tflite_file(tmp_path / "net.tflite", quantized=quantized), preprocessing="tf")
    # Inputs in [-1, 1] and outputs of this range are held in 256 steps each, and so are weights and what lies between.
    expected = by_hand(X)
    step = np.ptp(np.append(expected, 0)) / 255
    np.testing.assert_allclose(model.predict(X), expected, atol=3 * step)
    assert np.abs(model.predict(X) - expected).max() > 0


def test_probabilities_become_their_logarithms(tmp_path: Path) -> None:
    expected = log_softmax(by_hand(X), axis=1)
    for path in (onnx_file(tmp_path / "a.onnx", softmax=True), tflite_file(tmp_path / "a.tflite", "softmax")):
        model = load_model(path, preprocessing="tf")
        assert model.probabilities
        np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4, atol=1e-5)
        said = load_model(path, preprocessing="tf", outputs="probabilities")
        np.testing.assert_array_equal(said.predict(X), model.predict(X))
        as_they_are = load_model(path, preprocessing="tf", outputs="logits")
        np.testing.assert_allclose(as_they_are.predict(X), np.exp(expected), rtol=1e-4, atol=1e-6)


def test_quantized_probabilities_need_not_sum_to_one(tmp_path: Path) -> None:
    model = load_model(
        tflite_file(tmp_path / "a.tflite", "softmax", quantized=(tf.uint8, tf.uint8)), preprocessing="tf"
    )
    assert model.probabilities
    np.testing.assert_allclose(softmax(model.predict(X), 1), softmax(by_hand(X), 1), atol=3 / 256)


def test_a_probability_of_zero_has_a_finite_logarithm() -> None:
    model = load_model(lambda x: np.tile([1.0, 0.0], (len(x), 1)), input_size=SIZE)
    np.testing.assert_allclose(softmax(model.predict(X), 1), [[1, 0]] * len(X), atol=1e-30)
    assert np.isfinite(model.predict(X)).all()


def test_label_spaces_from_names_in_files(tmp_path: Path) -> None:
    names = "{0: 'tench', 1: 'great_white_shark', 2: 'goldfish', 3: 'hen', 4: 'ostrich'}"
    model = load_model(onnx_file(tmp_path / "a.onnx", names=names), preprocessing="tf")
    assert model.label_space == (0, 2, 1, 8, 9)
    foreign = load_model(onnx_file(tmp_path / "b.onnx", names="['a', 'b', 'c', 'd', 'e']"), preprocessing="tf")
    assert foreign.label_space == LabelSpace(range(5), "abcde")
    many = load_model(onnx_file(tmp_path / "d.onnx", names="['a', 'b', 'c', 'd']"), preprocessing="tf")
    assert many.label_space is None  # not one for each output
    path = tflite_file(tmp_path / "c.tflite")
    with zipfile.ZipFile(path, "a") as archive:  # as TFLite's metadata tools do
        archive.writestr("labels.txt", "tench\ngoldfish\nn01484850\nhen\nostrich\n")
    model = load_model(path, preprocessing="tf")
    assert model.label_space == (0, 1, 2, 8, 9)
    np.testing.assert_allclose(model.predict(X), by_hand(X), rtol=1e-5, atol=1e-5)
    with pytest.raises(ArtattackError, match="a label space of 2 classes for 5 outputs"):
        load_model(path, preprocessing="tf", label_space=["tench", "hen"])


def test_a_background_class_in_front_of_imagenets_is_left_out() -> None:
    logits = np.random.default_rng(4).normal(size=1001)
    model = load_model(lambda x: np.tile(logits, (len(x), 1)), input_size=SIZE, label_space="imagenet")
    assert model.classes == 1000
    np.testing.assert_allclose(model.predict(X)[0], logits[1:], rtol=1e-6)
    np.testing.assert_allclose(model.restricted_to((7, 0)).predict(X)[0], logits[[1, 8]], rtol=1e-6)
    names = ["background", *(c.wnid for c in imagenet_classes())]
    assert imagenet_classes_of(names) == tuple(range(1000))
    with pytest.raises(ArtattackError, match="a label space of 1000 classes for 1002 outputs"):
        load_model(lambda x: np.zeros((len(x), 1002)), input_size=SIZE, label_space="imagenet")


def test_a_model_restricted_to_some_classes_gives_their_logits(tmp_path: Path) -> None:
    model = load_model(onnx_file(tmp_path / "a.onnx"), preprocessing="tf", label_space=[10, 0, 1, 7, 8])
    some = model.restricted_to((8, 0, 10))
    assert some.label_space == (10, 0, 8)
    np.testing.assert_allclose(some.predict(X), by_hand(X)[:, [0, 1, 4]], rtol=1e-5, atol=1e-5)


def sides(*shape: Any) -> Callable[[Path], Path]:
    return lambda path: onnx_file(path, shape)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: onnx_file(path, bias=np.full(CLASSES, np.nan, np.float32)), "gave values that are not finite"),
        (lambda path: onnx_file(path, dtype="INT64"), r"takes tensor\(int64\); an image is float or uint8"),
        (sides("N", "C", SIZE, SIZE), r"takes \(any, any, 12, 12\); a classifier takes \(N, 3, H, W\) or"),
        (sides("N", 3, "H", "W"), "fixes no input size; give input_size"),
    ],
)
def test_onnx_files_that_are_no_classifiers(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match=message) as caught:
        load_model(make(tmp_path / "net.onnx"), preprocessing="tf")
    assert "\n" not in str(caught.value)


def test_files_cut_short_or_of_something_else(tmp_path: Path) -> None:
    for path in (onnx_file(tmp_path / "net.onnx"), tflite_file(tmp_path / "net.tflite")):
        whole = path.read_bytes()
        for content in (b"", whole[:3], whole[: len(whole) // 2], whole[:-5], b"no model at all" * 50):
            path.write_bytes(content)
            with pytest.raises(ArtattackError, match=rf"model '{re.escape(str(path))}'") as caught:
                load_model(path, preprocessing="tf")
            assert "\n" not in str(caught.value)


def test_words_that_stand_for_no_file(tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match=r"model 'onnx:missing\.onnx': no such file"):
        load_model("onnx:missing.onnx", preprocessing="tf")
    with pytest.raises(ArtattackError, match="before the colon stands one of onnx:, tflite:, lce:, torch:, timm:"):
        load_model("oonx:model", preprocessing="tf")
    path = tflite_file(tmp_path / "net.tflite")
    with pytest.raises(ArtattackError, match="give its preprocessing"):
        load_model(path)
    with pytest.raises(ArtattackError, match="a file holds its weights"):
        load_model(path, "imagenet", preprocessing="tf")
    with pytest.raises(ArtattackError, match="outputs are logits or probabilities, not 'softmax'"):
        load_model(path, preprocessing="tf", outputs="softmax")
    with pytest.raises(ArtattackError, match=r"has outputs: probabilities, but its outputs lie in -?\d"):
        load_model(path, preprocessing="tf", outputs="probabilities")
    with pytest.raises(ArtattackError, match="outputs is for models that are not Keras'"):
        load_model("quicknet_tiny", outputs="logits")


def test_weights_outside_an_onnx_file_are_not_read(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(onnx_file(tmp_path / "a.onnx"))
    onnx.save(model, tmp_path / "b.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(ArtattackError, match="keeps weights in other files, which are not read"):
        load_model(tmp_path / "b.onnx", preprocessing="tf")


def test_a_tflite_file_cannot_touch_files(tmp_path: Path) -> None:
    target = tmp_path / "written"

    class Payload(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, SIZE, SIZE, 3))])
        def classify(self, x: tf.Tensor) -> tf.Tensor:
            tf.io.write_file(str(target), tf.strings.as_string(tf.reduce_sum(x)))
            return tf.reduce_mean(x, (1, 2))

    module = Payload()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.classify.get_concrete_function()], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    path = tmp_path / "payload.tflite"
    path.write_bytes(converter.convert())
    interpreter = tf.lite.Interpreter(str(path))  # the payload is real: without the check it runs
    interpreter.allocate_tensors()
    interpreter.invoke()
    assert target.exists()
    target.unlink()
    with pytest.raises(ArtattackError, match="holds the operator 'Flex"):
        load_model(path, preprocessing="tf")
    assert not target.exists()


def classify(x: np.ndarray) -> np.ndarray:
    assert x.dtype == np.float32
    assert x.shape[1:] == (SIZE, SIZE, 3)
    assert 0 <= x.min() <= x.max() <= 1
    return by_hand(x)


def test_functions_are_models() -> None:
    model = load_model(classify, input_size=SIZE, label_space=["tench", "goldfish", "hen", "cock", "ostrich"])
    np.testing.assert_allclose(model.predict(X), by_hand(X), rtol=1e-5, atol=1e-5)
    assert (model.name, model.weights, model.label_space) == ("classify", "python", (0, 1, 8, 7, 9))
    assert load_model(classify, input_size=SIZE).weights_sha256 == model.weights_sha256
    assert load_model(lambda x: 2 * classify(x), input_size=SIZE).weights_sha256 != model.weights_sha256
    large = np.ones((2, 40, 30, 3), np.float32) * np.float32([0.2, 0.5, 1.0])  # of one colour at any size
    np.testing.assert_allclose(model.predict(large), by_hand(large), rtol=1e-4, atol=1e-4)


def broken(x: np.ndarray) -> np.ndarray:
    raise RuntimeError("no such device\nand more")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: None, "failed on images|gave values of shape"),
        (lambda x: x, r"gave values of shape \(4, 12, 12, 3\) for 4 images; a classifier gives \(4, classes\)"),
        (lambda x: by_hand(x)[:1], r"gave values of shape \(1, 5\) for 4 images"),
        (lambda x: by_hand(x)[:, :1], "has 1 output; a classifier has one for each of two classes or more"),
        (lambda x: by_hand(x) * np.inf, "gave values that are not finite"),
        (lambda x: ["tench"] * len(x), "failed on images of shape .*could not convert"),
        (broken, r"model 'broken' failed on images of shape \(4, 12, 12, 3\): no such device$"),
    ],
)
def test_functions_that_answer_nonsense(function: Any, message: str) -> None:
    with pytest.raises(ArtattackError, match=message):
        load_model(function, input_size=SIZE)


def test_outputs_with_two_sides_of_one_pixel_are_logits() -> None:
    model = load_model(lambda x: by_hand(x)[:, :, None, None], input_size=SIZE)
    np.testing.assert_allclose(model.predict(X), by_hand(X), rtol=1e-5, atol=1e-5)
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Conv2d(3, CLASSES, 1))
    with torch.no_grad():
        network[1].weight[:], network[1].bias[:] = torch.from_numpy(WEIGHTS.T[:, :, None, None]), torch.from_numpy(BIAS)
    made = load_model(network, preprocessing="tf", input_size=SIZE)
    np.testing.assert_allclose(made.predict(X), by_hand(X), rtol=1e-5, atol=1e-5)


def test_functions_are_checked_at_each_answer() -> None:
    model = load_model(lambda x: by_hand(x)[:, : 5 if len(x) in (1, 4) else 3], input_size=SIZE)
    with pytest.raises(
        ArtattackError, match=r"gave values of shape \(5, 3\) for 5 images; a classifier gives \(5, 5\)"
    ):
        model.predict(X)
    with pytest.raises(ArtattackError, match="a function does not say at what size it sees images; give input_size"):
        load_model(classify)


class Counter:
    """A classifier of bright and dark images that counts how many it is asked about."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.images += len(x)
        brightness = x.mean((1, 2, 3))
        return np.stack([20 * (brightness - 0.5), 20 * (0.5 - brightness), np.full(len(x), -10.0)], 1)


BLACK_BOX = {
    "square": {"eps": 0.5, "max_iter": 100},
    "simba": {"max_iter": 30},
    "vat": {"max_iter": 2},
    "zoo": {"max_iter": 2, "binary_search_steps": 1, "nb_parallel": 4},
    "spatial": {"max_translation": 20, "num_translations": 2, "max_rotation": 10, "num_rotations": 2},
    "pixel": {"th": 2, "max_iter": 2},
    "threshold": {"th": 2, "max_iter": 2},
    "boundary": {"max_iter": 3, "num_trial": 3, "sample_size": 3, "init_size": 20},
    "hopskipjump": {"max_iter": 2, "max_eval": 20, "init_eval": 5, "init_size": 20},
    "geoda": {"max_iter": 400, "bin_search_tol": 0.05},
    "signopt": {"max_iter": 2, "num_trial": 5, "k": 4, "query_limit": 100},
}


def test_all_black_box_attacks_are_tried_below() -> None:
    assert set(BLACK_BOX) == {info.name for info in baseline_infos() if info.reads != "gradients"}


@pytest.mark.parametrize("name", BLACK_BOX)
def test_black_box_attacks_run_and_their_queries_are_counted(name: str) -> None:
    counter = Counter()
    model = load_model(counter, input_size=SIZE, name="bright")
    attack = make_baseline(name, to_estimator(model), BLACK_BOX[name], seed=0)
    x = X[:2]
    counter.images = 0
    made = attack.generate(x)
    assert attack.generate.queries.sum() == counter.images
    assert (attack.generate.queries > 0).all()
    assert made.shape == x.shape
    assert np.isfinite(made).all()
    alone = attack.generate(x[1:], seeds=[0])
    np.testing.assert_array_equal(alone[0], made[1])
    if name in ("hopskipjump", "square"):
        assert (model.predict(made).argmax(1) != model.predict(x).argmax(1)).all()


@pytest.mark.parametrize("limit", [1, 40])
@pytest.mark.parametrize("name", BLACK_BOX)
def test_black_box_attacks_keep_to_a_limit_of_queries(name: str, limit: int) -> None:
    model = load_model(Counter(), input_size=SIZE)
    attack = make_baseline(name, to_estimator(model), BLACK_BOX[name], seed=0, max_queries=limit)
    made = attack.generate(X[:2])
    assert (attack.generate.queries <= limit).all()
    assert made.shape == X[:2].shape
    np.testing.assert_array_equal(attack.generate(X[1:2])[0], made[1])
    if limit == 1 and name in ("hopskipjump", "boundary", "geoda", "signopt"):
        np.testing.assert_array_equal(made, X[:2])  # a decision on the original is no use


class Asks:
    """An attack that asks about images of its own choosing, and would give the last."""

    def __init__(self, estimator: Any, images: list[np.ndarray], targeted: bool) -> None:
        self.estimator, self.images, self.targeted = estimator, images, targeted

    def generate(self, x: np.ndarray, y: Any = None) -> np.ndarray:
        for image in self.images:
            self.estimator.predict(image[None])
        return self.images[-1][None]


def grey(value: float) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), value, np.float32)


@pytest.mark.parametrize(
    ("name", "asked", "targeted", "expected"),
    [
        ("square", [0.9, 0.1, 0.4, 0.2], False, 0.4),  # of those that flip, 0.1, 0.4 and 0.2, the nearest
        ("square", [0.9, 0.55, 0.7], False, 0.55),  # of those that do not, the nearest to flipping
        ("hopskipjump", [0.9, 0.55, 0.7], False, 0.6),  # whose logits are not for this attack to see
        ("hopskipjump", [0.9, 0.1, 0.4], False, 0.4),
        ("square", [0.9, 0.1, 0.4], True, 0.4),  # towards dark
        ("square", [0.9, 0.55, 0.7], True, 0.55),
    ],
)
def test_an_attack_cut_short_gives_the_best_it_has_seen(
    name: str, asked: list[float], targeted: bool, expected: float
) -> None:
    unanswered = grey(0.49)  # would be the best of all
    asks = Asks(to_estimator(load_model(Counter(), input_size=SIZE)), [*map(grey, asked), unanswered], targeted)
    generate = _Generate(baseline_info(name), asks, 0, len(asked))
    made = generate(grey(0.6)[None], np.array([1 if targeted else 0]))
    np.testing.assert_array_equal(made, grey(expected)[None])
    assert generate.queries.tolist() == [len(asked)]


@pytest.mark.parametrize(("seen", "expected"), [(None, 0.1), ([0], 0.1)])
def test_the_question_for_the_label_counts_and_is_within_the_limit(seen: list[int] | None, expected: float) -> None:
    """The limit is 3: one for the label, whoever asks, two for the attack, which would have had 0.4 of the third."""
    counter = Counter()
    asks = Asks(to_estimator(load_model(counter, input_size=SIZE)), [grey(0.9), grey(0.1), grey(0.4)], False)
    generate = _Generate(baseline_info("square"), asks, 0, 3)
    counter.images = 0
    made = generate(grey(0.6)[None], seen=None if seen is None else np.array(seen))
    np.testing.assert_array_equal(made, grey(expected)[None])
    assert generate.queries.tolist() == [3]
    assert counter.images == (3 if seen is None else 2)


def test_a_question_asked_before_counts_without_a_limit() -> None:
    asks = Asks(to_estimator(load_model(Counter(), input_size=SIZE)), [grey(0.9), grey(0.1)], False)
    generate = _Generate(baseline_info("square"), asks, 0, None)
    generate(np.stack([grey(0.6)] * 2), seen=np.array([0, 0]))
    assert generate.queries.tolist() == [3, 3]


def test_limits_of_queries_that_are_none() -> None:
    estimator = to_estimator(load_model(classify, input_size=SIZE))
    with pytest.raises(ArtattackError, match="max_queries of attack 'square': a whole number above 0, not 0"):
        make_baseline("square", estimator, {}, max_queries=0)
    with pytest.raises(ArtattackError, match="and 'fgsm' reads gradients: leave it out"):
        make_baseline("fgsm", estimator, {}, max_queries=5)


def test_gradient_attacks_refuse_models_that_only_predict() -> None:
    model = load_model(classify, input_size=SIZE)
    with pytest.raises(ArtattackError, match="attack 'fgsm' does not accept") as caught:
        make_baseline("fgsm", to_estimator(model), {})
    assert "\n" not in str(caught.value)


def test_the_estimator_gives_logits_over_a_temperature_or_probabilities() -> None:
    model = load_model(classify, input_size=SIZE)
    np.testing.assert_allclose(to_estimator(model, temperature=4).predict(X), by_hand(X) / 4, rtol=1e-5, atol=1e-5)
    found = to_estimator(model, probabilities=True).predict(X, batch_size=2)
    np.testing.assert_allclose(found, softmax(by_hand(X), 1), rtol=1e-4)
    with pytest.raises(ArtattackError, match="give a number above 0"):
        to_estimator(model, temperature=0)


def lce_file(path: Path) -> Path:
    """The same network, as Larq's converter writes it."""
    lce = pytest.importorskip("larq_compute_engine")
    path.write_bytes(lce.convert_keras_model(network()))
    return path


def test_lce_files_cut_short_damaged_or_of_something_else(tmp_path: Path) -> None:
    path = lce_file(tmp_path / "net.tflite")
    whole = path.read_bytes()
    model = load_model(f"lce:{path}", preprocessing="tf")
    np.testing.assert_allclose(model.predict(X), by_hand(X), rtol=1e-5, atol=1e-5)
    nowhere = whole.replace(whole[:4], b"\xff\xff\xff\x7f", 1)  # where its table lies: outside
    for content in (b"", whole[:3], whole[: len(whole) // 2], whole[:-5], nowhere, b"no model at all" * 50):
        path.write_bytes(content)
        with pytest.raises(ArtattackError, match=rf"model '{re.escape(str(path))}'") as caught:
            load_model(f"lce:{path}", preprocessing="tf")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["tflite", "lce"])
def test_a_file_that_ends_its_process_ends_another(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = (lce_file if kind == "lce" else tflite_file)(tmp_path / "net.tflite")
    from artattack.models import trial

    monkeypatch.setattr(trial, "LONGEST", 2.0)
    for program, message in (
        ("import os; os.abort()", "crashes the process that runs it"),
        ("while True: pass", "2 s"),
    ):
        (tmp_path / "program.py").write_text(program)
        monkeypatch.setattr(trial.trial_program, "__file__", str(tmp_path / "program.py"))
        with pytest.raises(ArtattackError, match=message) as caught:
            load_model(f"{kind}:{path}", preprocessing="tf")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["tflite", "lce", "any size"])
def test_the_trial_runs_the_network(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It suppresses what goes wrong in it; here it does not, so that nothing can go wrong unseen."""
    from artattack.models import trial

    make = lce_file if kind == "lce" else tflite_file
    path = make(tmp_path / "net.tflite", **({"size": None} if kind == "any size" else {}))
    program = Path(trial.trial_program.__file__).read_text().replace("suppress(Exception)", "suppress()")
    (tmp_path / "program.py").write_text(program)
    monkeypatch.setattr(trial.trial_program, "__file__", str(tmp_path / "program.py"))
    trial.try_elsewhere(path, path.read_bytes(), "lce" if kind == "lce" else "tflite", (SIZE, SIZE))
    with pytest.raises(ArtattackError, match="crashes the process"):
        trial.try_elsewhere(path, b"TFL3", "lce" if kind == "lce" else "tflite")


def test_lce_files_that_are_no_classifiers(tmp_path: Path) -> None:
    lce = pytest.importorskip("larq_compute_engine")
    path = tmp_path / "net.tflite"
    images = tf_keras.Input((SIZE, SIZE, 3))
    flat = tf_keras.layers.Flatten()(images)
    for made, message in (
        (tf_keras.Model(images, tf_keras.layers.Dense(1)(flat)), "has 1 output; a classifier"),
        (tf_keras.Model(images, [tf_keras.layers.Dense(2)(flat), flat]), r"has 2 outputs: 0 .*; choose one"),
        (
            tf_keras.Sequential([tf_keras.Input((8,)), tf_keras.layers.Dense(2)]),
            r"takes \(any, 8\); a classifier takes",
        ),
    ):
        path.write_bytes(lce.convert_keras_model(made))
        with pytest.raises(ArtattackError, match=message):
            load_model(f"lce:{path}", preprocessing="tf")
