"""How hard a task is for the model before any tuning, and whether that goes with the spread of its prompts."""

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
    """Per task the median and the greatest exact match (%) over instructions, without tuning, and their difference
    (`delta`, as in the reference study's table 2), with the variances of its prompts; published figures follow.

    `zero_shot` has every instruction's score in % by task; `variances` has a row per task, of any columns; `published`
    has lines with task, source, median and maximum.
    """
    lines = []
    for task, scores in zero_shot.items():
        median, maximum = float(np.median(list(scores.values()))), max(scores.values())
        known: dict[str, Any] = dict(variances.loc[task]) if task in variances.index else {}
        ours = {
            "task": task,
            "source": HERE,
            "instructions": len(scores),
            "median": median,
            "maximum": maximum,
        }
        lines += [{**ours, **known}, *(line for line in published if line["task"] == task)]
    table = pd.DataFrame(lines)
    table.insert(5, "delta", table["maximum"] - table["median"])
    return table


def difficulty_correlation(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation over tasks of each measure of difficulty with each variance in the table.

    p is by permutation, exact up to seven tasks; with four it cannot fall below 2/24. NaN with fewer than three tasks,
    or where a measure has but one value.
    """
    ours = table[table["source"] == HERE]
    lines = []
    for spread, measure in product([c for c in table.columns if c.startswith("variance")], MEASURES):
        values, variance = ours[measure].to_numpy(float), ours[spread].to_numpy(float)
        rho, p = np.nan, np.nan
        if len(ours) > 2 and np.ptp(values) > 0 and np.ptp(variance) > 0:
            tried = permutation_test(
                (values,),
                lambda order, variance=variance: spearmanr(order, variance).statistic,
                permutation_type="pairings",
                n_resamples=9999,
                rng=0,
            )
            rho, p = float(tried.statistic), float(tried.pvalue)
        lines.append({"spread": spread, "measure": measure, "tasks": len(ours), "spearman": rho, "p": p})
    return pd.DataFrame(lines)
