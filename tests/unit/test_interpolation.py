import numpy as np
import pandas as pd
import pytest
import torch

from softprompt.analysis.interpolation import (
    MEASURES,
    POINTS,
    barrier,
    barrier_table,
    line_between,
    measures,
    midway_at_random,
    pairs_of_runs,
)


def test_a_line_has_its_ends_and_its_middle():
    line = line_between(torch.zeros(2, 1), torch.full((2, 1), 10.0))
    assert [point[0, 0].item() for point in line] == pytest.approx(range(POINTS))


def test_the_shorter_prompt_is_stretched():
    line = line_between(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [0.0], [0.0]]))
    assert line[0].tolist() == [[0.0], [1.0], [2.0]] and line[-1].tolist() == [[0.0]] * 3


def test_random_directions_go_as_far_as_the_middle():
    first, second = torch.zeros(2, 3), torch.full((2, 3), 2.0)
    for end, point in zip((first, second), midway_at_random(first, second), strict=True):
        assert float((point - end).norm()) == pytest.approx(float((second - first).norm()) / 2)


def test_a_barrier_is_above_the_larger_end():
    assert barrier([1.0, 4.0, 2.0]) == 2.0
    assert barrier([1.0, 1.5, 2.0]) == 0.0


def test_measures_by_hand():
    loss = np.zeros(POINTS + 2)
    loss[[0, 3, POINTS // 2, POINTS - 1, POINTS, POINTS + 1]] = 1, 7, 5, 3, 2, 8
    exact_match = loss / 10
    both = measures([0, 1], loss, exact_match)
    assert both["barrier"] == 4.0
    assert [both[name] for name in MEASURES] == pytest.approx([3.0, 3.0, 0.2, 0.5, 0.5])
    first = measures([0], loss, exact_match)
    assert [first[name] for name in MEASURES] == pytest.approx([4.0, 1.0, 0.1, 0.5, 0.2])


def test_pairs_are_of_one_variant_and_not_too_many():
    labels = pd.DataFrame(
        {
            "task": ["cb"] * 4 + ["rte", "rte"],
            "variant": ["text"] * 5 + ["random"],
            "seed": [0, 1, 2, 3, 0, 0],
        }
    )
    assert pairs_of_runs(labels) == [(0, 1), (0, 2), (0, 3), (0, 4)]


def test_barriers_over_pairs():
    pair = {"variant": "text", "first_task": "cb", "second_task": "cb", "scored_on": "cb"}
    pairs = pd.DataFrame([pair | dict.fromkeys(MEASURES, 1.0) | {"barrier": height} for height in (0.0, 1.0)])
    (line,) = barrier_table(pairs).to_dict("records")
    assert (line["pairs"], line["barrier"], line["largest_barrier"], line["rise_at_random"]) == (2, 0.5, 1, 1)
