from itertools import permutations

import numpy as np
import pytest

from softprompt.analysis.nearest_prompt import (
    nearest_prompts,
    same_label,
    same_label_by_chance,
    same_label_p,
)


def distances_of(*places: float) -> np.ndarray:
    return np.abs(np.subtract.outer(places, places)).astype(float)


def test_the_nearest_prompt_of_each():
    assert nearest_prompts(distances_of(0.0, 1.0, 3.0)).tolist() == [1, 0, 1]
    assert nearest_prompts(distances_of(1.0, 0.0, 2.0)).tolist() == [1, 0, 0]  # of two, the first


def test_counts_by_hand():
    nearest = nearest_prompts(distances_of(0, 1, 10, 11))
    assert same_label(nearest, ["a", "a", "b", "b"]) == 4
    assert same_label(nearest, ["a", "b", "a", "b"]) == 0
    assert same_label_by_chance(["a", "a", "b", "b"]) == pytest.approx(4 / 3)
    assert same_label_by_chance(["a", "a", "a", "b"]) == pytest.approx(3 * 2 / 3)


def test_p_is_the_share_of_all_relabellings():
    """The sampled p and the mean count, beside all relabellings one by one."""
    nearest = nearest_prompts(distances_of(0, 1, 3, 7, 20, 21))
    labels = ["a", "a", "b", "b", "c", "c"]
    counts = np.array(
        [sum(order[i] == order[j] for i, j in enumerate(nearest)) for order in permutations(labels)]
    )
    assert same_label_by_chance(labels) == pytest.approx(counts.mean())
    exact = (counts >= same_label(nearest, labels)).mean()
    assert same_label_p(nearest, labels) == pytest.approx(exact, abs=0.02)


def test_p_is_never_zero():
    nearest = nearest_prompts(distances_of(*(100 * task + run for task in range(8) for run in range(4))))
    labels = [task for task in range(8) for _ in range(4)]
    assert same_label(nearest, labels) == 32 and same_label_p(nearest, labels) == 1 / 10_000
