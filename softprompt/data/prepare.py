"""Turns records into examples. A field of a record that is too long for the model's context is cut (`data.truncate`)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from softprompt.data.examples import Example, check_language, tokenise
from softprompt.errors import UserError
from softprompt.settings import TaskSettings, Truncate
from softprompt.tasks import Record, Rendered, field_text, render


@dataclass(frozen=True)
class Prepared:
    """Records as the model reads them, in the order of the records."""

    rendered: list[Rendered]
    examples: list[Example]
    truncated: int  # how many of them had a field cut


def prepare(
    task: TaskSettings,
    records: Sequence[Record],
    truncate: Truncate | None,
    tokenizer: Any,
    table_rows: int,
    context_length: int | None,
    *,
    labelled: bool = True,
) -> Prepared:
    """Render and tokenise records; cut the field that `truncate` names where an example would not fit.

    A cut example fits behind a prompt of `truncate.prompt_rows` rows, whatever the number of rows of the prompt that is
    trained: so all prompts of a sweep read the same texts.

    Args:
        task: its template and answers.
        records: must have every field of the template.
        truncate: None cuts nothing.
        tokenizer: a Hugging Face tokenizer.
        table_rows: rows of the model's embedding table.
        context_length: the model's context in tokens; None if the model has no fixed limit.
        labelled: as for `render`.

    Raises:
        UserError: as `render` and `tokenise`, or an example does not fit without the field either.
    """
    rendered = [render(task, record, labelled=labelled) for record in records]
    examples = tokenise(task, rendered, tokenizer, table_rows)
    check_language([record.text for record in rendered], examples, tokenizer)
    if truncate is None or context_length is None:
        return Prepared(rendered, examples, 0)
    # An answer's last token is predicted and never an input.
    room = context_length - truncate.prompt_rows + 1
    too_long = [index for index, example in enumerate(examples) if example.length > room]
    for index in too_long:
        record = records[index]
        while (excess := examples[index].length - room) > 0:
            text = field_text(task, record, truncate.field)
            cut = _cut(text, excess, truncate, tokenizer)
            if not cut:
                raise UserError(
                    f"{record.where}: {truncate.prompt_rows} prompt rows and the text do not fit the model's context of "
                    f"{context_length}, even without the field {truncate.field!r}; lower data.truncate.prompt_rows, or "
                    "cut another field"
                )
            record = replace(record, fields={**record.fields, truncate.field: cut})
            rendered[index] = render(task, record, labelled=labelled)
            (examples[index],) = tokenise(task, [rendered[index]], tokenizer, table_rows)
    return Prepared(rendered, examples, len(too_long))


def _cut(text: str, count: int, truncate: Truncate, tokenizer: Any) -> str:
    """A field without `count` tokens at one end; empty if it has no more."""
    if not tokenizer.is_fast:
        raise UserError(
            "data.truncate: the model's tokenizer does not tell where its tokens are in a text, so no field can be cut; use "
            "a model with a fast tokenizer"
        )
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    starts = [start for start, _ in encoded["offset_mapping"]]  # of each token, in characters
    if count >= len(starts):
        return ""
    return text[starts[count] :].lstrip() if truncate.drop == "start" else text[: starts[-count]].rstrip()
