"""Zero-shot difficulty of a task, and its correlation with the variance of the task's prompts."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import permutation_test, spearmanr

HERE = "here"
MEASURES = ("median", "maximum", "delta")


def difficulty_table(
    zero_shot: Mapping[str, Mapping[str, float]],
    variances: pd.DataFrame,
    published: Sequence[Mapping[str, Any]],
) -> pd.DataFrame:
    """Median and maximum zero-shot exact match (%) over instructions, and their difference.

    Args:
        zero_shot: by task, the exact match of every instruction in %.
        variances: one line per task; columns named `variance_*`.
        published: lines with task, source, median and maximum.

    Returns:
        One line per task with the variances of its prompts, followed by the task's published figures. `delta` is the
        maximum minus the median (the reference study, table 2).
    """
    lines = []
    for task, scores in zero_shot.items():
        of_task: dict[str, Any] = dict(variances.loc[task]) if task in variances.index else {}
        ours = {
            "task": task,
            "source": HERE,
            "instructions": len(scores),
            "median": float(np.median(list(scores.values()))),
            "maximum": max(scores.values()),
        }
        lines += [{**ours, **of_task}, *(line for line in published if line["task"] == task)]
    table = pd.DataFrame(lines)
    table.insert(5, "delta", table["maximum"] - table["median"])
    return table


def difficulty_correlation(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation over tasks of each measure of difficulty with each variance.

    Args:
        table: what `difficulty_table` returns.

    Returns:
        One line per column `variance_*` and measure. p is by permutation, exact up to seven tasks; with four tasks it
        cannot fall below 2/24. Correlation and p are NaN with fewer than three tasks, or if either is constant.
    """
    ours = table[table["source"] == HERE]
    columns = [column for column in table.columns if column.startswith("variance")]
    lines = []
    for column, measure in product(columns, MEASURES):
        difficulty, variance = ours[measure].to_numpy(float), ours[column].to_numpy(float)
        rho, p = np.nan, np.nan
        if len(ours) > 2 and np.ptp(difficulty) > 0 and np.ptp(variance) > 0:
            test = permutation_test(
                (difficulty,),
                lambda order, variance=variance: spearmanr(order, variance).statistic,
                permutation_type="pairings",
                n_resamples=9999,
                rng=0,
            )
            rho, p = float(test.statistic), float(test.pvalue)
        lines.append({"variance": column, "measure": measure, "tasks": len(ours), "spearman": rho, "p": p})
    return pd.DataFrame(lines)
