"""How sure the numbers are: intervals of rates and means, tests of pairs, calibration.

statsmodels and SciPy take about a second to import, so each is imported where it is used.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

_RESAMPLES = 2000  # Monte Carlo error of a 95 % bound: about 0.06 standard errors of the mean
_BATCH = 2**22  # resampled values held in memory at once


def wilson(successes: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Return the score interval of a proportion (E. B. Wilson, J. American Statistical Association 22, 1927).

    Args:
        successes, n: counts, scalars or arrays that broadcast.
        confidence: the share of such intervals that hold the true proportion.

    Returns:
        Lower and upper bounds in [0, 1], float64 of the broadcast shape; NaN where n is 0.

    Raises:
        ValueError: a count is negative, or there are more successes than n.
    """
    from statsmodels.stats.proportion import proportion_confint

    count, total = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(n, np.float64))
    if not ((count >= 0) & (count <= total)).all():
        raise ValueError("successes must lie between 0 and n")
    some = total > 0
    nobs = np.where(some, total, 1.0)
    bounds = proportion_confint(np.where(some, count, 0.0), nobs, alpha=1 - confidence, method="wilson")
    rate = count / nobs  # rounding must not put it outside its own interval
    low, high = np.clip(np.minimum(bounds[0], rate), 0, 1), np.clip(np.maximum(bounds[1], rate), 0, 1)
    return np.where(some, low, np.nan), np.where(some, high, np.nan)


class McNemar(NamedTuple):
    """Result of `mcnemar`: the two-sided p value, and the discordant pairs it rests on."""

    p_value: float
    only_a: int
    only_b: int


def mcnemar(a: Any, b: Any) -> McNemar:
    """Test whether two yes/no outcomes of the same images have the same rate: the exact McNemar test.

    Under equal rates each discordant pair falls either way with probability 1/2: a two-sided binomial test
    (Q. McNemar, Psychometrika 12, 1947).

    Args:
        a, b: (N,) True, False or missing (None, NaN, NA); pairs with a missing part are left out.

    Returns:
        The p value, NaN if no pair is known, 1 if none is discordant; the pairs with only a, only b True.
    """
    from statsmodels.stats.contingency_tables import mcnemar as exact

    both, only_a, only_b, neither = _pair_counts(a, b)
    if both + only_a + only_b + neither == 0:
        return McNemar(math.nan, 0, 0)
    return McNemar(float(exact([[both, only_a], [only_b, neither]], exact=True).pvalue), only_a, only_b)


def mcnemar_one_sided(only_a: int, only_b: int) -> float:
    """Return the exact McNemar p value of the claim that a is the more frequent of two outcomes of the same images.

    The chance, if each discordant pair falls either way with probability 1/2, that as many or more fall to a.

    Args:
        only_a, only_b: the discordant pairs, as `mcnemar` returns them.

    Returns:
        In (0, 1]; 1 if no pair falls to a.
    """
    from scipy.special import bdtrc

    return float(bdtrc(only_a - 1, only_a + only_b, 0.5))


def newcombe(a: Any, b: Any, confidence: float = 0.95) -> Interval:
    """Return the interval of rate(a) - rate(b), two yes/no outcomes of the same images.

    The Wilson intervals of the two rates, put together as squares with the pairs' correlation: method 10 of
    R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17, 1998. It holds for few images and for rates of 0 and 1.

    Args:
        a, b: as in `mcnemar`.
        confidence: as in `wilson`.

    Returns:
        Lower and upper bound in [-1, 1]; NaN if no pair is known.
    """
    both, only_a, only_b, neither = _pair_counts(a, b)
    n = both + only_a + only_b + neither
    if n == 0:
        return math.nan, math.nan
    counts = np.array([both + only_a, both + only_b])
    low, high = wilson(counts, n, confidence)
    rates = counts / n
    below, above = rates - low, high - rates
    association: float = both * neither - only_a * only_b
    if association > 0:
        association = max(association - n / 2, 0)  # the continuity correction that makes it method 10
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    phi = association / math.sqrt(margins) if margins else 0.0

    def side(x: float, y: float) -> float:
        return math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

    difference = (only_a - only_b) / n
    return difference - side(below[0], above[1]), difference + side(above[0], below[1])


def bootstrap_mean(
    values: npt.ArrayLike, *, seed: int, confidence: float = 0.95, resamples: int = _RESAMPLES
) -> Interval:
    """Return the bootstrap interval of a mean.

    Bias-corrected and accelerated (BCa; B. Efron, J. American Statistical Association 82, 1987), since shifts
    of confidence are skewed; where that is not defined (values equal up to rounding) plain percentiles.

    Args:
        values: (N,) numbers in any order, which does not matter; NaN is missing and left out.
        seed: the same values with the same seed give the same interval.
        confidence: as in `wilson`.
        resamples: how many times N values are drawn.

    Returns:
        Lower and upper bound; NaN for fewer than two values or infinite ones; equal values are their own.
    """
    return _bootstrap(values, np.mean, ("BCa", "percentile"), seed, confidence, resamples)


def bootstrap_median(
    values: npt.ArrayLike, *, seed: int, confidence: float = 0.95, resamples: int = _RESAMPLES
) -> Interval:
    """Return the percentile bootstrap interval of a median; arguments and result as in `bootstrap_mean`.

    Percentiles, since BCa's acceleration rests on the jackknife, which is not consistent for a median.
    """
    return _bootstrap(values, np.median, ("percentile",), seed, confidence, resamples)


def _bootstrap(
    values: npt.ArrayLike,
    statistic: Callable[..., Any],
    methods: tuple[str, ...],
    seed: int,
    confidence: float,
    resamples: int,
) -> Interval:
    from scipy.stats import bootstrap

    x = np.sort(np.asarray(values, np.float64))
    x = x[~np.isnan(x)]
    if len(x) < 2 or not np.isfinite(x).all():
        return math.nan, math.nan
    if x[0] == x[-1]:
        return float(x[0]), float(x[0])
    for method in methods:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # that BCa is not defined
            low, high = bootstrap(
                (x,),
                statistic,
                n_resamples=resamples,
                batch=max(1, _BATCH // len(x)),
                confidence_level=confidence,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if low <= high:
            break
    return float(low), float(high)


def holm(p_values: npt.ArrayLike) -> Floats:
    """Adjust p values for their number: step-down (S. Holm, Scandinavian J. of Statistics 6, 1979).

    Args:
        p_values: (N,); NaN is no test and does not count.

    Returns:
        (N,) float64, each at least its p value and at most 1; NaN where it was NaN.
    """
    adjusted: Floats = np.array(p_values, np.float64)
    tests = np.flatnonzero(~np.isnan(adjusted))
    in_order = tests[np.argsort(adjusted[tests])]
    steps = adjusted[in_order] * np.arange(len(tests), 0, -1)
    adjusted[in_order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def calibration_error(confidences: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 10) -> float:
    """Return the expected calibration error: how far confidence is from accuracy, on average over bins.

    Naeini, Cooper & Hauskrecht, AAAI 2015; bins of equal width as in Guo et al., ICML 2017, eq. 3. With few
    images it is biased upwards: compare it only between equal numbers of images.

    Args:
        confidences: (N,) of the top-1 class, in [0, 1].
        correct: (N,) whether that class was right.
        bins: how many; each holds its upper end.

    Returns:
        In [0, 1]; NaN for no images.
    """
    p, right = np.asarray(confidences, np.float64), np.asarray(correct, np.float64)
    if not len(p):
        return math.nan
    members = np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(members, weights=right - p, minlength=bins)
    return float(np.abs(gaps).sum() / len(p))


def _pair_counts(a: Any, b: Any) -> tuple[int, int, int, int]:
    """Count the pairs known on both sides: True in both, in a alone, in b alone, in neither."""
    x, y = pd.array(np.asarray(a, object), "boolean"), pd.array(np.asarray(b, object), "boolean")
    if x.shape != y.shape:
        raise ValueError(f"a and b must be of the same images, got shapes {x.shape} and {y.shape}")
    known = ~(x.isna() | y.isna())
    p, q = x[known].to_numpy(bool), y[known].to_numpy(bool)
    return int((p & q).sum()), int((p & ~q).sum()), int((~p & q).sum()), int((~p & ~q).sum())
