"""Files made to run code or to reach other files, built here one by one: each gets one line, and nothing runs.

What they would run is a canary: a module, beside the working directory's other files as `python -m` sees them,
that leaves a mark when it is imported or called.
"""

import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras.protobuf import saved_metadata_pb2
from tf_keras.src.layers.rnn.cell_wrappers import ResidualWrapper

import artattack
from artattack.config import load_benchmark
from artattack.errors import ArtattackError
from artattack.models import load_model, untrusted
from artattack.models.untrusted import check_architecture, check_hdf5, weights_file

pytestmark = pytest.mark.slow

X = np.random.default_rng(0).uniform(size=(2, 16, 16, 3)).astype(np.float32)
FILES = {
    "Keras 2 .keras": (tf_keras, "model.keras"),
    "Keras 3 .keras": (keras, "model.keras"),
    "Keras 2 .h5": (tf_keras, "model.h5"),
    "Keras 3 .h5": (keras, "model.h5"),
    "SavedModel": (tf_keras, "saved_model"),
}
CANARY = """
from pathlib import Path

MARK = Path(__file__).with_name("mark")
MARK.touch()

def relu(x, *args, **kwargs):
    MARK.touch()
    return x

class Conv2D:
    from_config = classmethod(relu)
"""


class Canary:
    """A module that leaves a mark when it is imported."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.mark = folder / "mark"
        (folder / f"{name}.py").write_text(CANARY)

    @property
    def function(self) -> dict[str, Any]:
        """Describe its function as Keras describes an activation."""
        return {"class_name": "function", "module": self.name, "config": "relu", "registered_name": "function"}

    def assert_silent(self) -> None:
        assert not self.mark.exists()
        assert self.name not in sys.modules


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Canary]:
    folder = tmp_path / "working_directory"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    canary = Canary(folder, "canary_in_the_working_directory")
    yield canary
    sys.modules.pop(canary.name, None)


def network(package: Any) -> Any:
    inputs = package.Input((16, 16, 3))
    x = package.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    if package is tf_keras:
        x = tf.nn.relu(x)
    x = package.layers.GlobalAveragePooling2D(name="pool")(x)
    return package.Model(inputs, package.layers.Dense(3, name="dense")(x))


def save(network: Any, path: Path) -> Path:
    network.save(path, **({"save_format": "tf"} if path.suffix == "" else {}))
    return path


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One harmless file of each kind."""
    folders = {kind: tmp_path_factory.mktemp("harmless") for kind in FILES}
    return {kind: save(network(package), folders[kind] / name) for kind, (package, name) in FILES.items()}


@pytest.fixture
def copy_of(harmless: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def copy(kind: str) -> Path:
        original = harmless[kind]
        target = tmp_path / original.name
        (shutil.copytree if original.is_dir() else shutil.copy)(original, target)
        return target

    return copy


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_archive(path: Path, content: dict[str, bytes] | list[tuple[str, bytes]], **options: Any) -> None:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in content.items() if isinstance(content, dict) else content:
            archive.writestr(name, data)


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the architecture in a file, in place."""

    def changed(text: str | bytes) -> str:
        architecture = json.loads(text)
        change(architecture)
        return json.dumps(architecture)

    if path.is_dir():
        metadata = saved_metadata_pb2.SavedMetadata()
        metadata.ParseFromString((path / "keras_metadata.pb").read_bytes())
        for node in metadata.nodes:
            if node.node_path == "root":
                node.metadata = changed(node.metadata)
        (path / "keras_metadata.pb").write_bytes(metadata.SerializeToString())
    elif path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = changed(file.attrs["model_config"])
    else:
        content = members(path)
        write_archive(path, content | {"config.json": changed(content["config.json"]).encode()})


def layer(architecture: dict[str, Any], class_name: str) -> dict[str, Any]:
    """Return the description of a layer in an architecture."""
    found: dict[str, Any] = next(
        layer for layer in architecture["config"]["layers"] if layer["class_name"] == class_name
    )
    return found


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ArtattackError) as caught:
        load_model(path, preprocessing="unit", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Where a file can say what Keras is to import or call. Each takes an architecture and a canary.


def whole_network(architecture: dict[str, Any], canary: Canary) -> None:
    architecture.update(canary.function)


def a_layer(architecture: dict[str, Any], canary: Canary) -> None:
    described = layer(architecture, "Conv2D")
    described.update({**canary.function, "name": described["config"]["name"]})


def a_layers_module(architecture: dict[str, Any], canary: Canary) -> None:
    layer(architecture, "Conv2D")["module"] = canary.name


def a_submodule(architecture: dict[str, Any], canary: Canary) -> None:
    layer(architecture, "Conv2D")["module"] = f"keras.layers.{canary.name}/../{canary.name}"


def a_module_and_a_registered_name(architecture: dict[str, Any], canary: Canary) -> None:
    layer(architecture, "Conv2D").update(module=canary.name, registered_name="Custom>Conv2D")


def a_module_without_registered_name(architecture: dict[str, Any], canary: Canary) -> None:
    layer(architecture, "Conv2D").update(module=canary.name, registered_name=None)


def a_wrapped_layer(architecture: dict[str, Any], canary: Canary) -> None:
    layer(architecture, "Dense").update(
        class_name="TimeDistributed", config={"layer": canary.function, "name": "dense"}
    )


def an_argument_of_a_call(architecture: dict[str, Any], canary: Canary) -> None:
    layer(architecture, "Conv2D")["inbound_nodes"] = [[["input_1", 0, 0, {"training": canary.function}]]]


def what_it_was_built_with(architecture: dict[str, Any], canary: Canary) -> None:
    layer(architecture, "Conv2D")["build_config"] = {"input_shape": [None, 16, 16, 3], "x": [canary.function]}


def a_tuple(architecture: dict[str, Any], canary: Canary) -> None:
    items = {"class_name": "__tuple__", "items": [canary.function]}
    layer(architecture, "Conv2D")["config"]["strides"] = items


def a_value(architecture: dict[str, Any], canary: Canary) -> None:
    layer(architecture, "Conv2D")["config"]["strides"] = {
        "class_name": "__tuple__",
        "module": canary.name,
        "config": {},
        "items": [1, 1],
    }


def a_type(architecture: dict[str, Any], canary: Canary) -> None:
    layer(architecture, "Conv2D")["config"]["activation"] = {
        "class_name": "__typespec__",
        "spec_name": "relu",
        "module": canary.name,
        "registered_name": None,
        "config": [],
    }


def something_with_an_id(architecture: dict[str, Any], canary: Canary) -> None:
    layer(architecture, "Conv2D")["config"]["kernel_initializer"] = {**canary.function, "shared_object_id": 7}


PARTS = ("activation", "kernel_initializer", "kernel_regularizer", "kernel_constraint")


def a_part_of_a_layer(key: str) -> Callable[[dict[str, Any], Canary], None]:
    def change(architecture: dict[str, Any], canary: Canary) -> None:
        layer(architecture, "Conv2D")["config"][key] = canary.function

    change.__name__ = key
    return change


CHANGES = [
    whole_network,
    a_layer,
    a_layers_module,
    a_submodule,
    a_module_and_a_registered_name,
    a_module_without_registered_name,
    a_wrapped_layer,
    an_argument_of_a_call,
    what_it_was_built_with,
    a_tuple,
    a_value,
    a_type,
    something_with_an_id,
    *map(a_part_of_a_layer, PARTS),
]


@pytest.mark.parametrize(
    "part",
    [
        {"class_name": "Lambda", "config": {}},
        {"class_name": "__lambda__", "config": {"value": ""}},
        {"class_name": "TFSMLayer", "module": "keras.layers", "config": {}},
        {"class_name": "TensorFlowOpLayer", "config": {}},
        {"class_name": "StringLookup", "config": {}},
        {"class_name": "function", "module": "keras.utils", "config": "get_file"},
        {"class_name": "function", "module": "os", "config": "system"},
        {"class_name": "function", "module": "builtins", "config": "exec"},
        {"class_name": "os.system", "module": "keras.layers", "config": {}},
        {"class_name": "Dense", "module": "keras_layers", "config": {}},
        {"class_name": "anything", "module": "keras.src.utils.file_utils", "config": {}},
        {"class_name": "TFOpLambda", "config": {"function": "mathx"}},
        {"class_name": "TFOpLambda", "config": {"function": "raw_ops.WriteFile"}},
        {"class_name": "TFOpLambda", "config": {"function": ["nn.relu"]}},
        {"class_name": "TFOpLambda", "config": None},
        {"class_name": "TFOpLambda", "config": {"function": "nn.relu"}, "module": "evil"},
        {"class_name": "TFOpLambda", "config": {"function": "nn.relu"}, "registered_name": "evil>relu"},
        {"class_name": "Dense", "module": ["keras.layers"], "config": {}},
        {"class_name": "Dense", "module": "keras.layers", "registered_name": "evil>Dense", "config": {}},
        {"class_name": "Dense", "registered_name": ["Dense"], "config": {}},
        {"class_name": ["Dense"], "config": {}},
        {"class_name": "deserialize", "module": "keras.layers", "config": {}},
        {"class_name": "function", "module": "keras.activations", "config": "get"},
        {"class_name": "function", "module": "keras.activations", "config": "relu", "registered_name": "evil>relu"},
        {"class_name": "function", "module": "builtins", "config": "__import__"},
        {"class_name": "function", "config": {"class_name": "relu"}},
    ],
)
@pytest.mark.parametrize("package", [tf_keras, keras])
def test_descriptions_that_are_refused(part: dict[str, Any], package: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match="could run code or touch files"):
        check_architecture(tmp_path, {"config": {"layers": [{"config": {"activation": [part]}}]}}, package)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_cannot_import(
    change: Callable[[dict[str, Any], Canary], None], kind: str, copy_of: Callable[[str], Path], canary: Canary
) -> None:
    path = copy_of(kind)
    rewrite(path, lambda architecture: change(architecture, canary))
    assert str(path) in refusal(path)
    canary.assert_silent()


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("key", PARTS)
def test_a_name_with_dots_imports_nothing(key: str, kind: str, copy_of: Callable[[str], Path], canary: Canary) -> None:
    """A text is looked up among Keras' own; one format takes any for a regularizer, which only training needs."""
    path = copy_of(kind)
    text = f"{canary.name}.relu"
    rewrite(path, lambda architecture: layer(architecture, "Conv2D")["config"].update({key: text}))
    if key == "kernel_regularizer":
        with suppress(ArtattackError):
            load_model(path, preprocessing="unit")
    else:
        assert text in refusal(path)
    canary.assert_silent()


@pytest.mark.parametrize("kind", ["Keras 2 .keras", "Keras 2 .h5", "SavedModel"])
def test_an_operation_cannot_import(kind: str, copy_of: Callable[[str], Path], canary: Canary) -> None:
    path = copy_of(kind)
    rewrite(path, lambda architecture: layer(architecture, "TFOpLambda").update(module=canary.name))
    assert f"'TFOpLambda' of '{canary.name}'" in refusal(path)
    canary.assert_silent()


def test_a_run_in_a_folder_with_such_a_module_does_not_import_it(
    copy_of: Callable[[str], Path], canary: Canary
) -> None:
    path = copy_of("Keras 2 .keras")
    rewrite(path, lambda architecture: whole_network(architecture, canary))
    Path("benchmark.yaml").write_text(
        f"models: {{mine: {{model: {path}, preprocessing: unit}}}}\n"
        "classifiers: mine\nattacks: [{attack: fgsm, source: mine}]\nimages: {limit: 1}\n"
    )
    checkout = str(Path(artattack.__file__).parents[1])
    command = [sys.executable, "-m", "artattack", "run", "benchmark.yaml", "--out", "out"]
    done = subprocess.run(command, env={"PYTHONPATH": checkout}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "could run code or touch files" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    canary.assert_silent()


@pytest.mark.parametrize("kind", FILES)
def test_compile_settings_of_a_network_are_not_read(kind: str, copy_of: Callable[[str], Path], canary: Canary) -> None:
    """Also of a network within the network, which Keras compiles whether or not it is told to."""
    path = copy_of(kind)

    def change(architecture: dict[str, Any]) -> None:
        architecture["compile_config"] = {"optimizer": canary.function}
        if kind.endswith(".keras"):
            layer(architecture, "Conv2D")["compile_config"] = {"optimizer": canary.function}

    rewrite(path, change)
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["training_config"] = json.dumps({"loss": canary.function, "optimizer_config": canary.function})
    if kind.endswith(".h5"):
        assert "could run code" in refusal(path)
    else:
        assert load_model(path, preprocessing="unit").predict(X).shape == (2, 3)
    canary.assert_silent()


@pytest.mark.parametrize("kind", FILES)
def test_a_registered_name_cannot_hide_behind_another(
    kind: str, copy_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras resolves the registered name first, before the class name."""
    asked: list[dict[str, Any]] = []

    class Sneaky:
        from_config = classmethod(lambda cls, config: asked.append(config))

    package, _ = FILES[kind]
    monkeypatch.setitem(package.saving.get_custom_objects(), "mine>Sneaky", Sneaky)
    path = copy_of(kind)
    rewrite(path, lambda architecture: layer(architecture, "Conv2D").update(registered_name="mine>Sneaky"))
    assert "'Conv2D', also called 'mine>Sneaky'" in refusal(path)
    rewrite(
        path,
        lambda architecture: layer(architecture, "Conv2D").update(class_name="Lambda", registered_name="mine>Lambda"),
    )
    assert "contains 'Lambda'" in refusal(path)
    assert not asked


@pytest.mark.parametrize("claim", ["2.19.0", "3.15.1", "4.0", "", None, 3])
@pytest.mark.parametrize("kind", ["Keras 2 .keras", "Keras 3 .keras"])
def test_a_false_version_does_not_help(kind: str, claim: Any, copy_of: Callable[[str], Path], canary: Canary) -> None:
    path = copy_of(kind)
    rewrite(path, lambda architecture: a_layer(architecture, canary))
    write_archive(path, members(path) | {"metadata.json": json.dumps({"keras_version": claim}).encode()})
    refusal(path)
    canary.assert_silent()


@pytest.mark.parametrize("hostile_first", [True, False])
@pytest.mark.parametrize("kind", ["Keras 2 .keras", "Keras 3 .keras"])
def test_the_checked_content_is_the_content_read(
    kind: str, hostile_first: bool, copy_of: Callable[[str], Path], canary: Canary
) -> None:
    """An archive may hold two files of one name."""
    path = copy_of(kind)
    content = members(path)
    good, bad = content.pop("config.json"), json.dumps(canary.function).encode()
    both = [("config.json", bad), ("config.json", good)]
    with pytest.warns(UserWarning, match="Duplicate name"):
        write_archive(path, [*content.items(), *(both if hostile_first else both[::-1])])
    if hostile_first:
        load_model(path, preprocessing="unit")
    else:
        assert "could run code" in refusal(path)
    canary.assert_silent()


def test_the_last_of_two_equal_keys_counts(copy_of: Callable[[str], Path], canary: Canary) -> None:
    path = copy_of("Keras 2 .keras")
    content = members(path)
    text = content["config.json"].decode()
    for spelled in ("module", r"mod\u0075le"):
        changed = text.replace('"class_name": "Conv2D"', f'"class_name": "Conv2D", "{spelled}": "{canary.name}"')
        assert changed != text
        write_archive(path, content | {"config.json": changed.encode()})
        assert "'Conv2D' of" in refusal(path)
    canary.assert_silent()


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved_model"])
def test_code_in_a_cell_of_a_recurrent_layer_does_not_run(name: str, tmp_path: Path) -> None:
    """Not a Lambda, and not among Keras' public layers, but a layer that Keras finds and that holds code."""
    mark = tmp_path / "mark"
    # A loaded function sees no variables of ours, so the path is written into it.
    residual = eval(f"lambda inputs, outputs: (open({str(mark)!r}, 'w').close(), outputs)[1]")
    inputs = tf_keras.Input((16, 16, 3))
    cell = ResidualWrapper(tf_keras.layers.GRUCell(3), residual_fn=residual)
    x = tf_keras.layers.RNN(cell)(tf_keras.layers.Reshape((256, 3))(inputs))
    path = save(tf_keras.Model(inputs, x), tmp_path / name)
    if name == "model.h5":  # the payload is real: without the checks it runs
        mark.unlink()
        tf_keras.models.load_model(path)
    mark.unlink()
    assert "contains 'ResidualWrapper'" in refusal(path)
    assert not mark.exists()


class MarksWhenUnpickled:
    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self._mark,)


def pickled_weights(mark: Path) -> bytes:
    file = io.BytesIO()
    np.savez(file, __root__=np.array(MarksWhenUnpickled(mark), dtype=object))
    return file.getvalue()


def test_weights_are_never_unpickled(copy_of: Callable[[str], Path], tmp_path: Path) -> None:
    """Without HDF5 weights, Keras 2 reads weights from an .npz file, including its pickles."""
    mark = tmp_path / "mark"
    pickle.loads(pickle.dumps(MarksWhenUnpickled(mark)))  # the payload is real
    mark.unlink()
    for kind in ("Keras 2 .keras", "Keras 3 .keras"):
        path = copy_of(kind)
        content = members(path)
        del content["model.weights.h5"]
        write_archive(path, content | {"model.weights.npz": pickled_weights(mark)})
        assert "has no model.weights.h5" in refusal(path)
        with pytest.raises(ArtattackError, match=r"has no model\.weights\.h5"):
            load_model("quicknet_tiny", path)
        assert not mark.exists()


def test_an_archive_writes_nothing_outside(copy_of: Callable[[str], Path], tmp_path: Path) -> None:
    for kind in ("Keras 2 .keras", "Keras 3 .keras"):
        path = copy_of(kind)
        content = members(path) | {"../escaped": b"", str(tmp_path / "absolute"): b"", "assets/../../escaped": b""}
        write_archive(path, content)
        load_model(path, preprocessing="unit")
        inside = members(path)
        inside["../model.weights.h5"] = inside.pop("model.weights.h5")
        write_archive(path, inside)
        assert "has no model.weights.h5" in refusal(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"model.keras"}


def test_an_archive_in_an_archive_is_no_model(copy_of: Callable[[str], Path]) -> None:
    path = copy_of("Keras 2 .keras")
    write_archive(path, {"model.keras": path.read_bytes()})
    assert "has no config.json" in refusal(path)


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_an_archive_that_unpacks_to_far_more_is_refused(
    name: str, copy_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untrusted, "SMALL", 2**20)
    path = copy_of("Keras 2 .keras")
    write_archive(path, members(path) | {name: bytes(2**24)}, compression=zipfile.ZIP_DEFLATED)
    assert f"{name} unpacks from" in refusal(path)


def test_a_long_text_of_an_ordinary_archive_is_read(
    copy_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed again by hand, an architecture takes a tenth of its room."""
    monkeypatch.setattr(untrusted, "SMALL", 2**10)
    path = copy_of("Keras 2 .keras")
    write_archive(path, members(path), compression=zipfile.ZIP_DEFLATED)
    load_model(path, preprocessing="unit")


# Data that lie elsewhere. Each puts values under a name into a group; the values are in another file.


def external_link(group: Any, name: str, values: np.ndarray, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["values"] = values
    group[name] = h5py.ExternalLink(str(folder / "other.h5"), "/values")


def external_storage(group: Any, name: str, values: np.ndarray, folder: Path) -> None:
    (folder / "raw").write_bytes(values.tobytes())
    group.create_dataset(name, values.shape, values.dtype, external=[(str(folder / "raw"), 0, values.nbytes)])


def virtual_dataset(group: Any, name: str, values: np.ndarray, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["values"] = values
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[:] = h5py.VirtualSource(folder / "other.h5", "values", values.shape)
    group.create_virtual_dataset(name, layout)


def last_values(file: h5py.File) -> str:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names[-1]


@pytest.mark.parametrize("kind", ["Keras 2 .h5", "Keras 3 .h5", "Keras 2 .keras", "Keras 3 .keras"])
@pytest.mark.parametrize("elsewhere", [external_link, external_storage, virtual_dataset])
def test_values_in_other_files_are_refused(
    elsewhere: Callable[[Any, str, np.ndarray, Path], None],
    kind: str,
    copy_of: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    path = copy_of(kind)
    weights = path if path.suffix == ".h5" else tmp_path / "weights.h5"
    if weights is not path:
        weights.write_bytes(members(path)["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        name = last_values(file)
        values = file[name][()]
        del file[name]
        elsewhere(file, name, values, tmp_path)
        np.testing.assert_array_equal(file[name][()], values)  # it can be read there
    if weights is not path:
        write_archive(path, members(path) | {"model.weights.h5": weights.read_bytes()})
    assert "in another file" in refusal(path)
    with pytest.raises(ArtattackError, match="in another file"):
        load_model("quicknet_tiny", path)


def test_links_within_a_file_are_none_of_our_business(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["a/b"] = np.zeros(3)
        file["soft"] = h5py.SoftLink("/a/b")
        file["hard"] = file["a"]
        file["a/round"] = file["/"]
    check_hdf5(tmp_path / "weights.h5")


def test_values_that_unpack_to_far_more_are_refused(copy_of: Callable[[str], Path]) -> None:
    path = copy_of("Keras 2 .h5")
    with h5py.File(path, "r+") as file:
        file.create_dataset("model_weights/void", (2**40,), np.float32, chunks=(2**20,), compression="gzip")
    assert "model_weights/void unpacks from 0 to 4398046511104 bytes" in refusal(path)


def test_weights_are_the_file_or_a_member_of_the_archive(copy_of: Callable[[str], Path]) -> None:
    path = copy_of("Keras 2 .keras")
    with weights_file(path) as weights:
        assert weights.read_bytes() == members(path)["model.weights.h5"]
    assert not weights.exists()
    path = copy_of("Keras 2 .h5")
    with weights_file(path) as weights:
        assert weights == path
    assert path.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"no weights"])
@pytest.mark.parametrize("name", ["w.h5", "w.keras", "w.index", "w"])
def test_files_that_are_no_weights(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtattackError, match="does not fit model 'quicknet_tiny'") as caught:
        load_model("quicknet_tiny", tmp_path / name)
    assert "\n" not in str(caught.value)


def test_an_architecture_is_a_text_or_bytes(copy_of: Callable[[str], Path]) -> None:
    path = copy_of("Keras 2 .h5")
    with h5py.File(path, "r+") as file:
        text = file.attrs["model_config"]
        file.attrs["model_config"] = np.bytes_(text.encode())  # as Keras wrote it until 2.3
        file.attrs["keras_version"] = np.bytes_(b"2.2.4")
    assert load_model(path, preprocessing="unit").network.__module__.startswith("tf_keras")
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = np.array([1, 2, 3])
    assert "an attribute is not text" in refusal(path)


# Harmless files must still load.


@pytest.mark.parametrize("kind", FILES)
def test_trained_networks_load(kind: str, tmp_path: Path) -> None:
    package, name = FILES[kind]
    trained = network(package)
    trained.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    trained.fit(X, np.array([0, 2]), verbose=0)
    model = load_model(save(trained, tmp_path / name), preprocessing="unit")
    np.testing.assert_allclose(model.predict(X), trained(X), atol=1e-5)


def test_binarized_networks_with_functions_of_larq_zoo_load(tmp_path: Path) -> None:
    original = load_model("quicknet_tiny")
    assert "blurpool_initializer" in str(original.network.get_config())
    model = load_model(save(original.network, tmp_path / "model.keras"), preprocessing="imagenet")
    assert model.weights_sha256 == original.weights_sha256
    again = load_model("quicknet_tiny", tmp_path / "model.keras")
    assert again.weights_sha256 == original.weights_sha256


class Doubled(tf_keras.layers.Layer):  # type: ignore[misc]
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return 2 * x


def doubling() -> Any:
    inputs = tf_keras.Input((16, 16, 3))
    x = tf_keras.layers.GlobalAveragePooling2D()(Doubled()(inputs))
    return tf_keras.Model(inputs, tf_keras.layers.Dense(3)(x))


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved_model"])
def test_layers_that_the_program_has_registered_load(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tf_keras.src.saving import object_registration

    monkeypatch.setattr(object_registration, "_GLOBAL_CUSTOM_OBJECTS", {"mine>Doubled": Doubled})
    monkeypatch.setattr(object_registration, "_GLOBAL_CUSTOM_NAMES", {Doubled: "mine>Doubled"})
    monkeypatch.setattr(Doubled, "__module__", "__main__")
    original = doubling()
    model = load_model(save(original, tmp_path / name), preprocessing="unit")
    np.testing.assert_allclose(model.predict(X), original(X), atol=1e-5)


def test_layers_in_scope_load(tmp_path: Path) -> None:
    path = save(doubling(), tmp_path / "model.h5")
    assert "contains 'Doubled'" in refusal(path)
    with tf_keras.utils.custom_object_scope({"Doubled": Doubled}):
        load_model(path, preprocessing="unit")


# Other texts that are read.


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [touch mark]",
        "name: !!python/name:os.system",
        "images: !!python/module:canary_in_the_working_directory",
        "name: !!python/object/new:canary_in_the_working_directory.relu []",
        "name: !canary 1",
    ],
)
def test_a_benchmark_file_cannot_name_code(text: str, canary: Canary) -> None:
    Path("benchmark.yaml").write_text(text)
    with pytest.raises(ArtattackError, match=r"benchmark\.yaml, line 1: not valid YAML") as caught:
        load_benchmark(Path("benchmark.yaml"))
    assert "\n" not in str(caught.value)
    canary.assert_silent()
