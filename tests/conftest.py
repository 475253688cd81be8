"""Fixtures and settings shared by all tests. TensorFlow loads only for the files whose tests need it."""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import absl.logging
import psutil
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # processes that each use all cores slow one another down tenfold
    os.environ |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # oneDNN keeps the kernels of each shape: gigabytes in the end
os.environ["ARTATTACK_CACHE_SIZE"] = "0"  # each test makes its own images
os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # for workers: freed memory of many threads goes back to the system

import artattack.models  # before a test file imports TensorFlow: this chooses Keras 2
from artattack.runtime import usable_cores, write_art_settings

gc.set_threshold(50_000, 50, 50)  # tracing makes objects by the million: the defaults cost a sixth of the time
write_art_settings()  # before several workers import ART at once
absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__  # ART's import closes it, but not pytest's own

_SKIPPED = "artattack/skipped"  # in pytest's cache
_WORKER = 2.8e9  # bytes of memory that a worker takes at most in the whole suite, with some to spare
_ENOUGH = 1.9e9  # bytes of memory above which a worker frees graphs and models; below, tests share what is compiled
_GROWTH = 0.2e9  # bytes of memory after which it does so again
# Models that stay when programs are freed: building one takes half a second to two.
_KEPT = ("quicknet_tiny", "quicknet_distilled", "efficientnet_lite0", "efficientnet_lite2")
_COMPILED = (  # made from a loaded model and options alone, so that one instance serves several runs
    "artattack.models.estimator.to_estimator",
    "artattack.attacks.features.Features",
    "artattack.attacks.objective.FeatureDistance",
    "artattack.attacks.style.Objective",
    "artattack.attacks.style.Descent",
    "artattack.attacks.momentum.Climb",
    "artattack.evaluation.style_judging.StyleJudge",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the workers of `-n auto`: one a core, as far as the free memory carries them."""
    return max(1, min(usable_cores() or 1, int(psutil.virtual_memory().available / _WORKER)))


@cache
def _once() -> dict[str, Any]:
    return {path: lru_cache(8)(resolve_name(path)) for path in _COMPILED}


_models: dict[str, Any] = {}  # loaded by name


def _loaded(spec: str) -> Any:
    from artattack.models.registry import load_model

    if spec not in _models:
        _models[spec] = load_model(spec)
    return _models[spec]


_painters: dict[str, Any] = {}  # networks of painters by the hash of their file


def _read_painter(path: Path) -> Any:
    from artattack.files import sha256_file
    from artattack.models.local import read_network

    key = sha256_file(path)
    if key not in _painters:
        _painters[key] = read_network(path)
    return _painters[key]


def _forget_programs() -> None:
    """Drop loaded models with what was compiled from them, but keep the networks that most tests use."""
    for made_once in _once().values():
        made_once.cache_clear()
    _painters.clear()
    for spec in list(_models):
        model = _models.pop(spec)
        if spec in _KEPT:
            _models[spec] = replace(model)  # a copy has no compiled functions


@pytest.fixture(scope="module")
def models_load_once() -> Iterator[None]:
    """Give runs a model that was loaded before, where only its name is given, and the objects compiled from it.

    Loading and compiling are the slowest part of a small run.
    """
    load = artattack.models.load_model

    def load_model(spec: str, seed: int = 0, **options: Any) -> Any:
        given = {name: value for name, value in options.items() if value not in (None, False)}
        return load(spec, seed=seed, **given) if given else _loaded(spec)  # without random weights

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artattack.models, "load_model", load_model)
        patch.setattr("artattack.attacks.painter_network.read_network", _read_painter)
        for path, made_once in _once().items():
            patch.setattr(path, made_once)
        yield


@pytest.fixture(scope="module")
def eager() -> Iterator[None]:
    """Run functions eagerly: tracing one takes longer than the few steps that these tests take."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def compiled(eager: None) -> Iterator[None]:
    """Compile functions in one test of a file that is `eager`."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(False)
    yield
    tf.config.run_functions_eagerly(True)


@cache
def _freeze() -> None:
    """Keep TensorFlow's own objects out of all later garbage collections, which they would slow down."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _gradients_are_forgotten() -> Iterator[None]:
    """Drop the functions that TensorFlow registers for custom gradients, which keep their graphs alive."""
    if "tensorflow" not in sys.modules:
        yield
        return
    from artattack.tracing import forgetting_gradients

    _freeze()
    with forgetting_gradients():
        yield


@pytest.fixture(autouse=True)
def _memory_is_bounded() -> Iterator[None]:
    """After a test, free graphs if memory has grown and, if that is not enough, shared models and their programs.

    Garbage collection alone comes too late: the objects are few, and their memory is TensorFlow's. A collection of all
    objects takes seconds, so the first one leaves out those that have outlived another.
    """
    yield
    global _bound
    if "tensorflow" not in sys.modules or _resident() < _bound:
        return
    _free()
    if _resident() > _ENOUGH:
        _forget_programs()
        gc.unfreeze()
        _free()
    gc.freeze()
    _bound = max(_ENOUGH, _resident() + _GROWTH)


_bound = _ENOUGH


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def _free() -> None:
    """Collect garbage with TensorFlow's compiled kernels, and give freed memory back to the system."""
    import tf_keras

    gc.collect()  # before the kernels, which the functions that are collected still use
    tf_keras.backend.clear_session()
    with suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--skipped-before",
        action="store_true",
        help="run only the tests that the last run skipped, for example because a package was missing",
    )


_skipped: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        _skipped.add(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:  # a whole file
        _skipped.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    cache = getattr(session.config, "cache", None)  # missing with `-p no:cacheprovider`
    if not hasattr(session.config, "workerinput") and cache:
        cache.set(_SKIPPED, sorted(_skipped))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--skipped-before`, keep only the tests that the last run skipped, alone or with their file."""
    cache = getattr(config, "cache", None)
    if config.getoption("--skipped-before") and cache:
        before = set(cache.get(_SKIPPED, []))
        kept: dict[bool, list[pytest.Item]] = {True: [], False: []}
        for item in items:
            kept[not before.isdisjoint((item.nodeid, item.nodeid.partition("::")[0]))].append(item)
        config.hook.pytest_deselected(items=kept[False])
        items[:] = kept[True]
