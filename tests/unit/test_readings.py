import numpy as np
import pandas as pd
import pytest

from softprompt.analysis.precision import SHUFFLES, against_chance, shuffles
from softprompt.analysis.readings import (
    functional_words,
    list_precision,
    readings_table,
    word_matrix,
)
from softprompt.report.readings_claim import readings_claim
from softprompt.report.registry import Verdict


def test_shuffles_keep_the_number_of_taught_words():
    shuffled = shuffles(np.array([True, True, False, False, False]))
    assert shuffled.shape == (SHUFFLES, 5) and (shuffled.sum(1) == 2).all()
    assert shuffled.mean(0) == pytest.approx(2 / 5, abs=0.03)


def test_chance_by_hand():
    result = against_chance(0.5, np.array([0.0, 0.25, 0.5, 1.0]))
    assert result == {"chance": 0.4375, "chance_high": pytest.approx(0.9625), "p": 3 / 5}


def test_precision_of_a_list():
    assert list_precision([4, 5, 6, 7], {4, 7, 9}) == 0.5
    assert list_precision([], {4}) == 0.0


def test_functional_words_are_the_best_ones_above_no_prompt():
    scores = {
        word: {"exact_match": 0.0, "rank_accuracy": accuracy}
        for word, accuracy in {"a": 0.9, "b": 0.7, "c": 0.7, "d": 0.4, "e": 0.3}.items()
    }
    assert functional_words(scores, 0.0, count=1) == {"a"}
    assert functional_words(scores, 0.0, count=2) == {"a", "b", "c"}  # b and c are tied
    assert functional_words(scores, 0.7, count=2) == {"a"}
    assert functional_words(scores, 0.4, count=10) == {"a", "b", "c"}
    assert functional_words({}, 0.4) == set()


def lists_of(*lines: tuple[str, str, str, str, list[int]]) -> pd.DataFrame:
    columns = ["reading", "task", "run", "prompt", "words"]
    return pd.DataFrame([dict(zip(columns, line, strict=True)) for line in lines]).assign(variant="text")


LISTS = lists_of(
    ("nearest", "cb", "a", "tuned", [4, 5]),
    ("nearest", "cb", "b", "tuned", [4, 9]),
    ("nearest", "cb", "a", "initial", [4, 9]),
    ("nearest", "cb", "b", "initial", [9, 8]),
    ("lens", "cb", "a", "tuned", [8, 9]),
    ("lens", "cb", "b", "tuned", []),
    ("lens", "cb", "a", "initial", [8, 9]),
    ("lens", "cb", "b", "initial", [8, 9]),
)


def test_precision_and_chance_of_readings_by_hand():
    vocabularies = {"any": range(4, 24), "instruction": [4, 5, 8, 9]}
    table = readings_table(LISTS, {"taught": {"cb": {4, 5}, "rte": {8}}}, vocabularies, {"cb": {9}})
    nearest, lens = table.to_dict("records")
    assert (nearest["reading"], nearest["runs"], nearest["precision"]) == ("nearest", 2, 0.75)
    assert (nearest["words"], nearest["found"], nearest["answers"]) == (2, 1.5, 0.25)
    assert (lens["words"], lens["found"], lens["answers"]) == (1, 0, 0.25)
    assert (nearest["initial"], nearest["difference"]) == (0.25, 0.5)
    assert nearest["chance, any"] == pytest.approx(2 / 20, abs=0.01)
    assert nearest["chance, instruction"] == pytest.approx(2 / 4, abs=0.01)
    # Weights 1/2, 1/4 and 1/4 for the tokens 4, 5 and 9: at least 0.75 is 4 with 5 or 9, two of the six pairs.
    assert nearest["p, instruction"] == pytest.approx(2 / 6, abs=0.02)
    assert nearest["p_holm, instruction"] == pytest.approx(2 * nearest["p, instruction"])
    assert (lens["precision"], lens["empty"], lens["p, any"], lens["p_holm, any"]) == (0.0, 1, 1.0, 1.0)


def test_words_outside_of_a_shuffled_vocabulary_do_not_count_as_chance():
    table = readings_table(LISTS, {"functional": {"cb": {9}}}, {"instruction": [4, 5, 8]}, {})
    assert table.set_index("reading")["chance, instruction"].eq(0).all()
    assert table.set_index("reading")["precision"]["nearest"] == 0.25


def test_an_unknown_task_has_no_line():
    assert readings_table(LISTS, {"taught": {"rte": {4}}}, {"any": range(4, 24)}, {}).empty


def test_words_of_each_task_among_the_words_of_each_tasks_prompts():
    lists = pd.concat([LISTS[LISTS["reading"] == "nearest"], lists_of(
        ("nearest", "rte", "a", "tuned", [4, 6]),
        ("nearest", "rte", "a", "initial", [9, 8]),
    )])  # fmt: skip
    matrix = word_matrix(lists, {"cb": {4, 5}, "rte": {4, 9}})
    lines = {(line["source"], line["target"]): line for line in matrix.to_dict("records")}
    assert {pair: line["precision"] for pair, line in lines.items()} == {
        ("cb", "cb"): 75.0, ("cb", "rte"): 75.0, ("rte", "cb"): 50.0, ("rte", "rte"): 50.0
    }  # fmt: skip
    assert lines["cb", "rte"]["only_target"] == 25.0  # 9, once in four
    assert lines["cb", "cb"]["only_target"] == 0.0
    assert lines["cb", "rte"]["initial"] == 75.0 and np.isnan(lines["rte", "cb"]["low"])


def scored(
    reading: str, p: tuple[float, ...], gain: tuple[float, ...], variant: str = "random"
) -> pd.DataFrame:
    """A line per task: corrected p among instruction words, and the lower end of the gain over untrained prompts."""
    return pd.DataFrame(
        {
            "truth": "taught words", "task": list("abcd")[: len(p)], "variant": variant, "reading": reading,
            "found": 4.0, "precision": 0.4, "low": 0.3, "high": 0.5, "initial": 0.1, "difference_low": gain, "runs": 3,
            "chance, any word": 0.05, "chance, instruction words": 0.2, "p_holm, instruction words": p,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tables", "verdict", "said"),
    [
        ([scored("nearest", (0.01, 0.01, 0.9), (0.1, 0.1, 0.1))], Verdict.HOLDS, "on 2 of 3 tasks"),
        ([scored("nearest", (0.01, 0.9, 0.9), (0.1, 0.1, 0.1))], Verdict.OPEN, "on 1 of 3 tasks"),
        # Above chance, but untrained prompts may read the same.
        ([scored("nearest", (0.01, 0.01, 0.01), (-0.1, -0.1, -0.1))], Verdict.OPEN, "on 0 of 3 tasks"),
        ([scored("nearest", (0.9, 0.9, 0.9), (0.1, 0.1, 0.1))], Verdict.FAILS, "on 0 of 3 tasks"),
        (
            [scored("nearest", (0.9, 0.9), (0.1, 0.1)), scored("lens", (0.01, 0.01), (0.1, 0.1))],
            Verdict.HOLDS,
            "“lens”",
        ),
        # What starts from the instruction reads it without having learned it.
        ([scored("nearest", (0.01, 0.01), (0.1, 0.1), "text")], Verdict.OPEN, "No runs started from random rows"),
    ],
)  # fmt: skip
def test_a_reading_must_beat_instruction_words_and_untrained_prompts(
    tables: list[pd.DataFrame], verdict: Verdict, said: str
) -> None:
    claim = readings_claim(pd.concat(tables), {"random"}, None)
    assert claim.verdict is verdict and said in claim.evidence
