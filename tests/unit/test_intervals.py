"""95% intervals: small cases by hand, what holds for any answers, and coverage in simulations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm, t

from softprompt.analysis.intervals import (
    Z2,
    interval_over_runs,
    mean_interval,
    p_of_mean,
    ratio_interval,
    wilson_interval,
)

ANSWERS = st.tuples(st.integers(1, 5), st.integers(2, 40)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0]))
)


def test_if_all_answers_agree_the_interval_is_wilson_s():
    assert mean_interval(np.ones((4, 200))) == pytest.approx(wilson_interval(1.0, 200))
    assert mean_interval(np.zeros((4, 200))) == pytest.approx(wilson_interval(0.0, 200))


def test_if_no_example_changes_a_gain_may_still_lie_on_either_side():
    # Wilson's bound for 0 of 73: 3.84 / (73 + 3.84) = 0.05. So many examples may have the least or the largest value.
    assert mean_interval(np.zeros((1, 73)), -1.0, 0.5) == pytest.approx((-0.05, 0.025), abs=1e-4)
    low, high = mean_interval(np.zeros((3, 73)), -0.5, 0.5)
    assert (low, high) == pytest.approx((-0.025, 0.025), abs=1e-4)


def test_one_run_is_a_binomial_share():
    for right in (1, 20, 100, 199):
        values = (np.arange(200) < right)[None].astype(float)
        assert mean_interval(values) == pytest.approx(wilson_interval(right / 200, 200))


def test_runs_that_answer_alike_have_wilson_s_interval():
    values = np.tile((np.arange(100) < 30).astype(float), (3, 1))
    assert mean_interval(values) == pytest.approx(wilson_interval(0.3, 100))


def test_the_interval_of_two_runs_by_hand():
    """Four of six examples are right in one run, two in the other. Mean squares are times E / R = 3."""
    values = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]], dtype=float)
    of_runs, of_examples = 6**2 / 2 * 2 * (1 / 6) ** 2, 4 * 0.5**2
    # By example the means are 1, 1, ½, ½, 0, 0. The rest is ±1/6 where runs agree, and ±1/3 where they do not.
    rest = (4 * 2 * (1 / 6) ** 2 + 2 * 2 * (1 / 3) ** 2) / 2
    assert (of_runs, of_examples, rest) == pytest.approx((1.0, 1.0, 1 / 3))
    agreed = 6 * 0.25
    runs = (t.ppf(0.975, 1) ** 2 * of_runs - Z2 * rest) / (1 + (2 / agreed) ** 8)
    examples = Z2 * of_examples + Z2 * (agreed - of_examples) / (1 + (agreed / 2) ** 2) + Z2**2 / 4
    half_width = np.hypot(max(np.sqrt(runs) / (6 + Z2), expit(4 * np.sqrt(runs) / (6 + Z2)) - 0.5),
                          np.sqrt(examples) / (6 + Z2))  # fmt: skip
    assert mean_interval(values) == pytest.approx((0.5 - half_width, 0.5 + half_width))


def test_runs_that_differ_widen_the_interval():
    generator = np.random.default_rng(1)
    alike = np.tile(generator.integers(0, 2, 400).astype(float), (4, 1))
    unlike = alike * np.array([[0.2], [0.6], [1.0], [1.0]])
    (low, high), (wide_low, wide_high) = mean_interval(alike), mean_interval(unlike)
    assert (wide_high - wide_low) > 1.5 * (high - low)


@given(ANSWERS)
def test_the_interval_contains_the_mean_and_lies_in_the_possible_range(values):
    low, high = mean_interval(values)
    assert 0 <= low <= values.mean() + 1e-12 and values.mean() - 1e-12 <= high <= 1 and low < high


@given(ANSWERS)
def test_right_and_wrong_answers_are_treated_alike(values):
    low, high = mean_interval(values)
    assert mean_interval(1 - values) == pytest.approx((1 - high, 1 - low))


@given(ANSWERS)
def test_gains_are_shares_on_another_scale(values):
    low, high = mean_interval(values)
    assert mean_interval(values - 0.3, -0.3, 0.7) == pytest.approx((low - 0.3, high - 0.3))


@given(ANSWERS)
def test_no_answers_have_lower_ends_than_none_right(values):
    of_none, of_some = mean_interval(np.zeros_like(values)), mean_interval(values)
    assert of_none[0] <= of_some[0] + 1e-12 and of_none[1] <= of_some[1] + 1e-12


@given(st.data(), st.integers(1, 8), st.integers(20, 200))
def test_the_first_right_answers_never_lower_an_end(data, runs, examples):
    """From none to three right answers, wherever they are; with two runs, up to two."""
    cells = st.tuples(st.integers(0, runs - 1), st.integers(0, examples - 1))
    most = 2 if runs == 2 else 3
    values = np.zeros((runs, examples))
    before = mean_interval(values)
    for cell in data.draw(st.lists(cells, unique=True, min_size=1, max_size=most)):
        values[cell] = 1
        after = mean_interval(values)
        assert before[0] <= after[0] + 1e-12 and before[1] <= after[1] + 1e-12
        before = after


def simulated_coverage(runs: int, examples: int, spread: float, mean: float, repetitions: int) -> float:
    """Share of 95% intervals that contain the population mean of Bernoulli(expit(a + run's effect + example's effect)).

    Args:
        runs: R.
        examples: E; their effects have a standard deviation of 1.5 log odds.
        spread: standard deviation of the effects of runs, log odds.
        mean: the population mean.
        repetitions: how many intervals.
    """
    generator = np.random.default_rng(0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights /= weights.sum()
    a = brentq(lambda a: weights @ expit(a + np.hypot(spread, 1.5) * nodes) - mean, -20, 20)
    covered = 0
    for _ in range(repetitions):
        effects = spread * generator.normal(size=(runs, 1)) + 1.5 * generator.normal(size=(1, examples))
        low, high = mean_interval((generator.random((runs, examples)) < expit(a + effects)).astype(float))
        covered += low <= mean <= high
    return covered / repetitions


# The error of 1,000 repetitions: three standard errors of a share of 0.95.
MARGIN = 3 * (0.95 * 0.05 / 1000) ** 0.5


@pytest.mark.parametrize("runs", [4, 8, 16])
@pytest.mark.parametrize("mean", [0.5, 0.9])
@pytest.mark.parametrize("spread", [0.0, 0.3, 0.8])
def test_coverage_is_95_percent(runs, mean, spread):
    coverage = simulated_coverage(runs, 200, spread, mean, 1000)
    assert 0.93 - MARGIN <= coverage <= 0.97 + MARGIN


@pytest.mark.parametrize("mean", [0.5, 0.9])
@pytest.mark.parametrize("spread", [0.0, 0.3, 0.8])
def test_the_interval_of_two_runs_is_rather_too_wide(mean, spread):
    """t has one degree of freedom: two runs hardly say how much runs differ."""
    assert simulated_coverage(2, 200, spread, mean, 1000) >= 0.93 - MARGIN


@pytest.mark.parametrize(("runs", "mean", "least"), [(2, 0.5, 0.93), (4, 0.5, 0.93), (16, 0.9, 0.93),
                                                     (2, 0.9, 0.91), (4, 0.9, 0.91)])  # fmt: skip
def test_coverage_if_runs_differ_much(runs, mean, least):
    """A few runs whose means are skewed towards 1 understate how low a run may be: with a mean of 0.9 it is 92%."""
    assert simulated_coverage(runs, 200, 1.6, mean, 1000) >= least - MARGIN


def test_the_interval_of_a_ratio_contains_it_and_shrinks_with_examples():
    generator = np.random.default_rng(0)
    half = (generator.random((4, 400)) < 0.5).astype(float)
    low, high = ratio_interval(half, np.ones_like(half))
    assert low < half.mean() < high
    few_low, few_high = ratio_interval(half[:, :20], np.ones((4, 20)))
    assert few_high - few_low > 2 * (high - low)
    assert np.isnan(ratio_interval(half, np.zeros_like(half))).all()


def test_if_all_of_a_gain_is_kept_the_ratio_may_still_lie_on_either_side():
    gain = np.tile([1.0] * 100 + [0.0] * 100, (4, 1))
    # Wilson's term: z²/2 of the examples that have a gain.
    assert ratio_interval(gain, gain) == pytest.approx((1 - Z2 / 200, 1 + Z2 / 200))
    low, high = ratio_interval(-gain, gain)
    assert low < -1 < high


def test_the_interval_over_runs_is_student_s():
    # Mean 0.5, standard deviation 0.1, t of 2 degrees of freedom: 4.3027.
    half = 4.302653 * 0.1 / 3**0.5
    assert interval_over_runs([0.4, 0.5, 0.6]) == pytest.approx((0.5 - half, 0.5 + half))
    assert interval_over_runs([0.1, 0.9]) == (0.0, 1.0)  # within what is possible
    assert np.isnan(interval_over_runs([0.5])).all()


def test_runs_that_agree_leave_room_for_runs_that_do_not():
    # Wilson's bound for 0 of 4: 3.84 / (4 + 3.84) = 0.49.
    assert interval_over_runs([1.0] * 4) == pytest.approx((1 - 0.4899, 1.0), abs=1e-4)
    assert interval_over_runs([0.0] * 4, least=-1.0) == pytest.approx((-0.4899, 0.4899), abs=1e-4)


def test_p_of_one_run_by_hand():
    """k gains on E examples: z²·k·(1 - k/E) + z⁴/4 = k², as far as k is well above `FEW`."""
    for k, expected in ((4, False), (5, True), (40, True)):
        gains = (np.arange(200) < k)[None].astype(float)
        z2 = 2 * (np.sqrt((k * (1 - k / 200)) ** 2 + k**2) - k * (1 - k / 200))
        assert p_of_mean(gains) == pytest.approx(2 * norm.sf(z2**0.5), rel=1e-6)
        assert (p_of_mean(gains) < 0.05) == expected
        assert p_of_mean(-gains) == pytest.approx(p_of_mean(gains))
    assert p_of_mean(np.zeros((3, 50))) == 1 and p_of_mean(np.ones((4, 2000))) < 1e-20


@given(ANSWERS, st.sampled_from([-0.7, 0.0, 0.1, 0.5]))
def test_p_is_below_5_percent_if_and_only_if_the_interval_without_limits_excludes_0(values, shift):
    low, high = ratio_interval(values - shift, np.ones_like(values))
    assert (p_of_mean(values - shift) < 0.05) == (low > 0 or high < 0)


@pytest.mark.parametrize("runs", [2, 8])
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.5])
def test_p_is_below_5_percent_in_no_more_than_5_percent_of_samples_without_a_gain(runs, spread):
    """Answers with and without a prompt are equally often right on average over prompts and examples."""
    generator = np.random.default_rng(0)
    significant = 0
    for _ in range(500):
        of_example = 1.5 * generator.normal(size=200)
        with_prompt = expit(of_example + spread * generator.normal(size=(runs, 1)))
        without = generator.random(200) < expit(of_example / np.sqrt(1 + 0.0))
        gain = (generator.random((runs, 200)) < with_prompt).astype(float) - without
        significant += p_of_mean(gain) < 0.05
    assert significant / 500 <= 0.05 + 3 * (0.05 * 0.95 / 500) ** 0.5
