"""Shared by all tests."""

import inspect
import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # programs that use all cores at once slow each other down tenfold
    os.environ |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
os.environ["ARTATTACK_CACHE_SIZE"] = "0"  # each test makes its own images

import artattack.models
from artattack.runtime import load_tensorflow

load_tensorflow()  # with Keras 2, before a test imports it in its own way

_load = artattack.models.load_model
_loaded = cache(lambda spec, seed: _load(spec, seed=seed))


@pytest.fixture(scope="module")
def models_load_once() -> Iterator[None]:
    """Give runs a model that was loaded before, where nothing but its name is said: loading is the slowest part."""

    def load_model(spec: str, seed: int = 0, **options: Any) -> Any:
        given = {name: value for name, value in options.items() if value is not None}
        return _load(spec, seed=seed, **given) if given else _loaded(spec, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artattack.models, "load_model", load_model)
        yield


@cache
def _may_skip(module: Any) -> bool:
    return "pytest.importorskip(" in inspect.getsource(module)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of files that look for packages which need not be there; `-m extras` runs them where they are."""
    for item in items:
        if _may_skip(item.module):  # type: ignore[attr-defined]
            item.add_marker(pytest.mark.extras)
