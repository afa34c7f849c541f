import numpy as np
import pandas as pd
import pytest

from softprompt.analysis.hard_prompt import KINDS, hard_prompt_table, random_texts
from softprompt.report.hard_prompt_claim import hard_prompt_claims
from softprompt.report.registry import Verdict

TEXTS_OF = dict.fromkeys(range(4), np.stack([np.ones(8, bool), np.zeros(8, bool)]))


def test_the_share_of_the_gain_by_hand():
    labels = pd.DataFrame({"task": ["cb"] * 2, "variant": ["text"] * 2, "reads_as_start": [True, False]})
    none, half, all_ = np.zeros(8, bool), np.arange(8) < 4, np.ones(8, bool)
    correct = {
        "no_prompt": {0: none, 1: none},
        "initial": {0: half, 1: half},
        "hard_prompt": {0: half, 1: none},
        "tuned": {0: all_, 1: all_},
    }
    (line,) = hard_prompt_table(labels, correct, TEXTS_OF, ["x", "y"]).to_dict("records")
    assert [line[kind] for kind in KINDS] == [0, 0.5, 0.25, 1]
    assert line["share_of_gain"] == 0.25 and line["low"] < 0.25 < line["high"]
    assert line["share_of_learned"] == -0.5  # 1/4 less than the start, where tuning added 1/2
    assert line["read_as_start"] == 1
    # Of two texts one answers everything, one nothing: 97.5% of the way between them.
    assert (line["random_text"], line["random_text_high"]) == (0.5, 0.975)


def test_without_a_gain_there_is_no_share_of_it():
    labels = pd.DataFrame({"task": ["cb"], "variant": ["text"], "reads_as_start": True})
    correct = {kind: {0: np.arange(8) < 4} for kind in KINDS}
    (line,) = hard_prompt_table(labels, correct, TEXTS_OF, ["x"]).to_dict("records")
    assert np.isnan([line["share_of_gain"], line["low"], line["high"]]).all()


def test_tuned_prompts_that_are_copies_count_once():
    labels = pd.DataFrame(
        {"task": ["rte", "cb", "cb", "cb"], "variant": ["text"] * 4, "reads_as_start": True}
    )
    none, half, all_ = np.zeros(8, bool), np.arange(8) < 4, np.ones(8, bool)
    correct = {
        "no_prompt": dict.fromkeys(range(4), none),
        "initial": dict.fromkeys(range(4), none),
        "hard_prompt": {0: none, 1: none, 2: none, 3: half},
        "tuned": {0: all_, 1: half, 2: half, 3: all_},
    }
    _, line = hard_prompt_table(labels, correct, TEXTS_OF, ["w", "x", "x", "y"]).to_dict("records")
    assert (line["runs"], line["distinct_runs"]) == (3, 2)
    assert (line["tuned"], line["hard_prompt"]) == (0.75, 0.25)


def test_random_texts_have_distinct_tokens_and_begin_alike_in_every_length():
    long, short = (random_texts(range(10, 16), length, "cb", texts=3) for length in (5, 2))
    assert all(len(set(text)) == 5 and set(text) <= set(range(10, 16)) for text in long)
    assert [text[:2] for text in long] == short
    assert len({tuple(text) for text in long}) > 1
    assert random_texts(range(10, 16), 5, "rte", texts=3) != long
    (more,) = random_texts([7, 8], 5, "cb", texts=1)  # a vocabulary that is too small repeats
    assert more[:2] == more[2:4] and len(more) == 5


def scored(variant: str, initial: float, hard: float, learned: float, read_as_start: int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "task": ["cb", "rte"], "variant": variant, "initial": initial, "hard_prompt": hard, "tuned": 1.0,
            "random_text": 0.3, "random_text_high": 0.5, "share_of_learned": learned, "distinct_runs": 3,
            "read_as_start": read_as_start,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tables", "verdict", "said"),
    [
        ([scored("random", 0.0, 0.9, 0.9)], Verdict.HOLDS, "They keep 90% of what tuning added"),
        ([scored("random", 0.0, 0.45, 0.9)], Verdict.OPEN, "beat 97.5% of the random texts on 0 of 2 tasks"),
        ([scored("random", 0.0, 0.1, 0.1)], Verdict.FAILS, "They keep 10%"),
        (
            [scored("text", 0.6, 0.6, 0.0, 3)],
            Verdict.FAILS,
            "which scores 60% where tuning added to it (tuned 100%",
        ),
        ([scored("text", 1.0, 1.0, np.nan, 3)], Verdict.OPEN, "there is nothing to read"),
        ([scored("text", 0.9, 0.7, np.nan)], Verdict.OPEN, "Tuning is not shown to add anything."),
    ],
)
def test_the_verdict_is_about_what_tuning_added_to_the_start(
    tables: list[pd.DataFrame], verdict: Verdict, said: str
) -> None:
    (claim,) = hard_prompt_claims(pd.concat(tables), pd.concat(tables).assign(no_prompt=0.5), None)
    assert claim.verdict is verdict and said in claim.evidence


def test_each_start_has_its_verdict() -> None:
    table = pd.concat([scored("text", 0.6, 0.6, 0.0, 3), scored("random", 0.0, 0.9, 0.9)])
    from_text, from_random = hard_prompt_claims(table, table.assign(no_prompt=0.5), None)
    assert (from_text.verdict, from_random.verdict) == (Verdict.FAILS, Verdict.HOLDS)
    assert "from text" in from_text.says and "from random" in from_random.says
    assert "0% for cb, 0% for rte." in from_text.evidence and "90% for cb" in from_random.evidence


def test_gains_in_rank_accuracy_are_named_beside() -> None:
    exact, ranked = scored("random", 0.0, 0.9, 0.9), scored("random", 0.5, 0.6, 0.1).assign(no_prompt=0.5)

    def evidence(of_rank_accuracy: pd.DataFrame) -> str:
        (claim,) = hard_prompt_claims(exact, of_rank_accuracy, None)
        return claim.evidence

    assert "10% for cb, 10% for rte." in evidence(ranked)
    assert "10% for cb. Elsewhere" in evidence(ranked.assign(share_of_learned=[0.1, np.nan]))
    none = ranked.assign(share_of_learned=np.nan)
    assert "the rank accuracy is 50%, and tuning" in evidence(none)
