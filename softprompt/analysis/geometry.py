"""Norms, variances and distances of prompts (the reference study, section 5.2 and table 1)."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from softprompt.analysis.statistics import percentile_interval

Matrix = Float[Tensor, "_ d"]


def norm_table(labels: pd.DataFrame, prompts: Sequence[Matrix]) -> pd.DataFrame:
    """`labels` with each prompt's Frobenius norm, mean row norm, and mean and variance of its entries."""
    return labels.assign(
        norm=[float(torch.linalg.matrix_norm(prompt)) for prompt in prompts],
        row_norm=[float(prompt.norm(dim=1).mean()) for prompt in prompts],
        mean=[float(prompt.mean()) for prompt in prompts],
        variance=[float(prompt.var(correction=0)) for prompt in prompts],
    )


def truncate(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """Cut both to the rows of the shorter one."""
    rows = min(len(first), len(second))
    return first[:rows], second[:rows]


def pad(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """Append rows of zeros to the shorter one."""
    rows = max(len(first), len(second))
    return F.pad(first, (0, 0, 0, rows - len(first))), F.pad(second, (0, 0, 0, rows - len(second)))


def resample(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """Stretch the shorter one by linear interpolation between its rows; first and last row stay."""
    rows = max(len(first), len(second))

    def stretched(prompt: Matrix) -> Matrix:
        columns = F.interpolate(prompt.T[None], rows, mode="linear", align_corners=True)  # [1, d, rows]
        return columns[0].T

    return stretched(first), stretched(second)


def match(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """Pair the rows, each at most once, so that the sum of the squared distances is smallest."""
    rows, columns = linear_sum_assignment((torch.cdist(first, second) ** 2).numpy())
    return first[torch.from_numpy(rows)], second[torch.from_numpy(columns)]


# Ways to compare two prompts with different numbers of rows. The reference study does not say which it used.
ALIGNMENTS: dict[str, Callable[[Matrix, Matrix], tuple[Matrix, Matrix]]] = {
    "truncate": truncate,
    "pad": pad,
    "resample": resample,
    "match": match,
}


def frobenius_distance(first: Matrix, second: Matrix) -> float:
    """‖A − B‖_F / √n of two aligned prompts: the root mean square of the distances between their rows.

    Divided by √n, because alignments and pairs of tasks differ in the number of rows.
    """
    return float(torch.linalg.matrix_norm(first - second) / len(first) ** 0.5)


def distance_table(
    runs: Sequence[str], tasks: Sequence[str], prompts: Sequence[Matrix], alignment: str
) -> pd.DataFrame:
    """`frobenius_distance` of every pair of runs.

    Args:
        runs: the id of each run.
        tasks: the task of each run.
        prompts: the prompt of each run.
        alignment: a key of `ALIGNMENTS`.

    Returns:
        One line per unordered pair.
    """
    lines = []
    for i, j in combinations(range(len(prompts)), 2):
        aligned = ALIGNMENTS[alignment](prompts[i], prompts[j])
        lines.append(
            {
                "first": runs[i],
                "second": runs[j],
                "first_task": tasks[i],
                "second_task": tasks[j],
                "alignment": alignment,
                "distance": frobenius_distance(*aligned),
            }
        )
    return pd.DataFrame(lines)


def nearest_run(distances: pd.DataFrame) -> dict[str, str]:
    """For every run of a `distance_table`, the run at the smallest distance."""
    both = pd.concat([distances, distances.rename(columns={"first": "second", "second": "first"})])
    nearest = both.sort_values("distance").drop_duplicates("first")
    return dict(zip(nearest["first"], nearest["second"], strict=True))


def equidistance_table(distances: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Are the prompts of a task nearly equidistant? A small coefficient of variation of their distances says so.

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
                "pairs": len(pairs),
                "mean": pairs["distance"].mean(),
                "standard_deviation": pairs["distance"].std(ddof=0),
                "coefficient_of_variation": _coefficient_of_variation(matrix, np.arange(len(runs))),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(lines)


def _coefficient_of_variation(distances: Float[np.ndarray, "R R"], draw: Int[np.ndarray, "R"]) -> float:
    """Of the distances between the drawn runs, without pairs of a run with itself; NaN if all distances are 0."""
    first, second = np.triu_indices(len(draw), 1)
    different = draw[first] != draw[second]
    values = distances[draw[first], draw[second]][different]
    return float(values.std() / values.mean()) if len(values) and values.any() else float("nan")
