"""A reading of a prompt as a ranked list of words: the form in which readings are compared."""

from collections.abc import Callable, Iterable, Sequence

from jaxtyping import Float, Int
from torch import Tensor

WORDS = 10  # of a reading
CANDIDATES = 30  # per row or distribution, because some are no words and some are drawn twice


def first_words(tokens: Iterable[int], is_word: Callable[[int], bool], words: int = WORDS) -> list[int]:
    """The first different tokens that are words.

    Args:
        tokens: token ids, best first.
        is_word: whether a token counts as a word: special tokens and punctuation do not.
        words: how many.
    """
    return [token for token in dict.fromkeys(tokens) if is_word(token)][:words]


def nearest_words(
    ids: Int[Tensor, "n k"], cosines: Float[Tensor, "n k"], is_word: Callable[[int], bool]
) -> list[int]:
    """The words with the highest cosine with any row of a prompt, each once.

    Args:
        ids: the nearest tokens of each row.
        cosines: their cosines. Those of a row of zeros, which has no direction, are 0 and are left out.
        is_word: see `first_words`.
    """
    order = cosines.flatten().argsort(descending=True, stable=True)
    ranked = order[cosines.flatten()[order] > 0]
    return first_words(ids.flatten()[ranked].tolist(), is_word)


def likely_words(probabilities: Float[Tensor, "V"], is_word: Callable[[int], bool]) -> list[int]:
    """The most likely words of a distribution over the vocabulary."""
    ranked = probabilities.argsort(descending=True, stable=True)[: WORDS + CANDIDATES]
    return first_words(ranked.tolist(), is_word)


def words_of_rows(
    order: Sequence[int], nearest: Sequence[Sequence[int]], is_word: Callable[[int], bool]
) -> list[int]:
    """The nearest word of each row, for rows in a given order, each word once.

    Args:
        order: the rows, best first.
        nearest: for every row of the prompt, its nearest tokens, nearest first.
        is_word: see `first_words`.
    """
    of_rows = (first_words(nearest[row], is_word, 1) for row in order)
    return first_words([word for words in of_rows for word in words], is_word)
