"""Whether the prompts of a task are nearly equidistant (the reference study, section 5.2), and whether random ones are.

Independent random vectors in many dimensions are nearly equidistant: the squared distance of two of them is a sum of many
independent terms, whose standard deviation is small beside its mean. So a small coefficient of variation says something
about what was learned only if that of random prompts is larger.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor

from softprompt.analysis.bootstrap import percentile_interval
from softprompt.analysis.geometry import distance_matrix


def equidistance_table(distances: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """The coefficient of variation of the distances between the prompts of each task.

    Args:
        distances: a `distance_table`; pairs of different tasks are left out.
        resamples: how many bootstrap resamples.
        seed: of the resamples.

    Returns:
        One line per task. The 95% interval of the coefficient of variation resamples the task's runs, not its pairs,
        because pairs share runs; a run that is drawn twice is not paired with itself. NaN with fewer than three runs.
    """
    lines = []
    within = distances[distances["first_task"] == distances["second_task"]]
    for task, pairs in within.groupby("first_task", sort=False):
        runs = sorted({*pairs["first"], *pairs["second"]})
        index_of = {run: index for index, run in enumerate(runs)}
        matrix = np.zeros((len(runs), len(runs)))
        for first, second, distance in zip(pairs["first"], pairs["second"], pairs["distance"], strict=True):
            i, j = index_of[first], index_of[second]
            matrix[i, j] = matrix[j, i] = distance
        draws = np.random.default_rng(seed).integers(0, len(runs), (resamples, len(runs)))  # [b, R]
        resampled = np.array([_coefficient_of_variation(matrix, draw) for draw in draws])  # [b]
        low, high = percentile_interval(resampled) if len(runs) > 2 else (np.nan, np.nan)
        lines.append(
            {
                "task": task,
                "runs": len(runs),
                "pairs": len(pairs),
                "mean": pairs["distance"].mean(),
                "standard_deviation": pairs["distance"].std(ddof=0),
                "coefficient_of_variation": _coefficient_of_variation(matrix, np.arange(len(runs))),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(lines)


def variation_of_sets(
    sets: Iterable[Sequence[Float[Tensor, "_ d"]]], alignment: str
) -> Float[np.ndarray, "b"]:
    """The coefficient of variation of the distances between the prompts of each set.

    Args:
        sets: b sets of prompts, for example `random_prompts`.
        alignment: a key of `ALIGNMENTS`.
    """
    return np.array(
        [
            _coefficient_of_variation(distance_matrix(prompts, alignment), np.arange(len(prompts)))
            for prompts in sets
        ]
    )


def _coefficient_of_variation(distances: Float[np.ndarray, "R R"], draw: Int[np.ndarray, "R"]) -> float:
    """Of the distances between the drawn runs, without pairs of a run with itself; NaN if all distances are 0."""
    first, second = np.triu_indices(len(draw), 1)
    different = draw[first] != draw[second]
    values = distances[draw[first], draw[second]][different]
    return float(values.std() / values.mean()) if len(values) and values.any() else float("nan")
