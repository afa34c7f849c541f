import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softprompt.analysis.geometry import (
    ALIGNMENTS,
    distance_table,
    equidistance_table,
    frobenius_distance,
    nearest_run,
    norm_table,
)

SHORT = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
LONG = torch.tensor([[0.0, 1.0], [5.0, 5.0], [1.0, 0.0]])


def test_norms_by_hand():
    table = norm_table(pd.DataFrame({"task": ["a"]}), [torch.tensor([[3.0, 4.0], [0.0, 5.0]])])
    row = table.iloc[0]
    assert row["norm"] == pytest.approx(50**0.5) and row["row_norm"] == 5.0
    assert row["mean"] == 3.0 and row["variance"] == pytest.approx((0 + 1 + 9 + 4) / 4)


def test_alignments_by_hand():
    first, second = ALIGNMENTS["truncate"](SHORT, LONG)
    assert torch.equal(first, SHORT) and torch.equal(second, LONG[:2])
    first, second = ALIGNMENTS["pad"](SHORT, LONG)
    assert torch.equal(first, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])) and torch.equal(
        second, LONG
    )
    first, second = ALIGNMENTS["resample"](SHORT, LONG)
    assert torch.allclose(first, torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])) and torch.equal(
        second, LONG
    )
    first, second = ALIGNMENTS["match"](SHORT, LONG)
    assert torch.equal(first, second)


@given(st.sampled_from(sorted(ALIGNMENTS)), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_distances_are_symmetric_and_zero_to_itself(alignment: str, n: int, m: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(n, 3, generator=generator), torch.randn(m, 3, generator=generator)
    align = ALIGNMENTS[alignment]
    there, back = frobenius_distance(*align(first, second)), frobenius_distance(*align(second, first))
    assert there == pytest.approx(back, rel=1e-5)
    assert frobenius_distance(*align(first, first)) == pytest.approx(0, abs=1e-6)


def test_a_distance_is_per_row():
    zeros = torch.zeros(4, 2)
    assert frobenius_distance(zeros, zeros + torch.tensor([3.0, 4.0])) == pytest.approx(5.0)


def test_every_pair_has_a_distance():
    table = distance_table(["r", "s", "t"], ["a", "a", "b"], [SHORT, SHORT + 1, LONG], "truncate")
    assert list(zip(table["first"], table["second"], strict=True)) == [("r", "s"), ("r", "t"), ("s", "t")]
    assert table["distance"].iloc[0] == pytest.approx(2**0.5)


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


def test_the_nearest_run_of_each():
    distances = distance_table(
        ["a", "b", "c"], ["x"] * 3, [torch.tensor([[v]]) for v in (0.0, 1.0, 3.0)], "pad"
    )
    assert nearest_run(distances) == {"a": "b", "b": "a", "c": "b"}


def test_equal_prompts_count_as_distances_of_zero():
    """Three equal prompts and another: three distances are 0 and three are 1."""
    prompts = [torch.zeros(1, 1)] * 3 + [torch.ones(1, 1)]
    distances = distance_table(list("abcd"), ["x"] * 4, prompts, "pad")
    (row,) = equidistance_table(distances).to_dict("records")
    assert row["mean"] == 0.5 and row["coefficient_of_variation"] == pytest.approx(1.0)
    assert row["low"] < 1.0 <= row["high"]
    same = equidistance_table(distance_table(list("ab"), ["x"] * 2, prompts[:2], "pad"))
    assert np.isnan(same["coefficient_of_variation"]).all()
