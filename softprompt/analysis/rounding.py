"""Rounding, so that values that differ by the error of a float sum count as ties."""

import numpy as np
from jaxtyping import Float

SIGNIFICANT = 10  # digits


def rounded(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Values with `SIGNIFICANT` digits; 0, NaN and infinity as they are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = 10.0 ** (np.floor(np.log10(np.abs(values))) - SIGNIFICANT + 1)
        result: Float[np.ndarray, "*shape"] = np.round(values / unit) * unit
    return np.where(np.isfinite(result), result, values)
