"""What every run scored, beside what no tuning scores, with an interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.statistics import bootstrap_mean, wilson_interval


def score_table(results: Sequence[dict[str, Any]], variants: Sequence[str]) -> pd.DataFrame:
    """One row per run, from the contents of the `result.json` files and what sets each run apart from others.

    Scores are shares between 0 and 1. `low` and `high` are the 95% Wilson interval of the tuned exact match
    over the n validation examples; they do not cover what another seed would give.
    """
    rows = []
    for result, variant in zip(results, variants, strict=True):
        tuned, baselines = result["tuned"], result["baselines"]
        low, high = wilson_interval(tuned["exact_match"], tuned["n"])
        rows.append(
            {
                "task": result["task"],
                "variant": variant,
                "seed": result["seed"],
                "majority": baselines["majority"],
                "no_prompt": baselines["no_prompt"]["exact_match"],
                "instruction": baselines["instruction"]["exact_match"],
                "tuned": tuned["exact_match"],
                "low": low,
                "high": high,
                "rank_accuracy": tuned["rank_accuracy"],
                "macro_f1": tuned["macro_f1"],
                "invalid_prediction_rate": tuned["invalid_prediction_rate"],
                "loss": tuned["loss"],
                "n": tuned["n"],
                "best_step": result["best_step"],
                "seconds": result["seconds"],
                "run": result["run"],
            }
        )
    return pd.DataFrame(rows).sort_values("task", kind="stable", ignore_index=True)


def task_table(runs: pd.DataFrame, right: Mapping[str, Bool[np.ndarray, "E"]]) -> pd.DataFrame:
    """One row per task and start, from `score_table` and, by run, which examples the tuned prompt gets right.

    `low` and `high` are the 95% interval of `tuned`, the mean over runs, with runs and examples resampled.
    """
    rows = []
    for (task, variant), group in runs.groupby(["task", "variant"], sort=False):
        low, high = bootstrap_mean(np.stack([right[run] for run in group["run"]]).astype(float))
        rows.append(
            {
                "task": task,
                "variant": variant,
                "runs": len(group),
                "n": group["n"].iloc[0],
                **{name: group[name].iloc[0] for name in ("majority", "no_prompt", "instruction")},
                "tuned": group["tuned"].mean(),
                "low": low,
                "high": high,
                "lowest": group["tuned"].min(),
                "highest": group["tuned"].max(),
                "rank_accuracy": group["rank_accuracy"].mean(),
                "median_steps": group["best_step"].median(),
            }
        )
    return pd.DataFrame(rows)


def steps_to_reach(curve: pd.DataFrame, level: float) -> float:
    """The first step of a learning curve whose exact match is at least `level`; infinite where none is."""
    reached = curve.loc[curve["exact_match"] >= level, "step"]
    return float(reached.min()) if len(reached) else float("inf")


def start_table(curves: pd.DataFrame) -> pd.DataFrame:
    """Per task and start, from all runs' learning curves: the score before any step, at best, and the step at which the
    task's level is reached, which is 95% of the best score that any of its runs has."""
    rows = []
    for task, of_task in curves.groupby("task", sort=False):
        level = 0.95 * of_task["exact_match"].max()
        for variant, own in of_task.groupby("variant", sort=False):
            by_run = [curve for _, curve in own.groupby("run", sort=False)]
            steps = [steps_to_reach(curve, level) for curve in by_run]
            rows.append(
                {
                    "task": task,
                    "variant": variant,
                    "runs": len(by_run),
                    "before": np.mean([curve["exact_match"].iloc[0] for curve in by_run]),
                    "best": np.mean([curve["exact_match"].max() for curve in by_run]),
                    "level": level,
                    "reached_by": int(np.isfinite(steps).sum()),
                    "median_steps_to_level": float(np.median(steps)) if level else np.nan,
                }
            )
    return pd.DataFrame(rows)
