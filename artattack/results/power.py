"""Power of a survey by simulation: the numbers of people and photos that tell two rates of right answers apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, roots_hermitenorm
from scipy.stats import t as student

from artattack.errors import ArtattackError

RATES = (0.9, 0.8)
PEOPLE, PHOTOS = (5, 10, 20, 40), (10, 20, 40, 80)
PERSON_SD, PHOTO_SD = 0.5, 1.0  # of random effects, in logits
SIMULATIONS = 1000
_LEVEL = 0.05
ASSUMPTIONS = (
    f"{SIMULATIONS} simulated surveys each; two versions, half of a person's photos in each; two-sided test at 5 %, "
    f"clustered by person and photo. Random effects: standard deviation {PERSON_SD:g} logits between people and "
    f"{PHOTO_SD:g} between photos. With more versions, a person sees fewer photos of each: with V, people need to be "
    "about V/2 times as many."
)
_NODES = 60  # of Gauss-Hermite quadrature

Floats = npt.NDArray[np.float64]


def plan_survey(
    people: Sequence[int] = PEOPLE,
    photos: Sequence[int] = PHOTOS,
    *,
    rates: tuple[float, float] = RATES,
    versions: int = 2,
    person_sd: float = PERSON_SD,
    photo_sd: float = PHOTO_SD,
    simulations: int = SIMULATIONS,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] = lambda step, done, total: None,
) -> pd.DataFrame:
    """Return the power of a survey to tell the rates of right answers to two versions of its photos apart.

    Each person sees each photo in one version; a Latin square balances the versions over people and photos. The logit
    of a right answer is the sum of the version's logit, a normal effect of the person, and a normal effect of the
    photo. The version's logit is chosen so that the mean over people and photos is the version's rate.

    A simulated survey tells the versions apart if a two-sided test of their difference rejects at the 5 % level. The
    test's variance is clustered both by person and by photo (A. C. Cameron, J. B. Gelbach and D. L. Miller, J. of
    Business & Economic Statistics 29, 2011) and never below that of independent answers, which keeps the test cautious.
    Its quantile is that of Student's t for the smaller number of clusters.

    Args:
        people: numbers of people to try, each at least 2.
        photos: numbers of photos to try, each at least 2.
        rates: rates of right answers to the two versions, each above 0 and below 1.
        versions: number of versions in the survey, including the two that are compared. Of `versions` photos, a person
            sees two in one of these two versions.
        person_sd: standard deviation of the effects of people, in logits, 0 or more.
        photo_sd: standard deviation of the effects of photos, in logits, 0 or more.
        simulations: surveys simulated for each combination.
        seed: seed of the simulation.
        on_progress: called with the current combination, combinations done and total combinations.

    Returns:
        A row for each combination: `people`, `photos`, `answers` (mean number of answers of all people to the two
        versions) and `power` in [0, 1].

    Raises:
        ArtattackError: a number is out of its range.
    """
    if not (people and photos and min(*people, *photos) >= 2):
        raise ArtattackError("plan: at least 2 people and 2 photos are needed")
    if not all(0 < rate < 1 for rate in rates):
        raise ArtattackError("plan: rates must lie between 0 and 1, both excluded")
    if versions < 2 or person_sd < 0 or photo_sd < 0 or simulations < 1:
        raise ArtattackError("plan: at least 2 versions and 1 simulation, and standard deviations of 0 or more")
    spread = float(np.hypot(person_sd, photo_sd))
    levels = [_level(rate, spread) for rate in rates]
    rows: list[dict[str, float]] = []
    for n in people:
        for m in photos:
            on_progress(f"{n} people, {m} photos", len(rows), len(people) * len(photos))
            rng = np.random.default_rng([seed, n, m])
            found = [_told_apart(rng, n, m, levels, versions, person_sd, photo_sd) for _ in range(simulations)]
            answers = round(n * m * 2 / versions)
            rows.append({"people": n, "photos": m, "answers": answers, "power": float(np.mean(found))})
    return pd.DataFrame(rows)


def _level(rate: float, spread: float) -> float:
    """Return the logit whose mean rate is `rate`, over normal effects with the standard deviation `spread`."""
    nodes, weights = roots_hermitenorm(_NODES)
    weights = weights / weights.sum()
    return float(brentq(lambda level: float(weights @ expit(level + spread * nodes)) - rate, -60, 60))


def _told_apart(
    rng: np.random.Generator,
    people: int,
    photos: int,
    levels: Sequence[float],
    versions: int,
    person_sd: float,
    photo_sd: float,
) -> bool:
    """Simulate one survey, and return whether its test rejects."""
    shift = np.resize(np.arange(versions), people)  # rows of the square, in turn
    version = (shift[:, None] + np.arange(photos)[None]) % versions
    logits = person_sd * rng.standard_normal((people, 1)) + photo_sd * rng.standard_normal((1, photos))
    logits = logits + np.asarray(levels)[np.minimum(version, 1)]
    right = rng.random((people, photos)) < expit(logits)
    return _rejects(right.astype(np.float64), [version == 0, version == 1])


def _rejects(right: Floats, asked: Sequence[npt.NDArray[np.bool_]]) -> bool:
    """Return whether the difference of two versions is beyond chance.

    Args:
        right: (people, photos), 1 for right answers, otherwise 0.
        asked: for each version, (people, photos) bool, whether an answer is to this version.
    """
    counts = [mask.sum() for mask in asked]
    if not min(counts):
        return False
    means = [float((right * mask).sum() / count) for mask, count in zip(asked, counts, strict=True)]
    pull = sum(
        sign * mask * (right - mean) / count
        for sign, mask, mean, count in zip((1, -1), asked, means, counts, strict=True)
    )
    pull = np.asarray(pull, np.float64)
    groups = [size / (size - 1) for size in right.shape]
    by_person, by_photo = (pull.sum(1) ** 2).sum() * groups[0], (pull.sum(0) ** 2).sum() * groups[1]
    alone = float((pull**2).sum())
    variance = max(by_person + by_photo - alone * max(groups), alone)
    if variance == 0:
        return means[0] != means[1]
    return abs(means[0] - means[1]) > _quantile(min(right.shape) - 1) * float(np.sqrt(variance))


@cache
def _quantile(freedom: int) -> float:
    """Return the quantile of the two-sided test, which all simulations of a size share."""
    return float(student.ppf(1 - _LEVEL / 2, freedom))
