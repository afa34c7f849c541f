"""p of paired differences being 0, by flipping their signs."""

from itertools import product

import numpy as np
from jaxtyping import Float

EXACT_UP_TO = 16  # differences whose signs are flipped in all ways; of more, SAMPLED ways
SAMPLED = 9999


def sign_flip_p(values: Float[np.ndarray, "_"], seed: int = 0) -> float:
    """The share of flips (two-sided) whose sum is at least as far from 0.

    Args:
        values: differences; at least one.
        seed: of the flips, if they are sampled.
    """
    if len(values) <= EXACT_UP_TO:
        flips = np.array(list(product((1, -1), repeat=len(values))))
    else:
        sampled = np.random.default_rng(seed).choice([1, -1], (SAMPLED, len(values)))
        flips = np.vstack([np.ones(len(values)), sampled])
    farther = np.abs(flips @ values) >= abs(values.sum()) - 1e-12
    return float(farther.mean())
