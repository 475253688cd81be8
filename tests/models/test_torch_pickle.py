"""Files are assembled here byte by byte, from the pickle opcodes that PyTorch writes."""

import pickle
import struct
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artattack.errors import ArtattackError
from artattack.models.torch_pickle import read_state_dict

MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {
    "f8": "DoubleStorage",
    "f4": "FloatStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integers(*values: int) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


ORDERED_DICT = name("collections", "OrderedDict") + b")R"


def tensor(key: str, kind: str, length: int, offset: int, shape: tuple, strides: tuple, view: bytes = b"N") -> bytes:
    storage = b"(" + text("storage") + name("torch", kind) + text(key) + text("cpu")
    storage += b"J" + struct.pack("<i", length) + view + b"tQ"
    view = b"J" + struct.pack("<i", offset) + integers(*shape) + integers(*strides)
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + view + b"\x89" + ORDERED_DICT + b"tR"


def state(tensors: dict[str, bytes]) -> bytes:
    items = b"".join(text(key) + value for key, value in tensors.items())
    metadata = b"}" + text("_metadata") + ORDERED_DICT + b"sb"  # PyTorch hangs this attribute on the dict
    return b"\x80\x02" + ORDERED_DICT + b"(" + items + b"u" + metadata + b"."


def legacy(body: bytes, storages: dict[str, np.ndarray], *, protocol: int = 1001, little_endian: bool = True) -> bytes:
    head = [MAGIC, protocol, {"protocol_version": 1001, "little_endian": little_endian, "type_sizes": {}}]
    content = b"".join(pickle.dumps(part, 2) for part in head) + body + pickle.dumps(sorted(storages), 2)
    for key in sorted(storages):
        content += struct.pack("<q", storages[key].size) + storages[key].tobytes()
    return content


def one_tensor(values: np.ndarray, **place: object) -> bytes:
    """A file with the tensor `t`, whose storage holds `values`."""
    seen = {"offset": 0, "shape": (values.size,), "strides": (1,), **place}
    return legacy(state({"t": tensor("7", KINDS[values.dtype.str[1:]], values.size, **seen)}), {"7": values})


def written(folder: Path, content: bytes) -> Path:
    path = folder / "weights.pth"
    path.write_bytes(content)
    return path


def refusal(folder: Path, content: bytes) -> str:
    with pytest.raises(ArtattackError) as caught:
        read_state_dict(written(folder, content))
    assert "\n" not in str(caught.value)
    assert "weights.pth" in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pth")


def test_reads_names_values_and_order(folder: Path) -> None:
    weight, steps = np.arange(6, dtype="f4") / 4, np.array([12345678901], "i8")
    body = state(
        {
            "z.weight": tensor("10", "FloatStorage", 6, 0, (2, 3), (3, 1)),
            "a.steps": tensor("9", "LongStorage", 1, 0, (), ()),
        }
    )
    read = read_state_dict(written(folder, legacy(body, {"10": weight, "9": steps})))
    assert list(read) == ["z.weight", "a.steps"]
    assert read["z.weight"].tolist() == [[0, 0.25, 0.5], [0.75, 1, 1.25]]
    assert read["a.steps"].shape == ()
    assert read["a.steps"] == 12345678901
    assert not read["z.weight"].flags.writeable


@pytest.mark.parametrize("dtype", KINDS)
def test_reads_every_dtype(folder: Path, dtype: str) -> None:
    values = np.array([0, 1, 1, 0, 1], dtype)
    read = read_state_dict(written(folder, one_tensor(values)))["t"]
    assert read.dtype == np.dtype(dtype)
    assert read.tolist() == values.tolist()


@given(
    values=hnp.arrays(st.sampled_from(["<f4", "<f8", "<i8", "<u1"]), hnp.array_shapes(max_dims=4, max_side=4)),
    data=st.data(),
)
def test_reads_a_transposed_slice_as_numpy_does(folder: Path, values: np.ndarray, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, values.shape[0] - 1))
    view = values[first:].transpose(data.draw(st.permutations(range(values.ndim))))
    offset = first * values.strides[0] // values.itemsize
    strides = tuple(step // values.itemsize for step in view.strides)
    content = one_tensor(values, offset=offset, shape=view.shape, strides=strides)
    np.testing.assert_array_equal(read_state_dict(written(folder, content))["t"], view)


def test_two_tensors_may_share_a_storage(folder: Path) -> None:
    values = np.arange(4, dtype="f4")
    body = state(
        {
            "even": tensor("1", "FloatStorage", 4, 0, (2,), (2,)),
            "odd": tensor("1", "FloatStorage", 4, 1, (2,), (2,)),
        }
    )
    read = read_state_dict(written(folder, legacy(body, {"1": values})))
    assert read["even"].tolist() == [0, 2]
    assert read["odd"].tolist() == [1, 3]


def test_reads_an_empty_tensor(folder: Path) -> None:
    content = one_tensor(np.zeros(0, "f4"), shape=(0, 3), strides=(3, 1))
    assert read_state_dict(written(folder, content))["t"].shape == (0, 3)


@pytest.mark.parametrize("place", ["first pickle", "state_dict"])
def test_refuses_to_run_code(folder: Path, place: str) -> None:
    proof = folder / "proof"
    call = name("os", "system") + b"(" + text(f"touch '{proof}'") + b"tR"
    malicious = b"\x80\x02" + call + b"."
    content = malicious if place == "first pickle" else legacy(malicious, {})
    assert "asks for 'os.system'" in refusal(folder, content)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("builtins", "eval"),
        ("torch", "load"),
        ("torch.nn.modules.linear", "Linear"),
        ("collections", "UserDict"),
    ],
)
def test_refuses_any_other_global(folder: Path, module: str, attribute: str) -> None:
    body = b"\x80\x02" + name(module, attribute) + b"."
    assert f"asks for '{module}.{attribute}'" in refusal(folder, legacy(body, {}))


def test_a_refused_name_stays_on_one_line(folder: Path) -> None:
    content = b"\x80\x04" + text("os\n") + text("system") + b"\x93."
    assert r"asks for 'os\n.system'" in refusal(folder, content)


@pytest.mark.parametrize("target", [("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict")])
def test_a_pickle_cannot_change_the_stand_ins_for_globals(folder: Path, target: tuple[str, str]) -> None:
    slots = b"(N}" + text("__call__") + text("changed") + b"stb"
    assert "damaged" in refusal(folder, legacy(b"\x80\x02" + name(*target) + slots + b".", {}))
    assert read_state_dict(written(folder, one_tensor(np.ones(1, "f4"))))["t"] == 1


def test_refuses_every_truncation(folder: Path) -> None:
    content = one_tensor(np.arange(3, dtype="f4"))
    assert len(read_state_dict(written(folder, content))) == 1
    for length in range(len(content)):
        refusal(folder, content[:length])
    assert "truncated: it ends inside storage '7'" in refusal(folder, content[:-1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not in PyTorch's legacy format"),
        (b"\x89PNG\r\n\x1a\n", "not in PyTorch's legacy format"),
        (pickle.dumps({"a": 1}), "not in PyTorch's legacy format"),
        (b"PK\x03\x04", "_use_new_zipfile_serialization=False"),
        (legacy(state({}), {}, protocol=1002), "not supported"),
        (legacy(state({}), {}, little_endian=False), "not supported"),
        (legacy(pickle.dumps([1, 2], 2), {}), "not a plain state_dict"),
        (legacy(pickle.dumps({"epoch": 3}, 2), {}), "not a plain state_dict"),
    ],
)
def test_refuses_foreign_files(folder: Path, content: bytes, message: str) -> None:
    assert message in refusal(folder, content)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"offset": 1}, "'t' reaches beyond its 4 stored values"),
        ({"shape": (2, 2), "strides": (3, 1)}, "'t' reaches beyond its 4 stored values"),
        ({"shape": (4, 1)}, "shape (4, 1) and strides (1,)"),
        ({"offset": -1}, "damaged"),
        ({"strides": (-1,)}, "damaged"),
        ({"shape": (-4,)}, "damaged"),
        ({"view": integers(1, 2, 3)}, "damaged"),
    ],
)
def test_refuses_tensors_outside_their_storage(folder: Path, place: dict[str, object], message: str) -> None:
    assert message in refusal(folder, one_tensor(np.zeros(4, "f4"), **place))


def test_refuses_a_storage_of_another_length(folder: Path) -> None:
    content = one_tensor(np.zeros(4, "f4"))
    shorter = content[:-24] + struct.pack("<q", 3) + content[-16:]
    assert "storage '7' holds 3 values, not 4" in refusal(folder, shorter)


def test_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match=r"absent\.pth' cannot be read: No such file"):
        read_state_dict(tmp_path / "absent.pth")
