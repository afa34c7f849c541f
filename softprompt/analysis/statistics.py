"""How sure the numbers are."""

from itertools import permutations
from math import factorial

import numpy as np
from jaxtyping import Float, Shaped
from scipy.stats import rankdata

RESAMPLES = 5000


def bootstrap_mean(
    values: Float[np.ndarray, "R E"], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """95% percentile interval of the mean over R runs and E examples, which every run has met.

    Runs and examples are resampled independently of each other (the crossed bootstrap of Owen 2007), so the
    interval covers another seed as well as another example. With one run it covers examples alone.
    """
    generator = np.random.default_rng(seed)
    runs, examples = values.shape
    # The weight of a row or column is how often it was drawn; a mean is then two products.
    by_run = generator.multinomial(runs, np.full(runs, 1 / runs), resamples) / runs
    by_example = generator.multinomial(examples, np.full(examples, 1 / examples), resamples) / examples
    means = np.einsum("br,re,be->b", by_run, values, by_example, optimize=True)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def mantel(first: Shaped[np.ndarray, "k k"], second: Shaped[np.ndarray, "k k"]) -> dict[str, float]:
    """Do two matrices over the same k things agree off their diagonals? (Mantel 1967)

    Correlations over all ordered pairs, and the share of all k! relabellings of one matrix whose Spearman
    correlation is at least as far from 0: exact, and never below 1/k! (1/24 with four tasks). All are NaN
    where a matrix has but one value off its diagonal.
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
    as_far = [abs(correlation(order)) >= abs(observed) - 1e-12 for order in permutations(range(k))]
    pearson = float(np.corrcoef(first[off], second[off])[0, 1])
    return {"spearman": observed, "pearson": pearson, "p": float(np.mean(as_far)), **result}
