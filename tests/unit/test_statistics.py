import numpy as np
import pytest
from scipy.stats import spearmanr

from softprompt.analysis.statistics import bootstrap_mean, bootstrap_ratio, mantel, wilson_interval


def test_if_all_examples_agree_the_interval_is_wilson_s():
    assert bootstrap_mean(np.ones((4, 200))) == pytest.approx(wilson_interval(1.0, 200))
    assert bootstrap_mean(np.zeros((4, 200))) == pytest.approx(wilson_interval(0.0, 200))
    # Wilson's bound for 0 of 73: 3.84 / (73 + 3.84) = 0.05.
    assert bootstrap_mean(np.zeros((1, 73)), -1.0, 0.5) == pytest.approx((-0.05, 0.025), abs=1e-4)
    gain = np.tile([1.0] * 198 + [0.0] * 2, (4, 1))
    assert bootstrap_ratio(gain, gain) == pytest.approx(wilson_interval(1.0, 200))


def test_the_interval_of_one_run_is_that_of_a_binomial_share():
    values = np.repeat([[0.0, 1.0]], 100, axis=1)  # 200 examples, half of them right
    low, high = bootstrap_mean(values)
    error = 1.96 * (0.25 / 200) ** 0.5
    assert (low, high) == pytest.approx((0.5 - error, 0.5 + error), abs=0.01)


def test_runs_that_differ_widen_the_interval():
    generator = np.random.default_rng(1)
    alike = np.tile(generator.integers(0, 2, 400).astype(float), (4, 1))
    unlike = alike * np.array([[0.2], [0.6], [1.0], [1.0]])
    (low, high), (wide_low, wide_high) = bootstrap_mean(alike), bootstrap_mean(unlike)
    assert (wide_high - wide_low) > 1.5 * (high - low)


def test_mantel_counts_relabellings_exactly():
    first = np.array([[0.0, 1, 2, 3], [1, 0, 4, 5], [2, 4, 0, 6], [3, 5, 6, 0]])
    result = mantel(first, 10 * first + 7)
    # All six values differ, so only the identity of the 24 relabellings gives this correlation.
    assert result["spearman"] == pytest.approx(1.0) and result["pearson"] == pytest.approx(1.0)
    assert result["p"] == pytest.approx(1 / 24) == result["smallest_p"]
    assert result["pairs"] == 12


def test_mantel_s_correlation_is_scipy_s():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 4, 4))
    off = ~np.eye(4, dtype=bool)
    assert mantel(first, second)["spearman"] == pytest.approx(spearmanr(first[off], second[off]).statistic)
    assert 1 / 24 <= mantel(first, second)["p"] <= 1


def test_mantel_ignores_the_diagonal():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 4, 4))
    filled = first.copy()
    np.fill_diagonal(filled, np.nan)
    assert mantel(filled, second) == mantel(first, second)


def test_mantel_of_a_constant_is_nan():
    result = mantel(np.ones((3, 3)), np.arange(9.0).reshape(3, 3))
    assert np.isnan(result["spearman"]) and np.isnan(result["p"])


def test_the_interval_of_a_ratio_contains_it_and_shrinks_with_examples():
    generator = np.random.default_rng(0)
    half = (generator.random((2, 400)) < 0.5).astype(float)
    low, high = bootstrap_ratio(half, np.ones_like(half))
    assert low < half.mean() < high
    few_low, few_high = bootstrap_ratio(half[:, :20], np.ones((2, 20)))
    assert few_high - few_low > 2 * (high - low)
    assert np.isnan(bootstrap_ratio(half, np.zeros_like(half))).all()


def test_more_than_seven_items_are_relabelled_at_random():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(9, 9))
    assert mantel(first, first)["p"] == pytest.approx(1 / 5000, abs=1e-9)
    assert mantel(first, generator.normal(size=(9, 9)))["p"] > 0.01
