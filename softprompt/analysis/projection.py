"""Projection of prompts to the plane: t-SNE (van der Maaten and Hinton 2008) and PCA."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from openTSNE import TSNE
from sklearn.decomposition import PCA
from torch import Tensor

from softprompt.analysis.geometry import stretched

PERPLEXITY = 30.0
TUNED, INITIAL = "tuned", "initial"


def projection_table(
    labels: pd.DataFrame,
    prompts: Sequence[Float[Tensor, "_ d"]],
    initial: Sequence[Float[Tensor, "_ d"]],
    seed: int = 0,
) -> tuple[pd.DataFrame, float]:
    """Two coordinates per prompt by t-SNE and by PCA, and those of the prompt it started from.

    Each prompt is one point: its rows end to end, stretched to the rows of the longest (`stretched`). Rows of zeros
    instead would be the same for all shorter prompts, and the projection would show the length. Equal prompts, as starts
    from one text are, are one point.

    Args:
        labels: one line per run.
        prompts: R matrices.
        initial: the R matrices before tuning.
        seed: of t-SNE and PCA.

    Returns:
        `labels` twice, with `prompt` (`TUNED`, then `INITIAL`), `tsne_x`, `tsne_y`, `pca_x`, `pca_y`; and the perplexity,
        which is a third of the number of other points with fewer than 91 points (openTSNE's upper limit) and 30 otherwise.
    """
    both = [*prompts, *initial]
    longest = max(map(len, both))
    flat = np.stack([stretched(prompt, longest).flatten().numpy() for prompt in both])  # [2·R, n·d]
    _, first, place = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(
        first
    )  # `unique` sorts by value; t-SNE should have the points in the order of the runs
    points = flat[first[order]].astype(np.float64)  # [different prompts, n·d]
    place = np.argsort(order)[place.ravel()]  # [2·R]: the point of each prompt
    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    tsne = TSNE(
        perplexity=perplexity, initialization="pca", neighbors="exact", random_state=seed, n_jobs=1
    ).fit(points)  # [different prompts, 2]
    pca = PCA(2, random_state=seed).fit(points).transform(points)
    table = pd.concat([labels.assign(prompt=TUNED), labels.assign(prompt=INITIAL)], ignore_index=True)
    return table.assign(
        tsne_x=tsne[place, 0], tsne_y=tsne[place, 1], pca_x=pca[place, 0], pca_y=pca[place, 1]
    ), perplexity
