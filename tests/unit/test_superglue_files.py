"""Lines of MultiRC's and ReCoRD's official files become records with the fields of the data set on the hub."""

import json
from pathlib import Path

import pytest

from softprompt.data.jsonl import parse_jsonl
from softprompt.errors import UserError

MULTIRC = {
    "idx": 3,
    "version": 1.1,
    "passage": {
        "text": "a dog runs. a cat sleeps.",
        "questions": [
            {"question": "which runs?", "idx": 7,
             "answers": [{"text": "a dog", "idx": 20, "label": 1}, {"text": "a cat", "idx": 21, "label": 0}]},
            {"question": "which sleeps?", "idx": 8, "answers": [{"text": "a cat", "idx": 22, "label": 1}]},
        ],
    },
}  # fmt: skip
RECORD = {
    "source": "Daily mail",
    "passage": {
        "text": "Mary met Bob. Mary ran.\n@highlight\nBob slept",
        "entities": [{"start": 0, "end": 3}, {"start": 9, "end": 11}, {"start": 14, "end": 17}],
    },
    "qas": [
        {"query": "@placeholder ran away", "idx": 5,
         "answers": [{"start": 0, "end": 3, "text": "Mary"}, {"start": 14, "end": 17, "text": "Mary"}]},
        {"query": "@placeholder and Bob met", "idx": 6, "answers": [{"start": 0, "end": 3, "text": "Mary"}]},
    ],
    "idx": 2,
}  # fmt: skip


def parsed(*lines: dict[str, object]) -> list[tuple[dict[str, object], str]]:
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return [(dict(record.fields), record.where) for record in parse_jsonl(content, Path("f.jsonl"))]


def test_each_answer_of_multirc_is_a_record() -> None:
    records = parsed(MULTIRC)
    assert records[1] == (
        {"paragraph": "a dog runs. a cat sleeps.", "question": "which runs?", "answer": "a cat",
         "idx": {"paragraph": 3, "question": 7, "answer": 21}, "label": 0},
        "f.jsonl:1, question 1, answer 2",
    )  # fmt: skip
    assert [(fields["idx"]["answer"], fields["label"]) for fields, _ in records] == [
        (20, 1),
        (21, 0),
        (22, 1),
    ]  # type: ignore[index]


def test_each_query_of_record_is_a_record() -> None:
    records = parsed(RECORD)
    assert records[0] == (
        {"passage": "Mary met Bob. Mary ran.\n@highlight\nBob slept", "query": "@placeholder ran away",
         "entities": ["Mary", "Bob"], "answers": ["Mary"], "idx": {"passage": 2, "query": 5}},
        "f.jsonl:1, query 1",
    )  # fmt: skip
    assert [fields["idx"]["query"] for fields, _ in records] == [5, 6]  # type: ignore[index]


def test_test_records_have_no_answer() -> None:
    unlabelled = json.loads(
        json.dumps([MULTIRC, RECORD]).replace(', "label": 1', "").replace(', "label": 0', "")
    )
    for query in unlabelled[1]["qas"]:
        del query["answers"]
    assert all("label" not in fields and "answers" not in fields for fields, _ in parsed(*unlabelled))


def test_flat_records_stay_as_they_are() -> None:
    """Also those of the hub, in which a part of `idx` has the name of a field."""
    for flat, _ in parsed(MULTIRC, RECORD):
        assert [fields for fields, _ in parsed(flat)] == [flat]


def test_a_line_that_lacks_a_field_is_named() -> None:
    broken = json.loads(json.dumps(MULTIRC).replace('"question": "which sleeps?", ', ""))
    with pytest.raises(
        UserError, match=r"^f\.jsonl:2: is not in the layout of SuperGLUE's .* \(KeyError: 'question'\)$"
    ):
        parsed(MULTIRC, broken)
