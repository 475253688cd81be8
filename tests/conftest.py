"""Shared by all tests."""

import gc
import inspect
import os
from collections.abc import Iterator
from functools import cache, lru_cache
from pkgutil import resolve_name
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # programs that use all cores at once slow each other down tenfold
    os.environ |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
os.environ["ARTATTACK_CACHE_SIZE"] = "0"  # each test makes its own images

import artattack.models
from artattack.runtime import load_tensorflow

load_tensorflow()  # with Keras 2, before a test imports it in its own way
gc.collect()
gc.freeze()  # what TensorFlow is made of need not be looked through at each collection

_load = artattack.models.load_model
_loaded = cache(_load)

_COMPILED = (  # what follows from a loaded model and options alone, so that one will do for several runs
    "artattack.models.estimator.to_estimator",
    "artattack.attacks.features.Features",
    "artattack.attacks.objective.FeatureDistance",
    "artattack.attacks.style.Objective",
    "artattack.attacks.style.Descent",
    "artattack.attacks.momentum._Climb",
    "artattack.evaluation.style_judging.StyleJudge",
)
_once = {path: lru_cache(8)(resolve_name(path)) for path in _COMPILED}


@pytest.fixture(scope="module")
def models_load_once() -> Iterator[None]:
    """Give runs a model that was loaded before, where nothing but its name is said, with what was compiled of it.

    Loading and compiling are the slowest part of a small run.
    """

    def load_model(spec: str, seed: int = 0, **options: Any) -> Any:
        given = {name: value for name, value in options.items() if value is not None}
        return _load(spec, seed=seed, **given) if given else _loaded(spec)  # whose weights are not drawn

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artattack.models, "load_model", load_model)
        for path, made_once in _once.items():
            patch.setattr(path, made_once)
        yield


@cache
def _may_skip(module: Any) -> bool:
    return "pytest.importorskip(" in inspect.getsource(module)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of files that look for packages which need not be there; `-m extras` runs them where they are."""
    for item in items:
        if _may_skip(item.module):  # type: ignore[attr-defined]
            item.add_marker(pytest.mark.extras)
