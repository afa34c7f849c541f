import numpy as np
import pandas as pd
import pytest

from softprompt.analysis.intervals import mean_interval, p_of_mean, wilson_interval
from softprompt.analysis.transfer import corrected_over_pairs, transfer_table


def test_gains_are_over_no_prompt_and_averaged_over_runs():
    correct = {
        "a": np.array([[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]], dtype=bool),
        "b": np.array([[0, 0], [1, 0], [1, 1]], dtype=bool),
    }
    without_prompt = {"a": np.array([1, 0, 0, 0], dtype=bool), "b": np.array([0, 0], dtype=bool)}
    table = transfer_table(["a", "a", "b"], ["x", "y", "z"], correct, without_prompt, {}).set_index(
        ["source", "target"]
    )
    assert table.loc[("a", "a"), "gain"] == pytest.approx(7 / 8 - 1 / 4)
    assert table.loc[("a", "b"), "gain"] == pytest.approx(1 / 4)
    assert table.loc[("b", "a"), "gain"] == pytest.approx(-1 / 4)
    assert table.loc[("b", "b"), "with_prompt"] == 1.0
    assert table.loc[("a", "a"), "runs"] == 2 and table.loc[("a", "b"), "n"] == 2


def test_an_example_is_paired_with_its_own_answer_without_a_prompt():
    """If a prompt changes no answer, the interval of the gain is narrow, although both scores are uncertain."""
    answers = np.random.default_rng(0).integers(0, 2, (1, 50)).astype(bool)
    row = transfer_table(["a"], ["x"], {"a": answers}, {"a": answers[0]}, {}).iloc[0]
    unseen = wilson_interval(0.0, 50)[1]
    assert row["gain"] == 0
    assert row["high"] - row["low"] == pytest.approx(unseen) and row["low"] < 0 < row["high"]


def test_prompts_that_are_copies_count_once():
    correct = {"a": np.array([[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]], dtype=bool)}
    without_prompt = {"a": np.zeros(4, dtype=bool)}
    (row,) = transfer_table(["a"] * 3, ["x", "x", "y"], correct, without_prompt, {}).to_dict("records")
    assert (row["runs"], row["distinct_runs"], row["gain"]) == (3, 2, 0.5)
    assert (row["low"], row["high"]) == mean_interval(correct["a"][1:].astype(float))


def test_a_ceiling_bounds_the_interval_and_is_what_a_gain_is_a_share_of():
    correct = {"a": np.array([[1, 1, 1, 0, 0, 0, 0, 0, 0, 0]], dtype=bool)}
    without_prompt = {"a": np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 0], dtype=bool)}
    free = transfer_table(["a"], ["x"], correct, without_prompt, {}).iloc[0]
    bounded = transfer_table(["a"], ["x"], correct, without_prompt, {"a": 0.5}).iloc[0]
    assert (free["ceiling"], bounded["ceiling"]) == (1.0, 0.5)
    assert free["share_of_possible"] == pytest.approx(0.2 / 0.9)
    assert bounded["share_of_possible"] == pytest.approx(0.2 / 0.4)
    assert (bounded["low"], bounded["high"]) == mean_interval(
        (correct["a"] ^ without_prompt["a"]).astype(float), -0.1, 0.4
    )
    assert bounded["high"] <= 0.4 < free["high"]
    assert bounded["p"] == free["p"] == p_of_mean((correct["a"] ^ without_prompt["a"]).astype(float))


def test_a_score_above_the_ceiling_still_has_an_interval():
    correct, without_prompt = {"a": np.ones((2, 9), dtype=bool)}, {"a": np.zeros(9, dtype=bool)}
    row = transfer_table(["a", "a"], ["x", "y"], correct, without_prompt, {"a": 0.5}).iloc[0]
    assert row["gain"] == row["high"] == 1.0 and row["low"] < 1 and row["share_of_possible"] == 2.0


def test_p_is_corrected_over_pairs_of_different_tasks():
    table = corrected_over_pairs(
        pd.DataFrame({"source": list("aabb"), "target": list("abab"), "p": [0.001, 0.03, 0.02, 0.001]})
    )
    # Two pairs: twice the smaller p, then the larger one, not below.
    assert table["p_holm"].tolist() == pytest.approx([np.nan, 0.04, 0.04, np.nan], nan_ok=True)
    assert table["remains"].tolist() == [False, True, True, False]
