"""The share of prompts' words that were taught for the task."""

import pytest

from softprompt.analysis.method_words import word_shares

TAUGHT = {"cb": [1, 2, 3], "rte": [4, 5], "copa": [6]}


def test_shares_by_hand() -> None:
    words = [
        ("text", "cb", {1, 2, 9, 10}),  # 2/4 of cb, 0 of others
        ("text", "cb", {1, 4}),  # 1/2 of cb, 1/2 of rte
        ("text", "rte", {4, 5, 6, 9}),  # 2/4 of rte, 1/4 of copa
        ("text", "copa", {9}),  # nothing
        ("vocab", "cb", set()),  # a prompt without words is left out
        ("vocab", "rte", {4}),
    ]
    text, vocab = word_shares(words, TAUGHT, 20).to_dict("records")
    assert (text["tasks"], text["runs"]) == (3, 4)
    assert text["own"] == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert (text["lowest"], text["highest"]) == (0, 0.5)
    assert text["others"] == pytest.approx((0.25 + 0.25) / 6)
    assert text["chance"] == pytest.approx((3 + 2 + 1) / 3 / 20)
    # Rows: cb (.5, .25, 0), rte (0, .5, .25), copa (0, 0, 0). Only the identity reaches 1/3.
    assert text["p"] == text["smallest_p"] == pytest.approx(1 / 6)
    assert (vocab["tasks"], vocab["runs"], vocab["own"], vocab["p"]) == (1, 1, 1.0, 1.0)


def test_words_that_say_nothing_of_the_task_have_no_small_p() -> None:
    words = [("text", task, {1, 4, 6}) for task in TAUGHT]
    (line,) = word_shares(words, TAUGHT, 20).to_dict("records")
    assert line["p"] == 1.0 and line["own"] == pytest.approx(line["others"])


def test_many_tasks_are_sampled() -> None:
    taught = {f"task{i}": [i] for i in range(9)}
    (line,) = word_shares([("text", f"task{i}", {i}) for i in range(9)], taught, 20).to_dict("records")
    assert line["own"] == 1.0 and line["p"] == line["smallest_p"] == 1 / 5000


def test_without_truth_there_is_no_line() -> None:
    assert word_shares([("text", "cb", {1})], {}, 20).empty
