import numpy as np
import pytest

from softprompt.analysis.precision import precision_at_k


def test_precision_by_hand():
    nearest = np.array([[4, 5, 6], [4, 7, 8]])
    result = precision_at_k(nearest, taught=[4, 8], vocabulary=range(4, 24))
    assert result["precision"] == pytest.approx(3 / 6)
    assert result["chance"] == pytest.approx(2 / 20, abs=0.01)  # two taught words among twenty
    assert result["precision"] > result["chance_high"] and result["p"] < 0.05


def test_a_precision_of_zero_is_no_better_than_chance():
    nearest = np.arange(4, 16).reshape(4, 3)
    result = precision_at_k(nearest, taught=[20], vocabulary=range(4, 24))
    assert result["precision"] == 0 and result["p"] == 1.0


def test_chance_allows_for_a_token_that_is_near_many_rows():
    """The same token at all twelve rows counts as one: a tenth of the shuffles have the same precision."""
    nearest = np.full((12, 1), 4)
    result = precision_at_k(nearest, taught=[4, 5], vocabulary=range(4, 24))
    assert result["precision"] == 1.0 and result["p"] == pytest.approx(0.1, abs=0.02)
