"""How far to trust a reading of a prompt: scored where the words that the model was taught are known."""

from collections.abc import Collection

import numpy as np
from jaxtyping import Int

SHUFFLES = 5000


def precision_against_truth(
    nearest: Int[np.ndarray, "n k"], known: Collection[int], vocabulary: Collection[int], seed: int = 0
) -> dict[str, float]:
    """The share of a prompt's nearest tokens that are words of the taught instructions, against chance.

    Chance is the same reading under a shuffled vocabulary: the tokens' names are dealt out anew `SHUFFLES`
    times among the ordinary tokens. `p` is the share of shuffles that do as well or better (with one added
    to both counts, so never 0: Phipson and Smyth 2010).
    """
    tokens = np.array(sorted(vocabulary))
    counts = np.array([(nearest == token).sum() for token in tokens])
    is_known = np.isin(tokens, list(known))
    observed = counts[is_known].sum() / nearest.size
    generator = np.random.default_rng(seed)
    shuffled = generator.permuted(np.tile(is_known, (SHUFFLES, 1)), axis=1) @ counts / nearest.size
    return {
        "precision": float(observed),
        "chance": float(shuffled.mean()),
        "chance_high": float(np.quantile(shuffled, 0.975)),
        "p": float(((shuffled >= observed - 1e-12).sum() + 1) / (SHUFFLES + 1)),
    }
