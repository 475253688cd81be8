"""How many people and pictures tell two rates of right answers apart? By simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    """Return how often a survey tells the rates of two versions of its photos apart.

    Each person sees each photo in one version; versions are balanced over people and photos (a Latin square). The
    logit of a right answer is that of the version plus a normal effect of the person and one of the photo; the
    version's is such that the mean over people and photos is its rate. A simulated survey tells the versions apart if
    the two-sided test of their difference at the 5 % level rejects, with the variance clustered both by person and by
    photo (A. C. Cameron, J. B. Gelbach and D. L. Miller, J. of Business & Economic Statistics 29, 2011), never below
    that of independent answers, which keeps the test cautious, and Student's t of the fewer clusters.

    Args:
        people, photos: numbers to try, each at least 2.
        rates: right answers to the two versions, each above 0 and below 1.
        versions: that the photos of the survey come in, the two among them: of `versions` pictures, a person sees two
            that count.
        person_sd, photo_sd: standard deviations of the random effects, in logits, 0 or more.
        simulations: surveys simulated for each combination.
        seed: of the simulation.
        on_progress: called with what is simulated, combinations done, and combinations in all.

    Returns:
        A row for each combination: `people`, `photos`, `answers` (in the two versions, over all people, on average) and
        `power` in [0, 1].

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
    """Return the logit whose mean rate over normal effects of that standard deviation is `rate`."""
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
    """Simulate one survey, and say whether its test rejects."""
    shift = np.resize(np.arange(versions), people)  # the rows of the square, each as often
    version = (shift[:, None] + np.arange(photos)[None]) % versions
    logits = person_sd * rng.standard_normal((people, 1)) + photo_sd * rng.standard_normal((1, photos))
    logits = logits + np.asarray(levels)[np.minimum(version, 1)]
    right = rng.random((people, photos)) < expit(logits)
    return _rejects(right.astype(np.float64), [version == 0, version == 1])


def _rejects(right: Floats, asked: Sequence[npt.NDArray[np.bool_]]) -> bool:
    """Say whether the difference of two versions is beyond chance.

    Args:
        right: (people, photos), 1 for right answers.
        asked: (people, photos) of each version, which answers are to it.
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
    quantile = float(student.ppf(1 - _LEVEL / 2, min(right.shape) - 1))
    return abs(means[0] - means[1]) > quantile * float(np.sqrt(variance))
