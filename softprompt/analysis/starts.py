"""Do prompts of one start score higher, or get there sooner, than prompts of another?"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import rankdata

from softprompt.analysis.intervals import difference_interval
from softprompt.analysis.scores import steps_to_reach

SHUFFLES = 9999


def score_differences(tasks: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """The difference of the tuned scores of two variants, by task.

    Args:
        tasks: what `scores.task_table` returns.
        first: a variant.
        second: the variant that it is compared with.

    Returns:
        One line per task that has both, in percentage points, with the 95% interval `low` to `high`.
    """
    by_variant = {variant: group.set_index("task") for variant, group in tasks.groupby("variant", sort=False)}
    lines = []
    for task in by_variant[first].index.intersection(by_variant[second].index, sort=False):
        one, other = by_variant[first].loc[task], by_variant[second].loc[task]
        low, high = difference_interval(
            one["tuned"], (one["low"], one["high"]), other["tuned"], (other["low"], other["high"])
        )
        difference = one["tuned"] - other["tuned"]
        lines.append({"task": task, "difference": 100 * difference, "low": 100 * low, "high": 100 * high})
    return pd.DataFrame(lines, columns=["task", "difference", "low", "high"])


def sooner_test(curves: pd.DataFrame, first: str, second: str, seed: int = 0) -> dict[str, float]:
    """Do runs of one variant reach their task's level in fewer steps than runs of another?

    A task's level is 95% of the best exact match of any of its runs. Steps are compared within tasks: the statistic is the
    share of pairs of a run of each variant in which the first is sooner, ties counting one half (Mann and Whitney 1947),
    mean over tasks.

    Args:
        curves: rows of the runs' learning curves with `run`, `task` and `variant`.
        first: a variant.
        second: the variant that it is compared with.
        seed: of the permutations.

    Returns:
        `share`: the statistic; 0.5 means no difference. `p`: two-sided, by shuffling the variants of the runs within each
        task, 9,999 times, with one added to both counts (Phipson and Smyth 2010). `tasks`: the number of tasks.
    """
    generator = np.random.default_rng(seed)
    observed, shuffled = [], []  # per task; [SHUFFLES] per task
    for _, of_task in curves.groupby("task", sort=False):
        level = 0.95 * of_task["exact_match"].max()
        steps = {
            variant: [steps_to_reach(curve, level) for _, curve in group.groupby("run")]
            for variant, group in of_task.groupby("variant")
        }
        if first not in steps or second not in steps:
            continue
        ranks = rankdata([*steps[first], *steps[second]])
        count = len(steps[first])
        observed.append(_share_sooner(ranks[None], count)[0])
        shuffled.append(_share_sooner(generator.permuted(np.tile(ranks, (SHUFFLES, 1)), axis=1), count))
    if not observed:
        return {"share": np.nan, "p": np.nan, "tasks": 0}
    share, null = float(np.mean(observed)), np.mean(shuffled, axis=0)
    farther = (np.abs(null - 0.5) >= abs(share - 0.5) - 1e-12).sum()
    return {"share": share, "p": float((farther + 1) / (SHUFFLES + 1)), "tasks": len(observed)}


def _share_sooner(ranks: Float[np.ndarray, "b R"], count: int) -> Float[np.ndarray, "b"]:
    """The share of pairs in which one of the first `count` runs has a smaller rank than one of the others."""
    others = ranks.shape[1] - count
    # The sum of the first runs' ranks, less what it is if all of them come first.
    later: Float[np.ndarray, "b"] = ranks[:, :count].sum(1) - count * (count + 1) / 2
    share: Float[np.ndarray, "b"] = 1 - later / (count * others)
    return share
