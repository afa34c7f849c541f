"""How sure the numbers are."""

from collections.abc import Iterable
from itertools import permutations
from math import factorial

import numpy as np
from jaxtyping import Float, Shaped
from scipy.stats import binomtest, rankdata

RESAMPLES = 5000


Weights = tuple[Float[np.ndarray, "b R"], Float[np.ndarray, "b E"]]


def crossed_weights(rows: int, columns: int, resamples: int = RESAMPLES, seed: int = 0) -> Weights:
    """How often each row and each column is drawn in each of b resamples, as shares of all that are drawn.

    Rows and columns are resampled independently of each other (the crossed bootstrap of Owen 2007): where rows are runs
    and columns examples, an interval covers another seed as well as another example; of one run alone, examples only.
    """
    generator = np.random.default_rng(seed)
    by_row = generator.multinomial(rows, np.full(rows, 1 / rows), resamples) / rows
    by_column = generator.multinomial(columns, np.full(columns, 1 / columns), resamples) / columns
    return by_row, by_column


def weighted_sums(values: Float[np.ndarray, "R E"], weights: Weights) -> Float[np.ndarray, "b"]:
    """The sum of all values, each times its row's and its column's weight, for every resample."""
    by_row, by_column = weights
    sums: Float[np.ndarray, "b"] = np.einsum("br,re,be->b", by_row, values, by_column, optimize=True)
    return sums


def interval(resampled: Float[np.ndarray, "b"]) -> tuple[float, float]:
    """95% percentile interval, resamples that came to nothing left out; NaN where all did."""
    known = resampled[np.isfinite(resampled)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """95% interval of a share of n independent examples (Wilson 1927)."""
    found = binomtest(round(share * n), n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(found.low), float(found.high)


def bootstrap_mean(
    values: Float[np.ndarray, "R E"], least: float = 0.0, most: float = 1.0
) -> tuple[float, float]:
    """95% interval of the mean over R runs and E examples, which every run has met; a value is in [least, most]."""
    resampled = weighted_sums(values, crossed_weights(*values.shape))
    return _not_a_point(interval(resampled), values.shape[1], least, most)


def bootstrap_ratio(
    numerator: Float[np.ndarray, "R E"], denominator: Float[np.ndarray, "R E"]
) -> tuple[float, float]:
    """95% interval of the ratio of two means over the same R runs and E examples."""
    weights = crossed_weights(*numerator.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled = weighted_sums(numerator, weights) / weighted_sums(denominator, weights)
    return _not_a_point(interval(resampled), numerator.shape[1], 0.0, 1.0)


def _not_a_point(found: tuple[float, float], n: int, least: float, most: float) -> tuple[float, float]:
    """The interval itself, unless n examples that all agree have made it a point.

    What none of n examples shows may still be true of a share of all, up to the end of Wilson's 95% interval (1927) for 0
    of n; the ends are where the mean would be if that share had the `least`, or the `most`, that a value can have.
    """
    low, high = found
    if not np.isclose(low, high):
        return found
    unseen = wilson_interval(0.0, n)[1]
    return low - unseen * max(0.0, low - least), high + unseen * max(0.0, most - high)


def mantel(first: Shaped[np.ndarray, "k k"], second: Shaped[np.ndarray, "k k"]) -> dict[str, float]:
    """Do two matrices over the same k things agree off their diagonals? (Mantel 1967)

    Correlations over all ordered pairs, and the share of all k! relabellings of one matrix whose Spearman
    correlation is at least as far from 0: exact, and never below 1/k! (1/24 with four tasks); with more than seven things
    over a sample of relabellings. All are NaN where a matrix has but one value off its diagonal.
    """
    k = len(first)
    off = ~np.eye(k, dtype=bool)
    result = {"smallest_p": 1 / factorial(k), "pairs": int(off.sum())}
    if np.ptp(first[off]) == 0 or np.ptp(second[off]) == 0:
        return {"spearman": np.nan, "pearson": np.nan, "p": np.nan, **result}
    ranks = np.zeros((k, k))
    ranks[off] = rankdata(first[off])
    other = rankdata(second[off])

    def correlation(order: tuple[int, ...]) -> float:
        return float(np.corrcoef(ranks[np.ix_(order, order)][off], other)[0, 1])

    observed = correlation(tuple(range(k)))
    orders: Iterable[tuple[int, ...]] = permutations(range(k))
    if k > 7:
        generator = np.random.default_rng(0)
        orders = [tuple(range(k)), *(tuple(generator.permutation(k).tolist()) for _ in range(RESAMPLES - 1))]
    as_far = [abs(correlation(order)) >= abs(observed) - 1e-12 for order in orders]
    pearson = float(np.corrcoef(first[off], second[off])[0, 1])
    return {"spearman": observed, "pearson": pearson, "p": float(np.mean(as_far)), **result}
