"""Zero-shot difficulty of a task, and its correlation with the spread of the task's prompts over runs."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from softprompt.analysis.rank_correlation import rank_correlations

HERE = "here"
CORRECTED, AS_PRINTED = "maximum - median", "as printed"  # delta in a published table
MEASURES = ("median", "maximum", "delta")
SPREADS = ("norm_variance", "mean_squared_distance")  # of `spread_table`


def difficulty_table(
    zero_shot: Mapping[str, Mapping[str, float]], published: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """Median and maximum zero-shot exact match (%) over instructions, and their difference.

    Args:
        zero_shot: by task, the exact match of every instruction in %.
        published: lines with task, source, median, maximum and printed_delta.

    Returns:
        One line per task, followed by the task's published figures. `delta` is the maximum minus the median (the reference
        study, table 2), `printed_delta` what was printed instead.
    """
    lines = []
    for task, scores in zero_shot.items():
        ours = {
            "task": task,
            "source": HERE,
            "instructions": len(scores),
            "median": float(np.median(list(scores.values()))),
            "maximum": max(scores.values()),
        }
        lines += [ours, *(line for line in published if line["task"] == task)]
    table = pd.DataFrame(lines)
    table.insert(5, "delta", table["maximum"] - table["median"])
    return table


def difficulty_correlation(difficulty: pd.DataFrame, spread: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation over tasks of each measure of difficulty with each measure of spread.

    Args:
        difficulty: what `difficulty_table` returns.
        spread: lines with task, variant and space, and `SPREADS`.

    Returns:
        One line per variant, space, measure of spread and measure of difficulty. `p` is by permutation of the tasks,
        `adjusted_p` corrected for the number of lines (`rank_correlations`). Correlation and p are NaN with fewer than
        three tasks, if either measure is constant, or if the variant lacks a task.
    """
    ours = difficulty[difficulty["source"] == HERE].set_index("task")
    wide = spread.pivot(index="task", columns=["variant", "space"], values=list(SPREADS)).reindex(ours.index)
    found = rank_correlations(ours[list(MEASURES)].to_numpy(float).T, wide.to_numpy(float).T)
    enough = len(ours) > 2  # the correlation of two items is 1 or −1
    columns = wide.columns.set_names(["spread", "variant", "space"]).to_frame(index=False).to_dict("records")
    return pd.DataFrame(
        [
            {
                **column,
                "measure": MEASURES[i],
                "tasks": len(ours),
                "spearman": found.spearman[i, j] if enough else np.nan,
                "p": found.p[i, j] if enough else np.nan,
                "adjusted_p": found.adjusted_p[i, j] if enough else np.nan,
            }
            for (j, column), i in product(enumerate(columns), range(len(MEASURES)))
        ]
    )


def study_of(source: str) -> str:
    """The study that a source names, without the place in it: `reference study, table 2` -> `reference study`."""
    return source.partition(",")[0]


def published_correlation(
    scores: Sequence[Mapping[str, Any]], norms: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """The rank correlation of delta with the variance of the norms, from a study's own published tables.

    Args:
        scores: lines with task, source, median, maximum, and printed_delta (None if delta was printed correctly).
        norms: lines with task, source and variance; those of one study are matched by task.

    Returns:
        One line per study with both figures for at least three tasks, and a second one, with `delta` as printed, if a delta
        was misprinted. p is by permutation of the tasks.
    """
    lines = []
    for study in dict.fromkeys(study_of(line["source"]) for line in norms):
        variances = {line["task"]: line["variance"] for line in norms if study_of(line["source"]) == study}
        both = [line for line in scores if study_of(line["source"]) == study and line["task"] in variances]
        if len(both) < 3:
            continue
        corrected = [line["maximum"] - line["median"] for line in both]
        printed = [
            delta if line["printed_delta"] is None else line["printed_delta"]
            for line, delta in zip(both, corrected, strict=True)
        ]
        deltas = {CORRECTED: corrected, AS_PRINTED: printed}
        if printed == corrected:
            del deltas[AS_PRINTED]
        variance = np.array([[variances[line["task"]] for line in both]], dtype=float)
        found = rank_correlations(np.array(list(deltas.values()), dtype=float), variance)
        lines += [
            {
                "study": study,
                "delta": name,
                "tasks": len(both),
                "spearman": found.spearman[i, 0],
                "p": found.p[i, 0],
            }
            for i, name in enumerate(deltas)
        ]
    return pd.DataFrame(lines, columns=["study", "delta", "tasks", "spearman", "p"])
