"""Rank correlations of several measures over the same items, with p corrected for trying several."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

EXACT_UP_TO = 7  # 7! = 5,040 relabellings
RELABELLINGS = 9999


@dataclass(frozen=True)
class RankCorrelations:
    """Spearman's correlation of each of a measures with each of k others.

    All are NaN where a measure is constant or not finite.

    Attributes:
        spearman: the correlations.
        p: the share of relabellings of the items whose correlation is at least as far from 0.
        adjusted_p: the share whose farthest correlation of all is at least as far from 0.
    """

    spearman: Float[np.ndarray, "a k"]
    p: Float[np.ndarray, "a k"]
    adjusted_p: Float[np.ndarray, "a k"]


def smallest_p(items: int) -> float:
    """2/m!: one relabelling of m items and its reverse have the correlations 1 and −1, and p counts both."""
    return 2 / factorial(items)


def rank_correlations(
    first: Float[np.ndarray, "a m"], second: Float[np.ndarray, "k m"], seed: int = 0
) -> RankCorrelations:
    """Rank correlations over m items, each with its p alone and its p among all (max-T, Westfall and Young 1993).

    A relabelling permutes the items of `first` for all its measures at once, so the measures keep their correlations with
    each other. All m! relabellings up to `EXACT_UP_TO` items; else 9,999 sampled ones and the given one.
    """
    m = first.shape[1]
    ranks, others = _standard_ranks(first), _standard_ranks(second)  # [a, m], [k, m]
    orders: Iterable[tuple[int, ...]] = permutations(range(m))
    if m > EXACT_UP_TO:
        generator = np.random.default_rng(seed)
        orders = [tuple(range(m)), *(tuple(generator.permutation(m).tolist()) for _ in range(RELABELLINGS))]
    observed = ranks @ others.T  # [a, k]
    known = np.isfinite(observed)
    if not known.any():
        return RankCorrelations(observed, observed.copy(), observed.copy())
    relabelled = np.abs(ranks[:, list(orders)].transpose(1, 0, 2) @ others.T)  # [relabellings, a, k]
    farthest = relabelled[:, known].max(axis=1)  # [relabellings]
    least = np.abs(observed) - 1e-12  # equal correlations may differ in their last digit
    p = (relabelled >= least).mean(axis=0)
    adjusted = (farthest[:, None, None] >= least).mean(axis=0)
    return RankCorrelations(observed, np.where(known, p, np.nan), np.where(known, adjusted, np.nan))


def _standard_ranks(values: Float[np.ndarray, "a m"]) -> Float[np.ndarray, "a m"]:
    """Ranks less their mean, scaled to length 1: the product of two lines is Spearman's correlation."""
    ranks = rankdata(values, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(ranks, axis=1, keepdims=True)
    usable = (lengths > 0) & np.isfinite(values).all(axis=1, keepdims=True)
    return np.where(usable, ranks / np.where(usable, lengths, 1), np.nan)
