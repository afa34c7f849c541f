import pandas as pd
import pytest
import torch

from softprompt.report.neighbour_claims import kept_claim, lexicon_claim
from softprompt.report.registry import Verdict
from softprompt.report.sections.neighbours import random_vectors


def shares(tuned: list[float], step: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"tuned": tuned, "random step": step})


@pytest.mark.parametrize(
    ("tuned", "step", "verdict", "said"),
    [
        ([1.0] * 12, [1.0] * 12, Verdict.HOLDS, "100% [76, 100] of the rows"),
        ([1.0] * 12, [1.0] * 12, Verdict.HOLDS, "keeps as many, so that this shows how short the steps are"),
        ([0.9, 0.8, 0.9, 0.8], [0.1, 0.2, 0.1, 0.2], Verdict.HOLDS, "keeps fewer"),
        ([0.1, 0.2, 0.1, 0.2], [0.9, 0.8, 0.9, 0.8], Verdict.FAILS, "keeps more: training moves"),
        ([0.0, 1.0, 0.5], [0.5, 0.5, 0.5], Verdict.OPEN, "keeps as many"),
        ([1.0], [1.0], Verdict.OPEN, "100% of the rows"),  # one run has no interval
    ],
)
def test_kept_rows_are_compared_with_a_random_step(
    tuned: list[float], step: list[float], verdict: Verdict, said: str
) -> None:
    (claim,) = kept_claim(shares(tuned, step), None)
    assert claim.verdict is verdict and said in claim.evidence


def test_without_initial_tokens_there_is_no_claim():
    assert not list(kept_claim(pd.DataFrame(), None))


def counts(tuned: tuple[int, int], initial: int, step: int) -> pd.DataFrame:
    """`tuned` by task, the others in total, of ten runs for each of two tasks."""
    rows = [
        ("tuned", "cb", tuned[0]),
        ("tuned", "rte", tuned[1]),
        ("initial", "cb", initial),
        ("initial", "rte", 0),
    ]
    rows += [("random step", "cb", step), ("random step", "rte", 0), ("random vectors", "cb", 0)]
    table = pd.DataFrame(rows, columns=["prompt", "task", "with_word"])
    return table.assign(runs=10, tokens=["correct" if count else "" for count in table["with_word"]])


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (counts((9, 9), 1, 2), Verdict.HOLDS),
        (counts((9, 0), 1, 2), Verdict.OPEN),  # one task only
        (counts((2, 1), 1, 2), Verdict.OPEN),  # 3 of 20 beside 2 of 20
        (counts((3, 3), 1, 6), Verdict.OPEN),  # as many as by chance
        (counts((1, 0), 1, 9), Verdict.FAILS),  # fewer than by chance
        (counts((0, 0), 0, 0), Verdict.FAILS),
    ],
)
def test_words_of_the_lexicon_are_compared_with_untrained_prompts(
    found: pd.DataFrame, verdict: Verdict
) -> None:
    (claim,) = lexicon_claim(found, ["correct", "right"], 0.001)
    assert claim.verdict is verdict and "0.10% of the vocabulary" in claim.evidence


def test_without_a_word_of_the_lexicon_in_the_vocabulary_nothing_can_be_told():
    (claim,) = lexicon_claim(counts((0, 0), 0, 0), ["correct"], 0.0)
    assert claim.verdict is Verdict.OPEN
    assert not list(lexicon_claim(counts((0, 0), 0, 0), [], 0.0))


def test_random_vectors_differ_from_every_start():
    """Starts begin with the numbers of a small seed, or of a hash of task and seed."""
    noise = random_vectors("cb", (2, 4))
    assert torch.equal(noise, random_vectors("cb", (2, 4)))
    assert not torch.equal(noise, random_vectors("rte", (2, 4)))
    for seed in range(100):
        start = torch.randn(2, 4, generator=torch.Generator().manual_seed(seed))
        assert (noise - start).abs().min() > 0
