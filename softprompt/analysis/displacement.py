"""Displacements: tuned minus initial prompts (task prompt vectors, Belanec et al. 2024, section 3)."""

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from softprompt.analysis.random_prompts import named_generator

Matrix = Float[Tensor, "_ d"]


def displacements(prompts: Sequence[Matrix], initial: Sequence[Matrix]) -> list[Matrix]:
    """Each prompt minus the prompt it started from."""
    return [prompt - start for prompt, start in zip(prompts, initial, strict=True)]


def mean_displacements(
    labels: pd.DataFrame, prompts: Sequence[Matrix], initial: Sequence[Matrix]
) -> dict[tuple[str, str], Matrix]:
    """The mean displacement over the runs of a task and variant that all started from the same prompt.

    Args:
        labels: `task` and `variant` of every run, indexed from 0.
        prompts: the prompt of every run.
        initial: the prompt that every run started from.

    Returns:
        By task and variant. Those with one run, or with different starts, are left out: a mean over rows that started
        elsewhere has no meaning.
    """
    moved = displacements(prompts, initial)
    means: dict[tuple[str, str], Matrix] = {}
    for (task, variant), group in labels.groupby(["task", "variant"], sort=False):
        first, *others = list(group.index)
        if others and all(torch.equal(initial[first], initial[other]) for other in others):
            means[str(task), str(variant)] = torch.stack([moved[index] for index in group.index]).mean(0)
    return means


def random_directions(like: Sequence[Matrix], seed: int = 0) -> list[Matrix]:
    """Normal noise in the shape of each matrix: the displacement of a prompt that went nowhere in particular."""
    generator = named_generator(f"random directions {seed}")
    return [torch.randn(matrix.shape, generator=generator) for matrix in like]


def random_step(
    prompt: Float[Tensor, "n d"], initial: Float[Tensor, "n d"], name: str
) -> Float[Tensor, "n d"]:
    """The initial prompt after a step as long as tuning's, in random directions.

    Args:
        prompt: the tuned prompt.
        initial: the prompt that it started from.
        name: of the random numbers (`named_generator`).

    Returns:
        `initial` plus, in each row, a random direction with the norm of the row of `prompt - initial`.
    """
    directions = F.normalize(torch.randn(prompt.shape, generator=named_generator(name)), dim=1)
    stepped: Matrix = initial + directions * (prompt - initial).norm(dim=1, keepdim=True)
    return stepped
