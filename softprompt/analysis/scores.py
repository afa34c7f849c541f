"""Scores of runs and tasks beside those without tuning, with intervals, and the steps to a common level."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.copies import first_of_each
from softprompt.analysis.intervals import mean_interval, wilson_interval

# In every result. Those that a task adds have columns of their own.
SCORES = ("loss", "exact_match", "rank_accuracy", "macro_f1", "invalid_prediction_rate", "n")


def score_table(results: Sequence[dict[str, Any]], variants: Sequence[str]) -> pd.DataFrame:
    """Scores by run, as shares between 0 and 1.

    Args:
        results: per run, the content of its `result.json`.
        variants: per run, what distinguishes it from other runs of its task (`variants.variant_names`).

    Returns:
        One line per run. `low` and `high` are the 95% Wilson interval of the tuned exact match over the n validation
        examples; it does not cover the variation over seeds.
    """
    lines = []
    for result, variant in zip(results, variants, strict=True):
        tuned, baselines = result["tuned"], result["baselines"]
        low, high = wilson_interval(tuned["exact_match"], tuned["n"])
        extra = {name: value for name, value in tuned.items() if name not in SCORES}
        lines.append(
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
                **{
                    # NaN: the answers are free text
                    name: np.nan if tuned[name] is None else tuned[name]
                    for name in ("rank_accuracy", "macro_f1", "invalid_prediction_rate")
                },
                **extra,
                "loss": tuned["loss"],
                "n": tuned["n"],
                "best_step": result["best_step"],
                "seconds": result["seconds"],
                "run": result["run"],
            }
        )
    return pd.DataFrame(lines).sort_values("task", kind="stable", ignore_index=True)


def task_table(
    scores: pd.DataFrame, correct: Mapping[str, Bool[np.ndarray, "E"]], keys: Mapping[str, str]
) -> pd.DataFrame:
    """Scores by task and variant.

    Args:
        scores: what `score_table` returns.
        correct: by run, which examples the tuned prompt answers correctly.
        keys: by run, what tells its prompt from others (`copies.prompt_key`). Copies count once.

    Returns:
        One line per task and variant, whose `runs` have `distinct_runs` prompts. `tuned` and `rank_accuracy` are means
        over distinct prompts; `low` and `high` are the 95% interval of `tuned`, for new runs on new examples.
    """
    lines = []
    for (task, variant), group in scores.groupby(["task", "variant"], sort=False):
        distinct = group.iloc[first_of_each([keys[run] for run in group["run"]])]
        low, high = mean_interval(np.stack([correct[run] for run in distinct["run"]]).astype(float))
        lines.append(
            {
                "task": task,
                "variant": variant,
                "runs": len(group),
                "distinct_runs": len(distinct),
                "n": group["n"].iloc[0],
                **{name: group[name].iloc[0] for name in ("majority", "no_prompt", "instruction")},
                "tuned": distinct["tuned"].mean(),
                "low": low,
                "high": high,
                "lowest": group["tuned"].min(),
                "highest": group["tuned"].max(),
                "rank_accuracy": distinct["rank_accuracy"].mean(),
                "median_best_step": group["best_step"].median(),
            }
        )
    return pd.DataFrame(lines)


def steps_to_reach(curve: pd.DataFrame, level: float) -> float:
    """The first step of a learning curve with an exact match of at least `level`; infinite if there is none."""
    reached = curve.loc[curve["exact_match"] >= level, "step"]
    return float(reached.min()) if len(reached) else float("inf")


def steps_to_level_table(curves: pd.DataFrame) -> pd.DataFrame:
    """How soon the runs of each task and variant reach a common level.

    A task's level is 95% of the best exact match of any of its runs.

    Args:
        curves: rows of the runs' learning curves with `run`, `task` and `variant`.

    Returns:
        One line per task and variant: means over its runs of the exact match before the first step and at best, the
        number of runs that reach the level, and the medians over runs of the first step at the level and of the seconds of
        training until then (infinite if the median run does not reach it).
    """
    lines = []
    for task, of_task in curves.groupby("task", sort=False):
        level = 0.95 * of_task["exact_match"].max()
        for variant, group in of_task.groupby("variant", sort=False):
            by_run = [curve for _, curve in group.groupby("run", sort=False)]
            steps = [steps_to_reach(curve, level) for curve in by_run]
            seconds = [
                float(curve.loc[curve["step"] == step, "seconds"].iloc[0]) if np.isfinite(step) else np.inf
                for curve, step in zip(by_run, steps, strict=True)
            ]
            lines.append(
                {
                    "task": task,
                    "variant": variant,
                    "runs": len(by_run),
                    "initial_exact_match": np.mean([curve["exact_match"].iloc[0] for curve in by_run]),
                    "best_exact_match": np.mean([curve["exact_match"].max() for curve in by_run]),
                    "level": level,
                    "runs_at_level": int(np.isfinite(steps).sum()),
                    "median_steps_to_level": float(np.median(steps)) if level else np.nan,
                    "median_seconds_to_level": float(np.median(seconds)) if level else np.nan,
                }
            )
    return pd.DataFrame(lines)
