"""Norms and distances of prompts (the reference study, section 5.2 and table 1)."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

Matrix = Float[Tensor, "_ d"]


def norm_table(labels: pd.DataFrame, prompts: Sequence[Matrix]) -> pd.DataFrame:
    """`labels` with each prompt's Frobenius norm, mean row norm, and mean and variance of its entries.

    The variance of the entries is not that of the reference study's table 1, which is among a task's prompts
    (`spread_table`).
    """
    return labels.assign(
        norm=[float(torch.linalg.matrix_norm(prompt)) for prompt in prompts],
        row_norm=[float(prompt.norm(dim=1).mean()) for prompt in prompts],
        mean=[float(prompt.mean()) for prompt in prompts],
        entry_variance=[float(prompt.var(correction=0)) for prompt in prompts],
    )


def truncate(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """Cut both to the rows of the shorter one."""
    rows = min(len(first), len(second))
    return first[:rows], second[:rows]


def pad(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """Append rows of zeros to the shorter one."""
    rows = max(len(first), len(second))
    return F.pad(first, (0, 0, 0, rows - len(first))), F.pad(second, (0, 0, 0, rows - len(second)))


def stretched(prompt: Matrix, rows: int) -> Matrix:
    """The prompt with `rows` rows, by linear interpolation between its own; first and last row stay."""
    if len(prompt) == rows:
        return prompt
    columns = F.interpolate(prompt.T[None], rows, mode="linear", align_corners=True)  # [1, d, rows]
    return columns[0].T


def resample(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """Stretch the shorter one to the rows of the longer one."""
    rows = max(len(first), len(second))
    return stretched(first, rows), stretched(second, rows)


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


def distance_matrix(prompts: Sequence[Matrix], alignment: str) -> Float[np.ndarray, "R R"]:
    """`frobenius_distance` of every pair of prompts; `alignment` is a key of `ALIGNMENTS`."""
    distances = np.zeros((len(prompts), len(prompts)))
    for i, j in combinations(range(len(prompts)), 2):
        aligned = ALIGNMENTS[alignment](prompts[i], prompts[j])
        distances[i, j] = distances[j, i] = frobenius_distance(*aligned)
    return distances


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
    distances = distance_matrix(prompts, alignment)
    return pd.DataFrame(
        [
            {
                "first": runs[i],
                "second": runs[j],
                "first_task": tasks[i],
                "second_task": tasks[j],
                "alignment": alignment,
                "distance": float(distances[i, j]),
            }
            for i, j in combinations(range(len(prompts)), 2)
        ]
    )
