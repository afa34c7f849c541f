import numpy as np
import pytest

from softprompt.analysis.mean_start import (
    EQUAL_WEIGHTS,
    INSTRUCTION,
    MOST_SIMILAR,
    MeanComparison,
    mean_start_table,
    mean_start_tests,
)
from softprompt.analysis.prompt_transfer import Outcome


def right(digits):
    return np.array([digit == "1" for digit in digits])


def outcome(before, after, steps):
    return Outcome(right(before), right(after), steps)


COMPARISONS = [
    MeanComparison(
        "cb", 0, outcome("1100", "1111", 2.0),
        {INSTRUCTION: outcome("1110", "1110", 4.0), MOST_SIMILAR: outcome("1000", "1111", 2.0)}, right("1000"),
    ),
    MeanComparison(
        "cb", 1, outcome("1000", "1111", 4.0), {INSTRUCTION: outcome("1110", "1110", np.inf)}, right("1000")
    ),
    MeanComparison(
        "rte", 0, outcome("1111", "1110", 8.0), {INSTRUCTION: outcome("0000", "1111", 2.0)}, right("0000")
    ),
]  # fmt: skip


def test_a_line_per_target_and_other_start():
    table = mean_start_table(COMPARISONS).set_index(["target", "other"])
    assert list(table.index) == [
        ("cb", INSTRUCTION), ("cb", MOST_SIMILAR), ("cb", EQUAL_WEIGHTS), ("rte", INSTRUCTION), ("rte", EQUAL_WEIGHTS)
    ]  # fmt: skip
    cb = table.loc["cb", INSTRUCTION]
    assert (cb["before"], cb["other_before"], cb["difference_before"]) == (37.5, 75.0, -37.5)
    assert (cb["after"], cb["other_after"], cb["difference_after"]) == (100.0, 75.0, 25.0)
    assert cb["low_after"] < 25 < cb["high_after"]
    assert (cb["steps"], cb["other_steps"], cb["seeds"]) == (3.0, np.inf, 2)
    assert table.loc[("cb", MOST_SIMILAR), "seeds"] == 1  # the other seed has no such run
    equal = table.loc["cb", EQUAL_WEIGHTS]
    assert equal["difference_before"] == 12.5 and np.isnan(equal["after"])


def test_differences_over_pairs_of_target_and_seed():
    tests = mean_start_tests(COMPARISONS).set_index(["other", "score"])
    before = tests.loc[INSTRUCTION, "before"]  # -1/4, -1/2, +1
    assert before["difference"] == pytest.approx(100 / 12)
    assert (before["better"], before["worse"], before["units"]) == (1, 2, 3)
    assert before["p"] == 1.0  # no flip has a smaller |sum|
    after, steps = tests.loc[INSTRUCTION, "after"], tests.loc[INSTRUCTION, "steps"]
    assert (after["better"], after["worse"], after["p"]) == (2, 1, 1.0)
    assert (steps["better"], steps["worse"]) == (2, 1) and np.isnan(steps["difference"])
    null = tests.loc[EQUAL_WEIGHTS, "before"]  # +1/4, 0, +1
    assert null["difference"] == pytest.approx(500 / 12) and null["p"] == 4 / 8
    assert len(tests) == 7


def test_several_runs_of_a_target_and_seed_are_one_unit():
    """As in a sweep over lengths: the unit's value is the mean over them."""
    other = {INSTRUCTION: outcome("1100", "1100", 4.0)}
    runs = [
        MeanComparison("cb", 0, outcome("1111", "1110", 2.0), other, right("1100")),  # +1/2, +1/4, sooner
        MeanComparison("cb", 0, outcome("1100", "1000", 8.0), other, right("1100")),  # 0, -1/4, later
        MeanComparison("cb", 1, outcome("1000", "1110", 2.0), other, right("1000")),  # -1/4, +1/4, sooner
    ]
    tests = mean_start_tests(runs).set_index(["other", "score"])
    before = tests.loc[INSTRUCTION, "before"]
    assert (before["units"], before["better"], before["worse"], before["difference"]) == (2, 1, 1, 0.0)
    assert (before["exact_match"], before["other_exact_match"], before["p"]) == (50.0, 50.0, 1.0)
    after, steps = tests.loc[INSTRUCTION, "after"], tests.loc[INSTRUCTION, "steps"]
    assert (after["difference"], after["better"], after["worse"]) == (12.5, 1, 0)  # 0 and +1/4
    assert (after["exact_match"], after["other_exact_match"]) == (62.5, 50.0)
    assert (steps["units"], steps["better"], steps["worse"], steps["p"]) == (2, 1, 0, 1.0)
    null = tests.loc[EQUAL_WEIGHTS, "before"]  # +1/4 and 0
    assert (null["exact_match"], null["other_exact_match"], null["difference"]) == (50.0, 37.5, 12.5)

    line = mean_start_table(runs).set_index("other").loc[INSTRUCTION]
    assert (line["seeds"], line["runs"], line["difference_before"]) == (2, 3, 0.0)


def test_runs_that_cancel_out_are_neither_better_nor_worse():
    seven = outcome("1" * 7 + "0" * 13, "0" * 20, 1.0)
    runs = [
        MeanComparison(
            "cb", 0, outcome("1" * n + "0" * (20 - n), "0" * 20, 1.0), {INSTRUCTION: seven}, right("0" * 20)
        )
        for n in (8, 9, 4)
    ]
    line = mean_start_tests(runs).set_index(["other", "score"]).loc[INSTRUCTION, "before"]
    assert (line["better"], line["worse"], line["p"]) == (0, 0, 1.0)
