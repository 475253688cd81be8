"""Read PyTorch's legacy (pre-zip) state_dict files without PyTorch, and without running their code.

Such a file is five pickles (a magic number, a protocol version, machine properties, the tensors'
descriptions, the sorted keys of the storages) followed by each storage: its length as a little-endian
int64 and its values (torch/serialization.py, `_legacy_save`).
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from artattack.errors import ArtattackError

Array = NDArray[Any]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


class _Storage(NamedTuple):
    """A flat array in the file, shared by tensors."""

    key: str
    kind: str
    length: int


class _Tensor(NamedTuple):
    """A tensor as a view of a storage, with offset, shape and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _RebuildTensor:
    """Stands in for `torch._utils._rebuild_tensor_v2`."""

    __slots__ = ()

    def __call__(self, storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
        shape, strides = tuple(map(_whole_number, shape)), tuple(map(_whole_number, strides))
        return _Tensor(storage, _whole_number(offset), shape, strides)


class _Unpickler(pickle.Unpickler):
    """Unpickles only an OrderedDict, tensors and their storages."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a global; it is immutable, since a pickle may try to set its state."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _RebuildTensor()
        if module == "torch" and name in _DTYPES:
            return name
        raise ArtattackError(f"asks for {f'{module}.{name}'!r}, which is not part of a tensor, and is refused")

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage that a persistent id describes."""
        tag, kind, key, _device, length, view = pid
        if tag != "storage" or view is not None:
            raise ValueError("unexpected storage")
        return _Storage(key, kind, _whole_number(length))


def read_state_dict(path: Path) -> dict[str, Array]:
    """Read the named tensors of a legacy .pth file.

    Args:
        path: a file written by `torch.save(model.state_dict(), path)` before PyTorch 1.6, or with
            `_use_new_zipfile_serialization=False`.

    Returns:
        Read-only arrays by name, in the file's order, with the file's shapes and dtypes: bool, integers,
        float16, float32, float64.

    Raises:
        ArtattackError: the file cannot be read, is truncated, has another format, or contains anything
            other than tensors.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtattackError(f"weights file '{path}' cannot be read: {error.strerror}") from error
    try:
        return _parse(content)
    except ArtattackError as error:
        raise ArtattackError(f"weights file '{path}' {error}") from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ArtattackError(f"weights file '{path}' is damaged or not a PyTorch state_dict") from error


def _parse(content: bytes) -> dict[str, Array]:
    if content.startswith(b"PK"):
        raise ArtattackError(
            "is in PyTorch's zip format; save it with torch.save(..., _use_new_zipfile_serialization=False)"
        )
    file = io.BytesIO(content)
    try:
        known = _Unpickler(file).load() == _MAGIC
    except ArtattackError:
        raise
    except Exception:
        known = False
    if not known:
        raise ArtattackError("is not in PyTorch's legacy format (.pth)")
    if _Unpickler(file).load() != _PROTOCOL or _Unpickler(file).load()["little_endian"] is not True:
        raise ArtattackError("has a PyTorch protocol or byte order that is not supported")
    tensors = _Unpickler(file).load()
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in tensors.items()
    ):
        raise ArtattackError("is not a plain state_dict: it must map names to tensors")
    keys = _Unpickler(file).load()
    values = _read_storages(file, keys, {tensor.storage.key: tensor.storage for tensor in tensors.values()})
    return {name: _view(name, tensor, values[tensor.storage]) for name, tensor in tensors.items()}


def _read_storages(file: io.BytesIO, keys: list[str], storages: dict[str, _Storage]) -> dict[_Storage, Array]:
    values: dict[_Storage, Array] = {}
    content = file.getvalue()
    for key in keys:
        storage = storages[key]
        dtype = np.dtype(_DTYPES[storage.kind])
        start = file.tell() + 8
        length = int.from_bytes(file.read(8), "little")
        if file.seek(start + storage.length * dtype.itemsize) > len(content):
            raise ArtattackError(f"is truncated: it ends inside storage {key!r}")
        if length != storage.length:
            raise ArtattackError(f"is damaged: storage {key!r} holds {length} values, not {storage.length}")
        values[storage] = np.frombuffer(content, dtype, length, start)
    return values


def _view(name: str, tensor: _Tensor, values: Array) -> Array:
    _, offset, shape, strides = tensor
    if len(shape) != len(strides):
        raise ArtattackError(f"is damaged: tensor {name!r} has shape {shape} and strides {strides}")
    if prod(shape) == 0:
        return np.zeros(shape, values.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if last >= len(values):  # as_strided does not check, and would read outside the storage
        raise ArtattackError(f"is damaged: tensor {name!r} reaches beyond its {len(values)} stored values")
    return as_strided(values[offset:], shape, tuple(step * values.itemsize for step in strides), writeable=False)


def _whole_number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("expected a whole number")
    return value
