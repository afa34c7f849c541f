"""Projection of prompts to the plane: t-SNE (van der Maaten and Hinton 2008) and PCA."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from openTSNE import TSNE
from sklearn.decomposition import PCA
from torch import Tensor

PERPLEXITY = 30.0


def projection_table(
    labels: pd.DataFrame, prompts: Sequence[Float[Tensor, "_ d"]], seed: int = 0
) -> tuple[pd.DataFrame, float]:
    """Two coordinates per prompt by t-SNE and by PCA.

    Each prompt is one point: its rows end to end, shorter prompts padded with zeros.

    Args:
        labels: one line per prompt.
        prompts: R matrices.
        seed: of t-SNE and PCA.

    Returns:
        `labels` with `tsne_x`, `tsne_y`, `pca_x`, `pca_y`; and the perplexity, which is (R - 1) / 3 with fewer than
        91 prompts (openTSNE's upper limit) and 30 otherwise.
    """
    longest = max(map(len, prompts))
    points = np.zeros((len(prompts), longest * prompts[0].shape[1]))  # [R, n·d]
    for point, prompt in zip(points, prompts, strict=True):
        point[: prompt.numel()] = prompt.flatten().numpy()
    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    tsne = TSNE(
        perplexity=perplexity, initialization="pca", neighbors="exact", random_state=seed, n_jobs=1
    ).fit(points)  # [R, 2]
    pca = PCA(2, random_state=seed).fit(points).transform(points)  # [R, 2]
    table = labels.assign(tsne_x=tsne[:, 0], tsne_y=tsne[:, 1], pca_x=pca[:, 0], pca_y=pca[:, 1])
    return table, perplexity
