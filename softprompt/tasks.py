"""A task turns a record into a text and an answer; all that is particular to it is in `conf/task`."""

from collections.abc import Mapping
from dataclasses import dataclass

from softprompt.errors import UserError
from softprompt.settings import TaskSettings


@dataclass(frozen=True)
class Record:
    """One record of a data set, and where it stands (for error messages): `CB/train.jsonl:12`."""

    fields: Mapping[str, object]
    where: str


def lift(fields: Mapping[str, object]) -> dict[str, object]:
    """A record's fields with nested objects (WSC's `target`) lifted to the top."""
    flat: dict[str, object] = {}
    for name, value in fields.items():
        flat.update(value if isinstance(value, Mapping) else {name: value})
    return flat


@dataclass(frozen=True)
class Rendered:
    """A record as the model reads it: the text, and which of the task's answers is right."""

    text: str
    label: int | None  # index into the task's verbalizers; None where the record carries no label
    where: str


def render(task: TaskSettings, record: Record, *, labelled: bool = True) -> Rendered:
    """Fill the task's template with a record.

    Line breaks inside a field become spaces: templates put one field on a line (and two of WSC's spans are
    broken where the text itself has a space).

    Args:
        labelled: whether a label must be there. Test files carry none and serve for prediction only.

    Raises:
        UserError: a field is missing, empty or not text, or the label is not one of the verbalizers'.
    """
    shown = {}
    for name in task.fields:
        if name not in record.fields:
            raise UserError(
                f"{record.where}: no field {name!r}, which task {task.name!r} shows; "
                f"the record has {', '.join(map(repr, record.fields))}"
            )
        value = record.fields[name]
        if not isinstance(value, str):
            raise UserError(f"{record.where}: field {name!r} is {value!r}, and should be text")
        if not value.strip():
            raise UserError(f"{record.where}: field {name!r} is empty")
        if not value.isprintable() and any("\ud800" <= character <= "\udfff" for character in value):
            raise UserError(
                f"{record.where}: field {name!r} holds half of a surrogate pair, which is no text"
            )
        shown[name] = " ".join(line.strip() for line in value.splitlines()) if "\n" in value else value
    text = task.template.format_map(shown)
    return Rendered(text, _label(task, record) if labelled else None, record.where)


def _label(task: TaskSettings, record: Record) -> int:
    if task.label not in record.fields:
        raise UserError(
            f"{record.where}: no label (field {task.label!r}); records without one serve for prediction only"
        )
    value = record.fields[task.label]
    for index, labels in enumerate(task.verbalizers.values()):
        # In Python False == 0, but in a data set they are two different labels.
        if any(type(value) is type(label) and value == label for label in labels):
            return index
    known = ", ".join(repr(label) for labels in task.verbalizers.values() for label in labels)
    raise UserError(f"{record.where}: label {value!r} is unknown to task {task.name!r}, which knows {known}")
