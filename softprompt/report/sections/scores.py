"""What the prompts score, beside scores without tuning, and how soon they get there."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.copies import prompt_key
from softprompt.analysis.scores import score_table, steps_to_level_table, task_table
from softprompt.analysis.starts import score_differences, sooner_test
from softprompt.report.formatting import format_interval, format_range, format_runs
from softprompt.report.learning_curves import learning_curves_figure
from softprompt.report.registry import Claim, Question, Section, Verdict, section
from softprompt.settings import AnalysisSettings
from softprompt.study import Study

EQUAL_WITHIN = 5.0  # points of exact match: scores that differ by less are called alike
SIGNIFICANT = 0.05


@section(place=10, needs_rows=False)
def scores(study: Study, settings: AnalysisSettings) -> Section:
    """Scores by run and by task, learning curves, and the steps to a common level."""
    runs, tasks = score_tables(study)
    curves = study.learning_curves.merge(
        runs[["run", "task", "no_prompt", "instruction"]], on=["run", "task"]
    )
    steps = steps_to_level_table(curves)
    return Section(
        title="Scores",
        how=(
            "Exact match on the validation set: greedy generation writes the right answer and ends there (with free "
            "text, a right answer after case, punctuation and articles are removed). The 95% interval "
            "of a task is for new runs on new examples, from the variance between runs and between examples and Student's t "
            "(with one run, for new examples only: Wilson's interval). Runs with exactly the same prompt count once. The "
            "interval of a single run (scores.csv) is Wilson's, over examples. The level of a task is 95% of the "
            "best exact match of any of its runs. Level and curves are measured on the examples that select the best step, "
            "which are the validation set unless data.holdout is set. In the figure thin lines are runs and thick lines "
            "their mean, in which a run that has stopped keeps its last value."
        ),
        findings=[*_tuned(tasks), *_steps_to_level(steps), *_untrained(runs)],
        digest=_digest(tasks, steps),
        claims=list(_claims(tasks, curves, _of_one_method(study))),
        drawings={"learning_curves": learning_curves_figure(curves, _caption(steps))},
        tables={"scores_by_task": tasks, "steps_to_level": steps, "scores": runs},
    )


@cache  # the section on methods uses it, too
def score_tables(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`score_table` and `task_table` of a study's runs."""
    results = [{**result, "run": run.id} for run, result in zip(study.runs, study.results, strict=True)]
    runs = score_table(results, list(study.labels["variant"]))
    correct: dict[str, Bool[np.ndarray, "E"]] = {}
    for task in study.targets:
        indices = study.labels.index[study.labels["task"] == task]
        answers = study.answers([[study.prompts[index].matrix] for index in indices], task)
        for index, of_run in zip(indices, answers, strict=True):
            correct[study.labels["run"][index]] = of_run.exact_match[0]
    keys = {
        run: prompt_key(prompt.matrix) for run, prompt in zip(study.labels["run"], study.prompts, strict=True)
    }
    return runs, task_table(runs, correct, keys)


def _of_one_method(study: Study) -> list[str]:
    """The variants whose method is that of the first. The claims are on starts; the section on methods compares methods."""
    method = study.runs[0].settings.method
    own = [run.settings.method == method for run in study.runs]
    return list(dict.fromkeys(study.labels["variant"][own]))


def _caption(steps: pd.DataFrame) -> str:
    parts = [
        f"from {variant}, {format_range(group['initial_exact_match'])} before the first step and "
        f"{format_range(group['best_exact_match'])} at best"
        for variant, group in steps.groupby("variant", sort=False)
    ]
    return f"Exact match by step (logarithmic), means over runs: {'; '.join(parts)}."


def _claims(tasks: pd.DataFrame, curves: pd.DataFrame, variants: list[str]) -> Iterator[Claim]:
    """Does the start matter? The study's claims, for the first of these variants against each other one."""
    first, *others = variants
    for other in others:
        differences = score_differences(tasks, first, other)
        if differences.empty:
            continue
        higher, lower = (differences["low"] > 0).sum(), (differences["high"] < 0).sum()
        least, most = differences["low"].min(), differences["high"].max()
        half = len(differences) / 2
        alike = least > -EQUAL_WITHIN and most < EQUAL_WITHIN
        yield Claim(
            Question.STABILITY,
            f"Prompts that start from {first} end with higher scores than prompts that start from {other}.",
            Verdict.HOLDS if higher > half else Verdict.FAILS if alike or lower > half else Verdict.OPEN,
            f"Difference in exact match: {format_range(differences['difference'], '+.1f')} points; the interval lies above 0 "
            f"on {higher} of {len(differences)} tasks and below 0 on {lower}"
            + (f", and within ±{EQUAL_WITHIN} points on all." if alike else ".")
            + f" All intervals together: {format_interval(least, most, '+.1f')}.",
        )
        test = sooner_test(curves, first, other)
        decided = test["p"] <= SIGNIFICANT
        yield Claim(
            Question.STABILITY,
            f"Prompts that start from {first} get there in fewer steps.",
            Verdict.OPEN if not decided else Verdict.HOLDS if test["share"] > 0.5 else Verdict.FAILS,
            f"In {test['share']:.0%} of the pairs of runs, the one from {first} reaches the task's level first (50% if the "
            f"start made no difference; p={test['p']:.4f} by shuffling runs within {test['tasks']} tasks). The level is 95% "
            "of the task's best exact match.",
            "learning_curves",
        )


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
                "runs": format_runs(row["runs"], row["distinct_runs"]),
                "n": row["n"],
            }
            for row in tasks.to_dict("records")
        ]
    )
