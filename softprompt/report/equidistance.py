"""Distances between prompts of one task, beside those of untrained prompts, and what may be said about them."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from softprompt.analysis.bootstrap import percentile_interval
from softprompt.analysis.equidistance import equidistance_table, variation_of_sets
from softprompt.analysis.geometry import distance_table
from softprompt.analysis.random_prompts import random_prompts
from softprompt.report.formatting import format_interval, format_range
from softprompt.report.registry import Claim, Question, Verdict
from softprompt.study import Space, Study

DRAWS = 400  # sets of random prompts
NEARLY_EQUIDISTANT = 0.1  # coefficient of variation

InSpaces = dict[Space, list[Float[Tensor, "_ d"]]]


def distance_tables(
    study: Study, tuned: InSpaces, initial: InSpaces, alignment: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The distances of all pairs of prompts, and how much they vary among the prompts of one task and variant.

    Args:
        study: the runs.
        tuned: by space, the prompt of every run.
        initial: by space, the prompt that every run started from.
        alignment: a key of `ALIGNMENTS`.

    Returns:
        One line per pair and space; one line per task, variant and space, for pairs of runs that did not keep their
        initial prompt. In the second, `starts` is the coefficient of variation of the same runs' starts (NaN if these
        coincide), and `random`, `random_low` and `random_high` are the median and the 95% range of as many random prompts
        of equal length, drawn afresh `DRAWS` times.
    """
    trained = {run.id for run, result in zip(study.runs, study.results, strict=True) if result["best_step"]}
    rows_of = {
        (task, variant): len(matrix)
        for task, variant, matrix in zip(
            study.labels["task"], study.labels["variant"], study.initial_matrices, strict=True
        )
    }

    @cache
    def random_variation(runs: int, rows: int, space: Space) -> tuple[float, float, float]:
        drawn = random_prompts([rows] * runs, study.backbone.width, study.backbone.embedding_scale, DRAWS)
        sets = ([study.in_space(prompt, space) for prompt in prompts] for prompts in drawn)
        variation = variation_of_sets(sets, alignment)
        return float(np.median(variation)), *percentile_interval(variation)

    distances, equidistance = [], []
    for space, prompts in tuned.items():
        table = _pairs(study, prompts, alignment)
        starts = _pairs(study, initial[space], alignment)
        distances.append(table.assign(initial_distance=starts["distance"], space=space))
        compared = table["first_variant"] == table["second_variant"]
        # Runs that kept a shared initial prompt have a distance of 0.
        compared &= table["first"].isin(trained) & table["second"].isin(trained)
        for variant, group in table[compared].groupby("first_variant", sort=False):
            lines = equidistance_table(group)
            if lines.empty:
                continue
            of_starts = equidistance_table(starts.loc[group.index]).set_index("task")
            drawn = [
                random_variation(runs, rows_of[task, str(variant)], space)
                for task, runs in zip(lines["task"], lines["runs"], strict=True)
            ]
            lines["starts"] = lines["task"].map(of_starts["coefficient_of_variation"])
            lines[["random", "random_low", "random_high"]] = drawn
            equidistance.append(lines.assign(variant=variant, space=space))
    return (
        pd.concat(distances, ignore_index=True),
        pd.concat(equidistance, ignore_index=True) if equidistance else pd.DataFrame(),
    )


def _pairs(study: Study, prompts: list[Float[Tensor, "_ d"]], alignment: str) -> pd.DataFrame:
    table = distance_table(list(study.labels["run"]), list(study.labels["task"]), prompts, alignment)
    variants = dict(zip(study.labels["run"], study.labels["variant"], strict=True))
    return table.assign(
        first_variant=table["first"].map(variants), second_variant=table["second"].map(variants)
    )


def equidistance_findings(table: pd.DataFrame) -> Iterator[str]:
    """One statement per variant on the model input: a finding only where random prompts do not show the same.

    Args:
        table: the second of `distance_tables`.
    """
    if table.empty:
        return
    model_input = table[(table["space"] == "model input") & table["low"].notna()]
    for variant, group in model_input.groupby("variant", sort=False):
        variation = group["coefficient_of_variation"]
        starts = group["starts"].dropna()
        untrained = (
            f"untrained starts: {format_range(starts)}; "
            if len(starts)
            else "the untrained starts coincide, so the comparison is with random starts of equal length and scale, drawn "
            "afresh; "
        )
        low, high = 100 * group["random_low"].min(), 100 * group["random_high"].max()
        yield (
            f"Initialised from {variant}, the distances (model input) between prompts of one task have a coefficient of "
            f"variation of {format_range(variation)} ({untrained}random prompts: {format_range(group['random'])}, within "
            f"{format_interval(low, high, '.0f')}%). {_verdict(group)}"
        )


def equidistance_claims(table: pd.DataFrame) -> Iterator[Claim]:
    """The reference study's claim for the first variant, on the model input.

    Args:
        table: the second of `distance_tables`.
    """
    if table.empty:
        return
    group = table[(table["space"] == "model input") & table["low"].notna()]
    group = group[group["variant"] == table["variant"].iloc[0]]
    if group.empty:
        return
    closer = (group["coefficient_of_variation"] < group["random_low"]).all()
    farther = (group["coefficient_of_variation"] > group["random_high"]).all()
    yield Claim(
        Question.STABILITY,
        "The prompts of one task are nearly equidistant from each other.",
        Verdict.HOLDS if closer else Verdict.FAILS if farther else Verdict.OPEN,
        next(equidistance_findings(group)),
    )


def _verdict(group: pd.DataFrame) -> str:
    variation = group["coefficient_of_variation"]
    below, above = variation < group["random_low"], variation > group["random_high"]
    tasks = len(group)
    if below.all():
        return "They are closer to equidistant than random prompts for every task."
    count = (
        f"below the range of random prompts for {below.sum()} of {tasks} tasks, above it for {above.sum()}"
    )
    if above.all():
        count = "above the range of random prompts for every task" if tasks > 1 else "above their range"
        return f"This is {count}: tuning made the prompts less equidistant than random ones, not more."
    if group["high"].max() < NEARLY_EQUIDISTANT:
        return (
            f"They are nearly equidistant, but the null shows it too ({count}): random vectors in many dimensions are "
            "nearly equidistant."
        )
    return f"They are not shown to be nearly equidistant ({count}); random vectors in many dimensions nearly are."
