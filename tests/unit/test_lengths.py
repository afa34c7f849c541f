import numpy as np
import pandas as pd
import pytest

from softprompt.analysis.lengths import length_differences, length_table, length_trend, start_differences
from softprompt.analysis.variants import without_setting

RIGHT = {"a": 10, "b": 14, "c": 16, "d": 16}  # of 20


def table() -> pd.DataFrame:
    runs = pd.DataFrame(
        {
            "run": ["c", "a", "b", "d"],
            "task": ["cb"] * 4,
            "start": ["labels", "labels", "labels", "common"],
            "rows": [20, 1, 1, 20],
            "untrained": [0.5, 0.0, 0.25, 0.75],
        }
    )
    correct = {run: np.arange(20) < count for run, count in RIGHT.items()}
    return length_table(runs, correct, {run: run for run in RIGHT})


def test_runs_of_one_length_are_averaged_and_lengths_are_in_order():
    labels = table()[table()["start"] == "labels"]
    assert labels["rows"].tolist() == [1, 20] and labels["runs"].tolist() == [2, 1]
    assert labels["exact_match"].tolist() == [60.0, 80.0]
    assert labels["untrained"].tolist() == [12.5, 50.0]
    assert ((labels["low"] < labels["exact_match"]) & (labels["exact_match"] < labels["high"])).all()


def test_copies_of_a_prompt_count_once():
    runs = pd.DataFrame(
        {"run": ["a", "b"], "task": "cb", "start": "labels", "rows": 1, "untrained": 0.0}, index=[0, 1]
    )
    correct = {"a": np.array([True, False]), "b": np.array([True, False])}
    (line,) = length_table(runs, correct, {"a": "x", "b": "x"}).to_dict("records")
    (alone,) = length_table(runs[:1], correct, {"a": "x"}).to_dict("records")
    assert line["runs"] == 2 and (line["low"], line["high"]) == (alone["low"], alone["high"])


def test_differences_between_lengths_and_between_starts():
    (of_length,) = length_differences(table()).to_dict("records")
    assert (of_length["shorter"], of_length["longer"], of_length["difference"]) == (1, 20, 20.0)
    (of_start,) = start_differences(table()).to_dict("records")
    assert (of_start["first"], of_start["second"], of_start["difference"]) == ("labels", "common", 0.0)
    assert of_start["low"] < 0 < of_start["high"]


def test_three_lengths_are_compared_in_steps_and_from_end_to_end():
    lines = [
        {"task": "cb", "start": "labels", "rows": rows, "exact_match": score, "low": score, "high": score}
        for rows, score in ((1, 50.0), (5, 80.0), (20, 90.0))
    ]
    found = length_differences(pd.DataFrame(lines))
    assert found[["shorter", "longer", "difference"]].to_numpy().tolist() == [
        [1, 5, 30.0],
        [5, 20, 10.0],
        [1, 20, 40.0],
    ]


def test_the_trend_is_a_rank_correlation_within_tasks():
    def trend(scores: list[float]) -> dict[str, float]:
        return length_trend(
            pd.DataFrame({"task": ["cb"] * 3 + ["rte"] * 3, "rows": [1, 5, 20] * 2, "exact_match": scores})
        )

    rising = trend([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    # Both tasks in order, or both reversed: 2 of 36 ways.
    assert rising["spearman"] == pytest.approx(1) and rising["p"] == pytest.approx(2 / 36, abs=0.01)
    assert trend([0.1, 0.2, 0.3, 0.9, 0.8, 0.7])["p"] == 1.0
    assert np.isnan(trend([0.5] * 6)["spearman"])


@pytest.mark.parametrize(
    ("variant", "start"),
    [
        ("labels, prompt.length=5", "labels"),
        ("vocab, sgd, prompt.length=5, optim.lr=0.1", "vocab, sgd, optim.lr=0.1"),
        ("text", "text"),
    ],
)
def test_a_start_is_a_variant_without_its_length(variant: str, start: str) -> None:
    assert without_setting(variant, "prompt.length") == start
