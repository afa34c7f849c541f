import numpy as np
import pandas as pd
import pytest

from softprompt.analysis.intervals import mean_interval, wilson_interval
from softprompt.analysis.scores import score_table, steps_to_level_table, steps_to_reach, task_table


def result(task, seed, exact_match):
    scores = {
        "exact_match": exact_match,
        "rank_accuracy": 0.5,
        "macro_f1": 0.4,
        "invalid_prediction_rate": 0.0,
        "loss": 1.0,
        "n": 56,
    }
    return {
        "task": task, "init": "text", "seed": seed, "run": f"{task}{seed}", "best_step": 3, "seconds": 1.0,
        "tuned": scores,
        "baselines": {"majority": 0.5, "no_prompt": {**scores, "exact_match": 0.1}, "instruction": scores},
    }  # fmt: skip


def test_wilson_by_hand():
    # 28 of 56 with z = 1.959964: centre (28 + z²/2) / (56 + z²) = 0.5, half-width z √(14 + z²/4) / (56 + z²).
    assert wilson_interval(0.5, 56) == pytest.approx((0.373318, 0.626682), abs=1e-6)
    low, high = wilson_interval(0.0, 10)
    assert low == 0.0 and high == pytest.approx(3.841459 / 13.841459, abs=1e-6)


def test_one_line_per_run_by_task():
    table = score_table(
        [result("rte", 1, 0.6), result("cb", 0, 0.7), result("cb", 1, 0.5)], ["text", "random", "text"]
    )
    assert list(zip(table.task, table.seed, strict=True)) == [("cb", 0), ("cb", 1), ("rte", 1)]
    assert table.tuned.tolist() == [0.7, 0.5, 0.6] and table.variant.tolist() == ["random", "text", "text"]
    assert table.no_prompt.tolist() == [0.1] * 3
    assert all(table.low < table.tuned) and all(table.tuned < table.high)


def test_one_line_per_task_and_variant():
    runs = score_table([result("cb", 0, 0.75), result("cb", 1, 0.25)], ["text"] * 2)
    correct = {"cb0": np.array([1, 1, 1, 0], dtype=bool), "cb1": np.array([0, 0, 0, 1], dtype=bool)}
    (row,) = task_table(runs, correct, {"cb0": "x", "cb1": "y"}).to_dict("records")
    assert (row["tuned"], row["lowest"], row["highest"], row["runs"]) == (0.5, 0.25, 0.75, 2)
    assert row["low"] < 0.5 < row["high"] and row["median_best_step"] == 3


def test_runs_with_the_same_prompt_count_once():
    runs = score_table(
        [result("cb", seed, score) for seed, score in enumerate((0.5, 0.5, 1.0))], ["text"] * 3
    )
    half, all_ = np.arange(40) < 20, np.ones(40, dtype=bool)
    correct = {"cb0": half, "cb1": half, "cb2": all_}
    (row,) = task_table(runs, correct, {"cb0": "x", "cb1": "x", "cb2": "y"}).to_dict("records")
    assert (row["runs"], row["distinct_runs"], row["tuned"]) == (3, 2, 0.75)
    assert (row["low"], row["high"]) == mean_interval(np.stack([half, all_]).astype(float))
    # Different prompts with the same answers are several.
    (row,) = task_table(runs, correct, {"cb0": "x", "cb1": "y", "cb2": "z"}).to_dict("records")
    assert (row["runs"], row["distinct_runs"], row["tuned"]) == (3, 3, pytest.approx(2 / 3))


def test_steps_to_reach_a_level():
    curve = pd.DataFrame({"step": [0, 10, 20], "exact_match": [0.1, 0.6, 0.5]})
    assert steps_to_reach(curve, 0.5) == 10
    assert steps_to_reach(curve, 0.7) == np.inf


def test_variants_of_a_task_share_a_level():
    """95% of the best exact match of any run of the task, of any variant."""
    curve = {"step": [0, 10, 20], "seconds": [0.0, 1.5, 4.0], "task": "cb"}
    curves = pd.concat(
        [
            pd.DataFrame({**curve, "variant": "text", "run": "a", "exact_match": [0.9, 1.0, 1.0]}),
            pd.DataFrame({**curve, "variant": "text", "run": "b", "exact_match": [0.9, 0.9, 0.96]}),
            pd.DataFrame({**curve, "variant": "random", "run": "c", "exact_match": [0.0, 0.5, 0.9]}),
        ]
    )
    text, random = steps_to_level_table(curves).to_dict("records")
    assert text["median_seconds_to_level"] == (1.5 + 4.0) / 2 and random["median_seconds_to_level"] == np.inf
    assert (
        text["level"],
        text["median_steps_to_level"],
        text["runs_at_level"],
        text["initial_exact_match"],
    ) == (
        0.95,
        15,
        2,
        0.9,
    )
    assert (random["level"], random["median_steps_to_level"], random["runs_at_level"]) == (0.95, np.inf, 0)
