"""95% intervals of means and ratios over runs and examples, and the p that goes with them.

Runs and examples are both random and crossed: every run is scored on every example. The variance of the mean is estimated
from the mean squares of the two-way table with one value per cell (Brennan 2001, Generalizability Theory; Gallas
2006 for readers who all read the same cases).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import expit, logit, stdtrit
from scipy.stats import binomtest, norm

Z = float(norm.ppf(0.975))  # 1.96
Z2 = Z**2  # 3.84
LARGEST_Z = 10.0  # p = 2e-23: smaller ones are not told apart
FEW = 2.0  # examples


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """95% interval of a share of n independent examples (Wilson 1927)."""
    bounds = binomtest(round(share * n), n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(bounds.low), float(bounds.high)


def interval_over_runs(values: Sequence[float], least: float = 0.0, most: float = 1.0) -> tuple[float, float]:
    """95% interval of the mean of one value per run, by Student's t.

    If all R runs agree, the variance over runs is not known to be 0. The interval then has Wilson's bound for 0 of R: so
    large a share of new runs may still have the value `least`, or `most`.

    Args:
        values: one value per run.
        least: the smallest value that is possible.
        most: the largest value that is possible.

    Returns:
        NaN with fewer than two runs.
    """
    runs, mean = len(values), float(np.mean(values))
    if runs < 2:
        return np.nan, np.nan
    if np.ptp(values) == 0:
        unseen = wilson_interval(0.0, runs)[1]
        return mean - unseen * (mean - least), mean + unseen * (most - mean)
    half = float(stdtrit(runs - 1, 0.975)) * float(np.std(values, ddof=1)) / runs**0.5
    return max(least, mean - half), min(most, mean + half)


def mean_interval(
    values: Float[np.ndarray, "R E"], least: float = 0.0, most: float = 1.0
) -> tuple[float, float]:
    """95% interval of the mean over R runs and the E examples that each run is scored on.

    The interval is for new runs on new examples. With one run it is for new examples only, and is Wilson's (1927) if the
    values are 0 and 1. As there, the mean is pulled towards the middle by z² examples, so the interval has a width
    also if all values agree. Values that are all `least` have the lowest of all intervals, at both ends.

    The part of the width that is due to runs is, on either side, at least what it is on the scale of log odds. The means
    of runs near `least` or `most` differ little, so a few of them understate how far new ones lie towards the middle. The
    parts of runs and examples are combined as in Zou and Donner (2008): each side's squares are added.

    Simulated coverage is 94% to 99%. It is lower, 85% to 94%, if the mean is 0.9 and the log odds of runs have a standard
    deviation of 1.6; it is up to 99.7% with two or three runs that do not differ.

    Args:
        values: one value per run and example.
        least: the smallest mean that is possible.
        most: the largest mean that is possible.
    """
    scaled = (values - least) / (most - least)
    total = values.shape[1] + Z2
    centre = (scaled.sum(1).mean() + Z2 / 2) / total
    of_runs, of_examples = (np.sqrt(square) / total for square in _squared_parts(scaled))
    in_log_odds = of_runs / (centre * (1 - centre))
    down = max(of_runs, centre - expit(logit(centre) - in_log_odds))
    up = max(of_runs, expit(logit(centre) + in_log_odds) - centre)
    ends = np.clip([centre - np.hypot(down, of_examples), centre + np.hypot(up, of_examples)], 0.0, 1.0)
    low, high = least + ends * (most - least)
    return float(low), float(high)


def difference_interval(
    first: float,
    first_interval: tuple[float, float],
    second: float,
    second_interval: tuple[float, float],
) -> tuple[float, float]:
    """95% interval of the difference `first` - `second` of two means from their own intervals (Zou and Donner 2008).

    It takes the two means to be independent. If both are over the same examples, it is too wide rather than too narrow.
    """
    low = np.hypot(first - first_interval[0], second_interval[1] - second)
    high = np.hypot(first_interval[1] - first, second - second_interval[0])
    return float(first - second - low), float(first - second + high)


def ratio_interval(
    numerator: Float[np.ndarray, "R E"], denominator: Float[np.ndarray, "R E"]
) -> tuple[float, float]:
    """95% interval of the ratio of two means over the same R runs and E examples.

    By the delta method: the error of the ratio is the mean of numerator - ratio · denominator, divided by the mean of the
    denominator. The ends have no limits, because a ratio of gains may be negative or above 1. Simulated coverage is 95%
    to 99% for shares of a gain of 0.6 and more.

    Args:
        numerator: one value per run and example, between -1 and 1.
        denominator: likewise. Its mean should be clearly different from 0.

    Returns:
        NaN if the mean of the denominator is 0.
    """
    below = denominator.mean()
    if below == 0:
        return np.nan, np.nan
    ratio = numerator.mean() / below
    width = np.sqrt(sum(_squared_parts(numerator - ratio * denominator))) / abs(below) / numerator.shape[1]
    return float(ratio - width), float(ratio + width)


def p_of_mean(values: Float[np.ndarray, "R E"]) -> float:
    """p (two-sided) of the mean over R runs and E examples being 0, for new runs on new examples.

    It is 1 less the largest level at which the interval mean ± half width excludes 0. The half width has the variance
    components of `mean_interval`, with the quantiles of that level, on the scale of the values and without limits (as
    `ratio_interval` with a denominator of 1). `mean_interval` itself cannot be inverted for gains: if the score without a
    prompt is 0, no gain can be negative, and one right answer would already exclude a gain of 0 at every level. Here a
    gain on a few examples counts as little as if they could have been lost: with one run, 4 of 200 examples have p > 0.05
    and 5 have p < 0.05, about as in a sign test, for which it is 5 and 6.

    Args:
        values: one value per run and example, between -1 and 1.
    """
    distance = abs(float(values.mean())) * values.shape[1]

    def outside(z: float) -> float:
        return float(sum(_squared_parts(values, z)) - distance**2)

    if distance == 0:
        return 1.0
    z = brentq(outside, 0.0, LARGEST_Z) if outside(LARGEST_Z) > 0 else LARGEST_Z
    return float(2 * norm.sf(z))


def _squared_parts(values: Float[np.ndarray, "R E"], z: float = Z) -> tuple[float, float]:
    """Squares of the parts of runs and of examples in half the width of an interval of E times the mean.

    `z` is the normal quantile of the interval's level, by default 95%.

    With the mean squares of runs, of examples and of the rest, the variance of the mean is (MS_R + MS_E - MS_RE) / (R·E).
    MS_R has R - 1 degrees of freedom, and its part has the factor t² of so many; the others have z² (Howe 1974). A single
    t, with the degrees of freedom of Satterthwaite (1946), gives intervals that are too narrow for two or three runs
    (coverage 84% to 91%), because runs that happen to be alike make MS_R small, and then its degrees of freedom hardly
    count. Neither MS_R nor MS_E is expected to be below MS_RE, so a variance component is not taken to be negative.
    """
    runs, examples = values.shape
    mean = values.mean()
    by_run, by_example = values.mean(1) - mean, values.mean(0) - mean
    rest = values - mean - by_run[:, None] - by_example  # [R, E]
    # Mean squares times E / R. Sums over examples are divided by E, not E - 1, as in Wilson's interval.
    ms_run = examples**2 / runs * (by_run**2).sum() / max(runs - 1, 1)
    ms_example = (by_example**2).sum()
    ms_rest = (rest**2).sum() / runs / max(runs - 1, 1)
    z2 = z**2
    t2 = stdtrit(runs - 1, norm.sf(z)) ** 2 if runs > 1 else z2
    of_runs = max(0.0, t2 * ms_run - z2 * ms_rest)
    of_examples = z2 * max(ms_example, ms_rest)
    # A few answers that differ from the others tell nothing about what runs or examples have in common. They count as
    # if all runs agreed on each example, which has this variance. Otherwise the second different answer could give a
    # narrower interval than the first. FEW and the powers were chosen by simulation, not derived.
    agreed = examples * values.var()
    if agreed:
        of_runs /= 1 + (FEW / agreed) ** 8
        of_examples += (z2 * agreed - of_examples) / (1 + (agreed / FEW) ** 2)
    return float(of_runs), float(of_examples + z2**2 / 4)  # Wilson's term: what z² examples add
