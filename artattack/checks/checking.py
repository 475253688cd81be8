"""Run the checks on classifiers, and return or write the results as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from artattack.bound import parse_number
from artattack.checks.defaults import EPS, FEWEST, LIMIT, STEPS
from artattack.errors import ArtattackError, one_line
from artattack.files import to_path, write_file
from artattack.inputs.images import quantize
from artattack.models.kinds import check_fit
from artattack.progress import Progress, reporting_to
from artattack.results.columns import CHECKS as COLUMNS
from artattack.results.tables import make_table, to_csv

if TYPE_CHECKING:
    from artattack.models.model import Model

BROKEN = "error: "  # prefix of `figures` for a check that raised an error


def run_checks(
    subjects: str | Path | Sequence[str],
    *,
    limit: int = LIMIT,
    eps: float | str = EPS,
    steps: int = STEPS,
    seed: int = 0,
    out: Path | None = None,
    on_progress: Progress | None = None,
) -> pd.DataFrame:
    """Check the classifiers of a finished run on its images, or named models on the bundled images.

    Args:
        subjects: the run folder or its URL, or a list of model names.
        limit: maximum number of images, evenly spread.
        eps: as in `check_models`.
        steps: as in `check_models`.
        seed: seed of every random choice, including random weights of named models.
        out: CSV to write; the report shows `checks.csv` in the run folder.
        on_progress: as in `check_models`.

    Returns:
        The table that `check_models` returns.

    Raises:
        ArtattackError: the run or a model does not exist, or as in `check_models`.
    """
    from artattack.checks.targets import targets_by_name, targets_of_run

    radius(eps)  # before any model is loaded
    with reporting_to(on_progress) as tell:
        tell("loading", 0, 1)
        if isinstance(subjects, str | Path):
            targets = targets_of_run(to_path(subjects), limit)
        else:
            targets = targets_by_name(subjects, limit, seed)
        checks = check_models(targets.models, targets.x, eps=eps, steps=steps, seed=seed, on_progress=tell)
    if out:
        write_checks(checks, out)
    return checks


def radius(eps: float | str) -> float:
    """Return the radius of the linf ball from a number or a fraction such as `8/255`.

    Raises:
        ArtattackError: the radius is not above 0 and at most 1.
    """
    found = parse_number(eps) if isinstance(eps, str) else eps
    if not 0 < found <= 1:
        raise ArtattackError(f"eps: give a radius above 0 and at most 1, such as 8/255, not '{eps}'")
    return found


def check_models(
    models: Mapping[str, Model] | Sequence[Model],
    x: np.ndarray,
    *,
    eps: float | str = EPS,
    steps: int = STEPS,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> pd.DataFrame:
    """Check each classifier, using the others as sources of transferred attacks.

    Args:
        models: the classifiers; a mapping gives their names.
        x: images (N, H, W, 3) in [0, 1], at least five; they are rounded to 8 bits.
        eps: radius of the linf ball, in image units, at most 1: a number, or a fraction such as `8/255`. If PGD flips
            more than half of the images within it, attacks are compared within smaller balls.
        steps: iterations of PGD.
        seed: seed of every random choice.
        on_progress: called with the current check, the checks done and the total number of checks.

    Returns:
        A table of the columns `artattack.results.columns.CHECKS`, all text, with a row for each classifier and check.
        `status` is `pass`, `fail` or `not run`. A check is not run if it does not apply (`meaning` gives the reason)
        or raised an error (in `figures`).

    Raises:
        ArtattackError: the images or a number are invalid, or a classifier has no readable layers.
    """
    from artattack.checks.sanity import CHECKS, Check, NotApplicableError
    from artattack.checks.subject import Subject

    x = np.asarray(x, np.float32)
    if x.ndim != 4 or x.shape[-1] != 3 or len(x) < FEWEST:
        raise ArtattackError(f"checks need at least {FEWEST} images of shape (N, H, W, 3), not {x.shape}")
    if steps < 1:
        raise ArtattackError(f"steps {steps}: give 1 or more")
    named = models if isinstance(models, Mapping) else {model.name: model for model in models}
    for name, model in named.items():
        behind = getattr(model, "undefended", model)  # defences are checked in front of networks whose layers are read
        check_fit(name, behind.gives, "features")
    x = quantize(x)
    subjects = {name: Subject(name, model, x, eps=radius(eps), steps=steps, seed=seed) for name, model in named.items()}
    for name, subject in subjects.items():
        subject.others = {other: found for other, found in subjects.items() if other != name}

    def row(check: Check, subject: Subject) -> dict[str, str | None]:
        start = {"check": check.name, "classifier": subject.name, "attack": check.attack}
        try:
            outcome = check.run(subject)
        except NotApplicableError as reason:
            return start | {"status": "not run", "figures": None, "meaning": f"Does not apply: {reason}."}
        except Exception as error:  # models may raise anything; the other checks continue
            what = one_line(error, typed=True)
            return start | {"status": "not run", "figures": BROKEN + what, "meaning": "The check raised an error."}
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
    return make_table(rows, COLUMNS)


def all_sound(checks: pd.DataFrame) -> bool:
    """Return whether no check failed or raised an error."""
    broken = checks["figures"].fillna("").str.startswith(BROKEN)
    return not ((checks["status"] == "fail") | broken).any()


def write_checks(checks: pd.DataFrame, path: Path) -> None:
    """Write checks as CSV in UTF-8; missing values are empty.

    Raises:
        ArtattackError: the file cannot be written.
    """
    write_file(path, to_csv(checks))
