from itertools import product

import numpy as np
import pandas as pd
import pytest

from softprompt.analysis.intervals import difference_interval
from softprompt.analysis.starts import SHUFFLES, score_differences, sooner_test


def test_the_interval_of_a_difference_by_hand():
    # Down: sqrt(0.3² + 0.4²) = 0.5; up: sqrt(0.05² + 0.12²) = 0.13.
    low, high = difference_interval(0.8, (0.5, 0.85), 0.6, (0.48, 1.0))
    assert (low, high) == pytest.approx((0.2 - 0.5, 0.2 + 0.13))


def test_differences_are_of_tasks_that_have_both_variants():
    line = {"low": 0.5, "high": 0.9}
    tasks = pd.DataFrame(
        [
            line | {"task": "cb", "variant": "text", "tuned": 0.8},
            line | {"task": "cb", "variant": "random", "tuned": 0.7},
            line | {"task": "rte", "variant": "text", "tuned": 0.9},
        ]
    )
    table = score_differences(tasks, "text", "random")
    assert list(table["task"]) == ["cb"]
    assert table["difference"].tolist() == pytest.approx([10.0])
    assert table["low"].tolist() == pytest.approx([10 - 100 * np.hypot(0.3, 0.2)])


def curves_of(steps: dict[tuple[str, str], list[float]]) -> pd.DataFrame:
    """Learning curves that reach 1.0 at these steps, by task and variant; infinity is never."""
    return pd.DataFrame(
        {"task": task, "variant": variant, "run": f"{variant}{i}", "step": step, "exact_match": score}
        for (task, variant), of_variant in steps.items()
        for i, at in enumerate(of_variant)
        for step, score in ((0, 0.1), (at if np.isfinite(at) else 99, 1.0 if np.isfinite(at) else 0.5))
    )


def test_the_share_of_sooner_runs_by_counting_pairs():
    steps = {
        ("cb", "text"): [4.0, 8.0, 8.0],
        ("cb", "random"): [8.0, 16.0, np.inf],
        ("rte", "text"): [32.0],
        ("rte", "random"): [16.0],
        ("copa", "text"): [4.0],
    }
    test = sooner_test(curves_of(steps), "text", "random")
    pairs = [(a < b) + 0.5 * (a == b) for a, b in product(steps["cb", "text"], steps["cb", "random"])]
    assert test["share"] == pytest.approx((np.mean(pairs) + 0) / 2) and test["tasks"] == 2
    assert 0.2 < test["p"] <= 1


def test_four_runs_that_are_all_sooner_are_significant_on_two_tasks():
    sooner = {("cb", "text"): [1.0, 2, 3, 4], ("cb", "random"): [5.0, 6, 7, 8]}
    both = sooner | {("rte", variant): steps for (_, variant), steps in sooner.items()}
    # Two of the 8!/(4!·4!) = 70 divisions of a task's runs are as far from 0.5; of two tasks 2 of 4,900.
    assert sooner_test(curves_of(sooner), "text", "random")["p"] == pytest.approx(2 / 70, abs=0.006)
    assert sooner_test(curves_of(both), "text", "random")["p"] == pytest.approx(2 / 4900, abs=6e-4)
    assert sooner_test(curves_of(both), "random", "text")["share"] == 0.0
    assert np.isnan(sooner_test(curves_of(both), "text", "vocab")["p"]) and SHUFFLES == 9999
