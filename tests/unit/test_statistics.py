"""Crossed designs: estimates against closed forms, tests against brute force, intervals against simulated truth."""

from itertools import combinations, permutations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from poisonlab.errors import InputError
from poisonlab.statistics import (
    grid,
    holm,
    matched_difference,
    mean_interval,
    needed_repeats,
    paired_difference,
    percentile_interval,
    share_interval,
    trend,
    variance_components,
)
from poisonlab.statistics.quantiles import _joint_tail_correlation

EXACT = 1e-12  # both sides are the same short sums in another order: only rounding of double precision differs
DRAW_SD, REPEAT_SD, REST_SD = 0.08, 0.19, 0.11


def crossed(generator: np.random.Generator, draws: int, repeats: int, repeat_effects: np.ndarray | None = None):
    """A grid with mean 0, normal draw and repeat effects and rest."""
    if repeat_effects is None:
        repeat_effects = generator.normal(0, REPEAT_SD, repeats)
    rest = generator.normal(0, REST_SD, (draws, repeats))
    return generator.normal(0, DRAW_SD, (draws, 1)) + repeat_effects + rest


def pigeonhole_interval(matrix: np.ndarray, resamples: int, generator: np.random.Generator) -> tuple[float, float]:
    """The percentile interval of Owen's (2007) bootstrap, which resamples draws and repeats independently."""
    draws, repeats = matrix.shape
    rows = generator.multinomial(draws, np.full(draws, 1 / draws), resamples) / draws
    columns = generator.multinomial(repeats, np.full(repeats, 1 / repeats), resamples) / repeats
    low, high = np.percentile(np.einsum("bd,dr,br->b", rows, matrix, columns), [2.5, 97.5])
    return float(low), float(high)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(20)


def test_grid_puts_every_victim_at_its_draw_and_repeat_and_nan_elsewhere():
    frame = pd.DataFrame({"draw": [1, 0, 0], "repeat": [2, 0, 2], "accuracy": [0.3, 0.1, 0.2]})
    # repeat 1 has no victim but keeps its column, so that column r of every condition is repeat r
    np.testing.assert_array_equal(grid(frame, "accuracy"), [[0.1, np.nan, 0.2], [np.nan, np.nan, 0.3]])


def test_grid_refuses_two_values_for_one_victim():
    frame = pd.DataFrame({"draw": [0, 0], "repeat": [3, 3], "accuracy": [0.1, 0.2]})
    with pytest.raises(InputError, match=r"draw 0, repeat 3.*select one condition"):
        grid(frame, "accuracy")


def test_mean_interval_of_one_draw_is_students_t_over_the_repeats(generator):
    row = generator.normal(0.7, 0.1, 7)
    reference = stats.ttest_1samp(row, 0).confidence_interval(0.9)
    estimate = mean_interval(row[None], confidence=0.9)
    assert estimate.value == pytest.approx(row.mean(), abs=EXACT)
    assert (estimate.low, estimate.high) == pytest.approx((reference.low, reference.high), abs=EXACT)
    assert estimate.n == "1 × 7"


def test_mean_interval_by_hand():
    # [[1, 2], [3, 6]]: mean 3, MS_draw = 2·var(1.5, 4.5) = 9, MS_repeat = 2·var(2, 4) = 4, MS_rest = 4 · 0.5² / 1 = 1;
    # Var = (9 + 4 − 1)/4 = 3, df = 3² / ((9/4)²/1 + (4/4)²/1) = 9/6.0625
    half = stats.t.ppf(0.975, 9 / 6.0625) * np.sqrt(3)
    estimate = mean_interval(np.array([[1.0, 2.0], [3.0, 6.0]]))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((3, 3 - half, 3 + half), abs=1e-10)
    # 1e-10: the t quantile here is about 6, found by iteration


def test_mean_interval_of_one_value_has_no_bounds_and_of_none_no_value():
    one, none = mean_interval(np.array([[0.4]])), mean_interval(np.full((2, 3), np.nan))
    assert one.value == 0.4
    assert np.isnan([one.low, one.high, none.value, none.low]).all()


def test_mean_interval_is_cut_only_where_bounds_are_given():
    row = np.array([[0.9, 1.0, 0.7]])
    assert mean_interval(row).high > 1
    assert mean_interval(row, bounds=(0, 1)).high == 1
    assert mean_interval(row, bounds=(0, 1)).low == mean_interval(row).low


def test_a_hole_in_an_additive_grid_changes_nothing_but_the_count():
    matrix = np.arange(4)[:, None] * 0.1 + np.array([0.0, 0.3, 0.1])
    holed = matrix.copy()
    holed[0, 1] = holed[3, 0] = np.nan  # the plain mean of the rest would be off by 0.01 and more
    estimate = mean_interval(holed)
    assert estimate.value == pytest.approx(matrix.mean(), abs=EXACT)
    assert estimate.n == "4 × 3, 10 of 12 victims"


def test_cells_that_link_nothing_give_their_mean_and_no_interval():
    estimate = mean_interval(np.array([[1.0, np.nan], [np.nan, 2.0]]))
    assert estimate.value == 1.5
    assert np.isnan([estimate.low, estimate.high]).all()


def test_mean_interval_covers_as_its_docstring_says():
    generator, size = np.random.default_rng(7), 2000
    grids = [crossed(generator, 5, 4) for _ in range(size)]
    ours = [mean_interval(matrix) for matrix in grids]
    coverage = np.mean([estimate.low <= 0 <= estimate.high for estimate in ours])
    # 0.957 in 20 000 grids; 4 binomial standard errors of 2000 grids are 4·√(0.957·0.043/2000) = 0.018
    assert coverage == pytest.approx(0.957, abs=0.018)

    two = [
        generator.normal(0, 0.1, (10, 1)) + generator.normal(0, 0.1, 2) + generator.normal(0, 0.05, (10, 2))
        for _ in ours
    ]
    coverage = np.mean([found.low <= 0 <= found.high for found in map(mean_interval, two)])
    # 0.911 in 4000 grids; 4 standard errors of 2000 are 0.025: too short, as two repeats tell next to nothing of repeats
    assert coverage == pytest.approx(0.911, abs=0.025)

    theirs = [pigeonhole_interval(matrix, 400, generator) for matrix in grids[:500]]
    pigeonhole = np.mean([low <= 0 <= high for low, high in theirs])
    # 0.866 in 2000 grids; 4 standard errors of 500 grids are 0.061: the reason for not using it is no accident
    assert pigeonhole == pytest.approx(0.866, abs=0.061)


def test_mean_interval_covers_when_a_fifth_of_the_victims_is_missing():
    generator, hits = np.random.default_rng(8), []
    for _ in range(1000):
        matrix = crossed(generator, 5, 4)
        matrix[generator.random(matrix.shape) < 0.2] = np.nan
        estimate = mean_interval(matrix)
        hits.append(estimate.low <= 0 <= estimate.high)
    # nominal 0.95, measured 0.958 in 4000; 4 standard errors of 1000 grids are 0.028 below and above the nominal value
    assert np.mean(hits) == pytest.approx(0.95, abs=0.028)


def test_a_hole_is_filled_from_its_own_condition():
    # One condition moves the repeats, the other does not, and nothing else happens: no repeat's difference is in doubt.
    a, b = np.tile([1.0, 2, 3, 4], (3, 1)), np.zeros((3, 4))
    a[0, 3] = b[1, 0] = np.nan
    found = paired_difference(a, b)
    whole = mean_interval(np.array([[1.0, 2, 3, 4]]))
    assert [found.value, found.low, found.high] == pytest.approx([whole.value, whole.low, whole.high])


def test_of_many_comparisons_without_an_effect_few_are_shown_though_conditions_move_repeats_differently(generator):
    both, alone = [], []
    for _ in range(400):
        a, b = (generator.normal(0, 0.1, (draws, 4)) + generator.normal(0, 0.1, 4) for draws in (5, 8))
        found = paired_difference(a, b, alternative="greater")
        both.append(found.joint_p)
        alone.append(found.p)
    level = 0.05 / 10  # as the smallest of ten parts is judged
    # 400 · 0.005 = 2 are expected at most, 4 standard errors are 5.6; p alone, which holds the repeats fixed, finds more
    assert np.sum(np.array(both) <= level) <= 7
    assert np.sum(np.array(alone) <= level) > 7
    assert np.all(np.array(both) >= alone)


def test_the_interval_of_a_share_is_exact_over_draws_where_victims_are_all_alike():
    everyone = share_interval(np.ones((8, 32)))
    assert (everyone.value, everyone.high) == (1, 1)
    # Clopper and Pearson: the lower end is where 8 of 8 have the chance of 2.5 %.
    assert stats.binom.pmf(8, 8, everyone.low) == pytest.approx(0.025)
    nobody = share_interval(np.zeros((8, 32)), 0.9)
    assert nobody.low == 0
    assert stats.binom.pmf(0, 8, nobody.high) == pytest.approx(0.05)
    assert share_interval(np.ones((1, 5))).low == pytest.approx(0.025 ** (1 / 5))
    assert np.isnan(share_interval(np.ones((1, 1))).low)


def test_the_interval_of_a_share_falls_with_every_victim_and_is_at_least_that_of_the_spread():
    matrix = np.ones((8, 4))
    lows = [share_interval(matrix).low]
    for draw, repeat in np.ndindex(8, 4):
        matrix[draw, repeat] = 0
        found, spread = share_interval(matrix), mean_interval(matrix, bounds=(0, 1))
        assert found.low <= spread.low
        assert found.high >= spread.high
        lows.append(found.low)
    assert lows == sorted(lows, reverse=True)


def test_matched_difference_of_nothing_is_nothing():
    found = matched_difference(np.full((2, 3), np.nan), np.ones((2, 3)))
    assert np.isnan([found.value, found.p]).all()


def test_variance_components_by_hand():
    # the mean squares 9, 4 and 1 of test_mean_interval_by_hand: (9 − 1)/2, (4 − 1)/2, 1
    parts = variance_components(np.array([[1.0, 2.0], [3.0, 6.0]]))
    assert (parts.draw, parts.repeat, parts.rest) == pytest.approx((4, 1.5, 1), abs=EXACT)


def test_a_negative_variance_component_becomes_zero():
    parts = variance_components(np.array([[1.0, -1.0], [-1.0, 1.0]]))  # no row or column effect, MS_rest = 4
    assert (parts.draw, parts.repeat) == (0, 0)
    assert parts.rest == pytest.approx(4, abs=EXACT)


def test_variance_components_recover_the_truth_of_a_large_grid(generator):
    parts = variance_components(crossed(generator, 400, 400))
    truth = np.array([DRAW_SD, REPEAT_SD, REST_SD]) ** 2
    # a variance from 400 levels has a relative standard error of √(2/399) = 0.071; 4 of them are 0.28
    np.testing.assert_allclose([parts.draw, parts.repeat, parts.rest], truth, rtol=0.28)


def test_percentile_interval_of_independent_victims_is_the_binomial_order_statistic_interval(generator):
    values = generator.normal(size=200)
    ordered = np.sort(values)
    # brute force over ranks: the narrowest with at most 2.5 % outside on either side
    below = stats.binom(200, 0.05)
    low_rank = max(rank for rank in range(1, 201) if below.cdf(rank - 1) < 0.025)
    high_rank = min(rank for rank in range(1, 201) if below.sf(rank - 1) <= 0.025)
    estimate = percentile_interval(values, 0.05)
    assert (estimate.low, estimate.high) == (ordered[low_rank - 1], ordered[high_rank - 1])
    assert estimate.value == np.percentile(values, 5)


@pytest.mark.parametrize(("q", "enough"), [(0.05, 72), (0.01, 368)])
def test_percentile_interval_has_a_lower_bound_only_from_enough_victims(generator, q, enough):
    values = generator.random(enough)
    assert percentile_interval(values, q).low == values.min()
    assert percentile_interval(values[:-1], q).low == -np.inf
    assert percentile_interval(values[:-1], q, bounds=(0, 1)).low == 0


def test_joint_tail_correlation_matches_the_bivariate_normal_distribution():
    z = stats.norm.ppf(0.05)
    joint = stats.multivariate_normal.cdf([z, z], cov=[[1, 0.6], [0.6, 1]])
    # 1e-5 / (0.05·0.95): scipy's multivariate distribution function stops at an absolute error of 1e-5
    assert _joint_tail_correlation(0.6, 0.05) == pytest.approx((joint - 0.05**2) / (0.05 * 0.95), abs=2.2e-4)
    assert _joint_tail_correlation(1.0, 0.05) == pytest.approx(1, abs=1e-7)  # quad's own tolerance is 1.5e-8


def test_percentile_interval_covers_for_crossed_victims_where_independent_ones_would_not():
    generator, truth = np.random.default_rng(9), stats.norm.ppf(0.05) * np.linalg.norm([DRAW_SD, REPEAT_SD, REST_SD])
    grids = [crossed(generator, 20, 20) for _ in range(400)]
    crossed_hits = [
        estimate.low <= truth <= estimate.high for estimate in (percentile_interval(m, 0.05) for m in grids)
    ]
    plain = [percentile_interval(matrix.ravel(), 0.05) for matrix in grids]
    # at least the nominal 0.95 less 3 standard errors of 400 grids (0.033); measured 0.985 and 0.50
    assert np.mean(crossed_hits) >= 0.95 - 0.033
    assert np.mean([estimate.low <= truth <= estimate.high for estimate in plain]) < 0.6


def test_paired_difference_of_single_draws_is_the_paired_t_interval_with_exact_sign_flips(generator):
    a, b = generator.normal(0.1, 0.1, (1, 6)), generator.normal(0, 0.1, (1, 6))
    reference = stats.ttest_rel(a[0], b[0]).confidence_interval(0.95)
    difference = paired_difference(a, b)
    assert (difference.low, difference.high) == pytest.approx((reference.low, reference.high), abs=EXACT)
    d = a[0] - b[0]
    flipped = [abs(np.dot(signs, d)) for signs in product((1, -1), repeat=6)]
    assert difference.p == np.mean(np.array(flipped) >= abs(d.sum()) - EXACT)
    assert difference.smallest_p == 2 / 2**6


def test_the_t_of_a_difference_is_that_of_its_interval(generator):
    a, b = generator.normal(0.5, 1, (1, 6)), generator.normal(0, 1, (1, 6))
    assert paired_difference(a, b).t_p == pytest.approx(stats.ttest_rel(a[0], b[0]).pvalue, rel=1e-9)
    repeats = generator.normal(0, REPEAT_SD, 8)
    a, b = crossed(generator, 1, 8, repeats), crossed(generator, 5, 8, repeats) + 0.2
    found = paired_difference(a, b)
    ends = paired_difference(a, b, confidence=1 - found.t_p)
    assert min(abs(ends.low), abs(ends.high)) == pytest.approx(0, abs=1e-9)  # of the t distribution's inverse


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_paired_difference_permutes_rows_exactly(generator, alternative):
    a, b = generator.normal(0.05, 0.1, (5, 4)), generator.normal(0, 0.1, (3, 4))
    rows, null = np.concatenate([a, b]), []
    for chosen in combinations(range(8), 5):
        others = [row for row in range(8) if row not in chosen]
        null.append(rows[list(chosen)].mean() - rows[others].mean())
    sign = {"two-sided": np.abs, "less": np.negative, "greater": np.positive}[alternative]
    expected = np.mean(sign(np.array(null)) >= sign(a.mean() - b.mean()) - EXACT)
    difference = paired_difference(a, b, alternative=alternative)
    assert difference.p == expected
    assert difference.value == pytest.approx(a.mean() - b.mean(), abs=EXACT)
    assert difference.n == "5+3 × 4"


def test_paired_difference_samples_permutations_when_there_are_too_many(generator):
    a, b = generator.normal(0.04, 0.1, (10, 4)), generator.normal(0, 0.1, (10, 4))  # 184 756 splits
    rows = np.concatenate([a, b]).mean(axis=1)
    splits = np.array(list(combinations(range(20), 10)))
    exact = np.mean(np.abs(2 * rows[splits].mean(axis=1) - 2 * rows.mean()) >= abs(a.mean() - b.mean()) - EXACT)
    sampled = paired_difference(a, b, permutations=4999)
    # 4 binomial standard errors of 4999 permutations
    assert sampled.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4999) + 1 / 5000)
    assert sampled == paired_difference(a, b, permutations=4999)
    assert sampled.p != paired_difference(a, b, permutations=4999, seed=1).p


def test_what_a_repeat_does_to_both_conditions_cancels_and_unshared_repeats_are_dropped(generator):
    a, b = crossed(generator, 5, 4), crossed(generator, 4, 4)
    moved = np.array([3.0, -2.0, 1.0, 5.0])
    plain = paired_difference(a, b)
    paired = paired_difference(a + moved, np.concatenate([b + moved, np.full((4, 2), 9.0)], axis=1))
    for name in ("value", "low", "high", "p"):
        # sums of numbers near 5 lose 5 times more to rounding
        assert getattr(paired, name) == pytest.approx(getattr(plain, name), abs=5 * EXACT)
    assert paired.n_repeats == 4


def test_paired_difference_covers_and_its_p_keeps_its_level():
    generator, hits, rejected = np.random.default_rng(10), [], []
    for _ in range(1000):
        shared = generator.normal(0, REPEAT_SD, 4)
        difference = paired_difference(crossed(generator, 5, 4, shared), crossed(generator, 5, 4, shared))
        hits.append(difference.low <= 0 <= difference.high)
        rejected.append(difference.p <= 0.05)
    # measured 0.9725 in 4000; 4 standard errors of 1000 are 0.021. 12 of 252 splits lie at or below p = 0.05: 0.0476,
    # 4 standard errors are 0.027
    assert np.mean(hits) == pytest.approx(0.9725, abs=0.021)
    assert np.mean(rejected) == pytest.approx(12 / 252, abs=0.027)


def test_the_interval_counts_new_repeats_where_the_permutation_test_speaks_for_those_that_were_run():
    generator, hits, rejected = np.random.default_rng(13), [], []
    for _ in range(400):
        shared = generator.normal(0, REPEAT_SD, 4)
        moved = shared + generator.normal(0, 0.1, 4)  # each victim-to-be is moved differently, on average by nothing
        difference = paired_difference(crossed(generator, 5, 4, moved), crossed(generator, 8, 4, shared))
        hits.append(difference.low <= 0 <= difference.high)
        rejected.append(difference.p <= 0.05)
    # measured 0.963 and 0.135 in 4000; 4 standard errors of 400 are 0.038 and 0.068
    assert np.mean(hits) == pytest.approx(0.963, abs=0.038)
    assert np.mean(rejected) == pytest.approx(0.135, abs=0.068)


def test_holm_by_hand():
    # sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 = 0.02, 0.03, 0.06, 0.04; the last is raised to 0.06
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=EXACT)
    assert holm([0.9, 0.8]).max() == 1
    # a test that could not be made still counts among the three
    np.testing.assert_allclose(holm([0.01, np.nan, 0.02]), [0.03, np.nan, 0.04], rtol=EXACT)
    with pytest.raises(InputError, match=r"1\.5 is outside"):
        holm([1.5])


def test_trend_is_the_least_squares_slope_of_the_means(generator):
    matrices = [generator.normal(0.1 * k, 0.05, (3 + k % 2, 4)) for k in range(4)]
    positions = [0.0, 1.0, 2.5, 7.0]
    reference = np.polyfit(positions, [matrix.mean() for matrix in matrices], 1)[0]
    # 1e-10: polyfit solves a scaled system by singular values
    assert trend(matrices, positions).value == pytest.approx(reference, abs=1e-10)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_trend_permutes_draws_over_positions_exactly(generator, alternative):
    matrices = [generator.normal(0.03 * k, 0.1, (2, 3)) for k in range(3)]
    rows, x = np.concatenate(matrices).mean(axis=1), np.array([0, 0, 1, 1, 2, 2])
    null = np.array([np.polyfit(x, rows[list(order)], 1)[0] for order in permutations(range(6))])
    sign = {"two-sided": np.abs, "less": np.negative, "greater": np.positive}[alternative]
    expected = np.mean(sign(null) >= sign(np.polyfit(x, rows, 1)[0]) - 1e-10)  # polyfit's rounding
    assert trend(matrices, alternative=alternative).p == pytest.approx(expected, abs=EXACT)


def test_trend_of_two_positions_is_a_paired_difference(generator):
    a, b = crossed(generator, 5, 4), crossed(generator, 4, 4)
    slope, difference = trend([b, a], positions=[0, 2]), paired_difference(a, b)
    doubled = 2 * np.array([slope.value, slope.low, slope.high])
    np.testing.assert_allclose(doubled, [difference.value, difference.low, difference.high], atol=EXACT)
    assert slope.p == difference.p


def test_trend_covers():
    generator, hits = np.random.default_rng(12), []
    for _ in range(1000):
        shared = generator.normal(0, REPEAT_SD, 4)
        slope = trend([0.02 * k + crossed(generator, 5, 4, shared) for k in range(5)], permutations=1)
        hits.append(slope.low <= 0.02 <= slope.high)
    # measured 0.967 in 1000, a bit above nominal; 4 standard errors of 1000 are 0.023
    assert np.mean(hits) == pytest.approx(0.967, abs=0.023)


def test_needed_repeats_of_one_draw_is_the_t_interval_sample_size():
    row = np.array([[0.0, 1.0, 2.0, 3.0]])
    spread = np.std(row, ddof=1)
    widths = {n: stats.t.ppf(0.975, n - 1) * spread / np.sqrt(n) for n in range(4, 200)}
    assert needed_repeats(row, 0.5) == (1, min(n for n, width in widths.items() if width <= 0.5))


def test_needed_repeats_reaches_the_half_width_at_the_size_that_it_names(generator):
    matrix = crossed(generator, 10, 8)
    parts = variance_components(matrix)
    draws, repeats = needed_repeats(matrix, 0.06)
    assert draws == int(np.ceil(10 * repeats / 8))

    def half_width(draws: int, repeats: int) -> float:
        by_draw, by_repeat = parts.draw / draws, parts.repeat / repeats
        rest = parts.rest / (draws * repeats)
        variance = by_draw + by_repeat + rest
        spread = (by_draw + rest) ** 2 / (draws - 1) + (by_repeat + rest) ** 2 / (repeats - 1)
        return float(stats.t.ppf(0.975, variance**2 / spread) * np.sqrt(variance))

    # 1 %: the plan scales the draws' degrees of freedom, 9 · growth, instead of counting draws − 1
    assert half_width(draws, repeats) <= 0.06 * 1.01
    assert half_width(int(np.ceil(10 * (repeats - 1) / 8)), repeats - 1) > 0.06 * 0.99
    assert needed_repeats(matrix, 10) == (10, 8)


def test_bad_input_is_named_with_its_value_and_a_way_out():
    matrix = np.ones((2, 2))
    with pytest.raises(InputError, match=r"confidence 95 is outside \(0, 1\); give a fraction"):
        mean_interval(matrix, confidence=95)
    with pytest.raises(InputError, match="grid has 1 axes"):
        mean_interval(np.ones(3))
    with pytest.raises(InputError, match="infinite"):
        paired_difference(matrix, matrix * np.inf)
    with pytest.raises(InputError, match="alternative 'larger' is unknown"):
        paired_difference(matrix, matrix, alternative="larger")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1 axis positions have values"):
        trend([matrix, np.full((2, 2), np.nan)])


def test_a_difference_matched_by_draw_flips_the_signs_of_the_draws():
    generator = np.random.default_rng(3)
    a, b = crossed(generator, 6, 5) + 0.1, crossed(generator, 6, 4)
    found, differences = matched_difference(a, b, alternative="greater"), a[:, :4] - b
    expected = mean_interval(differences)
    assert (found.value, found.low, found.high, found.n) == (expected.value, expected.low, expected.high, "6 × 4")
    means = differences.mean(axis=1)
    flipped = np.array([means @ signs for signs in product((1, -1), repeat=6)])
    assert found.p == pytest.approx(np.mean(flipped >= means.sum() - EXACT), abs=EXACT)
    assert found.smallest_p == 2**-6


def test_a_hole_does_not_change_the_p_of_a_matched_difference_without_noise():
    draws, repeats = np.array([0.1, 0.2, -0.05, 0.3])[:, None], np.array([-1.0, 0.0, 1.0])
    a, b = draws + repeats, np.zeros((4, 3))
    whole = matched_difference(a, b, alternative="greater").p
    a[2, 2] = np.nan  # its mean would be far below the others'
    assert matched_difference(a, b, alternative="greater").p == whole
