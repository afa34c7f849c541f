"""What the prompts score, and how they came there."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.scores import score_table, start_table, task_table
from softprompt.report.figures import learning_curves
from softprompt.report.sections import Section, interval, spread
from softprompt.study import Study


def scores(study: Study) -> Section:
    """Scores by run and by task, the learning curves, and how soon each start gets there."""
    results = [{**result, "run": run.id} for run, result in zip(study.runs, study.results, strict=True)]
    runs = score_table(results, list(study.labels["variant"]))
    right: dict[str, Bool[np.ndarray, "E"]] = {}
    for task in study.targets:
        own = study.labels.index[study.labels["task"] == task]
        answers = study.answers([[study.prompts[index].matrix] for index in own], task)
        right |= {study.labels["run"][i]: found.exact_match[0] for i, found in zip(own, answers, strict=True)}
    tasks = task_table(runs, right)
    curves = study.learning_curves.merge(
        runs[["run", "task", "no_prompt", "instruction"]], on=["run", "task"]
    )
    starts = start_table(curves)
    return Section(
        "Scores",
        "Exact match on validation: the model writes the right answer and ends there. The 95% interval of a task "
        "resamples its runs and its examples (with one run, examples alone; where all agree it is Wilson's); that of a single run (scores.csv) is "
        "Wilson's, over examples. The level of a task is 95% of the best score that any of its runs has; it and the curves "
        "are on the examples that the best step is picked on, which are the same unless data.holdout is set.",
        [*_learned(tasks), *_starts(starts), *_untrained(runs)],
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
    learned = starts[starts["level"] > 0]
    if learned["variant"].nunique() > 1:
        parts = [
            f"from {variant} {_steps(own['median_steps_to_level'].median())} ({spread(own['before'])} before any step)"
            for variant, own in learned.groupby("variant", sort=False)
        ]
        yield f"Steps to the level, median over tasks and runs: {'; '.join(parts)}."


def _untrained(runs: pd.DataFrame) -> Iterator[str]:
    for variant, own in runs[runs["best_step"] == 0].groupby("variant", sort=False):
        yield (
            f"{len(own)} of the {(runs['variant'] == variant).sum()} runs from {variant} kept the prompt that they started "
            f"from ({', '.join(dict.fromkeys(own['task']))}): no step lowered the loss that the best one is picked by. What is "
            "said below of their prompts is said of the start."
        )


def _steps(median: float) -> str:
    return f"{median:.0f}" if np.isfinite(median) else "more than were taken"


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
                "steps to level": _steps(soon[row["task"], row["variant"]]),
                "runs": row["runs"],
                "n": row["n"],
            }
            for row in tasks.to_dict("records")
        ]
    )
