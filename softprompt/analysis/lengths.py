"""Exact match by the number of rows of a prompt and by what it started from (Lester et al. 2021, section 3.2)."""

from collections.abc import Hashable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool
from scipy.stats import spearmanr

from softprompt.analysis.copies import first_of_each
from softprompt.analysis.intervals import difference_interval, mean_interval

SHUFFLES = 9999


def length_table(
    runs: pd.DataFrame, correct: Mapping[str, Bool[np.ndarray, "E"]], keys: Mapping[str, str]
) -> pd.DataFrame:
    """Exact match in percent by task, start and number of rows.

    Args:
        runs: one line per run: `run`, `task`, `start`, `rows`, and the exact match before tuning (`untrained`), a share.
        correct: by run, which validation examples the tuned prompt answers exactly.
        keys: by run, what tells its prompt from others (`copies.prompt_key`). Copies count once.

    Returns:
        One line per task, start and number of rows, with the 95% interval `low` to `high` for new runs on new examples.
    """
    lines = []
    for (task, start, rows), group in runs.groupby(["task", "start", "rows"], sort=False):
        distinct = group.iloc[first_of_each([keys[run] for run in group["run"]])]
        values = np.stack([correct[run] for run in distinct["run"]]).astype(float)
        low, high = mean_interval(values)
        lines.append(
            {
                "task": task,
                "start": start,
                "rows": rows,
                "runs": len(group),
                "untrained": 100 * group["untrained"].mean(),
                "exact_match": 100 * values.mean(),
                "low": 100 * low,
                "high": 100 * high,
            }
        )
    table = pd.DataFrame(lines)
    order = {
        name: {value: i for i, value in enumerate(dict.fromkeys(runs[name]))} for name in ("task", "start")
    }
    return table.sort_values(
        ["task", "start", "rows"],
        key=lambda column: column.map(order[str(column.name)]) if column.name in order else column,
        ignore_index=True,
    )


def length_differences(table: pd.DataFrame) -> pd.DataFrame:
    """What each longer prompt scores more than the next shorter one, and the longest than the shortest.

    Returns:
        One line per task, start and two numbers of rows (`shorter`, `longer`), in points, with the 95% interval `low` to
        `high`, which takes the runs to be independent.
    """
    lines = []
    for (task, start), group in table.groupby(["task", "start"], sort=False):
        steps = group.to_dict("records")
        compared = list(pairwise(steps))
        if len(steps) > 2:
            compared.append((steps[0], steps[-1]))
        for shorter, longer in compared:
            names = {"task": task, "start": start, "shorter": shorter["rows"], "longer": longer["rows"]}
            lines.append({**names, **_difference(longer, shorter)})
    return pd.DataFrame(lines)


def start_differences(table: pd.DataFrame) -> pd.DataFrame:
    """What each start scores more than each other one at the same number of rows; columns as in `length_differences`."""
    lines = []
    for (task, rows), group in table.groupby(["task", "rows"], sort=False):
        starts = group.to_dict("records")
        for index, first in enumerate(starts):
            for second in starts[index + 1 :]:
                names = {"task": task, "rows": rows, "first": first["start"], "second": second["start"]}
                lines.append({**names, **_difference(first, second)})
    return pd.DataFrame(lines, columns=["task", "rows", "first", "second", "difference", "low", "high"])


def _difference(first: Mapping[Hashable, Any], second: Mapping[Hashable, Any]) -> dict[str, float]:
    low, high = difference_interval(
        first["exact_match"],
        (first["low"], first["high"]),
        second["exact_match"],
        (second["low"], second["high"]),
    )
    return {"difference": first["exact_match"] - second["exact_match"], "low": low, "high": high}


def length_trend(runs: pd.DataFrame, seed: int = 0) -> dict[str, float]:
    """Do longer prompts score higher? Rank correlation of rows and exact match over runs, mean over tasks.

    Args:
        runs: of one start: `task`, `rows` and `exact_match`.
        seed: of the shuffles.

    Returns:
        `spearman`: the mean over tasks with more than one length and more than one score; NaN if there is none. `p`:
        two-sided, by shuffling the rows within tasks, 9,999 times, with one added to both counts (Phipson and Smyth 2010).
    """
    generator = np.random.default_rng(seed)
    observed, shuffled = [], []
    for _, group in runs.groupby("task", sort=False):
        rows, scores = (group[name].rank().to_numpy() for name in ("rows", "exact_match"))
        if np.ptp(rows) == 0 or np.ptp(scores) == 0:
            continue
        observed.append(float(spearmanr(rows, scores).statistic))
        orders = generator.permuted(np.tile(rows, (SHUFFLES, 1)), axis=1) - rows.mean()
        shuffled.append(orders @ (scores - scores.mean()) / len(rows) / rows.std() / scores.std())
    if not observed:
        return {"spearman": np.nan, "p": np.nan}
    mean, null = float(np.mean(observed)), np.mean(shuffled, axis=0)
    farther = int((np.abs(null) >= abs(mean) - 1e-12).sum())
    return {"spearman": mean, "p": (farther + 1) / (SHUFFLES + 1)}
