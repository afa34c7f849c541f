"""Where prompts lie: norms, spread and distances (the reference study, section 5.2 and table 1)."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

Matrix = Float[Tensor, "_ d"]


def norm_table(labels: pd.DataFrame, prompts: Sequence[Matrix]) -> pd.DataFrame:
    """`labels` with the Frobenius norm, the mean and the variance of the entries of each prompt."""
    return labels.assign(
        norm=[float(torch.linalg.matrix_norm(prompt)) for prompt in prompts],
        row_norm=[float(prompt.norm(dim=1).mean()) for prompt in prompts],
        mean=[float(prompt.mean()) for prompt in prompts],
        variance=[float(prompt.var(correction=0)) for prompt in prompts],
    )


def truncate(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """Both cut to the shorter one's rows."""
    rows = min(len(first), len(second))
    return first[:rows], second[:rows]


def pad(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """The shorter one lengthened by rows of zeros."""
    rows = max(len(first), len(second))
    return F.pad(first, (0, 0, 0, rows - len(first))), F.pad(second, (0, 0, 0, rows - len(second)))


def resample(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """The shorter one stretched: its rows interpolated linearly, the ends staying the ends."""
    rows = max(len(first), len(second))

    def stretched(prompt: Matrix) -> Matrix:
        columns = F.interpolate(prompt.T[None], rows, mode="linear", align_corners=True)
        return columns[0].T

    return stretched(first), stretched(second)


def match(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """The pairs of rows, each row at most once, whose squared distances have the least sum."""
    rows, columns = linear_sum_assignment((torch.cdist(first, second) ** 2).numpy())
    return first[torch.from_numpy(rows)], second[torch.from_numpy(columns)]


# How two prompts with different numbers of rows are laid beside each other; the study does not say how it did.
ALIGNMENTS: dict[str, Callable[[Matrix, Matrix], tuple[Matrix, Matrix]]] = {
    "truncate": truncate,
    "pad": pad,
    "resample": resample,
    "match": match,
}


def frobenius_distance(first: Matrix, second: Matrix) -> float:
    """Root mean square over the aligned rows of their Euclidean distances: ‖A − B‖_F / √n.

    Divided by √n, because alignments and pairs of tasks differ in how many rows they compare.
    """
    return float(torch.linalg.matrix_norm(first - second) / len(first) ** 0.5)


def distance_table(
    runs: Sequence[str], tasks: Sequence[str], prompts: Sequence[Matrix], alignment: str
) -> pd.DataFrame:
    """Every pair of runs with their tasks and their Frobenius distance under an alignment."""
    rows = []
    for i, j in combinations(range(len(prompts)), 2):
        aligned = ALIGNMENTS[alignment](prompts[i], prompts[j])
        rows.append(
            {
                "first": runs[i],
                "second": runs[j],
                "first_task": tasks[i],
                "second_task": tasks[j],
                "alignment": alignment,
                "distance": frobenius_distance(*aligned),
            }
        )
    return pd.DataFrame(rows)


def nearest_run(distances: pd.DataFrame) -> dict[str, str]:
    """For every run of a `distance_table` the run at the least distance."""
    both = pd.concat([distances, distances.rename(columns={"first": "second", "second": "first"})])
    nearest = both.sort_values("distance").drop_duplicates("first")
    return dict(zip(nearest["first"], nearest["second"], strict=True))


def equidistance_table(distances: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Are prompts of one task nearly equidistant? Mean, deviation and coefficient of variation per task.

    The 95% interval resamples the task's runs, not its pairs (which share runs), and counts no pair of a run
    with itself. With four runs it is wide, and says so.
    """
    rows = []
    within = distances[distances["first_task"] == distances["second_task"]]
    for task, pairs in within.groupby("first_task", sort=False):
        runs = sorted({*pairs["first"], *pairs["second"]})
        place = {run: index for index, run in enumerate(runs)}
        matrix = np.zeros((len(runs), len(runs)))
        for first, second, distance in zip(pairs["first"], pairs["second"], pairs["distance"], strict=True):
            i, j = place[first], place[second]
            matrix[i, j] = matrix[j, i] = distance
        generator = np.random.default_rng(seed)
        drawn = generator.integers(0, len(runs), (resamples, len(runs)))
        variation = [_variation(matrix, order) for order in drawn]
        known = [value for value in variation if np.isfinite(value)]
        low, high = np.quantile(known, [0.025, 0.975]) if known and len(runs) > 2 else (np.nan, np.nan)
        rows.append(
            {
                "task": task,
                "pairs": len(pairs),
                "mean": pairs["distance"].mean(),
                "deviation": pairs["distance"].std(ddof=0),
                "variation": _variation(matrix, np.arange(len(runs))),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows)


def _variation(matrix: Float[np.ndarray, "k k"], order: Int[np.ndarray, "k"]) -> float:
    """Coefficient of variation of the distances between the runs that were drawn, pairs of a run with itself left out;
    NaN where all of them are the same prompt."""
    first, second = np.triu_indices(len(order), 1)
    pairs = order[first] != order[second]
    values = matrix[order[first], order[second]][pairs]
    return float(values.std() / values.mean()) if len(values) and values.any() else float("nan")
