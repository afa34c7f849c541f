"""Whether the prompt nearest to each prompt is of the same task, and how often that is so by chance."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

RELABELLINGS = 9999


def nearest_prompts(distances: Float[np.ndarray, "R R"]) -> Int[np.ndarray, "R"]:
    """For every prompt, the place of the other prompt at the smallest distance; of several, the first."""
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    nearest: Int[np.ndarray, "R"] = others.argmin(axis=1)
    return nearest


def same_label(nearest: Int[np.ndarray, "R"], labels: Sequence[object]) -> int:
    """Of how many prompts the nearest one has the same label."""
    return sum(labels[index] == labels[other] for index, other in enumerate(nearest))


def same_label_by_chance(labels: Sequence[object]) -> float:
    """The mean of `same_label` over all relabellings: every other prompt is equally likely to be the nearest."""
    return float(sum((list(labels).count(label) - 1) / (len(labels) - 1) for label in labels))


def same_label_p(nearest: Int[np.ndarray, "R"], labels: Sequence[object], seed: int = 0) -> float:
    """Share of relabellings whose `same_label` is at least as large.

    Which prompt is nearest to which stays, and the labels are permuted over the prompts. Of 9,999 sampled relabellings
    and the given one, so p is never 0 (Phipson and Smyth 2010).
    """
    names = list(dict.fromkeys(labels))
    codes = np.array([names.index(label) for label in labels])  # [R]
    relabelled = np.random.default_rng(seed).permuted(np.tile(codes, (RELABELLINGS, 1)), axis=1)
    counts = (relabelled == relabelled[:, nearest]).sum(axis=1)  # [relabellings]
    return float((1 + (counts >= same_label(nearest, labels)).sum()) / (1 + RELABELLINGS))
