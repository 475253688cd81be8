"""Targets of the checks: the classifiers of a run on its images, or named models on the bundled images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from artattack.checks.defaults import FEWEST, LIMIT
from artattack.config import Benchmark, ModelSpec
from artattack.errors import ArtattackError
from artattack.inputs.image_sets import Sample, load_images, spread
from artattack.inputs.images import read_image, to_float
from artattack.models.kinds import check_fit, gives
from artattack.results.run_folder import load_run

if TYPE_CHECKING:
    from artattack.models.model import Model


class Targets(NamedTuple):
    """Classifiers to check, by name, and images (N, H, W, 3) float32 in [0, 1]."""

    models: dict[str, Model]
    x: np.ndarray


def targets_of_run(path: Path, limit: int = LIMIT) -> Targets:
    """Load the classifiers of a finished run, and at most `limit` of its images, evenly spread.

    Checks read layers, so classifiers without readable layers, such as those that only predict, are left out.

    Raises:
        ArtattackError: the run does not exist or is not finished, none of its classifiers can be checked, or its
            models or images cannot be read or have changed.
    """
    from artattack.models import load_model
    from artattack.runtime import load_tensorflow

    folder = load_run(path)
    info = folder.info
    if info["status"] != "finished":
        raise ArtattackError(f"{path}: the run is not finished; resume it (artattack run --resume)")
    try:
        benchmark, hashes = info["config"]["benchmark"], info["config"]["models"]
        specs = {
            name: ModelSpec.model_validate(benchmark["models"].get(name, {"model": name}))
            for name in benchmark["classifiers"]
            if hashes[name]["weights"] != "python"
        }
        specs = {name: spec for name, spec in specs.items() if gives(spec.model) == "features"}
        seed, expected = int(benchmark["seed"]), {name: hashes[name]["sha256"] for name in specs}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtattackError(f"{path / 'run.json'}: does not name the run's classifiers") from error
    if not specs:
        raise ArtattackError(f"{path}: checks read layers, and none of the run's classifiers has readable ones")
    samples = [Sample(file.stem, file) for file in sorted(folder.originals.glob("*.png"))]
    if len(samples) < FEWEST:
        raise ArtattackError(f"{folder.originals}: checks need at least {FEWEST} images, found {len(samples)}")
    x = to_float(np.stack([read_image(sample.path) for sample in spread(samples, limit)]))
    load_tensorflow()
    models: dict[str, Any] = {name: load_model(**spec.arguments(), seed=seed) for name, spec in specs.items()}
    for name, model in models.items():
        if model.weights_sha256 != expected[name]:
            raise ArtattackError(f"model '{name}' has other weights than in {path}; restore them, or repeat the run")
    return Targets(models, x)


def targets_by_name(names: Sequence[str], limit: int = LIMIT, seed: int = 0) -> Targets:
    """Load models by their registry names, and at most `limit` of the `samples`.

    Raises:
        ArtattackError: a model does not exist, is named twice or has no readable layers.
    """
    from artattack.models import load_model
    from artattack.models.registry import check_model
    from artattack.runtime import load_tensorflow

    for name in names:
        check_model(name)
        check_fit(name, gives(name), "features")
        if list(names).count(name) > 1:
            raise ArtattackError(f"model '{name}' is named twice")
    load_tensorflow()
    images = Benchmark().images
    loaded = load_images(images.set, size=images.shape, crop=images.crop, limit=limit)
    models: dict[str, Any] = {name: load_model(name, seed=seed) for name in names}
    return Targets(models, loaded.x)
