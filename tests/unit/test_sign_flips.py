import numpy as np
import pytest

from softprompt.analysis.sign_flips import sign_flip_p


def test_p_by_counting_flips():
    assert sign_flip_p(np.array([1.0, 1.0, 1.0])) == 2 / 8
    # |±3 ± 1 ± 1| >= 3: both signs of the first value with 1 + 1, 1 - 1, -1 + 1.
    assert sign_flip_p(np.array([3.0, 1.0, -1.0])) == 6 / 8
    assert sign_flip_p(np.zeros(4)) == 1.0


def test_many_differences_are_flipped_in_sampled_ways():
    assert sign_flip_p(np.ones(20)) == pytest.approx(1 / 10_000)
    values = np.random.default_rng(1).normal(0.3, 1, 16)
    assert sign_flip_p(np.append(values, 0.0)) == pytest.approx(sign_flip_p(values), abs=0.02)
