"""How alike the prompts of two tasks are, by every measure that has been held against transfer."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from softprompt.analysis.geometry import ALIGNMENTS, frobenius_distance

Matrix = Float[Tensor, "_ d"]
Measure = Callable[[Matrix, Matrix], float]


def cosine_of_means(first: Matrix, second: Matrix) -> float:
    """Cosine of the two prompts' mean rows (Vu et al. 2022, SPoT, section 3: "cosine similarity of average tokens")."""
    return float(F.cosine_similarity(first.mean(0), second.mean(0), dim=0))


def mean_cosine(first: Matrix, second: Matrix) -> float:
    """Mean cosine over all pairs of rows (Vu et al. 2022, "per-token average cosine similarity")."""
    return float((F.normalize(first, dim=1) @ F.normalize(second, dim=1).T).mean())


def _closeness(alignment: str) -> Measure:
    def measure(first: Matrix, second: Matrix) -> float:
        return -frobenius_distance(*ALIGNMENTS[alignment](first, second))

    return measure


def activity_overlap(first: Bool[Tensor, "F"], second: Bool[Tensor, "F"]) -> float:
    """Cosine of two patterns of firing neurons, 1 where a neuron fires and 0 elsewhere: how far the two prompts
    stimulate the model alike (Su et al. 2022)."""
    return float(F.cosine_similarity(first.float(), second.float(), dim=0))


# The larger, the more alike: Frobenius distances are negative here.
MEASURES: dict[str, Measure] = {
    **{f"frobenius ({name})": _closeness(name) for name in ALIGNMENTS},
    "cosine of means": cosine_of_means,
    "mean cosine": mean_cosine,
}


def similarity_table(
    tasks: Sequence[str], items: Sequence[Tensor], measure: str, function: Callable[[Tensor, Tensor], float]
) -> pd.DataFrame:
    """Mean of a measure over the pairs of runs of every two tasks; of one task, over pairs of different runs."""
    values = np.full((len(items), len(items)), np.nan)
    for i in range(len(items)):
        for j in range(len(items)):
            if i != j:
                values[i, j] = function(items[i], items[j])
    names = list(dict.fromkeys(tasks))
    rows = []
    for source in names:
        for target in names:
            block = values[np.ix_([t == source for t in tasks], [t == target for t in tasks])]
            known = block[~np.isnan(block)]
            mean = float(known.mean()) if known.size else float("nan")
            rows.append(
                {
                    "measure": measure,
                    "source": source,
                    "target": target,
                    "similarity": mean,
                    "pairs": known.size,
                }
            )
    return pd.DataFrame(rows)


def as_matrix(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """A table with a row per source and target as a square: sources down, targets across, in order."""
    return table.pivot(index="source", columns="target", values=value).loc[
        list(dict.fromkeys(table["source"])), list(dict.fromkeys(table["target"]))
    ]
