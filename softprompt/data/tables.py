"""Reads records from a JSONL, CSV, TSV or Parquet file, whose columns may have other names than the task's fields."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from softprompt.data.jsonl import parse_jsonl
from softprompt.errors import UserError, first_line
from softprompt.settings import TaskSettings
from softprompt.tasks import Record, lift

DELIMITERS = {".csv": ",", ".tsv": "\t"}


def parse_table(
    content: bytes, path: Path, task: TaskSettings, columns: Mapping[str, str], labelled: bool
) -> list[Record]:
    """The records of a file. Its kind is told by the end of its name.

    In a CSV or TSV file everything is text, so a cell of the label's column is the label of the task that is written so
    (`1`, `true`).

    Args:
        content: the bytes of the file.
        path: the file's path, for error messages.
        task: its template and label name the fields that are needed.
        columns: by field, the column's name if it is another one.
        labelled: True if the records must have a label.

    Raises:
        UserError: a column is missing, a line cannot be read, or the kind of file is not known.
    """
    kind = path.suffix.lower()
    if kind == ".jsonl":
        records = parse_jsonl(content, path)
    elif kind in DELIMITERS:
        records = _parse_lines(content, path, DELIMITERS[kind])
    elif kind == ".parquet":
        records = _parse_parquet(content, path)
    else:
        raise UserError(f"{path}: is none of .jsonl, .csv, .tsv and .parquet")
    if not records:
        raise UserError(f"{path}: the file has no records")
    if unknown := set(columns) - {*task.fields, task.answer_field}:
        raise UserError(
            f"data.columns.{min(unknown)}: task {task.name!r} has no such field; it has "
            f"{', '.join([*task.fields, task.answer_field])}"
        )
    needed = [*task.fields, *([task.answer_field] if labelled else [])]
    column_of = {name: columns.get(name, name) for name in needed}
    for name, column in column_of.items():
        if column not in records[0].fields:
            raise UserError(
                f"{path}: no column {column!r} for {name!r} of task {task.name!r}; it has "
                f"{', '.join(map(repr, records[0].fields))}: set 'data.columns={{{name}: ...}}'"
            )
    return [_renamed(record, column_of, task, kind in DELIMITERS) for record in records]


def _renamed(record: Record, column_of: Mapping[str, str], task: TaskSettings, is_text: bool) -> Record:
    fields = dict(record.fields)
    for name, column in column_of.items():
        value = record.fields.get(column)
        fields[name] = _label(value, task) if is_text and name == task.answer_field else value
    return Record(fields, record.where)


def _label(cell: object, task: TaskSettings) -> object:
    """The label that is written like this; the cell itself if there is none."""
    for labels in task.verbalizers.values():
        for label in labels:
            if cell == str(label) or (isinstance(label, bool) and str(cell).lower() == str(label).lower()):
                return label
    return cell


def _parse_lines(content: bytes, path: Path, delimiter: str) -> list[Record]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records = []
    try:
        names = list(reader.fieldnames or [])
        if len(set(names)) < len(names):
            raise UserError(f"{path}:1: two columns have the same name; rename one")
        for fields in reader:
            where = f"{path}:{reader.line_num}"
            if None in fields or None in fields.values():
                raise UserError(
                    f"{where}: has another number of cells than the first line, which has {len(names)}"
                )
            records.append(Record(dict(fields), where))
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: cannot be read ({first_line(error)})") from error
    return records


def _parse_parquet(content: bytes, path: Path) -> list[Record]:
    # Imported here, because pyarrow takes a third of a second and only this kind needs it.
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        rows = read_table(io.BytesIO(content)).to_pylist()
    except (ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from error
    return [Record(lift(row, where := f"{path}[{index}]"), where) for index, row in enumerate(rows)]
