"""How often `beats` and `worse` are wrong, and how often right, over simulated runs of a fixed seed.

An image flips where a normal draw lies below the quantile of the attack's rate. A share of that draw is common to all
attacks and controls on the image, since some images are near a decision and flip under anything.
"""

import gc
import math

import numpy as np
import pytest
from scipy.stats import norm

from artattack.results.against_controls import Claims, adjust, claims_of

pytestmark = pytest.mark.slow

IMAGES = 40
RUNS = 1000
LEVEL = 0.05


def simulated(rng: np.random.Generator, rates: list[float], common: float) -> np.ndarray:
    """Return flips (attacks and controls, images), True or False, at the given rates."""
    own = rng.standard_normal((len(rates), IMAGES))
    draws = math.sqrt(common) * rng.standard_normal(IMAGES) + math.sqrt(1 - common) * own
    return np.asarray(draws < norm.ppf(rates)[:, None])


def claims(attack: np.ndarray, controls: np.ndarray) -> Claims:
    only_attack, only_control = (attack & ~controls).sum(1), (~attack & controls).sum(1)
    return claims_of(only_attack.tolist(), only_control.tolist())


def verdicts(rates: list[float], common: float) -> tuple[float, float]:
    """Return how often an attack, whose rate is the first, beats its controls and is worse than one of them."""
    rng = np.random.default_rng(0)
    found = [claims(flips[0], flips[1:]) for flips in (simulated(rng, rates, common) for _ in range(RUNS))]
    shown = [claim for claim in found if claim.p < LEVEL]
    beats = sum(claim.beats < claim.worse for claim in shown)
    return beats / RUNS, (len(shown) - beats) / RUNS


@pytest.mark.parametrize("common", [0.0, 0.7])
@pytest.mark.parametrize(
    "rates",
    [
        [0.5, 0.5],
        [0.5] * 6,
        [0.15] * 6,
        [0.6, 0.6, 0.05, 0.05, 0.05, 0.05],  # one control does as much, the others far less
        [0.6, 0.6, 0.55, 0.5, 0.5, 0.5],
    ],
)
def test_an_attack_that_does_as_much_as_its_strongest_control_seldom_has_a_verdict(
    rates: list[float], common: float
) -> None:
    beats, worse = verdicts(rates, common)
    assert beats <= LEVEL / 2
    assert worse <= LEVEL / 2


@pytest.mark.parametrize("common", [0.0, 0.7])
@pytest.mark.parametrize("controls", [1, 5])
def test_a_wrong_verdict_is_as_rare_where_the_other_one_is_right(controls: int, common: float) -> None:
    assert verdicts([0.45, *[0.55] * controls], common)[0] <= LEVEL / 2
    assert verdicts([0.55, *[0.45] * controls], common)[1] <= LEVEL / 2


@pytest.mark.parametrize("controls", [1, 5])
def test_true_differences_are_found(controls: int) -> None:
    assert verdicts([0.9, *[0.5] * controls], common=0.5)[0] >= 0.9
    assert verdicts([0.4, 0.8, *[0.3] * (controls - 1)], common=0.5)[1] >= 0.9


@pytest.mark.parametrize("common", [0.0, 0.7])
def test_of_attacks_judged_together_any_wrong_verdict_is_rare(common: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)  # which statsmodels calls each time p values are adjusted
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(RUNS // 2):
        flips = simulated(rng, [0.5] * 12, common)
        attacks, controls = flips[:10], flips[10:]
        wrong += min(adjust([claims(attack, controls) for attack in attacks])) < LEVEL
    assert wrong / (RUNS // 2) <= LEVEL
