"""The straight line between two prompts (linear mode connectivity, Frankle et al. 2020, section 2)."""

from collections.abc import Sequence
from itertools import combinations, islice

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.geometry import resample

POINTS = 11  # on a line, both ends included
PAIRS = 3  # per task and variant
MEASURES = (
    "rise_in_middle",
    "rise_at_random",
    "exact_match_at_ends",
    "exact_match_in_middle",
    "exact_match_at_random",
)

Matrix = Float[Tensor, "_ d"]


def pairs_of_runs(labels: pd.DataFrame) -> list[tuple[int, int]]:
    """Pairs of runs between which a line is drawn.

    Args:
        labels: `task`, `variant` and `seed` of every run, indexed from 0.

    Returns:
        Indices: the first `PAIRS` pairs of each task and variant, and for each variant one pair of each two tasks.
    """
    pairs: list[tuple[int, int]] = []
    for _, group in labels.groupby(["task", "variant"], sort=False):
        pairs += islice(combinations(group.index.tolist(), 2), PAIRS)
    for _, group in labels.groupby("variant", sort=False):
        pairs += combinations(group.drop_duplicates("task").index.tolist(), 2)
    return pairs


def line_between(first: Matrix, second: Matrix) -> list[Matrix]:
    """`POINTS` prompts at equal distances from the first to the second.

    Prompts with different numbers of rows are aligned by `geometry.resample`: the shorter one is stretched.
    """
    first, second = resample(first, second)
    return [torch.lerp(first, second, share) for share in torch.linspace(0, 1, POINTS).tolist()]


def midway_at_random(first: Matrix, second: Matrix, seed: int = 0) -> list[Matrix]:
    """From each end, a prompt in a random direction, as far away as the middle of the line is.

    If the loss does not rise there either, a line without a barrier does not say that the two ends are one optimum.
    """
    first, second = resample(first, second)
    generator = torch.Generator().manual_seed(seed)
    half = torch.linalg.matrix_norm(second - first) / 2
    noise = [torch.randn(first.shape, generator=generator) for _ in range(2)]
    return [
        end + direction * half / torch.linalg.matrix_norm(direction)
        for end, direction in zip((first, second), noise, strict=True)
    ]


def barrier(losses: Sequence[float]) -> float:
    """The largest loss on the line minus the larger of the losses at its ends; at least 0, because ends are on it.

    Frankle et al. subtract the mean of the ends; subtracting the larger one leaves 0 on any monotone line.
    """
    return max(losses) - max(losses[0], losses[-1])


def barrier_table(pairs: pd.DataFrame) -> pd.DataFrame:
    """Barriers over pairs.

    Args:
        pairs: one line per pair of runs and task it was scored on: `variant`, `first_task`, `second_task`, `scored_on`,
            and columns of numbers, among them `barrier`.

    Returns:
        One line per variant, pair of tasks and task scored on: the number of pairs, the largest barrier, and the means.
    """
    keys = ["variant", "first_task", "second_task", "scored_on"]
    groups = pairs.groupby(keys, sort=False)
    means = groups[["barrier", *MEASURES]].mean()
    means.insert(0, "pairs", groups.size())
    means.insert(2, "largest_barrier", groups["barrier"].max())
    return means.reset_index()


def measures(
    own_ends: Sequence[int],
    loss: Float[np.ndarray, "P"],
    exact_match: Float[np.ndarray, "P"],
) -> dict[str, float]:
    """What a line shows.

    Args:
        own_ends: which of the line's two ends (0, 1) were trained on the task that is scored.
        loss: of the prompts of `line_between`, then of those of `midway_at_random`, nats per answer.
        exact_match: of the same prompts.

    Returns:
        `barrier`, and `MEASURES`: rise in loss in the middle of the line, and as far away in a random direction, over the
        mean of the own ends; exact match at the own ends (mean), in the middle, and in a random direction from the own
        ends (mean).
    """
    ends = [(0, POINTS - 1)[end] for end in own_ends]
    at_random = [POINTS + end for end in own_ends]
    middle = POINTS // 2
    values = (
        loss[middle] - loss[ends].mean(),
        loss[at_random].mean() - loss[ends].mean(),
        exact_match[ends].mean(),
        exact_match[middle],
        exact_match[at_random].mean(),
    )
    return {
        "barrier": barrier(loss[:POINTS].tolist()),
        **{name: float(value) for name, value in zip(MEASURES, values, strict=True)},
    }
