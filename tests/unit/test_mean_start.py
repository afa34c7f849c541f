import numpy as np
import pytest

from softprompt.analysis.mean_start import (
    EQUAL_WEIGHTS,
    INSTRUCTION,
    MOST_SIMILAR,
    MeanStart,
    mean_start_table,
    mean_start_tests,
)
from softprompt.analysis.prompt_transfer import Outcome


def right(digits):
    return np.array([digit == "1" for digit in digits])


def outcome(before, after, steps):
    return Outcome(right(before), right(after), steps)


STARTS = [
    MeanStart(
        "cb", 0, outcome("1100", "1111", 2.0),
        {INSTRUCTION: outcome("1110", "1110", 4.0), MOST_SIMILAR: outcome("1000", "1111", 2.0)}, right("1000"),
    ),
    MeanStart(
        "cb", 1, outcome("1000", "1111", 4.0), {INSTRUCTION: outcome("1110", "1110", np.inf)}, right("1000")
    ),
    MeanStart(
        "rte", 0, outcome("1111", "1110", 8.0), {INSTRUCTION: outcome("0000", "1111", 2.0)}, right("0000")
    ),
]  # fmt: skip


def test_a_line_per_target_and_other_start():
    table = mean_start_table(STARTS).set_index(["target", "other"])
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
    tests = mean_start_tests(STARTS).set_index(["other", "score"])
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
