"""What the prompts score, and how they came there."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.scores import score_table, start_table, task_table
from softprompt.report.figures import learning_curves
from softprompt.report.sections import Section, interval, spread
from softprompt.report.study import Study


def scores(study: Study) -> Section:
    """Scores by run and by task, the learning curves, and how soon each start gets there."""
    runs = score_table([run.result for run in study.runs], list(study.labels["variant"]))
    right: dict[str, Bool[np.ndarray, E]] = {}
    for task in study.targets:
        own = study.labels.index[study.labels["task"] == task]
        answers = study.answers([[study.prompts[index].matrix] for index in own], task)
        right |= {study.labels["run"][i]: found.right[0] for i, found in zip(own, answers, strict=True)}
    tasks = task_table(runs, right)
    curves = pd.concat(
        [
            pd.read_csv(run.path / "metrics.csv").assign(
                run=run.path.name,
                task=run.settings.task.name,
                variant=variant,
                no_prompt=run.result["baselines"]["no_prompt"]["exact_match"],
                instruction=run.result["baselines"]["instruction"]["exact_match"],
            )
            for run, variant in zip(study.runs, study.labels["variant"], strict=True)
        ],
        ignore_index=True,
    )
    starts = start_table(curves)
    return Section(
        "Scores",
        "Exact match on validation: the model writes the right answer and ends there. The 95% interval of a task "
        "resamples its runs and its examples; that of a single run (scores.csv) is Wilson's, over examples. A level "
        "is reached at 95% of the best score that any run of the task has.",
        [*_learned(tasks), *_starts(starts)],
        _digest(tasks, starts),
        {"learning_curves": learning_curves(curves)},
        {"scores_by_task": tasks, "starts": starts, "scores": runs},
    )


def _learned(tasks: pd.DataFrame) -> Iterator[str]:
    for variant, own in tasks.groupby("variant", sort=False):
        above = own[own["low"] > own[["majority", "no_prompt"]].max(axis=1)]
        yield (
            f"Tuned from {variant}, the prompts score {spread(own['tuned'], '.1%')} (no prompt {spread(own['no_prompt'], '.1%')}, the "
            f"instruction {spread(own['instruction'], '.1%')}); on {len(above)} of {len(own)} tasks the whole interval lies "
            "above no prompt and above the majority class."
        )


def _starts(starts: pd.DataFrame) -> Iterator[str]:
    if starts["variant"].nunique() > 1:
        parts = [
            f"from {variant} {spread(own['before'])} before any step and a median of "
            f"{_steps(own['median_steps_to_level'].median())} to the level"
            for variant, own in starts.groupby("variant", sort=False)
        ]
        yield f"What they start from decides how soon: {'; '.join(parts)}."


def _steps(median: float) -> str:
    return f"{median:.0f} steps" if np.isfinite(median) else "more steps than were taken"


def _digest(tasks: pd.DataFrame, starts: pd.DataFrame) -> pd.DataFrame:
    soon = {(row["task"], row["variant"]): row["median_steps_to_level"] for row in starts.to_dict("records")}
    return pd.DataFrame(
        [
            {
                "task": row["task"],
                "from": row["variant"],
                "majority": f"{row['majority']:.1%}",
                "no prompt": f"{row['no_prompt']:.1%}",
                "instruction": f"{row['instruction']:.1%}",
                "tuned": f"{row['tuned']:.1%}",
                "95% interval": interval(100 * row["low"], 100 * row["high"], ".0f"),
                "steps to level": f"{soon[row['task'], row['variant']]:.0f}",
                "runs": row["runs"],
                "n": row["n"],
            }
            for row in tasks.to_dict("records")
        ]
    )
