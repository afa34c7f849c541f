"""Of the words that a prompt is made of, how many are words that the model was taught for the task."""

from collections.abc import Collection, Mapping, Sequence
from itertools import permutations

import numpy as np
import pandas as pd
from jaxtyping import Float

EXACT_UP_TO = 7  # tasks: 7! = 5,040 assignments
SAMPLED = 4999


def word_shares(
    words: Sequence[tuple[str, str, Collection[int]]], taught: Mapping[str, Collection[int]], allowed: int
) -> pd.DataFrame:
    """The share of prompts' words that are taught words of their task, beside that of other tasks' taught words.

    Args:
        words: per run its variant, its task and the words of its prompt. Runs without words are left out.
        taught: by task, the words of the wordings in which the model was taught it.
        allowed: how many words there are to choose from.

    Returns:
        One line per variant. `own` is the mean over tasks of the mean over runs; `others` is the same with the taught words
        of another task, mean over the other tasks; `chance` is the mean share of all allowed words. `p` is the share of all
        assignments of the taught words to the tasks (of `SAMPLED` and the given one, with more than seven tasks) in which
        the mean is at least `own`; it cannot be below `smallest_p`. `lowest` and `highest` are over tasks.
    """
    lines = []
    for variant in dict.fromkeys(variant for variant, _, _ in words):
        of_variant = [(task, set(of_run)) for name, task, of_run in words if name == variant and of_run]
        tasks = [task for task in dict.fromkeys(task for task, _ in of_variant) if task in taught]
        if not tasks:
            continue
        shares = np.array(  # [tasks, tasks]: by task of the prompt and task of the taught words
            [
                [
                    np.mean(
                        [len(own & set(taught[other])) / len(own) for task, own in of_variant if task == of]
                    )
                    for other in tasks
                ]
                for of in tasks
            ]
        )
        means = _assignments(shares)
        m, own = len(tasks), float(np.trace(shares) / len(tasks))
        lines.append(
            {
                "variant": variant,
                "tasks": m,
                "runs": sum(task in tasks for task, _ in of_variant),
                "own": own,
                "lowest": float(shares.diagonal().min()),
                "highest": float(shares.diagonal().max()),
                "others": float((shares.sum() - np.trace(shares)) / (m * (m - 1))) if m > 1 else np.nan,
                "chance": float(np.mean([len(taught[task]) for task in tasks]) / allowed),
                "p": float((means >= own - 1e-12).mean()),
                "smallest_p": 1 / len(means),
            }
        )
    return pd.DataFrame(lines)


def _assignments(shares: Float[np.ndarray, "m m"]) -> Float[np.ndarray, "b"]:
    """The mean of one entry per line and column, for every way to choose them; the first is the diagonal."""
    m = len(shares)
    orders = list(permutations(range(m))) if m <= EXACT_UP_TO else None
    if orders is None:
        generator = np.random.default_rng(0)
        orders = [tuple(range(m)), *(tuple(generator.permutation(m).tolist()) for _ in range(SAMPLED))]
    means: Float[np.ndarray, "b"] = shares[np.arange(m), np.array(orders)].mean(axis=1)
    return means
