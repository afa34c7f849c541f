"""What the prompts score, beside scores without tuning, and how soon they get there."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Bool
from matplotlib import rc_context
from matplotlib.figure import Figure

from softprompt.analysis.scores import score_table, steps_to_level_table, task_table
from softprompt.report.drawing import STYLE, Drawing
from softprompt.report.formatting import format_interval, format_range
from softprompt.report.registry import Section, section
from softprompt.report.style import colour_of
from softprompt.settings import AnalysisSettings
from softprompt.study import Study


@section(place=10)
def scores(study: Study, settings: AnalysisSettings) -> Section:
    """Scores by run and by task, learning curves, and the steps to a common level."""
    results = [{**result, "run": run.id} for run, result in zip(study.runs, study.results, strict=True)]
    runs = score_table(results, list(study.labels["variant"]))
    correct: dict[str, Bool[np.ndarray, "E"]] = {}
    for task in study.targets:
        indices = study.labels.index[study.labels["task"] == task]
        answers = study.answers([[study.prompts[index].matrix] for index in indices], task)
        for index, of_run in zip(indices, answers, strict=True):
            correct[study.labels["run"][index]] = of_run.exact_match[0]
    tasks = task_table(runs, correct)
    curves = study.learning_curves.merge(
        runs[["run", "task", "no_prompt", "instruction"]], on=["run", "task"]
    )
    steps = steps_to_level_table(curves)
    return Section(
        title="Scores",
        how=(
            "Exact match on the validation set: greedy generation writes the right answer and ends there. The 95% interval "
            "of a task resamples its runs and its examples (with one run, examples only; if all examples agree, it is "
            "Wilson's interval). The interval of a single run (scores.csv) is Wilson's, over examples. The level of a "
            "task is 95% of the best exact match of any of its runs. Level and curves are measured on the examples that "
            "select the best step, which are the validation set unless data.holdout is set. In the figure thin lines are "
            "runs and thick lines their mean, in which a run that has stopped keeps its last value."
        ),
        findings=[*_tuned(tasks), *_steps_to_level(steps), *_untrained(runs)],
        digest=_digest(tasks, steps),
        drawings={"learning_curves": _figure(curves)},
        tables={"scores_by_task": tasks, "steps_to_level": steps, "scores": runs},
    )


@rc_context(STYLE)
def _figure(curves: pd.DataFrame) -> Drawing:
    """Exact match by step, a panel per task: a thin line per run, a thick line for the mean of a variant's runs."""
    tasks = list(dict.fromkeys(curves["task"]))
    figure = Figure(figsize=(2.4 * len(tasks) + 0.6, 2.5), layout="constrained")
    drawing = Drawing(figure)
    axes = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    colours = colour_of(list(curves["variant"]))
    for axis, task in zip(axes, tasks, strict=True):
        of_task = curves[curves["task"] == task]
        for (variant, run), points in of_task.groupby(["variant", "run"], sort=False):
            (line,) = axis.plot(
                points["step"], points["exact_match"], color=colours[variant], alpha=0.35, lw=0.9
            )
            best, last_step = points["exact_match"].max(), points["step"].iloc[-1]
            drawing.tip(line, f"{run}: best {best:.1%}, stopped after {last_step:.0f} steps")
        for variant, points in of_task.groupby("variant", sort=False):
            # A run that has stopped keeps its last value in the mean.
            by_run = points.pivot(index="step", columns="run", values="exact_match").ffill()
            axis.plot(
                by_run.index, by_run.mean(axis=1), color=colours[variant], lw=2, label=f"from {variant}"
            )
        for name, style in (("no_prompt", ":"), ("instruction", "--")):
            axis.axhline(of_task[name].iloc[0], color="#555555", ls=style, lw=1, label=name.replace("_", " "))
        axis.set(title=task, xlabel="step", ylim=(-0.02, 1.04))
    axes[0].set_ylabel("exact match")
    axes[-1].legend(loc="lower right", fontsize=7)
    return drawing


def _tuned(tasks: pd.DataFrame) -> Iterator[str]:
    for variant, group in tasks.groupby("variant", sort=False):
        above = group[group["low"] > group[["majority", "no_prompt"]].max(axis=1)]
        yield (
            f"Initialised from {variant}, the tuned prompts score {format_range(group['tuned'], '.1%')} (no prompt "
            f"{format_range(group['no_prompt'], '.1%')}, the instruction as text "
            f"{format_range(group['instruction'], '.1%')}). On {len(above)} of {len(group)} tasks the whole interval lies "
            "above both no prompt and the majority class."
        )


def _steps_to_level(steps: pd.DataFrame) -> Iterator[str]:
    known = steps[steps["level"] > 0]
    if known["variant"].nunique() > 1:
        parts = [
            f"{_steps(group['median_steps_to_level'].median())} from {variant} "
            f"({format_range(group['initial_exact_match'])} before the first step)"
            for variant, group in known.groupby("variant", sort=False)
        ]
        yield f"Steps to the level (median over tasks of the median over runs): {'; '.join(parts)}."


def _untrained(runs: pd.DataFrame) -> Iterator[str]:
    for variant, group in runs[runs["best_step"] == 0].groupby("variant", sort=False):
        yield (
            f"{len(group)} of the {(runs['variant'] == variant).sum()} runs from {variant} kept their initial prompt "
            f"({', '.join(dict.fromkeys(group['task']))}): no step lowered the loss that selects the best step. For these "
            "runs all sections describe the initial prompt."
        )


def _steps(median: float) -> str:
    return f"{median:.0f}" if np.isfinite(median) else "not reached"


def _digest(tasks: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    median_steps = {
        (row["task"], row["variant"]): row["median_steps_to_level"] for row in steps.to_dict("records")
    }
    return pd.DataFrame(
        [
            {
                "task": row["task"],
                "initialised from": row["variant"],
                "majority class": f"{row['majority']:.1%}",
                "no prompt": f"{row['no_prompt']:.1%}",
                "instruction": f"{row['instruction']:.1%}",
                "tuned": f"{row['tuned']:.1%}",
                "95% interval": format_interval(100 * row["low"], 100 * row["high"], ".0f"),
                "median steps to level": _steps(median_steps[row["task"], row["variant"]]),
                "runs": row["runs"],
                "n": row["n"],
            }
            for row in tasks.to_dict("records")
        ]
    )
