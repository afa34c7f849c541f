"""Turns a record into a text and the index of its answer, with the template and verbalizers of `conf/task`."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from softprompt.errors import UserError
from softprompt.settings import TaskSettings


@dataclass(frozen=True)
class Record:
    """One record of a data set."""

    fields: Mapping[str, object]
    where: str  # its place, for error messages: `CB/train.jsonl:12`


def lift(fields: Mapping[str, object], where: str) -> dict[str, object]:
    """Flatten a record: the fields of nested objects (WSC's `target`) become fields of the record.

    `idx`, which says where a record is in the official files, stays as it is.

    Args:
        fields: the record as it was read.
        where: its place, for error messages.

    Raises:
        UserError: two fields have the same name then.
    """
    flat: dict[str, object] = {}
    for name, value in fields.items():
        nested = value if isinstance(value, Mapping) and name != "idx" else {name: value}
        for inner_name, inner_value in nested.items():
            if inner_name in flat:
                raise UserError(
                    f"{where}: two fields are named {inner_name!r}, one of them in a nested object; rename one"
                )
            flat[inner_name] = inner_value
    return flat


@dataclass(frozen=True)
class Rendered:
    """The text that the model reads for a record, and the index of its right answer."""

    text: str
    label: (
        int | None
    )  # index into the task's verbalizers, or into `answers`; None for a record without a label
    where: str  # its place, for error messages
    answers: tuple[str, ...] = ()  # the right ones, if the task's answers are free text; the first is trained
    group: str | None = None  # the same for records that belong together (`task.group_by`)


def render(task: TaskSettings, record: Record, *, labelled: bool = True) -> Rendered:
    """Fill the task's template with a record.

    A number or a truth value is written as JSON writes it: 3, 2.5, true. (In CSV files all fields are text and stay as they
    are written there.)

    Line breaks inside a field become spaces, because templates put each field on one line. (Two spans of WSC contain a
    line break where the text has a space.)

    Args:
        task: template, verbalizers and the name of the label field.
        record: must have every field of the template.
        labelled: True if the record must have a label. False ignores the label: test records have none.

    Raises:
        UserError: a field is missing, empty or null, or is a list or the like, or the label is missing or in none of the
            verbalizers.
    """
    text = task.template.format_map({name: field_text(task, record, name) for name in task.fields})
    if not labelled:
        return Rendered(text, None, record.where)
    if task.answers is not None:
        return Rendered(text, 0, record.where, _right_answers(task, record))
    return Rendered(text, _label(task, record), record.where, group=_group(task, record))


def field_text(task: TaskSettings, record: Record, name: str) -> str:
    """What a record has in the place of a template's field. Raises like `render`."""
    if name not in record.fields:
        raise UserError(
            f"{record.where}: no field {name!r}, which the template of task {task.name!r} needs; "
            f"the record has {', '.join(map(repr, record.fields))}"
        )
    value = _as_text(record.fields[name], name, record.where)
    if not value.strip():
        raise UserError(f"{record.where}: field {name!r} is empty")
    if not value.isprintable() and any("\ud800" <= character <= "\udfff" for character in value):
        raise UserError(
            f"{record.where}: field {name!r} contains half of a surrogate pair, which is not valid text"
        )
    return " ".join(line.strip() for line in value.splitlines()) if "\n" in value else value


def _as_text(value: object, name: str, where: str) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        raise UserError(f"{where}: field {name!r} is null")
    # A truth value is an int. JSON has no infinity.
    if not isinstance(value, int) and not (isinstance(value, float) and math.isfinite(value)):
        raise UserError(
            f"{where}: field {name!r} should be text, a number, true or false, but is {str(value)[:60]!r}"
        )
    return json.dumps(value)


def _right_answers(task: TaskSettings, record: Record) -> tuple[str, ...]:
    """The right answers of a record, each on one line and without white space around it."""
    name = task.answer_field
    value = record.fields.get(name)
    if value is None or value == []:
        raise UserError(
            f"{record.where}: no answer (field {name!r}); a record without one can be used for prediction only"
        )
    answers = [
        _as_text(answer, name, record.where) for answer in (value if isinstance(value, list) else [value])
    ]
    if not all(map(str.strip, answers)):
        raise UserError(f"{record.where}: field {name!r} has an empty answer")
    return tuple(dict.fromkeys(" ".join(answer.split()) for answer in answers))


def _group(task: TaskSettings, record: Record) -> str | None:
    """The values of the fields that records of a group have in common."""
    values = []
    for path in task.group_by:
        value: object = record.fields
        for name in path.split("."):
            if not isinstance(value, Mapping) or name not in value:
                raise UserError(f"{record.where}: no field {path!r}, which task.group_by names")
            value = value[name]
        values.append(value)
    return repr(values) if values else None


def _label(task: TaskSettings, record: Record) -> int:
    if task.answer_field not in record.fields:
        raise UserError(
            f"{record.where}: no label (field {task.answer_field!r}); a record without one can be used for prediction only"
        )
    value = record.fields[task.answer_field]
    for index, labels in enumerate(task.verbalizers.values()):
        # Compare types too: in Python False == 0, but in a data set they are two different labels.
        if any(type(value) is type(label) and value == label for label in labels):
            return index
    known = ", ".join(repr(label) for labels in task.verbalizers.values() for label in labels)
    raise UserError(
        f"{record.where}: label {value!r} is unknown to task {task.name!r}; its labels are {known}"
    )
