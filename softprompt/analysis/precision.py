"""Precision at k: are a prompt's nearest tokens the words that the model was taught for the task?"""

from collections.abc import Collection

import numpy as np
from jaxtyping import Bool, Float, Int

SHUFFLES = 5000


def precision_at_k(
    nearest: Int[np.ndarray, "n k"], taught: Collection[int], vocabulary: Collection[int], seed: int = 0
) -> dict[str, float]:
    """The share of the k nearest tokens of all rows that are words of the taught instructions, and chance level.

    Chance is the precision after a shuffle of the names of the ordinary tokens, `SHUFFLES` times.

    Args:
        nearest: token ids of the k nearest tokens of each row.
        taught: token ids of the words that the model was taught for the task.
        vocabulary: all ordinary token ids.
        seed: of the shuffles.

    Returns:
        `precision`; `chance`, the mean over shuffles, and `chance_high`, their 97.5% quantile; `p`, the share of
        shuffles with at least this precision, with one added to both counts, so never 0 (Phipson and Smyth 2010).
    """
    tokens = np.array(sorted(vocabulary))
    counts = np.array([(nearest == token).sum() for token in tokens])
    is_taught = np.isin(tokens, list(taught))
    shuffled = (
        shuffles(is_taught, seed) @ counts / nearest.size
    )  # [SHUFFLES, tokens] @ [tokens] -> [SHUFFLES]
    observed = float(counts[is_taught].sum() / nearest.size)
    return {"precision": observed, **against_chance(observed, shuffled)}


def shuffles(is_taught: Bool[np.ndarray, "V"], seed: int = 0) -> Bool[np.ndarray, "b V"]:
    """Which tokens are taught words, after each of `SHUFFLES` shuffles of the tokens' names."""
    tiled = np.tile(is_taught, (SHUFFLES, 1))
    shuffled: Bool[np.ndarray, "b V"] = np.random.default_rng(seed).permuted(tiled, axis=1)
    return shuffled


def against_chance(observed: float, shuffled: Float[np.ndarray, "b"]) -> dict[str, float]:
    """`chance`, `chance_high` and `p` of `precision_at_k`, from the precision and those of the shuffles."""
    return {
        "chance": float(shuffled.mean()),
        "chance_high": float(np.quantile(shuffled, 0.975)),
        "p": float(((shuffled >= observed - 1e-12).sum() + 1) / (len(shuffled) + 1)),
    }
