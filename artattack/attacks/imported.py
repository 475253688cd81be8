"""Attacks from other packages, by name: `my_package.my_module:MyAttack`, or the name of an entry point.

Finding a class imports its module, which runs the module's code. The class must be an `Entry` or have ART's contract:
it is constructed with an estimator and keyword parameters, and has `generate(x, y=None)`.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from artattack.attacks.entries import Entry
from artattack.errors import ArtattackError, nearest, one_line
from artattack.files import sha256_file
from artattack.models.classifier import Gives
from artattack.runtime import quietly, write_art_settings

ENTRY_POINTS = "artattack.attacks"  # entry point group for attacks of installed packages
_WORD = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)")


class Source(NamedTuple):
    """The code of an attack from another package.

    Attributes:
        name: `module.Class`.
        sha256: hash of the module's file; None for a class without a file, such as one from a notebook.
        package_sha256: hash of all Python files of the module's package; None likewise.
        folder: folder from which Python imports the package; None likewise.
    """

    name: str
    sha256: str | None
    package_sha256: str | None
    folder: str | None


def installed_attacks() -> dict[str, str]:
    """Return `module:Class` for each attack of installed packages, by entry point name. Imports nothing."""
    return {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}


def is_importable(word: str) -> bool:
    """Return whether a value of `attack` names a class to import: it has a colon, or is an entry point."""
    return ":" in word or word in installed_attacks()


def find_attack(word: str, given: Mapping[str, Any], beside: Path | None = None) -> type:
    """Return the class of an attack, after importing its module.

    Args:
        word: `module:Class`, the name of an entry point, or a name in `given`.
        given: classes given as Python objects, by name.
        beside: folder to search for a module that Python's path lacks, by default the working directory. If it has the
            module, it is appended to Python's path.

    Raises:
        ArtattackError: there is no such module or class, importing the module fails, or the class is no attack.
    """
    found = given[word] if word in given else _imported(word, installed_attacks().get(word, word), beside)
    if lacks := _lacks(found):
        raise ArtattackError(
            f"attack '{word}': {getattr(found, '__name__', repr(found))} {lacks}; an attack is a class that takes an "
            "estimator and keyword parameters, with generate(x, y=None), or an artattack.attacks.entries.Entry"
        )
    return found  # type: ignore[no-any-return]


def _imported(word: str, path: str, beside: Path | None) -> Any:
    form = _WORD.fullmatch(path)
    if form is None:
        raise ArtattackError(f"attack '{word}': write module and class as my_package.my_module:MyAttack")
    module, name = _module(word, form[1], beside), form[2]
    if not hasattr(module, name):
        public = [key for key in vars(module) if not key.startswith("_")]
        raise ArtattackError(f"attack '{word}': module {form[1]} has no '{name}'{nearest(name, public)}")
    return getattr(module, name)


def _module(word: str, name: str, beside: Path | None) -> Any:
    """Import a module.

    Raises:
        ArtattackError: the module does not exist, or importing it fails.
    """
    write_art_settings()  # ART, if the module imports it, would write them without a lock
    top, folder = name.partition(".")[0], str((beside or Path()).resolve())
    try:
        with quietly():  # the module may import TensorFlow, which prints messages
            if top not in sys.modules and find_spec(top) is None and PathFinder.find_spec(top, [folder]):
                sys.path.append(folder)
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            where = "install its package, or add the folder that holds it to PYTHONPATH"
            raise ArtattackError(f"attack '{word}': there is no module '{missing}': {where}") from error
        raise ArtattackError(f"attack '{word}': module {name} needs '{missing}', which is not installed") from error
    except (Exception, SystemExit) as error:  # foreign code may raise anything
        why = one_line(error, typed=True)
        raise ArtattackError(f"attack '{word}': module {name} cannot be imported: {why}") from error


def _lacks(found: Any) -> str:
    """Return the reason why an object is no attack; empty for an attack."""
    if not inspect.isclass(found):
        return "is not a class"
    if issubclass(found, Entry):
        return ""
    generate = getattr(found, "generate", None)
    if not callable(generate) or getattr(generate, "__isabstractmethod__", False):
        return "has no method generate"
    if not _takes(generate, "self", "x", "y"):
        return "has a generate that does not take images x and labels y"
    first = next(iter(_signature(found).values()), None)
    if first is None or first.kind is inspect.Parameter.KEYWORD_ONLY:
        return "has a constructor that takes no estimator as its first argument"
    return ""


def _takes(function: Any, *arguments: str) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def _signature(attack: type) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(attack).parameters)
    except (TypeError, ValueError):  # classes written in C have no signature
        return {}


def parameters_of(attack: type) -> tuple[dict[str, Any], bool]:
    """Return the parameters of an attack's constructor without the estimator, and whether it accepts others.

    Returns:
        A map from each parameter's name to its default, `inspect.Parameter.empty` without a default; and whether the
        constructor has `**kwargs`.
    """
    kinds = inspect.Parameter
    first, *others = _signature(attack).values()
    named = {p.name: p.default for p in others if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)}
    return named, any(p.kind is kinds.VAR_KEYWORD for p in (first, *others))


def construct(attack: type, estimator: Any, parameters: Mapping[str, Any]) -> Any:
    """Construct an attack; a class that inherits ART's constructor takes the estimator as a keyword.

    Raises:
        Exception: any error of the constructor.
    """
    first = next(iter(_signature(attack).values()))
    if first.kind is inspect.Parameter.VAR_KEYWORD:
        return attack(estimator=estimator, **parameters)
    return attack(estimator, **parameters)


def source_gives(attack: type) -> Gives:
    """Return the outputs that a class needs of its source: gradients by `_estimator_requirements`, otherwise logits."""
    requirements = getattr(attack, "_estimator_requirements", None) or ()
    return "gradients" if "GradientsMixin" in repr(requirements) else "logits"


@cache
def source_of(attack: type) -> Source:
    """Return the code of a class with its hashes, which are cached."""
    name = f"{attack.__module__}.{attack.__qualname__}"
    try:
        path = Path(inspect.getfile(attack)).resolve()
        digest = sha256_file(path)
    except (TypeError, OSError, ArtattackError):  # a class from a notebook has no file
        return Source(name, None, None, None)
    top = sys.modules[attack.__module__.partition(".")[0]]
    folders = [Path(folder) for folder in getattr(top, "__path__", ())]
    if not folders:
        return Source(name, digest, digest, str(path.parent))
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    hashes = [[file.name, sha256_file(file)] for file in files]
    return Source(name, digest, hashlib.sha256(json.dumps(hashes).encode()).hexdigest(), str(folders[0].parent))
