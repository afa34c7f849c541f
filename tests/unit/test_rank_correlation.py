from itertools import permutations

import numpy as np
import pytest
from scipy.stats import spearmanr

from softprompt.analysis.rank_correlation import rank_correlations, smallest_p

FIRST = np.array([[1.0, 2.0, 3.0, 5.0, 4.0], [2.0, 2.0, 9.0, 1.0, 0.0]])
SECOND = np.array([[10.0, 30.0, 20.0, 50.0, 40.0], [3.0, 1.0, 1.0, 0.0, 7.0], [0.5, 0.1, 0.9, 0.4, 0.2]])


def test_correlations_and_both_p_are_those_of_a_loop_over_all_relabellings():
    found = rank_correlations(FIRST, SECOND)
    expected = np.array([[spearmanr(a, b).statistic for b in SECOND] for a in FIRST])
    np.testing.assert_allclose(found.spearman, expected, atol=1e-12)
    relabelled = np.abs(
        [
            [[spearmanr(a[list(order)], b).statistic for b in SECOND] for a in FIRST]
            for order in permutations(range(5))
        ]
    )  # [120, 2, 3]
    least = np.abs(expected) - 1e-9
    np.testing.assert_allclose(found.p, (relabelled >= least).mean(0))
    farthest = relabelled.max(axis=(1, 2))[:, None, None]
    np.testing.assert_allclose(found.adjusted_p, (farthest >= least).mean(0))
    assert (found.adjusted_p >= found.p).all()


def test_a_single_correlation_is_not_corrected():
    found = rank_correlations(FIRST[:1], SECOND[:1])
    assert found.p == found.adjusted_p


def test_a_copy_of_a_measure_costs_nothing():
    """The measures of both are relabelled together, so two equal ones are one."""
    found = rank_correlations(FIRST[:1], np.repeat(SECOND[:1], 4, axis=0))
    np.testing.assert_array_equal(found.p, found.adjusted_p)


def test_constant_and_unknown_measures_have_no_correlation_and_do_not_count():
    unknown = np.array([[1.0, np.nan, 2.0, 3.0, 4.0], [7.0] * 5])
    found = rank_correlations(FIRST[:1], np.concatenate([SECOND, unknown]))
    without = rank_correlations(FIRST[:1], SECOND)
    for values in (found.spearman, found.p, found.adjusted_p):
        assert np.isnan(values[:, 3:]).all()
    np.testing.assert_array_equal(found.adjusted_p[:, :3], without.adjusted_p)
    assert np.isnan(rank_correlations(FIRST[:1], unknown).adjusted_p).all()


@pytest.mark.parametrize("items", [3, 4, 5])
def test_the_smallest_p_is_that_of_a_perfect_correlation(items: int):
    order = np.arange(items, dtype=float)[None]
    assert rank_correlations(order, order).p[0, 0] == pytest.approx(smallest_p(items))


def test_many_items_are_relabelled_by_sampling():
    order = np.arange(9, dtype=float)[None]
    found = rank_correlations(order, order)
    assert found.spearman[0, 0] == pytest.approx(1) and found.p[0, 0] <= 3 / 10_000
