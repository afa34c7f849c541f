"""Is the task whose prompts are most similar also the one whose prompts transfer best, and how often by chance?"""

from functools import reduce

import numpy as np
from jaxtyping import Float

from softprompt.analysis.rounding import rounded


def best_source_hits(
    similarity: Float[np.ndarray, "m m"], gain: Float[np.ndarray, "m m"]
) -> dict[str, float]:
    """For how many of m targets the most similar other task is among the best sources, and how often by chance.

    Chance is a source drawn at random for each target. If several sources share the largest gain, it is more likely to
    draw one of them.

    Args:
        similarity: a row per source, a column per target.
        gain: of the source's prompts on the target.

    Returns:
        `most_similar_is_best`: the number of targets; if several sources are most similar, all have to be among the best.
        `targets`: m. `expected_by_chance`: the mean of the number by chance. `p_by_chance`: the probability of at least as
        many (exact, Poisson-binomial distribution).
    """
    m = len(gain)
    hits, chances = 0, []
    for target in range(m):
        others = np.arange(m) != target
        alike, gains = rounded(similarity[others, target]), rounded(gain[others, target])  # [m - 1] each
        is_best = gains == gains.max()
        hits += bool(is_best[alike == alike.max()].all())
        chances.append(is_best.mean())
    # The sum of independent draws: entry h is the probability of h hits.
    distribution = reduce(np.convolve, [np.array([1 - chance, chance]) for chance in chances])
    return {
        "most_similar_is_best": int(hits),
        "targets": m,
        "expected_by_chance": float(np.sum(chances)),
        "p_by_chance": float(distribution[hits:].sum()),
    }
