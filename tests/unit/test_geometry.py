import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softprompt.analysis.geometry import (
    ALIGNMENTS,
    distance_matrix,
    distance_table,
    frobenius_distance,
    norm_table,
    stretched,
)

SHORT = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
LONG = torch.tensor([[0.0, 1.0], [5.0, 5.0], [1.0, 0.0]])


def test_norms_by_hand():
    table = norm_table(pd.DataFrame({"task": ["a"]}), [torch.tensor([[3.0, 4.0], [0.0, 5.0]])])
    row = table.iloc[0]
    assert row["norm"] == pytest.approx(50**0.5) and row["row_norm"] == 5.0
    assert row["mean"] == 3.0 and row["entry_variance"] == pytest.approx((0 + 1 + 9 + 4) / 4)


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


def test_the_matrix_of_distances_by_hand():
    matrix = distance_matrix([torch.tensor([[v]]) for v in (0.0, 1.0, 3.0)], "pad")
    assert matrix.tolist() == [[0, 1, 3], [1, 0, 2], [3, 2, 0]]


def test_stretching_keeps_the_ends_and_the_mean_of_a_line():
    line = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    assert torch.allclose(stretched(line, 5)[:, 0], torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0]))
    assert stretched(line, 2) is line
    assert torch.equal(stretched(line[:1], 3), line[:1].repeat(3, 1))
