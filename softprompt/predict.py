"""Answers records with a run's best prompt: the command `softprompt-predict`."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from softprompt.data.jsonl import parse_record, records_of
from softprompt.errors import UserError
from softprompt.library import TrainedPrompt, load
from softprompt.settings import PredictSettings
from softprompt.tasks import Record

Fields = dict[str, Any]


def predictions(settings: PredictSettings) -> Iterator[str]:
    """A JSON object per record: its `idx`, if it has one, the most likely answer, and each answer's probability.

    If the task's answers are free text: its `idx` and the text that is generated.

    Raises:
        UserError: the run is not finished, the file cannot be read, a line is no record, or a record lacks a field. The
            records before have been answered.
    """
    with _opened(settings.file) as lines:
        trained = load(settings.run)
        records = _records(lines, settings.file or "standard input")
        while chunk := list(islice(records, settings.batch)):
            for line in predicted(trained, chunk):
                yield json.dumps(line, ensure_ascii=False)


def predicted(trained: TrainedPrompt, records: list[Record]) -> list[Fields]:
    """What is written about each record."""
    fields, places = [record.fields for record in records], [record.where for record in records]
    found: list[Fields]
    if trained.task.answers:
        found = [{"answer": text} for text in trained.written(fields, places)]
    else:
        found = [
            {
                "answer": max(probabilities, key=probabilities.__getitem__),
                "probabilities": {answer: round(value, 6) for answer, value in probabilities.items()},
            }
            for probabilities in trained.probabilities(fields, places)
        ]
    return [
        {**({"idx": record.fields["idx"]} if "idx" in record.fields else {}), **of_record}
        for record, of_record in zip(records, found, strict=True)
    ]


def _opened(file: str | None) -> Any:
    if file is None:
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise UserError(f"file={file}: cannot be read ({error.strerror})") from error


def _records(lines: Iterable[bytes], name: str) -> Iterator[Record]:
    for number, line in enumerate(lines, start=1):
        where = f"{name}:{number}"
        if (fields := parse_record(line, where, first=number == 1)) is not None:
            yield from records_of(fields, where)
