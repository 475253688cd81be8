import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from artattack.results.statistics import (
    bootstrap_mean,
    bootstrap_median,
    calibration_error,
    cluster_bootstrap,
    draw_clusters,
    holm,
    mcnemar,
    mcnemar_one_sided,
    newcombe,
    pooled_rate,
    shown_difference,
    sign_flip,
    wilson,
)

NORMAL = statistics.NormalDist()
QUICK = settings(max_examples=60, deadline=None)
COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
OUTCOMES = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def pairs(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[bool], list[bool]]:
    a = [True] * both + [True] * only_a + [False] * only_b + [False] * neither
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return a, b


# ---- rates


def test_wilson_worked_out_by_hand() -> None:
    # z = 1.959964, z² = 3.841459. 5 of 8: centre (5 + 1.920729) / 11.841459 = 0.584449,
    # half width 1.959964 / 11.841459 * sqrt(8 * 5/8 * 3/8 + 0.960365) = 0.165517 * 1.683854 = 0.278707
    assert wilson(5, 8) == pytest.approx((0.305742, 0.863156), abs=2e-6)
    # 0 of n: 0 and z² / (n + z²)
    assert wilson(0, 8) == pytest.approx((0.0, 3.841459 / 11.841459), abs=1e-6)
    assert wilson(5, 8, confidence=0.5)[0] == pytest.approx(0.618275 - 0.112501, abs=2e-6)  # z = 0.674490


def test_wilson_takes_arrays_and_knows_nothing_of_no_images() -> None:
    low, high = wilson(np.array([5, 0, 8]), [8, 0, 8])
    assert low == pytest.approx([0.305742, math.nan, 8 / 11.841459], abs=2e-6, nan_ok=True)
    assert high == pytest.approx([0.863156, math.nan, 1], abs=2e-6, nan_ok=True)
    assert wilson([], [])[0].shape == (0,)
    assert wilson([[1], [2]], [3, 4, 5])[1].shape == (2, 3)
    assert wilson(pd.Series([5], dtype="Int64"), pd.Series([8], dtype="Int64"))[0] == wilson([5], [8])[0]


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (1, 0), (math.nan, 3)])
def test_wilson_refuses_counts_that_are_none(successes: float, n: int) -> None:
    with pytest.raises(ValueError, match="between 0 and n"):
        wilson(successes, n)


@QUICK
@given(COUNTS)
def test_wilson_holds_its_rate_is_symmetric_and_shrinks(counts: tuple[int, int]) -> None:
    k, n = counts
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert wilson(n - k, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    fewer, more = wilson([k, 4 * k], [n, 4 * n])[0], wilson([k, 4 * k], [n, 4 * n])[1]
    assert more[1] - fewer[1] < more[0] - fewer[0]
    assert wilson(k, n, 0.8)[1] - wilson(k, n, 0.8)[0] < high - low


# ---- pairs


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (6, 0, 2 / 64),
        (0, 6, 2 / 64),
        (5, 1, 2 * (1 + 6) / 64),
        (7, 2, 2 * (1 + 9 + 36) / 512),
        (3, 3, 1.0),  # twice 42/64 is more than 1
        (0, 0, 1.0),
    ],
)
def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs(only_a: int, only_b: int, p: float) -> None:
    for concordant in (0, 7):
        found = mcnemar(*pairs(concordant, only_a, only_b, concordant + 1))
        assert found == (pytest.approx(p), only_a, only_b)


def test_pairs_with_a_missing_part_are_left_out() -> None:
    a = [True, True, None, math.nan, pd.NA, False, True]
    b = [False, None, True, False, True, True, True]
    assert mcnemar(a, b) == (1.0, 1, 1)
    assert newcombe(a, b) == newcombe([True, False, True], [False, True, True])
    assert mcnemar(pd.array(a, "boolean"), pd.Series(b, dtype="boolean")) == (1.0, 1, 1)
    nothing = mcnemar([None], [True])
    assert math.isnan(nothing.p_value)
    assert nothing[1:] == (0, 0)
    assert np.isnan(newcombe([], [])).all()
    with pytest.raises(ValueError, match="of the same images"):
        mcnemar([True], [True, False])


def test_newcombe_worked_out_by_hand() -> None:
    # 5 of 8 and 0 of 8: no association, phi = 0. Wilson: [0.305742, 0.863156] and [0, 0.324408].
    # low = 0.625 - sqrt(0.319258² + 0.324408²), high = 0.625 + sqrt(0.238156² + 0)
    assert newcombe(*pairs(0, 5, 0, 3)) == pytest.approx((0.169847, 0.863156), abs=3e-6)
    # 19 and 14 of 41, association 14 * 22 - 0 = 308, less 41 / 2, over sqrt(19 * 22 * 14 * 27): phi = 0.723282.
    # Wilson: [0.320621, 0.612560] and [0.215639, 0.494325]. Below: 0.142794 and 0.125824, above: 0.149145
    # and 0.152861.
    # low = 5/41 - sqrt(0.142794² - 2 phi 0.142794 * 0.152861 + 0.152861²), high likewise
    assert newcombe(*pairs(14, 5, 0, 22)) == pytest.approx((0.011483, 0.226493), abs=2e-5)


@QUICK
@given(OUTCOMES)
def test_newcombe_holds_the_difference_and_turns_around(outcomes: list[tuple[bool, bool]]) -> None:
    a, b = map(list, zip(*outcomes, strict=True))
    low, high = newcombe(a, b)
    difference = (sum(a) - sum(b)) / len(a)
    assert -1 - 1e-12 <= low <= difference <= high <= 1 + 1e-12
    assert newcombe(b, a) == pytest.approx((-high, -low), abs=1e-12)
    wider, narrower = newcombe(a, b), newcombe(a * 4, b * 4)
    assert narrower[1] - narrower[0] < wider[1] - wider[0]


def test_agreement_narrows_the_interval_of_a_difference() -> None:
    agreeing, opposed = newcombe(*pairs(20, 5, 0, 20)), newcombe(*pairs(0, 25, 20, 0))
    assert agreeing[1] - agreeing[0] < (opposed[1] - opposed[0]) / 2


def test_holm_worked_out_by_hand() -> None:
    # in order 0.01 * 4, 0.02 * 3, 0.03 * 2 and 0.2; never less than the one before
    assert holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert holm([0.01, 0.014, 0.4]) == pytest.approx([0.03, 0.03, 0.4])
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])
    assert holm([math.nan, 0.01, math.nan, 0.04]) == pytest.approx([math.nan, 0.02, math.nan, 0.04], nan_ok=True)
    assert holm([]).shape == (0,)
    assert np.isnan(holm([math.nan])).all()


def test_holm_is_that_of_statsmodels_to_the_last_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gc.collect", int)  # which statsmodels does each time, at length beside TensorFlow
    rng = np.random.default_rng(0)
    for count in range(1, 40):
        p = np.round(rng.random(count) ** 4, 2 if count % 2 else 17)  # with ties, and without
        assert (holm(p) == multipletests(p, method="holm")[1]).all()


# ---- bootstrap

SHIFTS = [-0.92, -0.9, -0.81, -0.4, -0.33, -0.12, -0.1, -0.05, -0.02, 0.0, 0.01, 0.03]


def direct_bca(values: list[float], resamples: int) -> tuple[float, float]:
    """Bias-corrected and accelerated bounds of a mean, as Efron (1987) writes them, with draws of its own."""
    x = np.array(values)
    means = np.random.default_rng(99).choice(x, (resamples, len(x))).mean(axis=1)
    z0 = NORMAL.inv_cdf(((means < x.mean()).mean() + (means <= x.mean()).mean()) / 2)
    d = x.mean() - (x.sum() - x) / (len(x) - 1)
    a = (d**3).sum() / (6 * (d**2).sum() ** 1.5)

    def level(z: float) -> float:
        return NORMAL.cdf(z0 + (z0 + z) / (1 - a * (z0 + z)))

    low, high = np.quantile(means, [level(-1.959964), level(1.959964)])
    return float(low), float(high)


def test_bootstrap_mean_against_a_direct_one() -> None:
    expected = direct_bca(SHIFTS, 20000)
    assert bootstrap_mean(SHIFTS, seed=3, resamples=20000) == pytest.approx(expected, abs=0.01)
    assert bootstrap_mean(SHIFTS, seed=3) == pytest.approx(expected, abs=0.03)
    means = np.random.default_rng(98).choice(SHIFTS, (20000, len(SHIFTS))).mean(axis=1)
    assert expected[0] < np.quantile(means, 0.025) - 0.01  # the two intervals differ


def test_bootstrap_median_against_a_direct_one() -> None:
    medians = np.median(np.random.default_rng(97).choice(SHIFTS, (20000, len(SHIFTS))), axis=1)
    expected = tuple(np.quantile(medians, [0.05, 0.95]))
    assert bootstrap_median(SHIFTS, seed=3, confidence=0.9) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("bootstrap", [bootstrap_mean, bootstrap_median])
def test_bootstrap_of_little(bootstrap: Callable[..., tuple[float, float]]) -> None:
    for values in ([], [0.5], [0.5, math.nan], [0.5, math.inf, 0.1]):
        assert np.isnan(bootstrap(values, seed=0)).all()
    assert bootstrap([0.1] * 7 + [math.nan], seed=0) == (0.1, 0.1)
    assert bootstrap([0.0, 1.0], seed=0) == (0.0, 1.0)
    for values in ([1.0, 1.0, 1.0 + 2**-52], [0.0, 1e-200]):  # BCa is not defined
        low, high = bootstrap(values, seed=0)
        assert min(values) <= low <= high <= max(values)


@QUICK
@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=30), st.randoms())
def test_bootstrap_depends_on_values_and_seed_alone(values: list[int], random: Any) -> None:
    low, high = bootstrap_mean(values, seed=1, resamples=500)
    assert min(values) - 1e-9 <= low <= np.mean(values) + 1e-9
    assert np.mean(values) - 1e-9 <= high <= max(values) + 1e-9
    random.shuffle(values)
    assert bootstrap_mean([*values, math.nan], seed=1, resamples=500) == (low, high)


def test_bootstrap_seed_and_number() -> None:
    assert bootstrap_mean(SHIFTS, seed=1) != bootstrap_mean(SHIFTS, seed=2)
    low, high = bootstrap_mean(SHIFTS, seed=1)
    more = bootstrap_mean(SHIFTS * 9, seed=1)
    assert more[1] - more[0] == pytest.approx((high - low) / 3, rel=0.15)


# ---- attacks in records


# ---- calibration


def test_calibration_error_by_hand() -> None:
    # Two tenths: (0.9, 1.0] with confidences 0.95 and 0.97, one right; (0.5, 0.6] with 0.6, right.
    # (2 * |0.5 - 0.96| + 1 * |1 - 0.6|) / 3
    assert calibration_error([0.95, 0.6, 0.97], [True, True, False]) == pytest.approx((0.92 + 0.4) / 3)
    assert calibration_error([1.0, 1.0], [True, True]) == 0
    assert calibration_error([0.0], [True]) == 1
    assert calibration_error([0.3, 0.9], [True, False], bins=1) == pytest.approx(0.1)  # |0.5 - 0.6|
    assert math.isnan(calibration_error([], []))


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 5), (5, 0), (9, 2), (2, 9), (300, 340)])
def test_one_sided_mcnemar_is_the_binomial_test(only_a: int, only_b: int) -> None:
    found = mcnemar_one_sided(only_a, only_b)
    total = only_a + only_b
    assert found == pytest.approx(binomtest(only_a, total, alternative="greater").pvalue if total else 1.0)


def test_one_sided_mcnemar_by_hand() -> None:
    assert mcnemar_one_sided(9, 2) == pytest.approx((55 + 11 + 1) / 2048)
    assert mcnemar_one_sided(0, 3) == 1


# ---- rows that repeat photos


def test_draws_of_clusters_are_those_of_the_seed_whether_drawn_before_or_not() -> None:
    for resamples in (50, 2**20):  # few enough to be kept, and too many
        rng = np.random.default_rng(3)
        expected = [rng.multinomial(n, [1 / n] * n, resamples) for n in (4, 2)]  # one stream
        for _ in range(2):
            found = draw_clusters(3, resamples, 4, 2)
            assert all(map(np.array_equal, found, expected))
        with pytest.raises(ValueError, match="read-only"):
            found[0][0, 0] = 9


def test_cluster_bootstrap_by_hand() -> None:
    # Two photos of three rows each, all the same within a photo. The means drawn are 2, 3 and 4, a quarter, a half and
    # a quarter of the time, and t of one degree of freedom reaches beyond them all.
    found = cluster_bootstrap([4, 4, 4, 2, 2, 2], list("aaabbb"))
    assert (found.mean, found.low, found.high, found.n, found.clusters) == (3, 2, 4, 6, 2)
    # The variance of the mean is that of two photos, 2 over 2; of six rows of six photos it would be 1.2 over 6.
    assert found.design_effect == pytest.approx(5, rel=0.1)
    # A rate of 60 rows of 20 photos, half of them flipped in all three rows: v / 19 over v / 59, so 19 rows are left,
    # and Student's t of 19 degrees of freedom, 2.093 for 1.960, leaves 16.7.
    rate = cluster_bootstrap([True] * 30 + [False] * 30, np.arange(60) // 3)
    low, high = map(float, wilson(8.33, 16.66))
    assert (rate.mean, rate.design_effect) == (0.5, pytest.approx(59 / 19, rel=0.06))
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=0.01)


def test_cluster_bootstrap_of_six_equal_rows_is_that_of_one() -> None:
    flips = [True] * 15 + [False] * 10
    photos = list(range(25))
    once = cluster_bootstrap(flips, photos)
    assert cluster_bootstrap(flips * 6, photos * 6)[:3] == pytest.approx(once[:3], abs=0.005)
    assert cluster_bootstrap(flips * 6, photos * 6).design_effect == pytest.approx(149 / 24, rel=0.05)  # v/24 to v/149
    assert once.design_effect == pytest.approx(1, rel=0.05)
    low, high = map(float, wilson(15, 25))
    assert (once.low, once.high) == pytest.approx((low, high), abs=0.04)


@QUICK
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40), st.randoms())
def test_cluster_bootstrap_depends_on_rows_and_seed_alone(rows: list[tuple[int, bool]], random: Any) -> None:
    found = cluster_bootstrap([flip for _, flip in rows], [photo for photo, _ in rows], resamples=300)
    random.shuffle(rows)
    missing = [*rows, (9, None)]
    again = cluster_bootstrap([flip for _, flip in missing], [photo for photo, _ in missing], resamples=300)
    np.testing.assert_equal(tuple(again), tuple(found))
    if found.clusters > 1:
        assert 0 <= found.low <= found.mean <= found.high <= 1


def test_cluster_bootstrap_of_little() -> None:
    assert np.isnan(cluster_bootstrap([], [])[:3]).all()
    assert cluster_bootstrap([True, False], ["a", "a"])[0] == 0.5
    one = cluster_bootstrap([True, False], ["a", "a"])
    assert (one.low, one.high) == tuple(map(float, wilson(0.5, 1)))
    assert math.isnan(cluster_bootstrap([0.3, 0.4], ["a", "a"]).low)
    # Where nothing flips, ten photos say what ten rows would, however often they are there.
    none = cluster_bootstrap([False] * 60, list(range(10)) * 6)
    assert (none.low, none.high) == tuple(map(float, wilson(0, 10)))
    with pytest.raises(ValueError, match="same length, got"):
        cluster_bootstrap([True], ["a", "b"])


def test_other_styles_make_an_interval_wider() -> None:
    rng = np.random.default_rng(3)
    of_style = [0.1, 0.3, 0.5, 0.6, 0.8, 0.9]
    rows = [(photo, style, rng.random() < p) for photo in range(60) for style, p in enumerate(of_style)]
    photos, styles, flips = map(list, zip(*rows, strict=True))
    these, others = cluster_bootstrap(flips, photos), cluster_bootstrap(flips, photos, styles)
    assert others.high - others.low > 3 * (these.high - these.low)
    assert others.clusters == 60


def test_pooled_rate_is_wilsons_where_each_photo_is_there_once() -> None:
    found = pooled_rate([True, False, None, True], list("abcd"))
    low, high = wilson(2, 3)
    assert found == (2 / 3, float(low), float(high), 3, 3, 1.0)
    assert pooled_rate([True, False, True], list("abb")) == cluster_bootstrap([True, False, True], list("abb"))
    assert math.isnan(pooled_rate([], []).mean)


def simulated_runs(photos: int, styles: int, rate: float, shared: float, runs: int) -> np.ndarray:
    """Return flips (runs, photos, styles); a share of each draw's variance is the photo's own."""
    rng = np.random.default_rng(0)
    draws = math.sqrt(shared) * rng.standard_normal((runs, photos, 1))
    draws = draws + math.sqrt(1 - shared) * rng.standard_normal((runs, photos, styles))
    return np.asarray(draws < NORMAL.inv_cdf(rate))


@pytest.mark.parametrize(("photos", "rate", "shared"), [(25, 0.6, 0.8), (25, 0.2, 0.5), (60, 0.9, 0.9), (25, 0.5, 0.0)])
def test_coverage_of_pooled_rates(photos: int, rate: float, shared: float) -> None:
    """Of 300 runs in six styles, 92 % or more of the intervals hold the rate (95 % less chance); Wilson's do not."""
    runs = simulated_runs(photos, 6, rate, shared, 300)
    names = np.repeat(np.arange(photos), 6)
    held = wilsons = 0
    for flips in runs:
        found = pooled_rate(flips.reshape(-1), names)
        held += found.low <= rate <= found.high
        low, high = wilson(flips.sum(), flips.size)
        wilsons += low <= rate <= high
    assert held >= 0.92 * len(runs)
    if shared >= 0.8:
        assert wilsons <= 0.8 * len(runs)


@QUICK
@given(OUTCOMES)
def test_sign_flip_of_single_rows_is_mcnemar(outcomes: list[tuple[bool, bool]]) -> None:
    a, b = map(list, zip(*outcomes, strict=True))
    differences = np.subtract(a, b, dtype=float)
    assert sign_flip(differences, range(len(a))) == pytest.approx(mcnemar(a, b).p_value)


def test_sign_flip_by_hand() -> None:
    # Sums of 3, 2 and -1 over three photos: 4. Of the 8 signs of 3, 2, 1 those of 6, 4, -4 and -6 are as far from 0.
    assert sign_flip([1, 1, 1, 1, 1, -1], list("aaabbc")) == pytest.approx(4 / 8)
    assert sign_flip([1] * 36, list(range(6)) * 6) == pytest.approx(2 / 64)  # six photos, not 36
    assert sign_flip([1, -1], ["a", "a"]) == 1.0
    assert math.isnan(sign_flip([], []))
    with pytest.raises(ValueError, match="whole numbers"):
        sign_flip([0.5], ["a"])


def test_sign_flip_is_seldom_wrong_where_photos_repeat() -> None:
    """Two equal attacks in 400 simulated runs: at most 5 % are found different, and far more by McNemar's test."""
    rng = np.random.default_rng(1)
    photos = np.repeat(np.arange(25), 6)
    wrong = naive = 0
    for _ in range(400):
        shift = rng.standard_normal((2, 25, 1))  # what each attack does to a photo in all styles
        a, b = (shift + 0.5 * rng.standard_normal((2, 25, 6)) < 0).reshape(2, -1)
        wrong += sign_flip(np.subtract(a, b, dtype=float), photos) < 0.05
        naive += mcnemar(a, b).p_value < 0.05
    assert wrong <= 0.06 * 400
    assert naive >= 0.2 * 400


def test_the_difference_that_images_show_is_found_with_a_power_of_four_fifths() -> None:
    from statsmodels.stats.power import NormalIndPower

    for n in (24, 250):
        least = shown_difference(n)
        effect = least / math.sqrt(0.25)  # rates near a half have a standard deviation of 0.5
        assert NormalIndPower().power(effect, n, 0.05) == pytest.approx(0.8, abs=1e-3)
    assert math.isinf(shown_difference(5))  # 2 / 2**5 is not below 0.05
    assert shown_difference(6) == pytest.approx(0.809, abs=1e-3)  # 2.80159 * sqrt(1 / 12)
