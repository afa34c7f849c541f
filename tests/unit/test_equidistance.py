import numpy as np
import pytest
import torch

from softprompt.analysis.equidistance import equidistance_table, variation_of_sets
from softprompt.analysis.geometry import distance_table
from softprompt.analysis.random_prompts import random_prompts


def test_equidistant_prompts_have_no_variation():
    corners = list(torch.eye(4)[:, None])
    table = distance_table(list("rstu"), ["a"] * 4, corners, "truncate")
    row = equidistance_table(table).iloc[0]
    assert row["mean"] == pytest.approx(2**0.5) and row["coefficient_of_variation"] == pytest.approx(
        0, abs=1e-6
    )
    assert row["pairs"] == 6 and row["high"] == pytest.approx(0, abs=1e-6)


def test_prompts_on_a_line_are_not_equidistant():
    line = [torch.tensor([[float(i)]]) for i in range(4)]
    row = equidistance_table(distance_table(list("rstu"), ["a"] * 4, line, "truncate")).iloc[0]
    distances = np.array([1, 2, 3, 1, 2, 1])
    assert row["coefficient_of_variation"] == pytest.approx(distances.std() / distances.mean())
    assert row["low"] <= row["coefficient_of_variation"] <= row["high"]


def test_equal_prompts_count_as_distances_of_zero():
    """Three equal prompts and another: three distances are 0 and three are 1."""
    prompts = [torch.zeros(1, 1)] * 3 + [torch.ones(1, 1)]
    distances = distance_table(list("abcd"), ["x"] * 4, prompts, "pad")
    (row,) = equidistance_table(distances).to_dict("records")
    assert row["mean"] == 0.5 and row["coefficient_of_variation"] == pytest.approx(1.0)
    assert row["low"] < 1.0 <= row["high"]
    same = equidistance_table(distance_table(list("ab"), ["x"] * 2, prompts[:2], "pad"))
    assert np.isnan(same["coefficient_of_variation"]).all()


def test_the_variation_of_sets_is_that_of_a_table():
    prompts = [torch.tensor([[float(i)]]) for i in (0, 1, 5)]
    table = equidistance_table(distance_table(list("abc"), ["x"] * 3, prompts, "resample"))
    found = variation_of_sets([prompts, prompts[:1] * 2, prompts], "resample")
    assert found[0] == found[2] == table["coefficient_of_variation"][0]
    distances = np.array([1, 5, 4])
    assert found[0] == pytest.approx(distances.std() / distances.mean())
    assert np.isnan(found[1])  # all distances are 0


def test_random_prompts_of_many_dimensions_are_nearly_equidistant():
    """The distance of two has a standard deviation of 1/√(2D) of its mean, for D entries; pairs share prompts."""
    few, many = (
        np.median(variation_of_sets(random_prompts([1] * 4, width, 1.0, 50), "resample"))
        for width in (2, 2000)
    )
    assert few > 0.2 and many < 0.02
    assert many == pytest.approx(1 / 4000**0.5, rel=0.5)


def test_random_prompts_have_the_lengths_and_the_scale_and_differ():
    sets = list(random_prompts([2, 500], 40, 0.25, 2))
    assert [[prompt.shape for prompt in prompts] for prompts in sets] == [[(2, 40), (500, 40)]] * 2
    assert float(sets[0][1].std()) == pytest.approx(0.25, rel=0.02)
    assert not torch.equal(sets[0][0], sets[0][1][:2]) and not torch.equal(sets[0][0], sets[1][0])
    again = next(random_prompts([2, 500], 40, 0.25, 2))
    assert torch.equal(again[1], sets[0][1])
