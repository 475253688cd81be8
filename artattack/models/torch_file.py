"""PyTorch files: TorchScript and `torch.export`, checked before PyTorch reads them.

PyTorch treats both as programs, and advises loading only trusted files. These checks admit only operators on tensors:
no Python pickles, no native code, no file names, and no data that expand far beyond the file's size.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from artattack.errors import ArtattackError
from artattack.models.card import read_card
from artattack.models.load_options import LoadOptions
from artattack.models.model import parse_preprocessing
from artattack.models.network import reason
from artattack.models.notes import preprocessing_in, read_preprocessing
from artattack.models.torch_model import TorchModel, load_module
from artattack.models.untrusted import check_archive, read_member

_EXPORT = "export the network with torch.export.save or torch.jit.save"
# TorchScript functions that read or write files or reach other machines.
_HARMFUL = re.compile(r"save|load|from_file|rpc_\w+|_?load_\w+")
_OPERATORS = ("prim", "quantized")  # admitted namespaces under `ops.`; `torch.` is aten
_FOREIGN_CLASSES = re.compile(rb"torch\.classes\.(?!quantized\.)")
# Admitted members of a torch.export archive: graphs, tensors as plain bytes, example inputs, notes; no compiled code.
_MEMBERS = re.compile(
    r"models/model\.json|data/(weights|constants)/(weight_\d+|tensor_\d+|model_(weights|constants)_config\.json)"
    r"|data/sample_inputs/model\.pt|extra/.*|archive_format|archive_version|version|byteorder|\.data/\w+"
)
_TARGETS = re.compile(
    r"torch\.ops\.aten\.(?!from_file|save)\w+\.\w+"
    r"|_operator\.(getitem|add|sub|mul|floordiv|mod|pow|neg|truediv|eq|ne|lt|le|gt|ge)"
)
# Expressions for sizes, which PyTorch evaluates as Python.
_EXPRESSION = re.compile(
    r"(Symbol\('[su]\d+'(, (positive|nonnegative|integer)=True)*\)|(Integer|Add|Mul|Pow|Mod|FloorDiv|Max|Min)(?=\()"
    r"|[su]\d+|\d+|[-+*/ (),]){1,200}"
)


def load(path: str, options: LoadOptions) -> TorchModel:
    """Load a classifier from a TorchScript or torch.export file; errors as in `read_torch` and `load_module`."""
    file = Path(path)
    module, batch, own_size = read_torch(file)
    if own_size and options.size and own_size != options.size:
        pixels = f"{own_size[0]} x {own_size[1]} pixels"
        raise ArtattackError(f"model '{path}' takes images of {pixels}; leave out input_size, or give that")
    options = replace(options, size=own_size or options.size)
    card = read_card(file) if options.preprocessing is None else None
    if card is not None:
        options = replace(options, size=options.size or card.input_size)
        space = card.space if options.space is None else options.space
        options = replace(options, preprocessing=parse_preprocessing(card.preprocessing), space=space)
    if options.preprocessing is None and (said := preprocessing_in(file)):
        options = replace(options, preprocessing=read_preprocessing(file, said))
    return load_module(file.stem, module, options, weights="file", batch=batch)


def read_torch(path: Path) -> tuple[torch.nn.Module, int | None, tuple[int, int] | None]:
    """Read a network from a TorchScript or torch.export file, on the CPU.

    Returns:
        The network, its batch size (None for any), and the images' (H, W) if the file fixes them.

    Raises:
        ArtattackError: the file has neither format, or contains something that no network needs.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(path, archive)
            names = archive.namelist()
            if any(name.endswith("/models/model.json") for name in names):
                return _read_export(path, archive)
            if any("/code/" in name for name in names):
                return _read_script(path, archive)
        raise ArtattackError(f"model '{path}' is a PyTorch pickle, which could run code when read: {_EXPORT}")
    except zipfile.BadZipFile:
        raise ArtattackError(
            f"model '{path}' is not a complete TorchScript or torch.export file, and pickles are not read: {_EXPORT}"
        ) from None
    except ArtattackError:
        raise
    except Exception as error:  # PyTorch may raise anything on damaged and foreign files
        raise ArtattackError(f"model '{path}' cannot be loaded: {reason(error)}") from error


def _read_script(path: Path, archive: zipfile.ZipFile) -> tuple[torch.nn.Module, None, None]:
    names = [name.lower() for name in archive.namelist()]  # PyTorch's reader ignores case
    if len(set(names)) < len(names):
        raise _refused(path, "two members with the same name")
    for name in archive.namelist():
        if name.lower().endswith(".py"):
            for what in _harmful(read_member(archive, name).decode()):
                raise _refused(path, f"'{what}' in its code")
        elif name.lower().endswith(".pkl") and _FOREIGN_CLASSES.search(read_member(archive, name)):
            raise _refused(path, "an object of a class in native code")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation warnings
        module = torch.jit.load(str(path), map_location="cpu")
    return module, None, None


def _harmful(code: str) -> Iterator[str]:
    """Yield the names in TorchScript code (in Python's grammar) that are not operators on tensors."""
    tree = ast.parse(code)
    inside = {id(node.value): node for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _HARMFUL.fullmatch(node.attr):
            yield node.attr
        if isinstance(node, ast.Name) and node.id in ("torch", "ops", "__torch__"):
            chain, outer = [node.id], inside.get(id(node))
            while outer is not None:
                chain.append(outer.attr)
                outer = inside.get(id(outer))
            known = {
                "torch": len(chain) > 1,
                "ops": len(chain) > 2 and chain[1] in _OPERATORS,
                "__torch__": len(chain) > 1 and (chain[1:3] != ["torch", "classes"] or chain[3:4] == ["quantized"]),
            }
            if not known[node.id]:
                yield ".".join(chain)


def _read_export(path: Path, archive: zipfile.ZipFile) -> tuple[torch.nn.Module, int | None, tuple[int, int] | None]:
    for name in archive.namelist():
        inner = name.partition("/")[2]
        if not _MEMBERS.fullmatch(inner):
            raise _refused(path, f"'{inner}'")
        if inner.endswith("_config.json"):
            config = json.loads(read_member(archive, name))["config"]
            if any(payload.get("use_pickle") for payload in config.values()):
                raise _refused(path, "pickles")
        elif inner.endswith(".pt"):
            _check_pickle(path, read_member(archive, name))
        elif inner == "models/model.json":
            for what in _foreign(json.loads(read_member(archive, name))):
                raise _refused(path, f"'{what[:80]}'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(path)
    images = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"][-1]
    batch, *sides = [side if isinstance(side, int) else None for side in images.shape]
    height, width = (sides[1], sides[2]) if len(sides) == 3 else (None, None)
    size = (height, width) if height is not None and width is not None else None
    if "check_guards" in inspect.signature(program.module).parameters:  # guards are code, so they are not run
        return program.module(check_guards=False), batch, size
    return program.module(), batch, size


def _check_pickle(path: Path, content: bytes) -> None:
    """Refuse a pickle with more than tensors, which PyTorch itself would read."""
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:
        raise _refused(path, "a pickle with more than tensors") from error


def _foreign(value: Any) -> Iterator[str]:
    """Yield the names and expressions in a graph that are neither operators on tensors nor arithmetic on sizes."""
    if isinstance(value, dict):
        if isinstance(target := value.get("target"), str) and "inputs" in value and not _TARGETS.fullmatch(target):
            yield target
        if isinstance(text := value.get("expr_str"), str) and not _EXPRESSION.fullmatch(text):
            yield text
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _foreign(item)


def _refused(path: Path, what: str) -> ArtattackError:
    return ArtattackError(
        f"model '{path}' cannot be loaded: it contains {what}, which no classifier needs and which could run code or "
        "touch files"
    )
