"""Metrics that a task names."""

from typing import Any, get_args, get_type_hints

import pytest
import torch
from sklearn.metrics import f1_score

from softprompt.data.examples import Example
from softprompt.errors import UserError
from softprompt.parsing import parse_settings
from softprompt.scoring import AnswerScores, Scores
from softprompt.settings import TaskSettings
from softprompt.training.evaluation import ScoreMetrics
from softprompt.training.metrics import METRICS

RIGHT = [0, 1, 0, 0, 1, 1, 0]
PREDICTED = [0, 1, 1, 0, 0, 1, 0]
QUESTIONS = ["a", "a", "b", "c", "c", "d", "d"]  # a and d are all right


def measured(order: list[int], batch: int) -> Scores:
    metrics = ScoreMetrics(2, list(METRICS))
    for start in range(0, len(order), batch):
        chunk = order[start : start + batch]
        examples = [Example((5,), ((7, 2), (8, 2)), RIGHT[i], f"here:{i}", QUESTIONS[i]) for i in chunk]
        log_probability = torch.tensor([[-1.0, -2.0] if PREDICTED[i] == 0 else [-2.0, -1.0] for i in chunk])
        metrics.update(examples, AnswerScores(log_probability, torch.zeros(len(chunk), 2, dtype=torch.bool)))
    return metrics.compute()


def test_the_metrics_of_multirc() -> None:
    scores = measured(list(range(7)), 7)
    expected = f1_score([1 - label for label in RIGHT], [1 - label for label in PREDICTED])
    assert scores.extra == pytest.approx({"f1a": expected, "question_exact_match": 2 / 4}, abs=1e-6)
    assert measured([6, 0, 4, 2, 3, 5, 1], 2).extra == scores.extra  # a question's answers in several batches


def test_an_answer_that_never_occurs_has_no_f1() -> None:
    metric = METRICS["f1a"]()
    metric.update(torch.tensor([1, 1]), torch.tensor([1, 1]), torch.tensor([0, 1]))
    assert metric.compute() == 0


def test_scores_become_a_row_and_back() -> None:
    scores = measured(list(range(7)), 7)
    assert list(scores.row)[-3:] == ["n", "f1a", "question_exact_match"]
    assert Scores.of_row(scores.row) == scores


def test_a_task_can_name_every_metric(config: dict[str, Any]) -> None:
    (names,) = get_args(get_type_hints(TaskSettings)["metrics"])
    assert set(get_args(names)) == set(METRICS)
    config["task"]["metrics"] = ["question_exact_match"]
    with pytest.raises(UserError, match=r"^task\.group_by=\[\]: should name the fields"):
        parse_settings(config)
