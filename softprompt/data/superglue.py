"""Flattens the official files of SuperGLUE's MultiRC and ReCoRD, in which a line holds a passage with all its questions.

The flat records have the fields of the data set on the hub, so that one task file reads both.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from softprompt.errors import UserError

Fields = Mapping[str, Any]


def flattened(fields: Fields, where: str) -> Iterator[tuple[Fields, str]]:
    """The records in a line of a JSONL file, each with its place.

    A line of another layout is one record and stays as it is.

    Args:
        fields: the line.
        where: its place.

    Raises:
        UserError: the line has MultiRC's or ReCoRD's layout, but lacks a field of it.
    """
    try:
        match fields:
            case {"passage": {"questions": list()}}:
                yield from _multirc(fields, where)
            case {"passage": {"text": str()}, "qas": list()}:
                yield from _record(fields, where)
            case _:
                yield fields, where
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{where}: is not in the layout of SuperGLUE's official files ({type(error).__name__}: {error})"
        ) from error


def _multirc(fields: Fields, where: str) -> Iterator[tuple[Fields, str]]:
    """A record per answer. Test records have no label."""
    for i, question in enumerate(fields["passage"]["questions"], start=1):
        for k, answer in enumerate(question["answers"], start=1):
            idx = {"paragraph": fields["idx"], "question": question["idx"], "answer": answer["idx"]}
            record = {
                "paragraph": fields["passage"]["text"],
                "question": question["question"],
                "answer": answer["text"],
                "idx": idx,
            }
            if "label" in answer:
                record["label"] = answer["label"]
            yield record, f"{where}, question {i}, answer {k}"


def _record(fields: Fields, where: str) -> Iterator[tuple[Fields, str]]:
    """A record per query. `answers` are the different texts of the right answers; test records have none."""
    text = fields["passage"]["text"]
    # The end is the index of an entity's last character.
    entities = [text[entity["start"] : entity["end"] + 1] for entity in fields["passage"]["entities"]]
    for i, query in enumerate(fields["qas"], start=1):
        record = {
            "passage": text,
            "query": query["query"],
            "entities": list(dict.fromkeys(entities)),
            "idx": {"passage": fields["idx"], "query": query["idx"]},
        }
        if "answers" in query:
            record["answers"] = list(dict.fromkeys(answer["text"] for answer in query["answers"]))
        yield record, f"{where}, query {i}"
