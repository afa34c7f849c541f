"""What the prompts score, and how they came there."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from softprompt.analysis.scores import score_table, steps_to_reach, task_table
from softprompt.report.figures import learning_curves
from softprompt.report.sections import Section
from softprompt.report.study import Study


def scores(study: Study) -> Section:
    """Scores by run and by task, the learning curves, and how soon each start gets there."""
    runs = score_table([run.result for run in study.runs])
    right = {}
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
                init=run.settings.prompt.init,
                no_prompt=run.result["baselines"]["no_prompt"]["exact_match"],
                instruction=run.result["baselines"]["instruction"]["exact_match"],
            )
            for run in study.runs
        ],
        ignore_index=True,
    )
    starts = start_table(curves)
    return Section(
        "Scores",
        "Exact match on validation: the model writes the right answer and ends there. The interval of a task "
        "resamples its runs and its examples; that of a single run (scores.csv) is Wilson's, over examples. A level "
        "is reached at 95% of the best score that any run of the task has.",
        [*_learned(tasks), *_starts(starts)],
        {"learning_curves": learning_curves(curves)},
        {"scores_by_task": tasks, "starts": starts, "scores": runs},
    )


def start_table(curves: pd.DataFrame) -> pd.DataFrame:
    """Per task and start: what the runs score before any step, at best, and when they reach the task's level."""
    rows = []
    for task, of_task in curves.groupby("task", sort=False):
        level = 0.95 * of_task["exact_match"].max()
        for init, own in of_task.groupby("init", sort=False):
            by_run = [curve for _, curve in own.groupby("run", sort=False)]
            steps = [steps_to_reach(curve, level) for curve in by_run]
            rows.append(
                {
                    "task": task,
                    "init": init,
                    "runs": len(by_run),
                    "before": np.mean([curve["exact_match"].iloc[0] for curve in by_run]),
                    "best": np.mean([curve["exact_match"].max() for curve in by_run]),
                    "level": level,
                    "reached_by": int(np.isfinite(steps).sum()),
                    "median_steps_to_level": float(np.median(steps)),
                }
            )
    return pd.DataFrame(rows)


def _learned(tasks: pd.DataFrame) -> Iterator[str]:
    for row in tasks.to_dict("records"):
        yield (
            f"{row['task']} from {row['init']}: {row['tuned']:.1%} tuned (interval {row['low']:.0%} to "
            f"{row['high']:.0%}, {row['runs']} runs, n={row['n']}), against {row['instruction']:.1%} for the instruction, "
            f"{row['no_prompt']:.1%} for no prompt and {row['majority']:.1%} for the majority class."
        )


def _starts(starts: pd.DataFrame) -> Iterator[str]:
    for task, rows in starts.groupby("task", sort=False):
        if len(rows) > 1:
            parts = [
                f"from {row['init']} {_steps(row['median_steps_to_level'])} (before: {row['before']:.0%})"
                for row in rows.to_dict("records")
            ]
            yield f"{task}: steps until {rows['level'].iloc[0]:.0%} are reached, median: {', '.join(parts)}."


def _steps(median: float) -> str:
    return f"{median:.0f} steps" if np.isfinite(median) else "not by half of the runs"
