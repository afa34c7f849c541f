"""The lines of `predictions.jsonl`: what a prompt answers to the test records."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from softprompt.settings import TaskSettings
from softprompt.tasks import Record

Predicted = str | list[float]  # free text, or the probability of each of the task's answers


def prediction_lines(
    task: TaskSettings, records: Sequence[Record], predicted: Mapping[str, Predicted]
) -> Iterator[str]:
    """One JSON object per record, in order.

    `answer` is the most likely one, `label` what the data calls it. A record's own `idx` is kept.

    Args:
        task: whose answers the probabilities are of.
        records: those that were answered.
        predicted: what was predicted, by `Record.where`.
    """
    for record in records:
        content = {
            "record": record.where,
            **({"idx": record.fields["idx"]} if "idx" in record.fields else {}),
            **_prediction(task, predicted[record.where]),
        }
        yield json.dumps(content, ensure_ascii=False)


def _prediction(task: TaskSettings, predicted: Predicted) -> dict[str, Any]:
    """The text, or the most likely answer and the probabilities of all."""
    if isinstance(predicted, str):
        return {"label": predicted, "answer": predicted}
    probabilities = dict(zip(task.verbalizers, predicted, strict=True))
    answer = max(probabilities, key=probabilities.__getitem__)
    return {
        "label": task.verbalizers[answer][0],
        "answer": answer,
        "probabilities": {name: round(value, 6) for name, value in probabilities.items()},
    }
