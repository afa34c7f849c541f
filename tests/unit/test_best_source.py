import numpy as np
import pytest

from softprompt.analysis.best_source import best_source_hits

NONE = np.nan  # a task with itself


def test_hits_and_chance_without_ties_by_hand():
    """Four targets with three possible sources each: the best is drawn with a chance of 1/3."""
    gain = np.array([[NONE, 1, 1, 1], [2, NONE, 2, 2], [3, 3, NONE, 3], [4, 4, 4, NONE]])
    same = best_source_hits(gain, gain)
    assert (same["most_similar_is_best"], same["targets"]) == (4, 4)
    assert same["expected_by_chance"] == pytest.approx(4 / 3)
    assert same["p_by_chance"] == pytest.approx((1 / 3) ** 4)
    opposite = best_source_hits(-gain, gain)
    assert opposite["most_similar_is_best"] == 0 and opposite["p_by_chance"] == pytest.approx(1)


def test_sources_that_share_the_largest_gain_are_hit_more_often_by_chance():
    # By target (column): both sources are best, up to rounding; one is; one is.
    gain = np.array([[NONE, 5, 0], [0.1 + 0.2, NONE, 7], [0.3, 1, NONE]])
    similarity = np.array([[NONE, 2, 3], [2, NONE, 1], [3, 1, NONE]])
    result = best_source_hits(similarity, gain)
    # Most similar: either for the first target, the first task for the others: hit, hit, miss.
    assert result["most_similar_is_best"] == 2
    assert result["expected_by_chance"] == pytest.approx(1 + 1 / 2 + 1 / 2)
    # At least two hits with chances 1, 1/2, 1/2: all but two misses.
    assert result["p_by_chance"] == pytest.approx(3 / 4)


def test_of_several_most_similar_sources_all_have_to_be_best():
    gain = np.array([[NONE, 1, 1], [2, NONE, 2], [3, 3, NONE]])
    assert best_source_hits(np.ones((3, 3)), gain)["most_similar_is_best"] == 0
    assert best_source_hits(np.ones((3, 3)), np.ones((3, 3)))["p_by_chance"] == pytest.approx(1)
