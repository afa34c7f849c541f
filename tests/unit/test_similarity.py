import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from softprompt.analysis.prompt_mean import cosine_of_means
from softprompt.analysis.similarity import (
    MEASURES,
    activity_overlap,
    as_matrix,
    mean_cosine,
    similarity_table,
)

GENERATOR = torch.Generator().manual_seed(0)
FIRST, SECOND = torch.randn(3, 5, generator=GENERATOR), torch.randn(4, 5, generator=GENERATOR)


def test_cosines_are_scikit_learn_s():
    every = cosine_similarity(FIRST, SECOND)
    assert mean_cosine(FIRST, SECOND) == pytest.approx(every.mean(), abs=1e-6)
    means = cosine_similarity(FIRST.mean(0)[None], SECOND.mean(0)[None])
    assert cosine_of_means(FIRST, SECOND) == pytest.approx(means.item(), abs=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_prompt_is_most_similar_to_itself(measure: str):
    function = MEASURES[measure]
    if measure != "mean cosine":  # a mean over all pairs of rows
        assert function(FIRST, FIRST) > function(FIRST, SECOND)
    assert function(FIRST, SECOND) == pytest.approx(function(SECOND, FIRST), rel=1e-4)


def test_within_a_task_only_different_runs_are_compared():
    table = similarity_table(["a", "a", "b"], [torch.tensor([[1.0]]), torch.tensor([[3.0]]), torch.tensor([[7.0]])],
                             "difference", lambda x, y: float((x - y).abs()))  # fmt: skip
    square = as_matrix(table, "similarity")
    assert square.loc["a", "a"] == 2.0 and square.loc["a", "b"] == 5.0 == square.loc["b", "a"]
    assert pd.isna(square.loc["b", "b"])


def test_overlap_of_active_neurons_by_hand():
    first, second = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, True])
    assert activity_overlap(first, second) == pytest.approx(1 / (2 * 3) ** 0.5)
    assert activity_overlap(first, first) == pytest.approx(1.0)
    assert activity_overlap(first, ~first) == 0.0


def test_each_pair_is_computed_once():
    """A function that depends on the order by rounding would otherwise break ties."""
    calls = iter([1.0, 2.0, 3.0])
    table = similarity_table(list("abc"), [FIRST] * 3, "count", lambda x, y: next(calls))
    square = as_matrix(table, "similarity").to_numpy()
    off_diagonal = ~np.eye(3, dtype=bool)
    assert square[off_diagonal].tolist() == square.T[off_diagonal].tolist() == [1, 2, 1, 3, 2, 3]
