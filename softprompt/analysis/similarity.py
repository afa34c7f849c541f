"""Similarity of the prompts of two tasks, by several measures that have been correlated with transfer."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from softprompt.analysis.geometry import ALIGNMENTS, frobenius_distance
from softprompt.analysis.prompt_mean import Matrix, cosine_of_means

Measure = Callable[[Matrix, Matrix], float]


def mean_cosine(first: Matrix, second: Matrix) -> float:
    """Mean cosine over all pairs of rows (Vu et al. 2022, "per-token average cosine similarity")."""
    # [n, d] @ [d, n of the second] -> [n, n of the second]
    return float((F.normalize(first, dim=1) @ F.normalize(second, dim=1).T).mean())


def _negative_distance(alignment: str) -> Measure:
    def measure(first: Matrix, second: Matrix) -> float:
        return -frobenius_distance(*ALIGNMENTS[alignment](first, second))

    return measure


def activity_overlap(first: Bool[Tensor, "F"], second: Bool[Tensor, "F"]) -> float:
    """Cosine of two patterns of active feed-forward neurons, as vectors of 0 and 1 (Su et al. 2022)."""
    return float(F.cosine_similarity(first.float(), second.float(), dim=0))


# A larger value means more similar, so distances are negative.
MEASURES: dict[str, Measure] = {
    **{f"frobenius ({name})": _negative_distance(name) for name in ALIGNMENTS},
    "cosine of means": cosine_of_means,
    "mean cosine": mean_cosine,
}


def similarity_table(
    tasks: Sequence[str], items: Sequence[Tensor], measure: str, function: Callable[[Tensor, Tensor], float]
) -> pd.DataFrame:
    """Mean similarity of the runs of every two tasks.

    Args:
        tasks: the task of each run.
        items: what `function` compares, for each run: its prompt, or its active neurons.
        measure: the measure's name.
        function: larger means more similar; symmetric.

    Returns:
        One line per ordered pair of tasks. Within a task the mean is over pairs of different runs; NaN with one run.
    """
    values = np.full((len(items), len(items)), np.nan)  # [R, R]
    for i, j in combinations(range(len(items)), 2):
        # Once per pair, because a float sum may depend on which of the two comes first, and then ranks would, too.
        values[i, j] = values[j, i] = function(items[i], items[j])
    names = list(dict.fromkeys(tasks))
    lines = []
    for source in names:
        for target in names:
            block = values[np.ix_([task == source for task in tasks], [task == target for task in tasks])]
            pairs = block[~np.isnan(block)]
            mean = float(pairs.mean()) if pairs.size else float("nan")
            lines.append(
                {
                    "measure": measure,
                    "source": source,
                    "target": target,
                    "similarity": mean,
                    "pairs": pairs.size,
                }
            )
    return pd.DataFrame(lines)


def as_matrix(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """One column of a table with a line per source and target, as a square: a row per source, a column per target."""
    return table.pivot(index="source", columns="target", values=value).loc[
        list(dict.fromkeys(table["source"])), list(dict.fromkeys(table["target"]))
    ]
