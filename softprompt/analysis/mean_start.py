"""Prompts tuned from a mean of other tasks' prompts, beside other starts of the same target and seed (Vu et al. 2022)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool

from softprompt.analysis.holm import holm
from softprompt.analysis.prompt_transfer import Outcome, score_difference
from softprompt.analysis.sign_flips import sign_flip_p

INSTRUCTION, MOST_SIMILAR, EQUAL_WEIGHTS = "instruction", "most similar source", "equal weights"
Numbers = dict[str, float]


@dataclass(frozen=True)
class MeanStart:
    """A run from the mean weighted by similarity, and what it is compared with.

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


def mean_start_table(starts: list[MeanStart]) -> pd.DataFrame:
    """The mean by target, beside each other start (`other`).

    Returns:
        Exact match in percent, differences in points with 95% intervals, and median steps, as in `prompt_transfer_table`, with
        `other_` where that has `instruction_`. The mean with equal weights is not tuned: its values after tuning are NaN.
    """
    lines = []
    for target in dict.fromkeys(start.target for start in starts):
        of_target = [start for start in starts if start.target == target]
        lines += [
            {"target": target, "other": other, **_line(group, other)}
            for other in (INSTRUCTION, MOST_SIMILAR, EQUAL_WEIGHTS)
            if (group := _having(of_target, other))
        ]
    return pd.DataFrame(lines)


def mean_start_tests(starts: list[MeanStart]) -> pd.DataFrame:
    """The mean against each other start, over all targets and seeds.

    Returns:
        One line per `other` and `score` (before, after, steps). `difference`: in points, mean over the `units`, the pairs of runs
        of one target and seed; for steps NaN. `better`, `worse`: for how many of them the mean scores higher and lower, or is
        sooner and later. `p`: two-sided, by flipping the signs of the units' differences, for steps of better and worse;
        `p_holm`: corrected over the lines.
    """
    lines = []
    for other in (INSTRUCTION, MOST_SIMILAR, EQUAL_WEIGHTS):
        if not (group := _having(starts, other)):
            continue
        for score in ("before",) if other == EQUAL_WEIGHTS else ("before", "after", "steps"):
            values = np.array([_difference(start, other, score) for start in group])
            lines.append(
                {
                    "other": other,
                    "score": score,
                    "difference": np.nan if score == "steps" else 100 * float(values.mean()),
                    "better": int((values > 0).sum()),
                    "worse": int((values < 0).sum()),
                    "units": len(values),
                    "p": sign_flip_p(values),
                }
            )
    table = pd.DataFrame(lines)
    return table.assign(p_holm=holm(list(table["p"])))


def _having(starts: list[MeanStart], other: str) -> list[MeanStart]:
    return [start for start in starts if other == EQUAL_WEIGHTS or other in start.others]


def _before(start: MeanStart, other: str) -> Bool[np.ndarray, "E"]:
    return start.equal_weights if other == EQUAL_WEIGHTS else start.others[other].before


def _line(starts: list[MeanStart], other: str) -> Numbers:
    """One line over the seeds of one target."""
    seeds, ours = [start.seed for start in starts], [start.outcome for start in starts]
    before = [_before(start, other) for start in starts]
    line: Numbers = {"seeds": len(seeds)}
    line |= score_difference(seeds, [outcome.before for outcome in ours], before, "before", "other")
    if other == EQUAL_WEIGHTS:
        return line
    theirs = [start.others[other] for start in starts]
    line |= score_difference(
        seeds, [outcome.after for outcome in ours], [outcome.after for outcome in theirs], "after", "other"
    )
    return line | {
        "steps": float(np.median([outcome.steps for outcome in ours])),
        "other_steps": float(np.median([outcome.steps for outcome in theirs])),
    }


def _difference(start: MeanStart, other: str, score: str) -> float:
    """By how much the mean is better: a share of examples, or 1, 0, -1 for sooner, equally soon, later."""
    if score == "before":
        return float(start.outcome.before.mean() - _before(start, other).mean())
    ours, theirs = start.outcome, start.others[other]
    if score == "after":
        return float(ours.after.mean() - theirs.after.mean())
    return float(ours.steps < theirs.steps) - float(ours.steps > theirs.steps)
