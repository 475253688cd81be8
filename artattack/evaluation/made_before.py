"""Cache of adversarial images: batches of earlier runs, found by a cache key that hashes everything they depend on.

Entries are whole batches. An image's result does not depend on other images mathematically, but networks may add in
another order for four images than for ten, and an optimiser amplifies the last digit. A batch from the cache equals,
bit for bit, a batch computed on this machine.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from artattack.attacks.entries import Batch, Perturbed, Variant
from artattack.attacks.imported import source_of
from artattack.bound import Bound
from artattack.cache import Cache
from artattack.evaluation.loading import LoadedModels
from artattack.evaluation.plan import CLEAN, Plan
from artattack.files import sha256_file
from artattack.inputs.images import to_float, to_uint8
from artattack.inputs.styles import style_files
from artattack.models.classifier import Classifier
from artattack.models.kinds import kind_of, kind_packages
from artattack.models.model import Preprocessing
from artattack.models.registry import is_registered
from artattack.results.plain_data import config_hash
from artattack.runtime import installed_versions, processor, usable_cores

_FORMAT = 1  # version of the entries; entries of another version are ignored
_OPAQUE = ("python", "http")  # weights of models whose identity is unknown, and which may change between runs
_NO_MATTER = ("name", "doubts")  # fields of a model that do not affect its outputs
# Code of this package that decides images.
_CODE = ("attacks", "evaluation", "inputs", "models", "bound.py", "distances.py", "runtime.py", "tracing.py")
_ARITHMETIC = (  # environment variables that change the order or precision of arithmetic
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_DETERMINISTIC_OPS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
    "ONEDNN_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "NVIDIA_TF32_OVERRIDE",
)


class Made(NamedTuple):
    """A perturbed batch and its cost.

    Attributes:
        perturbed: the images.
        seconds: attack time per image, when the batch was computed.
        from_cache: whether the batch was computed earlier.
    """

    perturbed: Perturbed
    seconds: float
    from_cache: bool


class MadeBefore:
    """Looks up batches in a cache, and stores new ones.

    Args:
        cache: the cache.
        loaded: the models of the run.
        plan: the plan of the run.
    """

    def __init__(self, cache: Cache, loaded: LoadedModels, plan: Plan) -> None:
        self._cache = cache
        self._loaded = loaded
        self._plan = plan
        self._identities: dict[int, dict[str, Any]] = {}
        self._surroundings = {"format": _FORMAT, "code": _code(), "versions": _versions(), "machine": _machine()}

    def key(self, batch: Batch) -> str | None:
        """Return the cache key of a batch, or None for batches that are not cached.

        Untouched images are not cached. Neither are attacks that read a model given as a Python object or served over
        HTTP, nor attacks whose class has no source file: the identity of such models and classes is unknown.
        """
        variant, entry = batch.variant, batch.variant.entry
        sources = [source_of(code) for v in (variant, variant.matched) if v and (code := v.entry.code)]
        loaded = self._loaded
        read = dict.fromkeys(reading._replace(what="features") for reading in variant.reads)  # each model once
        models = [(r.model, (loaded.untrained if r.untrained else loaded.models)[r.model]) for r in read]
        if variant == CLEAN or any(m.weights in _OPAQUE or name in self._plan.given for name, m in models):
            return None
        if any(source.sha256 is None for source in sources):
            return None
        start = entry.starts_from(variant)
        return config_hash(
            {
                **self._surroundings,
                "attack": _told(variant),
                **({"code": [tuple(source)[:3] for source in sources]} if sources else {}),
                "models": [self._identity(name, model) for name, model in models],
                "images": [_hash(image) for image in batch.x],
                "seeds": list(batch.seeds),
                **({"targets": batch.targets, "draws": batch.draws} if entry.aims else {}),
                "starts": [_hash(image) for image in batch.images_of(start)] if start else [],
            }
        )

    def get(self, key: str, x: np.ndarray) -> Made | None:
        """Return the cached result for a batch (N, H, W, 3) float32, or None."""
        found = self._cache.get(key)
        if found is None:
            return None
        arrays, words = found
        files, made, queries = arrays.get("files"), arrays.get("made"), arrays.get("queries")
        seconds, held_to = words.get("seconds"), words.get("held_to")
        if (
            files is None
            or (files.shape, files.dtype) != (x.shape, np.uint8)
            or (made is not None and (made.shape, made.dtype) != (x.shape, np.float32))
            or (queries is not None and queries.shape != (len(x),))
            or not isinstance(seconds, float)
        ):
            return None
        rounded = to_float(files)
        ball = Bound(str(held_to[0]), float(held_to[1])) if held_to else None
        return Made(Perturbed(rounded if made is None else made, rounded, ball, queries), seconds, from_cache=True)

    def put(self, key: str, made: Made) -> None:
        """Store a batch, if its files are exactly on the 8-bit grid."""
        perturbed = made.perturbed
        arrays = {"files": to_uint8(perturbed.files)}
        if not np.array_equal(to_float(arrays["files"]), perturbed.files):
            return
        if perturbed.made is not perturbed.files:
            arrays["made"] = np.asarray(perturbed.made, np.float32)
        if perturbed.queries is not None:
            arrays["queries"] = np.asarray(perturbed.queries)
        held_to = perturbed.held_to and [perturbed.held_to.distance, float(perturbed.held_to.value)]
        self._cache.put(key, arrays, {"seconds": made.seconds, "held_to": held_to})

    def _identity(self, name: str, model: Classifier) -> dict[str, Any]:
        """Return the identity of a model: its weights, its network and its plain-data fields."""
        if id(model) not in self._identities:
            spec = self._plan.benchmark.spec(name)
            word = spec.model
            known = is_registered(word)
            plain = {f.name: getattr(model, f.name) for f in fields(model) if f.name not in _NO_MATTER}  # type: ignore[arg-type]
            plain.pop("defences", None)  # `weights_sha256` covers them
            behind = plain.pop("undefended", None)
            self._identities[id(model)] = {
                "network": word if known else _hash_of_file(word),
                "output": spec.output,
                **{key: value for key, value in plain.items() if isinstance(value, str | bool | int | tuple)},
                "preprocessing": _preprocessing(plain.get("preprocessing")),
                **({"undefended": self._identity(name, behind)} if behind else {}),
            }
        return self._identities[id(model)]


def _told(variant: Variant) -> dict[str, Any]:
    """Return a variant's settings in the benchmark, with hashes in place of files."""
    entry = variant.entry
    words = {str(word) for word in entry.paths()} - set(map(str, entry.styles()))
    files = {word: sha256_file(path) for word in words if (path := Path(word).expanduser()).is_file()}
    return {
        "attack": entry.attack,
        "parameters": entry.parameters,
        "files": files,
        "style": [sha256_file(path) for path in style_files(variant.style)] if variant.style else [],
        "budget": variant.budget,
        "matched": None if variant.matched is None else _told(variant.matched),
    }


def _preprocessing(found: Any) -> list[Any] | None:
    return [found.mean, found.std, found.bgr] if isinstance(found, Preprocessing) else None


def _hash(image: np.ndarray) -> str:
    """Return the hash of an image on the 8-bit grid, (H, W, 3) float32."""
    pixels = to_uint8(image)
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def _hash_of_file(word: str) -> str:
    """Return the hash of a model's file, or of all files in its folder; the word itself if it names neither."""
    path = Path(kind_of(word)[1])
    if path.is_file():
        return sha256_file(path)
    parts = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else []
    return config_hash([[part.relative_to(path).as_posix(), sha256_file(part)] for part in parts]) if parts else word


@lru_cache(1)
def _code() -> str:
    """Return the hash of the code that affects images, because a version does not identify a changed checkout."""
    package = Path(__file__).resolve().parents[1]
    files = sorted(path for path in package.rglob("*.py") if path.relative_to(package).parts[0] in _CODE)
    return config_hash([[path.relative_to(package).as_posix(), sha256_file(path)] for path in files])


@lru_cache(1)
def _versions() -> Mapping[str, str]:
    """Return the versions of Python and of the packages that compute."""
    return {"python": platform.python_version(), **installed_versions(kind_packages())}


def _machine() -> dict[str, Any]:
    """Return the facts that arithmetic depends on: processor, accelerators, threads and environment variables."""
    import tensorflow as tf

    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return {
        "machine": platform.machine(),
        "processor": processor(),
        "cores": usable_cores(),
        "threads": [
            tf.config.threading.get_intra_op_parallelism_threads(),
            tf.config.threading.get_inter_op_parallelism_threads(),
        ],
        "gpus": [str(gpu.get("device_name", "")) for gpu in gpus],
        "environment": {name: os.environ[name] for name in _ARITHMETIC if name in os.environ},
    }
