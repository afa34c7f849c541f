"""Prompts as points in a plane: t-SNE (van der Maaten and Hinton 2008) and, beside it, PCA."""

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
    """`labels` with two coordinates of each kind per prompt; and the perplexity that t-SNE really used.

    A prompt is one point: its rows end to end, the shorter prompts lengthened by zeros. openTSNE lowers a
    perplexity of 30 to a third of the other points, where there are fewer than 91 prompts.
    """
    longest = max(map(len, prompts))
    points = np.zeros((len(prompts), longest * prompts[0].shape[1]))
    for place, prompt in zip(points, prompts, strict=True):
        place[: prompt.numel()] = prompt.flatten().numpy()
    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    embedding = TSNE(
        perplexity=perplexity, initialization="pca", neighbors="exact", random_state=seed, n_jobs=1
    ).fit(points)
    linear = PCA(2, random_state=seed).fit(points)
    flat = linear.transform(points)
    table = labels.assign(tsne_x=embedding[:, 0], tsne_y=embedding[:, 1], pca_x=flat[:, 0], pca_y=flat[:, 1])
    return table, perplexity
