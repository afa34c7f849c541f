import torch

from softprompt.analysis.ranking import WORDS, first_words, likely_words, nearest_words, words_of_rows


def is_word(token: int) -> bool:
    return token != 0


def test_each_word_once_and_no_punctuation():
    assert first_words([3, 0, 3, 5, 0, 4], is_word) == [3, 5, 4]
    assert first_words([3, 0, 5, 4], is_word, 2) == [3, 5]


def test_nearest_words_by_the_highest_cosine_with_any_row():
    ids = torch.tensor([[1, 2, 0], [2, 3, 4]])
    cosines = torch.tensor([[0.5, 0.4, 0.3], [0.9, 0.2, 0.1]])
    assert nearest_words(ids, cosines, is_word) == [2, 1, 3, 4]


def test_a_row_without_a_direction_says_nothing():
    assert nearest_words(torch.tensor([[1, 2]]), torch.zeros(1, 2), is_word) == []


def test_likely_words_of_a_distribution():
    assert likely_words(torch.tensor([0.4, 0.1, 0.3, 0.2]), is_word) == [2, 3, 1]
    assert len(likely_words(torch.rand(100), is_word)) == WORDS


def test_words_of_rows_in_a_given_order():
    nearest = [[1, 2], [0, 3], [1, 4]]
    assert words_of_rows([2, 1, 0], nearest, is_word) == [1, 3]
