"""Prompts tuned from a mean of other tasks' prompts, beside other starts of the same target and seed (Vu et al. 2022)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from softprompt.analysis.holm import holm
from softprompt.analysis.prompt_transfer import Outcome, score_difference
from softprompt.analysis.sign_flips import sign_flip_p

INSTRUCTION, MOST_SIMILAR, EQUAL_WEIGHTS = "instruction", "most similar source", "equal weights"
Numbers = dict[str, float]


@dataclass(frozen=True)
class MeanComparison:
    """What a run from the mean weighted by similarity came to, and what it is compared with.

    Attributes:
        target: the task.
        seed: of all runs.
        outcome: of the run from the mean.
        others: by name, the outcomes of runs from other starts.
        equal_weights: which examples the mean with equal weights answers exactly, before tuning.
    """

    target: str
    seed: int
    outcome: Outcome
    others: Mapping[str, Outcome]
    equal_weights: Bool[np.ndarray, "E"]


def mean_start_table(comparisons: list[MeanComparison]) -> pd.DataFrame:
    """The mean by target, beside each other start (`other`).

    Returns:
        Exact match in percent, differences in points with 95% intervals, and median steps over runs, as in
        `prompt_transfer_table`, with `other_` where that has `instruction_`. `seeds` counts different seeds. The mean with
        equal weights is not tuned: its values after tuning are NaN.
    """
    lines = []
    for target in dict.fromkeys(one.target for one in comparisons):
        of_target = [one for one in comparisons if one.target == target]
        lines += [
            {"target": target, "other": other, **_line(group, other)}
            for other in (INSTRUCTION, MOST_SIMILAR, EQUAL_WEIGHTS)
            if (group := _having(of_target, other))
        ]
    return pd.DataFrame(lines)


def mean_start_tests(comparisons: list[MeanComparison]) -> pd.DataFrame:
    """The mean against each other start, over all targets and seeds.

    Several runs of one target and seed are one unit, whose value is the mean over them.

    Returns:
        One line per `other` and `score` (before, after, steps). `exact_match`, `other_exact_match`: in percent, means over the
        `units`; `difference`: of these two, in points. For steps these are NaN. `better`, `worse`: in how many units the mean scores
        higher and lower, or is sooner and later. `p`: two-sided, by flipping the signs of the units' values: of differences, and for
        steps of the share of runs that are sooner less the share of those that are later. `p_holm`: corrected over the lines.
    """
    lines = []
    for other in (INSTRUCTION, MOST_SIMILAR, EQUAL_WEIGHTS):
        if not (group := _having(comparisons, other)):
            continue
        for score in ("before",) if other == EQUAL_WEIGHTS else ("before", "after", "steps"):
            values = _by_unit(group, [_difference(one, other, score) for one in group])
            lines.append(
                {
                    "other": other,
                    "score": score,
                    **({} if score == "steps" else _levels(group, other, score)),
                    "better": int((values > 0).sum()),
                    "worse": int((values < 0).sum()),
                    "units": len(values),
                    "p": sign_flip_p(values),
                }
            )
    table = pd.DataFrame(lines)
    return table.assign(p_holm=holm(list(table["p"])))


def _having(comparisons: list[MeanComparison], other: str) -> list[MeanComparison]:
    return [one for one in comparisons if other == EQUAL_WEIGHTS or other in one.others]


def _by_unit(comparisons: list[MeanComparison], values: Sequence[float]) -> Float[np.ndarray, "_"]:
    """The mean of each target and seed. Values that cancel out are 0, without the error of a float sum."""
    units: dict[tuple[str, int], list[float]] = {}
    for one, value in zip(comparisons, values, strict=True):
        units.setdefault((one.target, one.seed), []).append(value)
    return np.array([np.mean(unit) for unit in units.values()]).round(15)


def _answers(
    one: MeanComparison, other: str, score: str
) -> tuple[Bool[np.ndarray, "E"], Bool[np.ndarray, "E"]]:
    """Which examples are answered exactly, before or after tuning, from the mean and from the other start."""
    if other == EQUAL_WEIGHTS:
        return one.outcome.before, one.equal_weights
    return getattr(one.outcome, score), getattr(one.others[other], score)


def _levels(comparisons: list[MeanComparison], other: str, score: str) -> Numbers:
    """Both starts' exact match and its difference, means over units."""
    answers = [_answers(one, other, score) for one in comparisons]
    first, second = (
        100 * float(_by_unit(comparisons, [float(pair[side].mean()) for pair in answers]).mean())
        for side in (0, 1)
    )
    return {"exact_match": first, "other_exact_match": second, "difference": first - second}


def _difference(one: MeanComparison, other: str, score: str) -> float:
    """By how much the mean is better: a share of examples, or 1, 0, -1 for sooner, equally soon, later."""
    if score == "steps":
        ours, theirs = one.outcome.steps, one.others[other].steps
        return float(ours < theirs) - float(ours > theirs)
    first, second = _answers(one, other, score)
    return float(first.mean() - second.mean())


def _line(comparisons: list[MeanComparison], other: str) -> Numbers:
    """One line over the seeds of one target."""
    seeds = [one.seed for one in comparisons]
    line: Numbers = {"seeds": len(set(seeds)), "runs": len(comparisons)}
    for score in ("before",) if other == EQUAL_WEIGHTS else ("before", "after"):
        answers = [_answers(one, other, score) for one in comparisons]
        line |= score_difference(
            seeds, [ours for ours, _ in answers], [theirs for _, theirs in answers], score, "other"
        )
    if other == EQUAL_WEIGHTS:
        return line
    return line | {
        "steps": float(np.median([one.outcome.steps for one in comparisons])),
        "other_steps": float(np.median([one.others[other].steps for one in comparisons])),
    }
