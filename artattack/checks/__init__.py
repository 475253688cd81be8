"""Sanity checks of an evaluation: is a classifier attacked as it should be, so that its figures can be believed?

What is checked, and why, stands in docs/checks.md. Importing this does not load TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from artattack.config import Benchmark, ModelSpec
from artattack.errors import ArtattackError
from artattack.files import write_file
from artattack.inputs.image_sets import Sample, load_images, spread
from artattack.inputs.images import quantize, read_image, to_float
from artattack.results.columns import CHECKS as CHECK_TABLE
from artattack.results.run_folder import load_run
from artattack.results.tables import make_table, to_csv

if TYPE_CHECKING:
    from artattack.models.model import Model

BROKEN = "error: "  # what the figures of a check that raised begin with

EPS = 8 / 255
STEPS = 20
LIMIT = 10
FEWEST = 5  # images, below which not even a difference on all of them would be beyond chance in every check

Progress = Callable[[str, int, int], None]  # what is under way, checks done, checks in all


class Targets(NamedTuple):
    """What to check: classifiers by name, and images (N, H, W, 3) float32 in [0, 1]."""

    models: dict[str, Model]
    x: np.ndarray


def run_checks(
    models: Mapping[str, Model] | Sequence[Model],
    x: np.ndarray,
    *,
    eps: float = EPS,
    steps: int = STEPS,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> pd.DataFrame:
    """Check each of some classifiers, with the others as models to transfer from.

    Args:
        models: the classifiers; a mapping says what to call them.
        x: images (N, H, W, 3) in [0, 1], five or more; they are rounded to 8 bits.
        eps: radius of the linf ball that attacks are held to, in image units, up to 1. Attacks are compared
            within smaller ones where PGD flips more than half of the images in this.
        steps: iterations of PGD.
        seed: every random choice follows from it.
        on_progress: called with what is under way, the checks done and the checks in all.

    Returns:
        A table of the columns `artattack.results.columns.CHECKS`, all text, a row for each classifier and check:
        `status` is `pass`, `fail` or `not run`, because it does not apply (`meaning` says why) or because it raised
        (`figures` has the error).

    Raises:
        ArtattackError: the images or a number make no sense.
    """
    from artattack.checks.sanity import CHECKS, Check, NotApplicableError
    from artattack.checks.subject import Subject

    x = np.asarray(x, np.float32)
    if x.ndim != 4 or x.shape[-1] != 3 or len(x) < FEWEST:
        raise ArtattackError(f"checks take {FEWEST} or more images of shape (N, H, W, 3), not {x.shape}")
    if not 0 < eps <= 1:
        raise ArtattackError(f"eps {eps:g}: a radius above 0 and up to 1, such as 8/255")
    if steps < 1:
        raise ArtattackError(f"steps {steps}: 1 or more")
    named = models if isinstance(models, Mapping) else {model.name: model for model in models}
    x = quantize(x)
    subjects = {name: Subject(name, model, x, eps=eps, steps=steps, seed=seed) for name, model in named.items()}
    for name, subject in subjects.items():
        subject.others = {other: found for other, found in subjects.items() if other != name}

    def row(check: Check, subject: Subject) -> dict[str, str | None]:
        start = {"check": check.name, "classifier": subject.name, "attack": check.attack}
        try:
            outcome = check.run(subject)
        except NotApplicableError as reason:
            return start | {"status": "not run", "figures": None, "meaning": f"Does not apply: {reason}."}
        except Exception as error:  # whatever a model raises: the other checks go on
            what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            return start | {"status": "not run", "figures": BROKEN + what, "meaning": "This check broke down."}
        status = "pass" if outcome.passed else "fail"
        return start | {"status": status, "figures": outcome.figures, "meaning": outcome.meaning}

    rows: list[dict[str, str | None]] = []
    total = len(CHECKS) * len(subjects)
    for subject in subjects.values():
        for check in CHECKS:
            if on_progress:
                on_progress(f"{subject.name}: {check.name}", len(rows), total)
            rows.append(row(check, subject))
    if on_progress:
        on_progress("done", total, total)
    return make_table(rows, CHECK_TABLE)


def all_sound(checks: pd.DataFrame) -> bool:
    """Return whether no check failed and none raised."""
    broken = checks["figures"].fillna("").str.startswith(BROKEN)
    return not ((checks["status"] == "fail") | broken).any()


def write_checks(checks: pd.DataFrame, path: Path) -> None:
    """Write checks as CSV in UTF-8, missing values empty.

    Raises:
        ArtattackError: the disk does not take it.
    """
    write_file(path, to_csv(checks))


def targets_of_run(path: Path, limit: int = LIMIT) -> Targets:
    """Load the classifiers of a finished run, and at most `limit` of its images, evenly spread.

    Raises:
        ArtattackError: there is no finished run, or its models or images cannot be read or have changed.
    """
    from artattack.models import load_model
    from artattack.runtime import load_tensorflow

    folder = load_run(path)
    info = folder.info
    if info["status"] != "finished":
        raise ArtattackError(f"{path}: the run is not finished: resume it (artattack run --resume)")
    try:
        benchmark, hashes = info["config"]["benchmark"], info["config"]["models"]
        specs = {
            name: ModelSpec.model_validate(benchmark["models"].get(name, {"model": name}))
            for name in benchmark["classifiers"]
        }
        seed, expected = int(benchmark["seed"]), {name: hashes[name]["sha256"] for name in specs}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtattackError(f"{path / 'run.json'}: does not say which classifiers the run had") from error
    samples = [Sample(file.stem, file) for file in sorted((folder.images / "original").glob("*.png"))]
    if len(samples) < FEWEST:
        raise ArtattackError(f"{folder.images / 'original'}: checks take {FEWEST} or more images, found {len(samples)}")
    x = to_float(np.stack([read_image(sample.path) for sample in spread(samples, limit)]))
    load_tensorflow()
    models = {name: load_model(**spec.arguments(), seed=seed) for name, spec in specs.items()}
    for name, model in models.items():
        if model.weights_sha256 != expected[name]:
            raise ArtattackError(f"model '{name}' has other weights than in {path}: put them back, or run it again")
    return Targets(models, x)


def targets_by_name(names: Sequence[str], limit: int = LIMIT, seed: int = 0) -> Targets:
    """Load models by their registry names, and at most `limit` of the `samples`.

    Raises:
        ArtattackError: there is no such model, or one is named twice.
    """
    from artattack.models import load_model
    from artattack.models.registry import check_model
    from artattack.runtime import load_tensorflow

    for name in names:
        check_model(name)
        if list(names).count(name) > 1:
            raise ArtattackError(f"model '{name}' is named twice")
    load_tensorflow()
    images = Benchmark().images
    loaded = load_images(images.set, size=images.size, crop=images.crop, limit=limit)
    return Targets({name: load_model(name, seed=seed) for name in names}, loaded.x)
