"""Statistics: intervals of rates and means, paired tests, agreement of judges, calibration error.

statsmodels and SciPy take about a second to import, so functions import them when called.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

_RESAMPLES = 2000  # Monte Carlo error of a 95 % bound: about 0.06 standard errors of the mean
_COUNTED = 5 * 10**8  # maximum number of additions of an exact test: a few seconds
_BATCH = 2**22  # resampled values held in memory at once


def wilson(successes: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Return the score interval of a proportion (E. B. Wilson, J. American Statistical Association 22, 1927).

    Args:
        successes: numbers of successes, a scalar or an array.
        n: numbers of trials, a scalar or an array that broadcasts with `successes`.
        confidence: share of such intervals that contain the true proportion.

    Returns:
        Lower and upper bounds in [0, 1], float64 of the broadcast shape; NaN where n is 0.

    Raises:
        ValueError: a count is negative, or successes exceed n.
    """
    from statsmodels.stats.proportion import proportion_confint

    count, total = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(n, np.float64))
    if not ((count >= 0) & (count <= total)).all():
        raise ValueError("successes must lie between 0 and n")
    some = total > 0
    nobs = np.where(some, total, 1.0)
    bounds = proportion_confint(np.where(some, count, 0.0), nobs, alpha=1 - confidence, method="wilson")
    rate = count / nobs  # the interval must contain it in spite of rounding
    low, high = np.clip(np.minimum(bounds[0], rate), 0, 1), np.clip(np.maximum(bounds[1], rate), 0, 1)
    return np.where(some, low, np.nan), np.where(some, high, np.nan)


class McNemar(NamedTuple):
    """Result of `mcnemar`: the two-sided p value, and the numbers of discordant pairs."""

    p_value: float
    only_a: int
    only_b: int


def mcnemar(a: Any, b: Any) -> McNemar:
    """Test whether two yes/no outcomes of the same images have the same rate: the exact McNemar test.

    Under equal rates each discordant pair falls either way with probability 1/2: a two-sided binomial test
    (Q. McNemar, Psychometrika 12, 1947).

    Args:
        a, b: (N,) True, False or missing (None, NaN, NA); pairs with a missing outcome are left out.

    Returns:
        The p value, NaN without pairs, 1 without discordant pairs; the numbers of pairs with only a and only b True.

    Raises:
        ValueError: the arguments differ in shape.
    """
    from statsmodels.stats.contingency_tables import mcnemar as exact

    both, only_a, only_b, neither = _pair_counts(a, b)
    if both + only_a + only_b + neither == 0:
        return McNemar(math.nan, 0, 0)
    return McNemar(float(exact([[both, only_a], [only_b, neither]], exact=True).pvalue), only_a, only_b)


def mcnemar_one_sided(only_a: int, only_b: int) -> float:
    """Return the exact McNemar p value of the claim that outcome a is more frequent than b on the same images.

    It is the probability of `only_a` or more discordant pairs with a True, if each falls either way with probability
    1/2.

    Args:
        only_a, only_b: numbers of discordant pairs, as in `mcnemar`.

    Returns:
        The p value in (0, 1]; 1 if `only_a` is 0.
    """
    from scipy.special import bdtrc

    return float(bdtrc(only_a - 1, only_a + only_b, 0.5))


def newcombe(a: Any, b: Any, confidence: float = 0.95) -> Interval:
    """Return the interval of rate(a) - rate(b), two yes/no outcomes of the same images.

    The interval combines the squares of the two rates' Wilson intervals and the pairs' correlation: method 10 of
    R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17, 1998. It is valid for few images and for rates of 0 and 1.

    Args:
        a, b: as in `mcnemar`.
        confidence: as in `wilson`.

    Returns:
        Lower and upper bound in [-1, 1]; NaN without pairs.

    Raises:
        ValueError: the arguments differ in shape.
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
        association = max(association - n / 2, 0)  # the continuity correction of method 10
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

    The interval is bias-corrected and accelerated (BCa; B. Efron, J. American Statistical Association 82, 1987), since
    confidence shifts are skewed. Where BCa is not defined (values equal up to rounding), it is the percentile interval.

    Args:
        values: (N,) numbers; their order does not matter. NaN is missing and left out.
        seed: seed of the resampling; equal values with an equal seed give equal intervals.
        confidence: as in `wilson`.
        resamples: number of resamples, each of N values.

    Returns:
        Lower and upper bound; NaN for fewer than two values or for infinite values. The interval of equal values is
        that value.
    """
    return _bootstrap(values, np.mean, ("BCa", "percentile"), seed, confidence, resamples)


def bootstrap_median(
    values: npt.ArrayLike, *, seed: int, confidence: float = 0.95, resamples: int = _RESAMPLES
) -> Interval:
    """Return the percentile bootstrap interval of a median; arguments and result as in `bootstrap_mean`.

    BCa does not apply, since its acceleration relies on the jackknife, which is not consistent for a median.
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
            warnings.simplefilter("ignore")  # SciPy warns where BCa is not defined
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


class Pooled(NamedTuple):
    """A mean over rows that repeat photos, with an interval that accounts for the repeats.

    Attributes:
        mean: mean of the n rows.
        low: lower bound of its interval.
        high: upper bound of its interval.
        n: number of rows.
        clusters: number of photos.
        design_effect: variance of the mean, divided by its variance for n rows of n different photos (L. Kish, Survey
            Sampling, 1965). With a design effect of 3, the interval is as wide as that of n / 3 independent rows. NaN
            if rows with repeated photos are all equal or of fewer than two photos.
    """

    mean: float
    low: float
    high: float
    n: int
    clusters: int
    design_effect: float


def cluster_bootstrap(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike,
    crossed: npt.ArrayLike | None = None,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 4000,
) -> Pooled:
    """Return the mean of clustered values with an interval that resamples whole clusters.

    One photo painted in six styles, or shown to six classifiers, gives six similar rows. The interval generalizes to
    other photos, so the bootstrap draws photos with replacement, each with all its rows. If the claim is about other
    styles, too, it draws styles as well and weights each row by both draws (A. B. Owen, "The pigeonhole bootstrap",
    Annals of Applied Statistics 1, 2007).

    The interval of a mean of numbers lies between percentiles of the resampled means. The percentiles are widened by
    Student's t for the smaller number of clusters, since plain percentiles are too narrow for few clusters (T. C.
    Hesterberg, The American Statistician 69, 2015). Percentiles fail for rates near 0 and 1. For a rate, the resampled
    means give the design effect, and the interval is Wilson's for n / (design effect) rows, with Student's t (E. L.
    Korn and B. I. Graubard, Survey Methodology 24, 1998).

    Args:
        values: (N,) numbers, or True and False; NaN and None are missing and left out.
        clusters: (N,) cluster of each row, such as the photo.
        crossed: (N,) second cluster of each row, such as the style, if the claim is about other styles, too.
        seed: seed of the resampling; equal rows in any order with an equal seed give equal intervals.
        confidence: as in `wilson`.
        resamples: number of resamples.

    Returns:
        The mean, its interval and the design effect. The interval of a mean over fewer than two clusters is NaN; the
        interval of equal numbers is that number. The interval of a rate whose rows are all 0, all 1 or all of one
        cluster is Wilson's for as many rows as clusters; with `crossed`, the smaller number of clusters counts.

    Raises:
        ValueError: the arguments differ in length, or a value is no number.
    """
    from scipy.stats import norm

    x = pd.to_numeric(pd.Series(np.asarray(values, object), dtype="object"), errors="raise").to_numpy(np.float64)
    known = ~np.isnan(x)
    ways = [np.asarray(way, object) for way in (clusters, *([] if crossed is None else [crossed]))]
    if any(way.shape != x.shape for way in ways):
        raise ValueError(f"values and clusters must be of the same length, got {[len(x), *map(len, ways)]}")
    codes = [np.unique(way[known].astype(str), return_inverse=True)[1].reshape(-1) for way in ways]
    x = x[known]
    order = np.lexsort((x, *codes))  # rounding of sums must not depend on the order of rows
    x, codes = x[order], [code[order] for code in codes]
    sizes = [int(code.max()) + 1 if len(code) else 0 for code in codes]
    n, fewest = len(x), min(sizes)
    mean = float(x.mean()) if n else math.nan
    is_rate = n > 0 and bool(np.isin(x, (0.0, 1.0)).all())
    if fewest < 2:
        low, high = _wilson_of(mean, 1.0, confidence) if is_rate else (math.nan, math.nan)
        return Pooled(mean, low, high, n, sizes[0], math.nan)
    if x.min() == x.max():
        low, high = _wilson_of(mean, fewest, confidence) if is_rate else (mean, mean)
        return Pooled(mean, low, high, n, sizes[0], math.nan)
    columns = codes[1] if crossed is not None else np.zeros(n, int)
    cells = codes[0] * (columns.max() + 1) + columns
    shape = sizes[0], int(columns.max()) + 1
    sums = np.bincount(cells, x - mean, shape[0] * shape[1]).reshape(shape)  # centred, to lose no digits
    counts = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    rows, *further = draw_clusters(seed, resamples, *sizes)
    second = further[0] if further else np.ones((resamples, 1))
    weights = ((rows @ counts) * second).sum(1)
    drawn = ((rows @ sums) * second).sum(1)[weights > 0] / weights[weights > 0]
    wider = fewest / (fewest - 1)
    effect = float(wider * drawn.var() / (x.var(ddof=1) / n))
    if is_rate:
        wide = norm.ppf((1 + confidence) / 2) / _student(fewest, confidence)
        low, high = _wilson_of(mean, n / max(effect, 1.0) * float(wide**2), confidence)
    else:
        low, high = (float(mean + end) for end in _percentiles(drawn, fewest, confidence))
    return Pooled(mean, min(low, mean), max(high, mean), n, sizes[0], effect)


def draw_clusters(seed: int, resamples: int, *sizes: int) -> tuple[Floats, ...]:
    """Draw clusters with replacement, as many as there are, for a bootstrap.

    Args:
        seed: seed of the draws.
        resamples: number of resamples.
        sizes: number of clusters, for each sort of clusters.

    Returns:
        For each sort, (resamples, size) float64: how often a resample has drawn each cluster. Read-only, because draws
        of few clusters are cached: most rows of a table have equal numbers of photos.
    """
    few = resamples * sum(sizes) <= _BATCH
    return (_drawn_before if few else _drawn)(seed, resamples, *sizes)


def _drawn(seed: int, resamples: int, *sizes: int) -> tuple[Floats, ...]:
    rng = np.random.default_rng(seed)
    draws = tuple(rng.multinomial(size, np.full(size, 1 / size), resamples).astype(np.float64) for size in sizes)
    for draw in draws:
        draw.flags.writeable = False
    return draws


_drawn_before = lru_cache(4)(_drawn)


def _student(clusters: int, confidence: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, clusters - 1))


def _percentiles(drawn: Floats, clusters: int, confidence: float) -> Floats:
    """Return the percentiles of statistics resampled from a few clusters, widened by Student's t."""
    from scipy.stats import norm

    tail = float(norm.cdf(-math.sqrt(clusters / (clusters - 1)) * _student(clusters, confidence)))
    return np.asarray(np.quantile(drawn, [tail, 1 - tail]), np.float64)


def _wilson_of(rate: float, n: float, confidence: float) -> Interval:
    low, high = wilson(rate * n, n, confidence)
    return float(low), float(high)


def pooled_rate(outcomes: npt.ArrayLike, photos: npt.ArrayLike, confidence: float = 0.95) -> Pooled:
    """Return the rate of yes/no outcomes with its interval: Wilson's, or `cluster_bootstrap`'s if photos are repeated.

    Args:
        outcomes: (N,) True, False or missing.
        photos: (N,) photo of each outcome.
        confidence: as in `wilson`.

    Returns:
        As `cluster_bootstrap`.
    """
    found = pd.DataFrame({"value": np.asarray(outcomes, object), "photo": np.asarray(photos, object)}).dropna()
    if found["photo"].duplicated().any():
        return cluster_bootstrap(found["value"], found["photo"], confidence=confidence)
    n = len(found)
    yes = int(found["value"].astype(bool).sum())
    low, high = wilson(yes, n, confidence)
    return Pooled(yes / n if n else math.nan, float(low), float(high), n, n, 1.0 if n else math.nan)


class Kappa(NamedTuple):
    """Result of `cohens_kappa`.

    Attributes:
        kappa: agreement beyond chance: 1 for full agreement, 0 for chance; NaN if both judges use the same word for all
            items.
        low: lower bound of its interval.
        high: upper bound of its interval.
        n: number of items.
        agree: number of items with equal words.
        clusters: number of photos.
    """

    kappa: float
    low: float
    high: float
    n: int
    agree: int
    clusters: int


def cohens_kappa(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    clusters: npt.ArrayLike,
    crossed: npt.ArrayLike | None = None,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 4000,
) -> Kappa:
    """Return the agreement of two judges beyond chance (J. Cohen, Educational and Psychological Measurement 20, 1960).

    Kappa is (o - e) / (1 - e), with o the observed share of equal words and e the share expected by chance, from
    independent draws of each judge's words at their frequencies. The interval resamples photos with all their rows and
    lies between percentiles as in `cluster_bootstrap`. With `crossed`, such as the person who answers, it also
    resamples these.

    Args:
        a, b: (N,) words of the two judges for the same items.
        clusters: (N,) cluster of each item, such as the photo.
        crossed: (N,) a second cluster of each item, as in `cluster_bootstrap`.
        seed: seed of the resampling; equal rows in any order with an equal seed give equal intervals.
        confidence: as in `wilson`.
        resamples: number of resamples.

    Returns:
        Kappa, its interval and the counts; the interval is NaN for fewer than two clusters, or if kappa is.

    Raises:
        ValueError: the arguments differ in length.
    """
    given = (a, b, clusters, *([] if crossed is None else [crossed]))
    sides = [np.asarray(side, object).astype(str) for side in given]
    if len({len(side) for side in sides}) > 1:
        raise ValueError(f"words and clusters must be of the same length, got {[len(side) for side in sides]}")
    n, words = len(sides[0]), np.unique(np.concatenate(sides[:2]))
    if not n:
        return Kappa(math.nan, math.nan, math.nan, 0, 0, 0)
    ways = [np.unique(side, return_inverse=True) for side in sides[2:]]
    sizes = [len(names) for names, _ in ways]
    photos, fewest = sizes[0], min(sizes)
    size = len(words)
    cells = np.searchsorted(words, sides[0]) * size + np.searchsorted(words, sides[1])
    found = float(_kappa(np.bincount(cells, minlength=size**2)[None], size)[0])
    low = high = math.nan
    if fewest > 1 and found == found:
        draws, *further = draw_clusters(seed, resamples, *sizes)
        photo = ways[0][1]
        if crossed is None:
            each = np.bincount(photo * size**2 + cells, minlength=photos * size**2).reshape(photos, size**2)
            counts = draws @ each
        else:
            others, other = sizes[1], ways[1][1]
            counts = np.empty((resamples, size**2))
            for cell in range(size**2):
                own = cells == cell
                table = np.bincount(photo[own] * others + other[own], minlength=photos * others)
                counts[:, cell] = ((draws @ table.reshape(photos, others).astype(np.float64)) * further[0]).sum(1)
            counts = counts[counts.sum(1) > 0]
        drawn = _kappa(counts, size)
        known = drawn[~np.isnan(drawn)]
        if len(known):
            ends = _percentiles(known, fewest, confidence)
            low, high = min(float(ends[0]), found), max(float(ends[1]), found)
    return Kappa(found, low, high, n, int((sides[0] == sides[1]).sum()), photos)


def _kappa(counts: npt.NDArray[Any], words: int) -> Floats:
    """Return kappa of contingency tables (T, words * words); NaN where chance agreement is 1."""
    shares = counts.reshape(-1, words, words) / counts.sum(1)[:, None, None]
    same = np.trace(shares, axis1=1, axis2=2)
    by_chance = (shares.sum(1) * shares.sum(2)).sum(1)
    left = np.where(by_chance < 1, 1 - by_chance, np.nan)
    return np.asarray((same - by_chance) / left, np.float64)


def sign_flip(differences: npt.ArrayLike, clusters: npt.ArrayLike, *, one_sided: bool = False) -> float:
    """Test whether clustered paired differences have a mean of 0: the exact sign-flip test.

    If two outcomes are exchangeable on each photo, the sum of a photo's differences has either sign with probability
    1/2 (R. A. Fisher, The Design of Experiments, 1935, section 21). The test counts all combinations of signs, which is
    fast for whole numbers. If each photo has one row, it is the exact McNemar test. From about ten thousand photos on,
    it approximates the sum's distribution by a normal one.

    Args:
        differences: (N,) whole numbers, such as the difference of two yes/no outcomes: -1, 0 or 1.
        clusters: (N,) photo of each difference.
        one_sided: whether to test the claim that the mean is above 0.

    Returns:
        The two-sided p value: the probability of a sum at least as far from 0 under random signs or, one-sided, at
        least as large; NaN without rows.

    Raises:
        ValueError: a difference is no whole number, or the arguments differ in length.
    """
    values = np.asarray(differences, np.float64)
    photos = np.asarray(clusters, object)
    if values.shape != photos.shape:
        raise ValueError(f"differences and clusters must be of the same length, got {len(values)}, {len(photos)}")
    if (values != np.round(values)).any():
        raise ValueError("differences must be whole numbers")
    if not len(values):
        return math.nan
    sums = pd.Series(values).groupby(photos).sum().astype(int).to_numpy()
    found = int(sums.sum())
    if len(sums) * int(np.abs(sums).sum()) > _COUNTED:
        from scipy.stats import norm

        above = float(norm.sf((found - 1) / math.sqrt(float(np.square(sums).sum()))))  # with a continuity correction
        below = float(norm.sf((-found - 1) / math.sqrt(float(np.square(sums).sum()))))
        return min(1.0, above) if one_sided else min(1.0, 2 * min(above, below))
    chances = np.ones(1)  # probability of each sum of the magnitudes with positive sign, from 0 on
    for size in np.abs(sums[sums != 0]):
        blank = np.zeros(size)
        chances = (np.concatenate([chances, blank]) + np.concatenate([blank, chances])) / 2
    total = 2 * np.arange(len(chances)) - (len(chances) - 1)
    as_far = total >= found if one_sided else np.abs(total) >= abs(found)
    return float(min(1.0, chances[as_far].sum()))


def holm(p_values: npt.ArrayLike) -> Floats:
    """Adjust p values for their number by the step-down method (S. Holm, Scandinavian J. of Statistics 6, 1979).

    Args:
        p_values: (N,); NaN stands for no test and does not count.

    Returns:
        Adjusted p values (N,) float64, each at least its p value and at most 1; NaN for NaN.
    """
    adjusted: Floats = np.array(p_values, np.float64)
    tests = np.flatnonzero(~np.isnan(adjusted))
    in_order = tests[np.argsort(adjusted[tests])]
    steps = adjusted[in_order] * np.arange(len(tests), 0, -1)
    adjusted[in_order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def calibration_error(confidences: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 10) -> float:
    """Return the expected calibration error: the gap between mean confidence and accuracy, averaged over bins.

    Each bin has the weight of its number of images (Naeini, Cooper & Hauskrecht, AAAI 2015). Bins are of equal width
    (Guo et al., ICML 2017, eq. 3). With few images the error is biased upwards: compare it only between equal numbers
    of images.

    Args:
        confidences: (N,) confidence in the top-1 class, in [0, 1].
        correct: (N,) whether the top-1 class is right.
        bins: number of bins; each includes its upper end.

    Returns:
        The error in [0, 1]; NaN without images.
    """
    p, right = np.asarray(confidences, np.float64), np.asarray(correct, np.float64)
    if not len(p):
        return math.nan
    members = np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(members, weights=right - p, minlength=bins)
    return float(np.abs(gaps).sum() / len(p))


def _pair_counts(a: Any, b: Any) -> tuple[int, int, int, int]:
    """Return the numbers of pairs with both outcomes known: True in both, in a only, in b only, in neither."""
    x, y = pd.array(np.asarray(a, object), "boolean"), pd.array(np.asarray(b, object), "boolean")
    if x.shape != y.shape:
        raise ValueError(f"a and b must be of the same images, got shapes {x.shape} and {y.shape}")
    known = ~(x.isna() | y.isna())
    p, q = x[known].to_numpy(bool), y[known].to_numpy(bool)
    return int((p & q).sum()), int((p & ~q).sum()), int((~p & q).sum()), int((~p & ~q).sum())


def shown_difference(n: int) -> float:
    """Return the smallest difference of two rates, over n images each, that a test shows.

    The test has a level of 5 % and shows the difference with a power of 80 %. For rates near a half and independent
    images, the difference is `(z(0.975) + z(0.8)) sqrt(2 * 0.25 / n)`, at most 1 (J. L. Fleiss, B. Levin and M. C.
    Paik, Statistical Methods for Rates and Proportions, 2003, chapter 4). The same images in both rates, and rates near
    0 or 1, show smaller differences.

    Args:
        n: number of images, one or more. With fewer than six, no difference is beyond chance in the exact McNemar
            test, and the result is infinite.
    """
    from scipy.special import ndtri

    if 2 * mcnemar_one_sided(n, 0) >= 0.05:
        return math.inf
    return min(1.0, float(ndtri(0.975) + ndtri(0.8)) * math.sqrt(0.5 / n))
