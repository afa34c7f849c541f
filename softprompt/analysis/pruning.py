"""Greedy pruning: the order in which rows of a prompt can be dropped, or added, at the least loss.

XPrompt (Ma et al. 2022) scores all tokens once and drops the lowest; here each step scores all rows that are left, by
loss. One row at a time (`ablation.py`) does not tell how many rows can be dropped together.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import binom
from torch import Tensor

KEEPS = 0.95  # of the whole prompt's exact match

Matrix = Float[Tensor, "_ d"]
# The mean loss of each candidate, for the candidates of several prompts.
Losses = Callable[[Sequence[Sequence[Matrix]]], list[Float[np.ndarray, "P"]]]
Rows = tuple[int, ...]


def backward_orders(prompts: Sequence[Matrix], losses: Losses) -> list[list[int]]:
    """Drop, again and again, the row without which the loss is lowest.

    Args:
        prompts: prompts, which may differ in their number of rows. Each is pruned for itself, all side by side.
        losses: the losses of candidates, which are prompts with one row less.

    Returns:
        For each prompt all its rows, the one that survives longest first.
    """
    left = [tuple(range(len(prompt))) for prompt in prompts]
    dropped: list[list[int]] = [[] for _ in prompts]
    while active := [i for i, rows in enumerate(left) if rows]:
        candidates = {i: [tuple(row for row in left[i] if row != out) for out in left[i]] for i in active}
        for i, best in _best(prompts, candidates, losses).items():
            (out,) = set(left[i]) - set(best)
            dropped[i].append(out)
            left[i] = best
    return [rows[::-1] for rows in dropped]


def forward_orders(prompts: Sequence[Matrix], losses: Losses) -> list[list[int]]:
    """Add, again and again, the row with which the loss is lowest, from no rows. Rows keep their order in the prompt.

    Arguments as for `backward_orders`. Returns for each prompt all its rows, the one that was added first first.
    """
    orders: list[list[int]] = [[] for _ in prompts]
    while active := [i for i, prompt in enumerate(prompts) if len(orders[i]) < len(prompt)]:
        candidates = {
            i: [tuple(sorted([*orders[i], row])) for row in range(len(prompts[i])) if row not in orders[i]]
            for i in active
        }
        for i, best in _best(prompts, candidates, losses).items():
            orders[i] += set(best) - set(orders[i])
    return orders


def _best(prompts: Sequence[Matrix], candidates: dict[int, list[Rows]], losses: Losses) -> dict[int, Rows]:
    """By index of a prompt, the candidate with the lowest loss; the first of those that are equal."""
    of_prompts = losses([[prompts[i][list(rows)] for rows in kept] for i, kept in candidates.items()])
    return {
        i: kept[int(loss.argmin())] for (i, kept), loss in zip(candidates.items(), of_prompts, strict=True)
    }


def random_orders(prompts: Sequence[Matrix], seed: int = 0) -> list[list[int]]:
    """For each prompt all its rows in a random order: what pruning is compared with."""
    generator = np.random.default_rng(seed)
    return [[int(row) for row in generator.permutation(len(prompt))] for prompt in prompts]


def nested_rows(order: Sequence[int]) -> list[Rows]:
    """The rows that are left with 0, 1, ... n rows, in the order of the prompt."""
    return [tuple(sorted(order[:count])) for count in range(len(order) + 1)]


def fewest_rows(exact_match: Sequence[float], keeps: float = KEEPS) -> float:
    """The fewest rows with which the prompt keeps its exact match, and with every larger number of rows, too.

    Args:
        exact_match: with 0, 1, ... n rows.
        keeps: the share of the exact match with n rows that is to be kept.

    Returns:
        A number of rows; NaN if the whole prompt's exact match is 0.
    """
    if exact_match[-1] == 0:
        return np.nan
    too_few = [rows for rows, value in enumerate(exact_match) if value < keeps * exact_match[-1]]
    return float(max(too_few, default=-1) + 1)


def fewest_rows_table(curves: pd.DataFrame) -> pd.DataFrame:
    """`fewest_rows` of every run and order.

    Args:
        curves: one line per `run`, `task`, `variant`, `prompt`, `order` and `rows`, with `exact_match` and `kept_tokens`.

    Returns:
        One line per run, prompt and order: `fewest_rows`, `all_rows`, `exact_match` of all rows, and the tokens of the rows
        that are left.
    """
    lines = []
    keys = ["task", "variant", "run", "prompt", "order"]
    for names, curve in curves.groupby(keys, sort=False):
        by_rows = curve.sort_values("rows")
        fewest = fewest_rows(by_rows["exact_match"].tolist())
        lines.append(
            {
                **dict(zip(keys, names, strict=True)),
                "fewest_rows": fewest,
                "all_rows": len(by_rows) - 1,
                "exact_match": by_rows["exact_match"].iloc[-1],
                "kept_tokens": "" if np.isnan(fewest) else by_rows["kept_tokens"].iloc[int(fewest)],
            }
        )
    return pd.DataFrame(lines)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Interval of a median that covers it with at least 95%, from the order statistics (Conover 1999, section 3.2).

    NaN with fewer than six values, for which there is none.
    """
    count = len(values)
    outside = int(binom.ppf(0.025, count, 0.5))  # the most values that may lie on one side
    outside -= binom.cdf(outside, count, 0.5) > 0.025
    if outside < 0:
        return np.nan, np.nan
    ordered = sorted(values)
    return float(ordered[outside]), float(ordered[count - 1 - outside])
