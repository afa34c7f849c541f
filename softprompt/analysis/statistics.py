"""Confidence intervals and permutation tests."""

from collections.abc import Iterable
from itertools import permutations
from math import factorial

import numpy as np
from jaxtyping import Float, Shaped
from scipy.stats import binomtest, rankdata

RESAMPLES = 5000
EXACT_UP_TO = 7  # 7! = 5,040 relabellings


Weights = tuple[Float[np.ndarray, "b R"], Float[np.ndarray, "b E"]]


def crossed_weights(rows: int, columns: int, resamples: int = RESAMPLES, seed: int = 0) -> Weights:
    """How often each row and each column is drawn in each of b resamples, divided by the number of draws.

    Rows and columns are resampled independently (the crossed bootstrap of Owen 2007). With runs as rows and examples as
    columns, an interval covers the variation over seeds and over examples; with one run, over examples only.
    """
    generator = np.random.default_rng(seed)
    by_row = generator.multinomial(rows, np.full(rows, 1 / rows), resamples) / rows
    by_column = generator.multinomial(columns, np.full(columns, 1 / columns), resamples) / columns
    return by_row, by_column


def weighted_sums(values: Float[np.ndarray, "R E"], weights: Weights) -> Float[np.ndarray, "b"]:
    """For every resample, the sum of all values times the weights of their row and column."""
    by_row, by_column = weights
    sums: Float[np.ndarray, "b"] = np.einsum("br,re,be->b", by_row, values, by_column, optimize=True)
    return sums


def percentile_interval(resampled: Float[np.ndarray, "b"]) -> tuple[float, float]:
    """95% percentile interval. Ignores non-finite resamples; NaN if none is finite."""
    finite = resampled[np.isfinite(resampled)]
    low, high = np.quantile(finite, [0.025, 0.975]) if len(finite) else (np.nan, np.nan)
    return float(low), float(high)


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """95% interval of a share of n independent examples (Wilson 1927)."""
    bounds = binomtest(round(share * n), n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(bounds.low), float(bounds.high)


def bootstrap_mean(
    values: Float[np.ndarray, "R E"], least: float = 0.0, most: float = 1.0
) -> tuple[float, float]:
    """95% interval of the mean over R runs and the E examples that each run is scored on.

    Args:
        values: one value per run and example, in [`least`, `most`].
        least: the smallest possible value.
        most: the largest possible value.
    """
    resampled = weighted_sums(values, crossed_weights(*values.shape))
    return _widened(percentile_interval(resampled), values.shape[1], least, most)


def bootstrap_ratio(
    numerator: Float[np.ndarray, "R E"], denominator: Float[np.ndarray, "R E"]
) -> tuple[float, float]:
    """95% interval of the ratio of two means over the same R runs and E examples."""
    weights = crossed_weights(*numerator.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled = weighted_sums(numerator, weights) / weighted_sums(denominator, weights)
    return _widened(percentile_interval(resampled), numerator.shape[1], 0.0, 1.0)


def _widened(interval: tuple[float, float], n: int, least: float, most: float) -> tuple[float, float]:
    """The interval; if it has zero width, widened by Wilson's bound (1927) for 0 of n.

    If all n examples agree, the bootstrap interval has zero width. In the population, a share up to that bound may
    still differ: the ends are where the mean would be if this share had the value `least`, or `most`.
    """
    low, high = interval
    if not np.isclose(low, high):
        return interval
    unseen = wilson_interval(0.0, n)[1]
    return low - unseen * max(0.0, low - least), high + unseen * max(0.0, most - high)


def mantel(first: Shaped[np.ndarray, "m m"], second: Shaped[np.ndarray, "m m"]) -> dict[str, float]:
    """Correlation of two matrices over the same m items, without their diagonals (Mantel 1967).

    Returns:
        `spearman` and `pearson` over all ordered pairs. `p` is the share of all m! relabellings of one matrix whose
        Spearman correlation is at least as far from 0: exact, and never below `smallest_p` = 1/m!. With more than
        `EXACT_UP_TO` items, over a sample of relabellings. All three are NaN if either matrix is constant off its
        diagonal.
    """
    m = len(first)
    off_diagonal = ~np.eye(m, dtype=bool)
    result = {"smallest_p": 1 / factorial(m), "pairs": int(off_diagonal.sum())}
    if np.ptp(first[off_diagonal]) == 0 or np.ptp(second[off_diagonal]) == 0:
        return {"spearman": np.nan, "pearson": np.nan, "p": np.nan, **result}
    first_ranks = np.zeros((m, m))
    first_ranks[off_diagonal] = rankdata(first[off_diagonal])
    second_ranks = rankdata(second[off_diagonal])  # [m·(m - 1)]

    def correlation(order: tuple[int, ...]) -> float:
        relabelled = first_ranks[np.ix_(order, order)][off_diagonal]  # [m, m] -> [m·(m - 1)]
        return float(np.corrcoef(relabelled, second_ranks)[0, 1])

    observed = correlation(tuple(range(m)))
    orders: Iterable[tuple[int, ...]] = permutations(range(m))
    if m > EXACT_UP_TO:
        generator = np.random.default_rng(0)
        orders = [tuple(range(m)), *(tuple(generator.permutation(m).tolist()) for _ in range(RESAMPLES - 1))]
    at_least_as_far = [abs(correlation(order)) >= abs(observed) - 1e-12 for order in orders]
    pearson = float(np.corrcoef(first[off_diagonal], second[off_diagonal])[0, 1])
    return {"spearman": observed, "pearson": pearson, "p": float(np.mean(at_least_as_far)), **result}
