"""Plain data (dicts, lists, text and numbers) in JSON files: writing, reading, hashing and comparing.

JSON has no inf and no NaN; they are written as {"$float": "inf"}.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_NON_FINITE = "$float"
_SEAL = "sha256"


def to_json(data: Any, **options: Any) -> str:
    """Return plain data, which may contain NumPy numbers, paths and tuples, as JSON; options of `json.dumps`."""
    return json.dumps(_for_json(data), allow_nan=False, **options)


def from_json(content: str | bytes) -> Any:
    """Return the plain data of a JSON text from `to_json`.

    Raises:
        ValueError: the text is not JSON.
    """
    return json.loads(content, object_hook=lambda d: float(d[_NON_FINITE]) if d.keys() == {_NON_FINITE} else d)


def seal(data: Mapping[str, Any], **options: Any) -> bytes:
    """Return a dict as JSON that contains its own SHA-256, so that damage is detected; options of `to_json`."""
    content = (to_json({**data, _SEAL: ""}, **options) + "\n").encode()
    start, _, end = content.rpartition(b'""')
    return start + f'"{hashlib.sha256(content).hexdigest()}"'.encode() + end


def unseal(content: bytes) -> Any:
    """Return the plain data of a text from `seal`, or of an unsealed text of an earlier version.

    Raises:
        ValueError: the text is not JSON, or is damaged.
    """
    data = from_json(content)
    if isinstance(data, dict) and isinstance(sha256 := data.pop(_SEAL, None), str):
        start, _, end = content.rpartition(sha256.encode())
        if hashlib.sha256(start + end).hexdigest() != sha256:
            raise ValueError("it has been changed since it was written (its SHA-256 is another)")
    return data


def config_hash(config: Any) -> str:
    """Return the SHA-256 of plain data, independent of the order of keys."""
    return hashlib.sha256(to_json(config, sort_keys=True).encode()).hexdigest()


def differences(old: Any, new: Any, at: str = "") -> Iterator[str]:
    """Yield a phrase, such as `seed was 0, now 1`, for each difference of two pieces of plain data.

    Args:
        old: former data: dicts, lists and plain values.
        new: present data.
        at: path of the data, a prefix of the paths in the phrases.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            sides = old.get(key, "(absent)"), new.get(key, "(absent)")
            yield from differences(*sides, f"{at}.{key}" if at else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from differences(a, b, f"{at}.{i}")
    elif to_json(old) != to_json(new):  # in Python 1 == 1.0 == True
        yield f"{at} was {json.dumps(old)}, now {json.dumps(new)}"


def short_hash(sha256: str) -> str:
    """Return a SHA-256 abbreviated for readers."""
    return sha256[:12]


def _for_json(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {_NON_FINITE: str(value)}
    if isinstance(value, Mapping):
        return {str(key): _for_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_for_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value
