"""Untrusted model files: refuse content that could run code or reach other files, before Keras reads it.

An architecture is JSON that names classes, functions and their modules, which Keras imports and calls; Keras' safe
mode does not cover every format. So a file may only name building blocks of networks from Keras and larq, and objects
that this program has registered with Keras.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py

from artattack.errors import ArtattackError

# Modules that a file may name; Keras imports them to look up classes.
_MODULES = re.compile(
    r"builtins|(tf_)?keras(\.(layers|activations|initializers|regularizers|constraints|models|dtype_policies"
    r"|mixed_precision|ops|engine|src\.(applications|engine|layers|models|ops))(\.\w+)*)?"
    r"|larq\.(layers|quantizers|constraints|activations)"
)
_NAMESPACES = ("layers", "initializers", "regularizers", "constraints", "dtype_policies", "mixed_precision")
_FUNCTIONS = ("activations", "initializers")
_LOOKUPS = {"get", "deserialize", "serialize"}
# Public Keras layers that hold code or read files.
_REFUSED = {
    "Lambda",
    "TFSMLayer",
    "TorchModuleWrapper",
    "JaxLayer",
    "FlaxLayer",
    "StringLookup",
    "IntegerLookup",
    "TextVectorization",
}
_NETWORKS = {"Functional", "Model", "Sequential"}
_FORMERLY = {"BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization"}  # names in older files
_VALUES = {"__tuple__", "__tensor__", "__keras_tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
_VALUES |= {"TensorShape"}
# Keras 2 layers that call a TensorFlow function, and the functions they may name.
_OPERATION_LAYERS = {"TFOpLambda", "SlicingOpLambda"}
_OPERATIONS = re.compile(
    r"(compat\.v1\.)?((math|nn|linalg|image|__operators__|keras\.activations)\.\w+|broadcast_to|cast|clip_by_value"
    r"|concat|expand_dims|gather|identity|ones_like|pad|reshape|reverse|roll|shape|slice|split|squeeze|stack"
    r"|strided_slice|tile|transpose|unstack|where|zeros_like)"
)

_EXPANSION = 100  # maximum ratio of unpacked to stored size: Keras does not compress weights
SMALL = 2**30  # bytes, unpacked size below which the ratio is not checked


def check_architecture(path: Path, architecture: Any, keras: Any) -> None:
    """Refuse an architecture that could run code or reach other files.

    Args:
        path: the file, for the message.
        architecture: content of its JSON.
        keras: the Keras package that will read it: 2 (`tf_keras`) or 3 (`keras`).

    Raises:
        ArtattackError: a part belongs neither to Keras nor to larq, or could run code or read files.
    """
    classes, functions = _classes(keras), _functions(keras)
    for part in _parts(architecture):
        what = _harmful(part, classes, functions, keras)
        if what is not None:
            raise ArtattackError(
                f"model '{path}' cannot be loaded: it contains {what}, which could run code or touch files; only "
                "layers and functions of Keras and larq are read: save the model without it, or load only its weights "
                "with a registry name and weights=PATH"
            )


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every description of a layer, object or function inside an architecture."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _parts(item)


def _harmful(part: dict[str, Any], classes: set[str], functions: set[str], keras: Any) -> str | None:
    """Return the harmful part of a description, in words, or None.

    Depending on the format, Keras resolves in this order: the object registered as `registered_name`, the object
    registered as `class_name` (for a function, `config`), a class of that name in the module, and a Keras class. So
    all are checked.
    """

    def is_registered(name: str) -> bool:
        return keras.saving.get_registered_object(name) is not None

    name, module, registered = part["class_name"], part.get("module"), part.get("registered_name")
    config = part.get("config")
    if not (isinstance(name, str) and isinstance(module, str | None) and isinstance(registered, str | None)):
        return f"an invalid description of {_short(name)}"
    if module is not None and not _MODULES.fullmatch(module):
        return f"{_short(config if name == 'function' else name)} of {_short(module)}"
    if name == "function":
        known = isinstance(config, str) and (config in functions or is_registered(config))
        known = known and (registered in (None, name, config) or is_registered(str(registered)))
        return None if known else _short(config)
    if name in _REFUSED:
        return _short(name)
    if registered not in (None, name):
        # A registered class has two names, without and with its package: `Net` and `mine>Net`.
        own = str(registered).rpartition(">")[2] == name
        return None if own and is_registered(str(registered)) else f"{_short(name)}, also called {_short(registered)}"
    if name in _OPERATION_LAYERS:
        operation = str(config.get("function")) if isinstance(config, dict) else ""
        return None if _OPERATIONS.fullmatch(operation) else _short(operation)
    return None if name in classes or is_registered(name) else _short(name)


def _short(name: Any) -> str:
    return repr(str(name)[:80])


def _classes(keras: Any) -> set[str]:
    """Return the names of classes for networks: layers, initializers, and Keras 3 operations between layers."""
    spaces = [vars(getattr(keras, name)) for name in _NAMESPACES if hasattr(keras, name)]
    public = {name for space in spaces for name, value in space.items() if isinstance(value, type)}
    operations = {c.__name__ for c in _below(keras.Operation)} if hasattr(keras, "Operation") else set()
    return (public | operations | _NETWORKS | _FORMERLY | _VALUES) - _REFUSED


def _below(base: type) -> Iterator[type]:
    """Yield every Keras 3 operation (`keras.ops`) derived from a class; layers derive from it, too."""
    cls: type
    for cls in base.__subclasses__():
        if cls.__module__.startswith("keras.src.ops."):
            yield cls
        yield from _below(cls)


def _functions(keras: Any) -> set[str]:
    spaces = [vars(getattr(keras, name)) for name in _FUNCTIONS]
    names = {name for space in spaces for name, value in space.items() if callable(value)}
    return {name for name in names if not name.startswith("_")} - _LOOKUPS


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return the content of a member of a zip archive.

    Raises:
        ArtattackError: the member does not exist, or unpacks to an implausible size.
    """
    return archive.read(_member(archive, name))


def check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse a zip archive whose members, taken together, unpack to an implausible size.

    Raises:
        ArtattackError: the unpacked size is implausible.
    """
    _check_expansion(f"'{path}'", sum(info.file_size for info in archive.infolist()), path.stat().st_size)


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    if name not in archive.namelist():
        raise ArtattackError(f"'{archive.filename}' has no {name}; save the model again as .keras")
    info = archive.getinfo(name)
    _check_expansion(f"'{archive.filename}': {name}", info.file_size, info.compress_size)
    return info


def _check_expansion(what: str, size: int, stored: int) -> None:
    """Refuse data that are small in the file and fill memory or disk when unpacked."""
    if size > max(SMALL, _EXPANSION * stored):
        raise ArtattackError(f"{what} unpacks from {stored} to {size} bytes, too much for weights; it is not read")


def check_hdf5(path: Path) -> None:
    """Refuse an HDF5 file whose data are in other files, or unpack to an implausible size.

    Raises:
        ArtattackError: the file contains such data.
        OSError: the file is not HDF5.
    """
    links: list[tuple[str, Any]] = []
    with h5py.File(path, "r") as file:
        file.visititems_links(lambda name, link: links.append((name, link)))  # the callback must not raise
        for name, link in links:
            if isinstance(link, h5py.ExternalLink):
                raise ArtattackError(f"'{path}': {name} is in another file; it is not read")
            if not isinstance(link, h5py.HardLink) or not isinstance(values := file[name], h5py.Dataset):
                continue
            if values.external or values.is_virtual:
                raise ArtattackError(f"'{path}': the values of {name} are in another file; they are not read")
            _check_expansion(f"'{path}': {name}", values.nbytes, values.id.get_storage_size())


@contextmanager
def weights_file(path: Path) -> Iterator[Path]:
    """Yield the checked HDF5 file with a model's weights: the file itself, or a member of a `.keras` archive.

    Raises:
        ArtattackError: its data are in other files, or unpack to an implausible size.
        OSError: the file is not HDF5.
    """
    with TemporaryDirectory() as folder:
        if path.suffix == ".keras" and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                path = Path(archive.extract(_member(archive, "model.weights.h5"), folder))
        check_hdf5(path)
        yield path
