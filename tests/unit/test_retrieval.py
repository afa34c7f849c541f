import numpy as np
import pytest

from softprompt.analysis.retrieval import retrieval

NONE = np.nan  # a task with itself
# By target (column), the best of three sources: 3 points for one of them, then 2, then 1.
SCORE = np.array([[NONE, 3, 2, 1], [3, NONE, 1, 2], [2, 1, NONE, 3], [1, 2, 3, NONE]])


def test_similarity_that_orders_sources_as_their_scores_finds_the_best():
    result = retrieval(SCORE, SCORE, 1)
    assert (result["hits"], result["targets"], result["best_of_k"], result["best"]) == (4, 4, 3.0, 3.0)
    assert result["expected_hits"] == pytest.approx(4 / 3) and result["random_best_of_k"] == pytest.approx(2)
    # The relabellings that leave the pairs {0, 1} and {2, 3} pairs: 8 of 24.
    assert result["p"] == pytest.approx(8 / 24) and result["smallest_p"] == pytest.approx(1 / 24)


def test_two_tries_find_more_also_by_chance():
    worst = retrieval(-SCORE, SCORE, 1)
    assert (worst["hits"], worst["best_of_k"], worst["p"]) == (0, 1.0, 1.0)
    two = retrieval(-SCORE, SCORE, 2)
    assert (two["hits"], two["best_of_k"]) == (0, 2.0)
    assert two["expected_hits"] == pytest.approx(8 / 3)
    assert two["random_best_of_k"] == pytest.approx((3 + 3 + 2) / 3)


def test_sources_that_share_the_best_score_are_found_more_often_by_chance():
    score = np.array([[NONE, 5, 7], [5, NONE, 7], [5, 1, NONE]])
    result = retrieval(score, score, 1)
    assert result["hits"] == 3 and result["expected_hits"] == pytest.approx(1 + 1 / 2 + 1)


def test_more_than_seven_tasks_are_relabelled_at_random():
    generator = np.random.default_rng(0)
    score = generator.random((8, 8))
    result = retrieval(score, score, 1)
    assert result["hits"] == 8 and result["smallest_p"] == 1 / 10_000 <= result["p"] < 0.01
