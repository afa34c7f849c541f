"""Parses JSON lines."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from softprompt.data.superglue import flattened
from softprompt.errors import UserError, first_line
from softprompt.tasks import Record, lift


def parse_jsonl(content: bytes, path: Path) -> list[Record]:
    """Parse one record per line. The fields of nested objects (WSC's `target`) become fields of the record.

    A line of MultiRC's or ReCoRD's official files becomes several records. Blank lines are skipped.

    Args:
        content: the bytes of the file.
        path: the file's path, for error messages.

    Raises:
        UserError: a line is not UTF-8, not JSON or not a JSON object, or the file has no record.
    """
    records: list[Record] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        where = f"{path}:{number}"
        if (fields := parse_record(line, where, first=number == 1)) is not None:
            records += records_of(fields, where)
    if not records:
        raise UserError(f"{path}: the file has no records")
    return records


def records_of(fields: Mapping[str, object], where: str) -> list[Record]:
    """The records in a line. Raises like `flattened` and `lift`."""
    return [Record(lift(flat, place), place) for flat, place in flattened(fields, where)]


def parse_record(line: bytes, where: str, first: bool = False) -> dict[str, object] | None:
    """Parse a line of a JSONL file; None if it is blank. Raises like `parse_jsonl`.

    Args:
        where: the line's place, for error messages.
        first: True for the first line of a file, which may begin with a byte order mark.
    """
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
        if not text.strip():
            return None
        fields = json.loads(text, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 ({error.reason} at byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:
        # A field twice, a number of thousands of digits, or thousands of brackets.
        raise UserError(f"{where}: cannot be read ({first_line(error)})") from error
    if not isinstance(fields, dict):
        raise UserError(f"{where}: should be a JSON object, but is {text.strip()[:40]}")
    return fields


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """A JSON object. Raises a `ValueError` if it has two fields of one name, of which json would keep the last."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two fields are named {twice!r}; rename one")
    return fields
