import pandas as pd
import pytest

from softprompt.analysis.waywardness import OWN, share_among, start_kinds, waywardness_table

INSTRUCTIONS = {"cb": "a cat", "rte": "a dog"}


def test_a_start_is_the_own_instruction_or_another_tasks():
    tasks = ["cb", "cb", "rte", "cb", "rte"]
    texts = ["a cat", "a dog", "a cat", None, "a bird"]
    assert start_kinds(tasks, texts, INSTRUCTIONS) == [OWN, "rte", "cb", None, None]


def test_tasks_with_the_same_instruction_start_from_their_own():
    assert start_kinds(["cb", "rte"], ["a cat", "a cat"], {"cb": "a cat", "rte": "a cat"}) == [OWN, OWN]


def test_share_among():
    assert share_among([4, 4, 5, 6], {4, 6}) == 0.75


def test_means_over_runs():
    run = {
        "task": "cb",
        "start": "rte",
        "initial_exact_match": 0.0,
        "own_share": 0.5,
        "own_share_before": 0.25,
    }
    runs = pd.DataFrame(
        [
            run | {"exact_match": 0.8, "start_share": 1.0},
            run | {"exact_match": 1.0, "start_share": 1.0},
            run | {"start": OWN, "exact_match": 0.7, "start_share": 0.5},
        ]
    )
    own, other = waywardness_table(runs).sort_values("runs").to_dict("records")
    assert (other["start"], other["runs"], other["start_share"]) == ("rte", 2, 1.0)
    # Two runs agree; Wilson's bound for 0 of 2 is 0.658.
    assert (other["start_share_low"], other["start_share_high"]) == pytest.approx((1 - 0.658, 1.0), abs=1e-3)
    assert other["exact_match"] == pytest.approx(0.9) and other["exact_match_low"] < 0.8
    assert (own["start"], own["exact_match"], own["own_share"]) == (OWN, 0.7, 0.5)
    assert pd.isna(own["exact_match_low"])
