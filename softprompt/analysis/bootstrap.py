"""Bootstrap intervals of what is no mean over runs and examples."""

import numpy as np
from jaxtyping import Float

RESAMPLES = 5000

Weights = tuple[Float[np.ndarray, "b R"], Float[np.ndarray, "b E"]]


def crossed_weights(rows: int, columns: int, resamples: int = RESAMPLES, seed: int = 0) -> Weights:
    """How often each row and each column is drawn in each of b resamples, divided by the number of draws.

    Rows and columns are resampled independently (the crossed bootstrap of Owen 2007).
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
