"""Runs from the mean of other tasks' prompts beside those from one prompt: their table, tests and findings."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.mean_start import (
    EQUAL_WEIGHTS,
    INSTRUCTION,
    MOST_SIMILAR,
    MeanComparison,
    mean_start_table,
    mean_start_tests,
)
from softprompt.analysis.prompt_mean import mean_prompt
from softprompt.analysis.prompt_transfer import Outcome
from softprompt.report.formatting import format_interval, format_range
from softprompt.report.spot_runs import RunFromMean, RunFromPrompt, start_of
from softprompt.runs import Run
from softprompt.study import Study

SIGNIFICANT = 0.05  # p
SOURCE = "weighted mean"
HOW = (
    "The weighted mean (prompt=mean) is over the other tasks' prompts; their weights are their similarities to the target's prompt, "
    "of one seed. It is compared with the most similar of these prompts as a start and, before tuning, with their mean with equal "
    "weights. A unit of the mean's tests is a target with a seed, and several runs of one are averaged. p are by exchanging the two "
    "starts within units, corrected for all tests of the mean (Holm 1979); the seeds of a target share its examples."
)


@dataclass(frozen=True)
class MeanTables:
    """The tables on runs from means.

    Attributes:
        by_target: see `mean_start_table`.
        tests: see `mean_start_tests`.
        weights: by target, seed and source.
        left_out: which runs are not compared with the most similar task's prompt, a line per reason.
    """

    by_target: pd.DataFrame
    tests: pd.DataFrame
    weights: pd.DataFrame
    left_out: list[str]

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """By file name."""
        return {"spot_mean": self.by_target, "spot_mean_tests": self.tests, "spot_weights": self.weights}


def mean_tables(
    study: Study,
    from_means: list[RunFromMean],
    from_prompts: list[RunFromPrompt],
    similarities: pd.DataFrame,
    outcomes: dict[str, Outcome],
) -> MeanTables:
    """The runs from means beside the other starts of their targets and seeds.

    Args:
        study: with the model that answers with the means of equal weights.
        from_means: at least one.
        from_prompts: the runs from one prompt.
        similarities: lines with `source`, `target` and `similarity`; the most similar source is the same for all seeds.
        outcomes: by path, of all these runs.
    """
    comparisons: list[MeanComparison] = []
    weights: list[dict[str, Any]] = []
    left_out: dict[str, list[str]] = {}  # labels of runs, by reason
    for one in from_means:
        settings = one.run.settings
        others = {INSTRUCTION: outcomes[str(one.from_instruction.path)]}
        nearest = from_most_similar(one, from_prompts, similarities)
        if len(nearest) == 1:
            others[MOST_SIMILAR] = outcomes[str(nearest[0].run.path)]
        else:
            reason = "several runs from it are" if nearest else "no run from it is"
            left_out.setdefault(reason, []).append(one.run.label)
        comparisons.append(
            MeanComparison(
                settings.task.name,
                settings.seed,
                outcomes[str(one.run.path)],
                others,
                _with_equal_weights(study, one),
            )
        )
        weights += [
            {
                "target": settings.task.name,
                "seed": settings.seed,
                "source": source.settings.task.name,
                "run": source.id,
                "weight": weight,
            }
            for source, weight in zip(one.sources, one.weights, strict=True)
        ]
    return MeanTables(
        mean_start_table(comparisons),
        mean_start_tests(comparisons),
        pd.DataFrame(weights),
        [
            f"not compared with the most similar task's prompt, because {reason} otherwise like them: {', '.join(labels)}"
            for reason, labels in left_out.items()
        ],
    )


def _with_equal_weights(study: Study, one: RunFromMean) -> Bool[np.ndarray, "E"]:
    """Which examples the mean with equal weights answers exactly, untuned."""
    prompts = [source.best_prompt() for source in one.sources]
    weights = [1 / len(prompts)] * len(prompts)
    rows = mean_prompt([prompt.matrix for prompt in prompts], weights, len(one.run.initial_prompt().matrix))
    start = start_of(study, one.run, replace(prompts[0], matrix=rows))
    (answers,) = study.answers([[start]], one.run.settings.task.name)
    return np.asarray(answers.exact_match[0])


def from_most_similar(
    one: RunFromMean, from_prompts: list[RunFromPrompt], similarities: pd.DataFrame
) -> list[RunFromPrompt]:
    """The runs from the most similar of the mean's tasks that are otherwise like the run from the mean.

    They have its target, seed, method, optimiser and `prompt.length`.
    """
    target, sources = one.run.settings.task.name, [run.settings.task.name for run in one.sources]
    candidates = similarities[(similarities["target"] == target) & similarities["source"].isin(sources)]
    by_similarity = candidates.dropna().sort_values("similarity", ascending=False, kind="stable")
    nearest = next(iter(by_similarity["source"]), None)
    return [
        other
        for other in from_prompts
        if other.source.settings.task.name == nearest and _what_is_equal(other.run) == _what_is_equal(one.run)
    ]


def _what_is_equal(run: Run) -> tuple[object, ...]:
    settings = run.settings
    return settings.task.name, settings.seed, settings.method, settings.optim, settings.prompt.length


def mean_findings(means: MeanTables) -> Iterator[str]:
    """What the weighted mean scores, whether it is better than other starts, and whether the weights matter."""
    table = means.by_target[means.by_target["other"] == INSTRUCTION]
    differences = "; ".join(
        f"{row['target']} {row['difference_after']:+z.1f} {format_interval(row['low_after'], row['high_after'], '+z.1f')}"
        for row in table.to_dict("records")
    )
    yield (
        f"The mean of the other tasks' prompts, weighted by similarity, scores {format_range(table['before'] / 100)} before tuning and "
        f"{format_range(table['after'] / 100, '.1%')} tuned, by target. Points over the instruction's start: {differences}."
    )
    number = len(means.tests)
    for other in (INSTRUCTION, MOST_SIMILAR):
        tests = means.tests[means.tests["other"] == other].to_dict("records")
        if tests:
            before, after, steps = tests
            yield (
                f"Tuned, the weighted mean is {_verdict(after)} {_named(other)}: {after['difference']:+z.1f} points, mean over "
                f"{_units(after)} (corrected p={after['p_holm']:.3f}); before tuning {before['difference']:+z.1f} "
                f"(corrected p={before['p_holm']:.3f}). It is sooner in {steps['better']} and later in {steps['worse']} of "
                f"these (corrected p={steps['p_holm']:.3f}).{_smallest_p(after, number)}"
            )
    (null,) = means.tests[means.tests["other"] == EQUAL_WEIGHTS].to_dict("records")
    weights = format_range(means.weights["weight"], ".2f")
    yield (
        f"Null: the mean with equal weights scores {null['other_exact_match']:.1f}% before tuning, and with weights by similarity "
        f"({weights}) {null['exact_match']:.1f}%: {null['difference']:+z.1f} points, mean over {_units(null)} "
        f"(corrected p={null['p_holm']:.3f}). {_of_weights(null)}{_smallest_p(null, number)}"
    )


def _verdict(test: Mapping[Hashable, Any]) -> str:
    if test["p_holm"] >= SIGNIFICANT:
        return "not told apart from"
    return "better than" if test["difference"] > 0 else "worse than"


def _named(other: str) -> str:
    return "the instruction as a start" if other == INSTRUCTION else "the most similar task's prompt"


def _units(test: Mapping[Hashable, Any]) -> str:
    return f"{test['units']} {'pair' if test['units'] == 1 else 'pairs'} of target and seed"


def _smallest_p(test: Mapping[Hashable, Any], tests: int) -> str:
    """The smallest p before correction, where it is so large that the correction for all tests may leave none below 0.05."""
    smallest = 2 / 2 ** test["units"]
    if test["p_holm"] < SIGNIFICANT or smallest * tests < SIGNIFICANT:
        return ""
    return f" With {_units(test)} no p can be below {smallest:.2g}, before the correction for {tests} tests."


def _of_weights(null: Mapping[Hashable, Any]) -> str:
    if null["p_holm"] >= SIGNIFICANT:
        return "The weights are not shown to add anything."
    return f"With weights by similarity the mean scores {'higher' if null['difference'] > 0 else 'lower'} before tuning."


def digest_lines(means: MeanTables) -> pd.DataFrame:
    """The weighted mean beside the instruction, as lines of `prompt_transfer_table`."""
    lines = means.by_target[means.by_target["other"] == INSTRUCTION]
    return lines.rename(columns=lambda name: name.replace("other_", "instruction_")).assign(source=SOURCE)
