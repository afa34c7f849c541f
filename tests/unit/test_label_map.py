"""Accuracy up to a label map, by hand and against a loop over all maps."""

from itertools import product

import numpy as np

from softprompt.analysis.label_map import correct_by_majority, correct_up_to_label_map


def test_an_answer_means_the_label_that_it_goes_with_in_the_other_half():
    labels = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    swapped = 1 - labels  # always the wrong answer, but it tells the labels apart
    other_words = labels + 5
    always = np.zeros(8, dtype=int)
    correct = correct_up_to_label_map(np.stack([labels, swapped, other_words, always]), labels)
    # A constant answer: in either half the counts are equal, so the smaller index is taken.
    assert correct.mean(1).tolist() == [1, 1, 1, 0.5]


def test_the_map_is_not_fitted_on_what_it_is_scored_on():
    """A different answer on every example would fit any labels."""
    labels = np.array([0, 1, 1, 0, 0, 1, 1, 1])
    correct = correct_up_to_label_map(np.arange(8)[None], labels)[0]
    assert correct.tolist() == correct_by_majority(labels).tolist()
    # Even positions have labels 0 1 0 1 (equal: 0), odd ones 1 0 1 1 (1).
    assert correct.tolist() == [False, False, True, True, False, False, True, False]


def test_it_is_the_best_of_all_maps_on_the_half_it_is_chosen_on():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 41)
    written = np.where(generator.random(41) < 0.5, labels, generator.integers(0, 4, 41))
    correct = correct_up_to_label_map(written[None], labels)[0]
    for fitted, scored in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        right = {
            chosen: np.mean(
                [chosen[a] == label for a, label in zip(written[fitted], labels[fitted], strict=True)]
            )
            for chosen in product(range(3), repeat=4)
        }
        best = [chosen for chosen, share in right.items() if share == max(right.values())]
        assert len(best) == 1  # no equal counts in this sample
        expected = [best[0][a] == label for a, label in zip(written[scored], labels[scored], strict=True)]
        assert correct[scored].tolist() == expected
