"""PyTorch networks: predictions and gradients against PyTorch itself and ART's own PyTorch classifier."""

import importlib.abc
import io
import json
import logging
import pickle
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
from art.estimators.classification import PyTorchClassifier

from artattack.attacks.baselines import make_baseline
from artattack.attacks.momentum import MomentumAttack
from artattack.attacks.style import StyleTransferAttack
from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import make_plan
from artattack.evaluation.run import run_benchmark
from artattack.models import load_model
from artattack.models.estimator import to_estimator

torch = pytest.importorskip("torch")

SIZE, CLASSES = 12, 5
X = np.random.default_rng(0).uniform(size=(5, SIZE, SIZE, 3)).astype(np.float32)
Y = np.eye(CLASSES, dtype=np.float32)[[0, 3, 4, 3, 1]]
MEAN, STD = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)
OWN: dict[str, Any] = {"preprocessing": {"mean": MEAN, "std": STD}, "input_size": SIZE}


class Net(torch.nn.Module):
    def __init__(self, last: Any = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv2d(3, 6, 3, stride=2)
        self.normalization = torch.nn.BatchNorm2d(6)
        self.dropout = torch.nn.Dropout(0.5)
        self.dense = torch.nn.Linear(6, CLASSES)
        self.last = last or torch.nn.Identity()

    def forward(self, x):
        features = torch.relu(self.normalization(self.convolution(x)))
        return self.last(self.dense(self.dropout(features.mean((2, 3)))))


class Whole(torch.nn.Module):
    """The network with its preprocessing, for images (N, 3, H, W) in [0, 1], as ART's own classifier has it."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x):
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        return self.network((255 * x - mean) / std)


def directly(x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return Whole(Net().eval())(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()


def files(folder: Path) -> dict[str, Path]:
    """The network in every kind of file: scripted, traced, exported for any batch and for three images at a time."""
    network, images = Net().eval(), torch.rand(3, 3, SIZE, SIZE)
    torch.jit.script(network).save(folder / "scripted.pt")
    torch.jit.trace(network, images).save(folder / "traced.pt")
    any_batch = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=any_batch), folder / "any.pt2")
    torch.export.save(torch.export.export(network, (images,)), folder / "three.pt2")
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return files(tmp_path_factory.mktemp("torch"))


def art_itself(network: Any = None) -> Any:
    return PyTorchClassifier(
        Whole((network or Net()).eval()),
        torch.nn.CrossEntropyLoss(reduction="sum"),
        (3, SIZE, SIZE),
        CLASSES,
        clip_values=(0, 1),
        device_type="cpu",
    )


def gradient_of(model: Any) -> np.ndarray:
    return np.asarray(to_estimator(model).loss_gradient(X, Y))


def test_a_module_predicts_as_pytorch_does() -> None:
    module = Net()  # in training mode: dropout would blur it
    model = load_model(module, name="mine", label_space=["tench", "goldfish", "hen", "cock", "ostrich"], **OWN)
    np.testing.assert_allclose(model.predict(X), directly(X), rtol=1e-5, atol=1e-5)
    assert (model.name, model.weights, model.gives, model.classes) == ("mine", "python", "gradients", CLASSES)
    some = model.restricted_to((0, 9))
    np.testing.assert_allclose(some.predict(X), directly(X)[:, [0, 4]], rtol=1e-5, atol=1e-5)
    assert gradient_of(model).shape == X.shape
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("name", ["scripted", "traced", "any", "three"])
def test_files_predict_and_differentiate_as_the_module_does(name: str, paths: dict[str, Path]) -> None:
    size = OWN if paths[name].suffix == ".pt" else {"preprocessing": OWN["preprocessing"]}
    model = load_model(f"torch:{paths[name]}", **size)
    np.testing.assert_allclose(model.predict(X), directly(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient_of(model), gradient_of(load_model(Net(), **OWN)), rtol=1e-4, atol=1e-6)
    assert (model.name, model.weights, model.input_size) == (name, "file", (SIZE, SIZE))
    assert model.weights_sha256 == load_model(Net(), **OWN).weights_sha256
    if name == "three":
        with pytest.raises(ArtattackError, match="takes images of 12 x 12 pixels; leave out input_size"):
            load_model(paths[name], preprocessing="tf", input_size=13)


def test_gradients_are_those_of_arts_pytorch_classifier() -> None:
    estimator, own = to_estimator(load_model(Net(), **OWN)), art_itself()
    first = X.transpose(0, 3, 1, 2)
    expected = own.loss_gradient(first, Y).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(estimator.loss_gradient(X, Y), expected, rtol=1e-4, atol=1e-6)
    of_classes = own.class_gradient(first).transpose(0, 1, 3, 4, 2)
    np.testing.assert_allclose(estimator.class_gradient(X), of_classes, rtol=1e-4, atol=1e-6)
    some = estimator.class_gradient(X, label=[4, 0, 1, 2, 3])
    np.testing.assert_allclose(some[:, 0], of_classes[np.arange(5), [4, 0, 1, 2, 3]], rtol=1e-4, atol=1e-6)


def test_gradient_attacks_are_those_of_arts_pytorch_classifier() -> None:
    estimator, own, first = to_estimator(load_model(Net(), **OWN)), art_itself(), X.transpose(0, 3, 1, 2)
    expected = FastGradientMethod(own, eps=0.05).generate(first, Y).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(make_baseline("fgsm", estimator, {"eps": 0.05}).generate(X, Y), expected, atol=1e-6)
    steps = {"eps": 0.1, "eps_step": 0.03, "max_iter": 4}
    expected = ProjectedGradientDescent(own, verbose=False, **steps).generate(first, Y).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(make_baseline("pgd", estimator, steps).generate(X, Y), expected, atol=1e-5)


def test_momentum_attack_and_guides_take_them() -> None:
    model = load_model(Net(), **OWN)
    estimator = to_estimator(model)
    seen = model.predict(X).argmax(1)

    def loss(x: np.ndarray) -> np.ndarray:
        return np.asarray(estimator.compute_loss(x, seen))

    climbed = MomentumAttack(estimator, eps=0.1, max_iter=4).generate(X, seen)
    assert (loss(climbed) > loss(X)).all()
    large = np.random.default_rng(1).uniform(size=(2, 32, 32, 3)).astype(np.float32)
    guide = to_estimator(model, input_shape=(32, 32, 3))
    backbone = to_estimator(load_model("quicknet_tiny"), input_shape=(32, 32, 3))
    options = {"styles": "waves", "steps": 8, "budget": "linf=0.2", "jitter": 0, "init": "content"}
    for views in (0, 1):
        with_guide = StyleTransferAttack(backbone, guides=[guide], guide_weight=100.0, views=views, **options)
        alone = StyleTransferAttack(backbone, **options).generate(large)
        seen_large = model.predict(large).argmax(1)

        def margin(x: np.ndarray, seen: np.ndarray = seen_large) -> np.ndarray:
            logits = model.predict(x)
            return logits[np.arange(2), seen] - np.delete(logits, seen[0], 1).max(1)

        assert margin(with_guide.generate(large)).mean() < margin(alone).mean()


def test_black_box_attacks_count_queries() -> None:
    attack = make_baseline("square", to_estimator(load_model(Net(), **OWN)), {"eps": 0.1, "max_iter": 3}, seed=0)
    attack.generate(X)
    assert (attack.generate.queries > 0).all()


def test_probabilities_of_a_module_become_their_logarithms() -> None:
    model = load_model(Net(torch.nn.Softmax(1)), **OWN)
    assert model.probabilities
    expected = tf.nn.log_softmax(directly(X)).numpy()
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.logits(tf.constant(X)), expected, rtol=1e-4, atol=1e-5)
    # The cross-entropy of log p is that of the logits.
    np.testing.assert_allclose(gradient_of(model), gradient_of(load_model(Net(), **OWN)), rtol=1e-3, atol=1e-6)


class Gives(torch.nn.Module):
    def __init__(self, what: Any) -> None:
        super().__init__()
        self.what = what

    def forward(self, x):
        return self.what(x)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda x: {"logits": None}, "failed on images of .*returns dict, not a tensor"),
        (lambda x: x, r"gave values of shape \(4, 3, 12, 12\) for 4 images"),
        (lambda x: x.mean((2, 3)) * torch.nan, "gave values that are not finite"),
        (lambda x: x @ torch.zeros(7, 7), "failed on images of"),
    ],
)
def test_modules_that_answer_nonsense(what: Any, message: str) -> None:
    with pytest.raises(ArtattackError, match=message) as caught:
        load_model(Gives(what), **OWN)
    assert "\n" not in str(caught.value)


def test_arguments_that_a_module_needs() -> None:
    with pytest.raises(ArtattackError, match="give its preprocessing: imagenet"):
        load_model(Net(), input_size=SIZE)
    with pytest.raises(ArtattackError, match="does not fix its input size; give input_size"):
        load_model(Net(), preprocessing="imagenet")


class Payload:
    """A pickle of it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return open, (str(self.target), "w")


def exchanged(path: Path, new: Path, change: Any) -> Path:
    """Copy an archive with one or more members changed: `change(name, content)` returns the new content."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(new, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, change(name, archive.read(name)))
    return new


def refused(path: Path, message: str) -> None:
    with pytest.raises(ArtattackError, match=message) as caught:
        load_model(f"torch:{path}", **OWN)
    assert "\n" not in str(caught.value)


def test_pickles_are_not_run(tmp_path: Path) -> None:
    target = tmp_path / "written"
    for legacy in (False, True):
        path = tmp_path / "model.pth"
        torch.save({"weights": Payload(target)}, path, _use_new_zipfile_serialization=not legacy)
        target.unlink(missing_ok=True)
        refused(path, "pickle.*torch.export.save or torch.jit.save")
        torch.save(Net().state_dict(), path, _use_new_zipfile_serialization=not legacy)
        refused(path, "pickle")
    path.write_bytes(pickle.dumps(Payload(target)))
    target.unlink(missing_ok=True)
    refused(path, "pickles are not read")
    assert not target.exists()


def test_pickles_in_exported_files_are_not_run(paths: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "written"
    stream = io.BytesIO()
    torch.save((((Payload(target),), {})), stream)
    target.unlink(missing_ok=True)

    def evil_inputs(name: str, content: bytes) -> bytes:
        return stream.getvalue() if name.endswith("sample_inputs/model.pt") else content

    path = exchanged(paths["any"], tmp_path / "a.pt2", evil_inputs)
    logging.disable()  # PyTorch warns with a format that its arguments do not fit, which pytest's handler raises
    torch.export.load(path)  # the payload is real: without the check it runs
    logging.disable(logging.NOTSET)
    assert target.exists()
    target.unlink()
    refused(path, "a pickle with more than tensors")

    def pickled_weights(name: str, content: bytes) -> bytes:
        return (
            content.replace(b'"use_pickle": false', b'"use_pickle": true') if name.endswith("config.json") else content
        )

    refused(exchanged(paths["any"], tmp_path / "b.pt2", pickled_weights), "it contains pickles")
    assert not target.exists()


def of_graph(change: Any) -> Any:
    def changed(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        graph = json.loads(content)
        change(graph)
        return json.dumps(graph).encode()

    return changed


def test_code_in_exported_files_is_not_run(paths: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "written"

    def system(graph: Any) -> None:
        graph["graph_module"]["graph"]["nodes"][0]["target"] = "torch.serialization.os.system"

    def evaluated(graph: Any) -> None:
        payload = json.dumps(f"open({str(target)!r}, 'w')")
        text, count = re.subn(r'(?<="expr_str": )"[^"]*"', lambda found: payload, json.dumps(graph))
        assert count
        graph.clear()
        graph.update(json.loads(text))

    refused(exchanged(paths["any"], tmp_path / "a.pt2", of_graph(system)), r"'torch\.serialization\.os\.system'")
    path = exchanged(paths["any"], tmp_path / "b.pt2", of_graph(evaluated))
    with pytest.raises(Exception):  # noqa: B017, PT011  the payload is real: without the check it runs
        torch.export.load(path)
    assert target.exists()
    target.unlink()
    refused(path, "it contains 'open")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("any/data/aotinductor/model/code.so", b"")
    refused(path, "data/aotinductor|it contains 'open")
    assert not target.exists()


class Writes(torch.nn.Module):
    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(self, x):
        torch.save(x, self.target)
        return x.mean((2, 3))


class Maps(Writes):
    def forward(self, x):
        return x.mean((2, 3)) + torch.from_file(self.target, True, 3)


@pytest.mark.parametrize("kind", [Writes, Maps])
def test_torchscript_that_touches_files_is_not_run(kind: Any, tmp_path: Path) -> None:
    target = tmp_path / "written"
    scripted = torch.jit.script(kind(str(target)))
    scripted.save(tmp_path / "evil.pt")
    torch.jit.load(tmp_path / "evil.pt")(torch.rand(1, 3, SIZE, SIZE))  # the payload is real
    assert target.exists()
    target.unlink()
    refused(tmp_path / "evil.pt", "'(save|from_file)' in its code")
    assert not target.exists()


@pytest.mark.parametrize(
    "code",
    [
        "_0 = torch",
        "_0 = ops.prim",
        "_0 = ops.c10d.broadcast(x)",
        "_0 = ops.prim.rpc_sync(x)",
        "_0 = (x).save('file')",
        "_0 = __torch__.torch.classes.c10d.Store(x)",
    ],
)
def test_torchscript_that_names_more_than_operators_is_not_read(
    code: str, paths: dict[str, Path], tmp_path: Path
) -> None:
    body = re.compile(rb"  def forward\(self: \S+,\n    x: Tensor\) -> Tensor:\n")

    def add(name: str, content: bytes) -> bytes:
        return body.sub(lambda found: found[0] + f"    {code}\n".encode(), content) if name.endswith(".py") else content

    path = exchanged(paths["scripted"], tmp_path / "evil.pt", add)
    with zipfile.ZipFile(path) as archive:
        assert any(code.encode() in archive.read(name) for name in archive.namelist())
    refused(path, "in its code, which no classifier needs")


def test_files_cut_short(paths: dict[str, Path], tmp_path: Path) -> None:
    for name in ("scripted", "any"):
        whole = paths[name].read_bytes()
        for content in (b"", whole[: len(whole) // 2], whole[:-10]):
            (tmp_path / "short.pt").write_bytes(content)
            refused(tmp_path / "short.pt", "is not a complete TorchScript or torch.export file")


def test_in_a_run_beside_keras(paths: dict[str, Path], tmp_path: Path) -> None:
    benchmark = {
        "images": {"size": 64, "limit": 2},
        "models": {"mine": {"model": f"torch:{paths['any']}", "preprocessing": "unit"}},
        "classifiers": ["mine", "quicknet_tiny"],
        "feature_model": "quicknet_tiny",
        "attacks": [
            {"attack": "fgsm", "source": ["mine", "quicknet_tiny"], "eps": "8/255"},
            {"attack": "mi-fgsm", "source": "mine", "eps": "8/255", "max_iter": 2},
        ],
    }
    records = run_benchmark(benchmark, out=tmp_path / "run")
    assert records["error"].isna().all()
    own = records[(records["classifier"] == "mine") & (records["source"] == "mine")]
    assert len(own) == 4
    assert (own["confidence_shift"] < 0).all()
    assert own["classifier_seen"].all()
    with pytest.raises(ArtattackError, match="'mine' has no readable layers"):
        make_plan(parse_benchmark(benchmark | {"attacks": [{"attack": "style", "backbone": "mine"}]}))


def test_timm_networks(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    safetensors = pytest.importorskip("safetensors.torch")
    model = load_model("timm:test_vit", "random")
    assert (model.classes, len(model.label_space), model.input_size) == (1000, 1000, (160, 160))
    network = timm.create_model("test_vit")
    safetensors.save_file(network.state_dict(), tmp_path / "weights.safetensors")
    own = load_model("timm:test_vit", tmp_path / "weights.safetensors")
    x = np.random.default_rng(0).uniform(size=(2, 160, 160, 3)).astype(np.float32)
    mean, std = (np.float32(network.pretrained_cfg[name]) for name in ("mean", "std"))
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(((x - mean) / std).transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(own.predict(x), expected, rtol=1e-3, atol=1e-4)
    assert own.weights == "file"
    assert np.abs(model.predict(x) - own.predict(x)).max() > 0.01
    with pytest.raises(ArtattackError, match="'timm:test_vit': give weights: imagenet"):
        load_model("timm:test_vit")
    with pytest.raises(ArtattackError, match="unknown timm model 'test_vitt'; did you mean 'test_vit"):
        load_model("timm:test_vitt", "random")
    with pytest.raises(ArtattackError, match="cannot be loaded"):
        load_model("timm:test_resnet", tmp_path / "weights.safetensors")


@pytest.mark.parametrize("name", ["scripted", "any"])
def test_files_that_unpack_to_far_more_than_they_hold(
    name: str, paths: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.pt"
    path.write_bytes(paths[name].read_bytes())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        folder = archive.namelist()[0].partition("/")[0]
        for number in range(4):  # none of them large by itself
            archive.writestr(f"{folder}/data/{90 + number}", bytes(2**20))
    monkeypatch.setattr("artattack.models.untrusted.SMALL", 2**21)
    refused(path, r"unpacks from \d+ to 4\d{6} bytes, too much for weights; it is not read")
    monkeypatch.setattr("artattack.models.untrusted.SMALL", 2**23)
    if name == "scripted":
        load_model(path, **OWN)


def test_a_timm_that_does_not_go_with_its_torch_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, *args: Any) -> None:
            if name == "timm":
                raise RuntimeError("operator torchvision::nms does not exist\nand more")

    for name in [name for name in sys.modules if name.split(".")[0] == "timm" or name.endswith(".timm_model")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("artattack.models.timm_model", raising=False)
    monkeypatch.setattr("artattack.models.kinds.find_spec", lambda package: object())
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(ArtattackError, match=r"timm cannot be loaded .*nms does not exist.*: reinstall both") as caught:
        load_model("timm:test_vit", "random")
    assert "\n" not in str(caught.value)
