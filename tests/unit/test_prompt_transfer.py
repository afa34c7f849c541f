import numpy as np
import pandas as pd
import pytest

from softprompt.analysis.prompt_transfer import (
    OTHERS,
    Outcome,
    Pair,
    grid,
    paired_sooner_test,
    prompt_transfer_table,
)


def outcome(before: str, after: str, steps: float = 4.0) -> Outcome:
    """Answers as digits: 1 is right."""
    return Outcome(*(np.array([digit == "1" for digit in part]) for part in (before, after)), steps)


def pair(target, source, seed, ours, theirs) -> Pair:
    return Pair(target, source, seed, outcome(*ours), outcome(*theirs))


def test_means_and_paired_differences_by_source_and_over_other_tasks():
    instruction = [("1100", "1110", 8.0), ("1100", "1111", 16.0)]  # by seed
    pairs = [
        pair("cb", "rte", 0, ("1000", "1111", 2.0), instruction[0]),
        pair("cb", "rte", 1, ("0000", "1111", 4.0), instruction[1]),
        pair("cb", "wsc", 0, ("0000", "1110", np.inf), instruction[0]),
        pair("cb", "wsc", 1, ("0000", "1110", 16.0), instruction[1]),
        pair("cb", "cb", 0, ("1110", "1110", 0.0), instruction[0]),
    ]
    table = prompt_transfer_table(pairs).set_index("source")
    assert list(table.index) == ["rte", "wsc", "cb", OTHERS]
    rte, others = table.loc["rte"], table.loc[OTHERS]
    assert (rte["before"], rte["after"]) == (12.5, 100.0)
    assert (rte["instruction_before"], rte["instruction_after"]) == (50.0, 87.5)
    assert rte["difference_after"] == 12.5 and rte["low_after"] < 12.5 < rte["high_after"]
    assert (rte["steps"], rte["instruction_steps"], rte["seeds"]) == (3.0, 12.0, 2)
    # Without the task's own prompt: (1/4 + 0 + 0 + 0) / 4 before, (1 + 1 + 3/4 + 3/4) / 4 after.
    assert (others["before"], others["after"], others["runs"]) == (6.25, 87.5, 4)
    assert others["difference_after"] == 0.0
    assert table.loc["wsc", "steps"] == np.inf


def test_the_difference_is_paired():
    """Answers that are alike in pairs leave a narrower interval than the same numbers of right answers unpaired."""
    first, second, none = "10" * 20, "01" * 20, "0" * 40
    paired = [pair("cb", "rte", seed, (none, first), (none, first)) for seed in (0, 1)]
    crossed = [pair("cb", "rte", seed, (none, first), (none, second)) for seed in (0, 1)]
    widths = [
        float((table["high_after"] - table["low_after"]).iloc[0])
        for table in map(prompt_transfer_table, (paired, crossed))
    ]
    assert widths[0] < 0.6 * widths[1]


def test_sooner_is_tested_by_flipping_the_signs_of_pairs_of_target_and_seed():
    def sooner(steps: list[tuple[float, float]]) -> dict[str, float]:
        return paired_sooner_test(
            [pair("cb", "rte", seed, ("1", "1", a), ("1", "1", b)) for seed, (a, b) in enumerate(steps)]
        )

    always = sooner([(1.0, 2.0)] * 4)
    assert (always["sooner"], always["later"], always["units"]) == (4, 0, 4)
    assert always["p"] == 2 / 2**4  # all or none
    assert sooner([(1.0, 2.0), (2.0, 1.0)])["p"] == 1.0
    assert sooner([(2.0, 2.0), (np.inf, np.inf)])["p"] == 1.0
    assert sooner([(1.0, 2.0)] * 20)["p"] == pytest.approx(1 / 10_000)


def test_sources_of_one_seed_are_one_unit_and_the_own_prompt_none():
    pairs = [pair("cb", source, 0, ("1", "1", 1.0), ("1", "1", 2.0)) for source in ("rte", "wsc", "cb")]
    test = paired_sooner_test(pairs)
    assert (test["sooner"], test["units"], test["p"]) == (2, 1, 1.0)
    assert np.isnan(paired_sooner_test(pairs[2:])["p"])


def test_a_grid_needs_every_pair_of_different_tasks():
    table = pd.DataFrame(
        {
            "source": ["b", OTHERS, "a", OTHERS],
            "target": ["a", "a", "b", "b"],
            "after": [1.0, 9.0, 2.0, 9.0],
        }
    )
    values = grid(table, "after")
    assert values is not None and (values[1, 0], values[0, 1]) == (1.0, 2.0) and np.isnan(values[0, 0])
    assert grid(table.iloc[:2], "after") is None
    assert grid(table.replace({"source": {"a": "c"}}), "after") is None
