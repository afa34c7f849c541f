"""What the report says about prompts that untrained ones may be like, too."""

import numpy as np
import pandas as pd
import pytest

from softprompt.analysis.mean_start import (
    INSTRUCTION,
    MOST_SIMILAR,
    MeanComparison,
    mean_start_table,
    mean_start_tests,
)
from softprompt.analysis.prompt_transfer import Outcome
from softprompt.report.equidistance import equidistance_findings
from softprompt.report.nearest_prompt import DISPLACEMENT, RANDOM, STARTS, TUNED, nearest_findings
from softprompt.report.spot_means import MeanTables, mean_findings


def equidistance_of(variation: list[float], starts: float, null: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "task": list("ab"),
            "variant": "text",
            "space": "model input",
            "coefficient_of_variation": variation,
            "low": 0.0,
            "high": variation,
            "starts": starts,
            "random": sum(null) / 2,
            "random_low": null[0],
            "random_high": null[1],
        }
    )


@pytest.mark.parametrize(
    ("variation", "verdict"),
    [
        ([0.02, 0.02], "They are nearly equidistant, but the null shows it too"),
        ([0.02, 0.05], "nearly equidistant, but the null shows it too (below the range of random prompts for 0 of 2"),
        ([0.005, 0.004], "They are closer to equidistant than random prompts for every task."),
        ([0.05, 0.06], "above the range of random prompts for every task: tuning made the prompts less"),
        ([0.02, 0.3], "They are not shown to be nearly equidistant"),
    ],
)  # fmt: skip
def test_equidistance_is_a_finding_only_if_random_prompts_are_less_so(
    variation: list[float], verdict: str
) -> None:
    (statement,) = equidistance_findings(equidistance_of(variation, 0.02, (0.01, 0.03)))
    assert verdict in statement and "untrained starts: 2%; random prompts: 2%, within [1, 3]%" in statement


def test_starts_that_coincide_are_compared_with_random_ones() -> None:
    (statement,) = equidistance_findings(equidistance_of([0.1, 0.1], np.nan, (0.01, 0.03)))
    assert "the comparison is with random starts of equal length and scale, drawn afresh" in statement
    assert not list(equidistance_findings(pd.DataFrame()))


def nearest_of(differ: bool, **counts: tuple[float, float]) -> pd.DataFrame:
    """Counts with their p, by tuned, start and moved; random prompts have 0 to 2."""
    names = {"tuned": TUNED, "start": STARTS, "moved": DISPLACEMENT}
    lines = [
        {"prompts": names[key], "same_task": count, "p": p, "low": np.nan, "high": np.nan, "same_seed": 1}
        for key, (count, p) in counts.items()
    ]
    lines.append({"prompts": RANDOM, "same_task": 1.0, "low": 0.0, "high": 2.0})
    return pd.DataFrame(lines).assign(variant="any", runs=8, by_chance=1.7, starts_differ=differ)


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ({"tuned": (8, 0.001), "start": (1, 0.9)}, "The tuned prompts of one task are nearer to each other than chance and"),
        ({"tuned": (8, 0.001), "start": (8, 0.001)}, "The tuned prompts show no more than the null, which shows it too."),
        ({"tuned": (2, 0.4), "start": (1, 0.9)}, "The tuned prompts show no more than chance."),
    ],
)  # fmt: skip
def test_a_nearest_prompt_of_the_same_task_is_a_finding_only_if_starts_do_not_show_it(
    counts: dict[str, tuple[float, float]], verdict: str
) -> None:
    (statement,) = nearest_findings(nearest_of(True, **counts, moved=(2, 0.4)))
    assert verdict in statement and statement.endswith(
        "The directions of the displacements show no more than chance."
    )


def test_runs_that_start_alike_are_judged_by_what_tuning_added() -> None:
    (statement,) = nearest_findings(nearest_of(False, tuned=(8, 0.001), start=(8, 0.001), moved=(6, 0.01)))
    assert "says nothing about tuning, because runs of a task start alike" in statement
    assert "The tuned prompts" not in statement
    assert statement.endswith(
        "The directions of the displacements of one task are nearer to each other than chance and untrained prompts show."
    )


def right(count: int, steps: float = 4.0) -> Outcome:
    """As many of 20 examples answered before tuning, and two more after."""
    return Outcome(np.arange(20) < count, np.arange(20) < count + 2, steps)


@pytest.mark.parametrize(
    ("equal", "verdict"),
    [
        (10, "The weights are not shown to add anything."),
        (4, "With weights by similarity the mean scores higher before tuning."),
        (16, "With weights by similarity the mean scores lower before tuning."),
    ],
)
def test_a_weighted_mean_is_judged_beside_other_starts_and_equal_weights(equal: int, verdict: str) -> None:
    comparisons = [
        MeanComparison(
            "cb", seed, right(10, 2.0), {INSTRUCTION: right(4), MOST_SIMILAR: right(10 + seed % 2)}, right(equal).before
        )
        for seed in range(10)
    ]  # fmt: skip
    weights = pd.DataFrame({"weight": [0.25, 0.75]})
    means = MeanTables(mean_start_table(comparisons), mean_start_tests(comparisons), weights, [])
    scores, instruction, similar, null = mean_findings(means)
    assert "scores 50% before tuning and 60.0% tuned" in scores
    assert (
        "is better than the instruction as a start: +30.0 points, mean over 10 pairs of target and seed"
        in instruction
    )
    assert "sooner in 10 and later in 0 of these (corrected p=0.014)" in instruction  # 7 · 2 of 2¹⁰ flips
    assert "is not told apart from the most similar task's prompt: -2.5 points" in similar
    assert (
        f"equal weights scores {5 * equal:.1f}% before tuning, and with weights by similarity (0.25 to 0.75) 50.0%: "
        f"{50 - 5 * equal:+z.1f} points, mean over 10 pairs of target and seed"
    ) in null
    assert null.endswith(verdict)
    assert not any("no p can be below" in statement for statement in (instruction, similar, null))


def test_scores_and_difference_of_the_null_are_over_the_same_units() -> None:
    """Two seeds of one target and one of another: a mean over targets would be another number."""
    comparisons = [
        MeanComparison(target, seed, right(count), {INSTRUCTION: right(count)}, right(equal).before)
        for target, seed, count, equal in (("cb", 0, 10, 8), ("cb", 1, 12, 8), ("rte", 0, 2, 5))
    ]
    means = MeanTables(
        mean_start_table(comparisons), mean_start_tests(comparisons), pd.DataFrame({"weight": [0.5]}), []
    )
    _, instruction, null = mean_findings(means)
    assert (
        "equal weights scores 35.0% before tuning, and with weights by similarity (0.50) 40.0%: +5.0 points, mean over 3 pairs of target and seed"
    ) in null
    few = "With 3 pairs of target and seed no p can be below 0.25, before the correction for 4 tests."
    assert "not told apart" in instruction and instruction.endswith(few) and null.endswith(few)
