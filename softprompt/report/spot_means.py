"""Runs from the mean of other tasks' prompts beside those from one prompt: their table, tests and findings."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from softprompt.analysis.mean_start import (
    EQUAL_WEIGHTS,
    INSTRUCTION,
    MOST_SIMILAR,
    MeanStart,
    mean_start_table,
    mean_start_tests,
)
from softprompt.analysis.prompt_mean import mean_prompt, similarity_weights
from softprompt.analysis.prompt_transfer import Outcome
from softprompt.report.formatting import format_interval, format_range
from softprompt.report.spot_runs import FromMean, Started
from softprompt.study import Study

LEVEL = 0.05  # of p
SOURCE = "weighted mean"
HOW = (
    "The weighted mean (prompt=mean) is over the other tasks' prompts; their weights are their similarities to the target's prompt, "
    "of one seed. It is compared with the most similar of these prompts as a start and, before tuning, with their mean with equal "
    "weights. p are by exchanging the two starts within pairs of target and seed, corrected for all tests of the mean "
    "(Holm 1979); the seeds of a target share its examples."
)


@dataclass(frozen=True)
class Means:
    """What the runs from means came to: `table` by target, `tests` over targets, `weights` by target, seed and source."""

    table: pd.DataFrame
    tests: pd.DataFrame
    weights: pd.DataFrame

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """By file name."""
        return {"spot_mean": self.table, "spot_mean_tests": self.tests, "spot_weights": self.weights}


def means_of(
    study: Study,
    means: list[FromMean],
    started: list[Started],
    similarities: pd.DataFrame,
    outcomes: dict[str, Outcome],
) -> Means:
    """The runs from means beside the other starts of their targets and seeds.

    Args:
        study: with the model that answers with the means of equal weights.
        means: at least one.
        started: the runs from one prompt.
        similarities: lines with `source`, `target` and `similarity`; the most similar source is the same for all seeds.
        outcomes: by path, of all these runs.
    """
    starts, weights = [], []
    for one in means:
        settings = one.run.settings
        others = {INSTRUCTION: outcomes[str(one.from_instruction.path)]}
        if nearest := _from_most_similar(one, started, similarities):
            others[MOST_SIMILAR] = outcomes[str(nearest.run.path)]
        prompts = [source.best_prompt().matrix for source in one.sources]
        rows = len(one.run.initial_prompt().matrix)
        equal = mean_prompt(prompts, [1 / len(prompts)] * len(prompts), rows)
        (answers,) = study.answers([[equal]], settings.task.name)
        starts.append(
            MeanStart(
                settings.task.name,
                settings.seed,
                outcomes[str(one.run.path)],
                others,
                np.asarray(answers.exact_match[0]),
            )
        )
        of_sources = similarity_weights(prompts, one.like.best_prompt().matrix)
        weights += [
            {
                "target": settings.task.name,
                "seed": settings.seed,
                "source": source.settings.task.name,
                "run": source.id,
                "weight": weight,
            }
            for source, weight in zip(one.sources, of_sources, strict=True)
        ]
    return Means(mean_start_table(starts), mean_start_tests(starts), pd.DataFrame(weights))


def _from_most_similar(one: FromMean, started: list[Started], similarities: pd.DataFrame) -> Started | None:
    """The run of the same target and seed from the most similar of the mean's tasks; None if there is none."""
    target, sources = one.run.settings.task.name, [run.settings.task.name for run in one.sources]
    candidates = similarities[(similarities["target"] == target) & similarities["source"].isin(sources)]
    by_similarity = candidates.dropna().sort_values("similarity", ascending=False, kind="stable")
    nearest = next(iter(by_similarity["source"]), None)
    return next(
        (
            other
            for other in started
            if other.source.settings.task.name == nearest
            and (other.run.settings.task.name, other.run.settings.seed) == (target, one.run.settings.seed)
        ),
        None,
    )


def mean_findings(means: Means) -> Iterator[str]:
    """What the weighted mean scores, whether it is better than other starts, and whether the weights matter."""
    table = means.table[means.table["other"] == INSTRUCTION]
    differences = "; ".join(
        f"{row['target']} {row['difference_after']:+z.1f} {format_interval(row['low_after'], row['high_after'], '+z.1f')}"
        for row in table.to_dict("records")
    )
    yield (
        f"The mean of the other tasks' prompts, weighted by similarity, scores {format_range(table['before'] / 100)} before tuning and "
        f"{format_range(table['after'] / 100, '.1%')} tuned. Points over the instruction's start: {differences}."
    )
    for other in (INSTRUCTION, MOST_SIMILAR):
        tests = means.tests[means.tests["other"] == other].to_dict("records")
        if tests:
            before, after, steps = tests
            yield (
                f"Tuned, the weighted mean is {_verdict(after)} {_named(other)}: {after['difference']:+z.1f} points, mean over "
                f"targets (corrected p={after['p_holm']:.3f}); before tuning {before['difference']:+z.1f} "
                f"(corrected p={before['p_holm']:.3f}). It is sooner in {steps['better']} and later in {steps['worse']} of "
                f"{steps['units']} pairs (corrected p={steps['p_holm']:.3f})."
            )
    (null,) = means.tests[means.tests["other"] == EQUAL_WEIGHTS].to_dict("records")
    of_null = means.table[means.table["other"] == EQUAL_WEIGHTS]
    weights = format_range(means.weights["weight"], ".2f")
    yield (
        f"Null: the mean with equal weights scores {of_null['other_before'].mean():.1f}% before tuning, and with weights by similarity "
        f"({weights}) {of_null['before'].mean():.1f}%: {null['difference']:+z.1f} points (corrected p={null['p_holm']:.3f}). "
        f"{_of_weights(null)}"
    )


def _verdict(test: Mapping[Hashable, Any]) -> str:
    if test["p_holm"] >= LEVEL:
        return "not told apart from"
    return "better than" if test["difference"] > 0 else "worse than"


def _named(other: str) -> str:
    return "the instruction as a start" if other == INSTRUCTION else "the most similar task's prompt"


def _of_weights(null: Mapping[Hashable, Any]) -> str:
    if null["p_holm"] >= LEVEL:
        return "The weights are not shown to add anything."
    return f"The weights make the mean {'better' if null['difference'] > 0 else 'worse'}."


def digest_lines(means: Means) -> pd.DataFrame:
    """The weighted mean beside the instruction, as lines of `prompt_transfer_table`."""
    lines = means.table[means.table["other"] == INSTRUCTION]
    return lines.rename(columns=lambda name: name.replace("other_", "instruction_")).assign(source=SOURCE)
