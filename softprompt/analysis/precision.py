"""Chance for the precision of readings: the same after a shuffle of the tokens' names."""

import numpy as np
from jaxtyping import Bool, Float

SHUFFLES = 5000


def shuffles(is_taught: Bool[np.ndarray, "V"], seed: int = 0) -> Bool[np.ndarray, "b V"]:
    """Which tokens are taught words, after each of `SHUFFLES` shuffles of the tokens' names."""
    tiled = np.tile(is_taught, (SHUFFLES, 1))
    shuffled: Bool[np.ndarray, "b V"] = np.random.default_rng(seed).permuted(tiled, axis=1)
    return shuffled


def against_chance(observed: float, shuffled: Float[np.ndarray, "b"]) -> dict[str, float]:
    """A precision beside those after the shuffles.

    Returns:
        `chance`, the mean over shuffles, and `chance_high`, their 97.5% quantile; `p`, the share of shuffles with at least
        this precision, with one added to both counts, so never 0 (Phipson and Smyth 2010).
    """
    return {
        "chance": float(shuffled.mean()),
        "chance_high": float(np.quantile(shuffled, 0.975)),
        "p": float(((shuffled >= observed - 1e-12).sum() + 1) / (len(shuffled) + 1)),
    }
