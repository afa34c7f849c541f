"""The mean of several prompts, weighted by their similarity to another one (Vu et al. 2022, section 3).

Runs start from it, so this file imports nothing that only an analysis needs.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Matrix = Float[Tensor, "_ d"]


def cosine_of_means(first: Matrix, second: Matrix) -> float:
    """Cosine of the two prompts' mean rows (Vu et al. 2022, SPoT, section 3: "cosine similarity of average tokens")."""
    return float(F.cosine_similarity(first.mean(0), second.mean(0), dim=0))


def similarity_weights(prompts: Sequence[Matrix], like: Matrix) -> list[float]:
    """A weight per prompt: its `cosine_of_means` with `like`, or 0 if that is negative, divided by their sum.

    All weights are 0 if no cosine is above 0.
    """
    similarities = [max(cosine_of_means(prompt, like), 0.0) for prompt in prompts]
    total = sum(similarities)
    return [similarity / total if total else 0.0 for similarity in similarities]


def mean_prompt(prompts: Sequence[Matrix], weights: Sequence[float], rows: int) -> Float[Tensor, "{rows} d"]:
    """The weighted sum of prompts, each with its rows repeated from the beginning, or cut, to `rows` rows."""
    places = torch.arange(rows)
    parts = [weight * prompt[places % len(prompt)] for prompt, weight in zip(prompts, weights, strict=True)]
    return torch.stack(parts).sum(0)
