"""Does the similarity of prompts find a good source task (Vu et al. 2022, section 3.2)?"""

from collections.abc import Iterable
from itertools import combinations, permutations
from math import comb, factorial

import numpy as np
from jaxtyping import Float, Int

EXACT_UP_TO = 7  # tasks: 7! = 5,040 relabellings
RELABELLINGS = 9999


def retrieval(
    similarity: Float[np.ndarray, "m m"], score: Float[np.ndarray, "m m"], k: int, seed: int = 0
) -> dict[str, float]:
    """The best of the k most similar of the m - 1 other tasks, for each of m targets.

    Args:
        similarity: a row per source, a column per target.
        score: of the source's prompts on the target; the diagonal of both is not used.
        k: how many sources are tried.
        seed: of sampled relabellings.

    Returns:
        `hits`: for how many targets the best source is among the k; `expected_hits`: the same for k random sources.
        `best_of_k`: the score of the best of the k, mean over targets; `random_best_of_k`: of k random sources; `best`: of all
        sources. `p`: the share of relabellings of the similarity's tasks with a `best_of_k` at least as high: all m! up to
        seven tasks (so p is at least `smallest_p`), else 9,999 sampled ones and the given one.
    """
    m = len(score)
    others = [np.delete(np.arange(m), target) for target in range(m)]
    observed = _chosen_scores(similarity, score, others, k)
    best = np.array([score[others[target], target].max() for target in range(m)])
    chances, random = [], []
    for target in range(m):
        of_others = score[others[target], target]
        tied = int((of_others == best[target]).sum())
        chances.append(1 - comb(m - 1 - tied, k) / comb(m - 1, k))
        random.append(np.mean([of_others[list(chosen)].max() for chosen in combinations(range(m - 1), k)]))
    orders: Iterable[tuple[int, ...]] = permutations(range(m))
    if m > EXACT_UP_TO:
        generator = np.random.default_rng(seed)
        orders = [tuple(range(m)), *(tuple(generator.permutation(m).tolist()) for _ in range(RELABELLINGS))]
    relabelled = [
        _chosen_scores(similarity[np.ix_(order, order)], score, others, k).mean() for order in orders
    ]
    return {
        "k": k,
        "targets": m,
        "hits": int((observed == best).sum()),
        "expected_hits": float(np.sum(chances)),
        "best_of_k": float(observed.mean()),
        "random_best_of_k": float(np.mean(random)),
        "best": float(best.mean()),
        "p": float(np.mean(np.array(relabelled) >= observed.mean() - 1e-12)),
        "smallest_p": 1 / (factorial(m) if m <= EXACT_UP_TO else RELABELLINGS + 1),
    }


def _chosen_scores(
    similarity: Float[np.ndarray, "m m"],
    score: Float[np.ndarray, "m m"],
    others: list[Int[np.ndarray, "_"]],
    k: int,
) -> Float[np.ndarray, "m"]:
    """For each target, the best score among its k most similar sources (of equally similar ones the first)."""
    scores = []
    for target, sources in enumerate(others):
        nearest = sources[np.argsort(-similarity[sources, target], kind="stable")[:k]]
        scores.append(score[nearest, target].max())
    return np.array(scores)
