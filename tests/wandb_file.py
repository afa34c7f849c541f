"""Reads what Weights & Biases recorded offline."""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

FILE_HEADER, BLOCK = 7, 32768  # bytes
PART_HEADER = struct.Struct("<IHB")  # checksum, length, kind
WHOLE, LAST = 1, 4


@dataclass
class Recorded:
    """The content of a .wandb file."""

    config: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    group: str = ""
    id: str = ""
    steps: dict[int, dict[str, Any]] = field(default_factory=dict)  # step -> name -> value
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, list[str]] = field(default_factory=dict)  # type -> names of files
    exit_code: int | None = None


def read_wandb_file(path: Path) -> Recorded:
    """The content of the .wandb file of a run that has ended. W&B's service may go on writing for a moment."""
    deadline = time.monotonic() + 30
    while (found := _read(path)).exit_code is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _read(path: Path) -> Recorded:
    found = Recorded()
    for record in _records(path):
        match record.WhichOneof("record_type"):
            case "run":
                found.id, found.group, found.tags = (
                    record.run.run_id,
                    record.run.run_group,
                    list(record.run.tags),
                )
                found.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            case "history":
                values = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
                step = record.history.step.num
                found.steps.setdefault(step, {}).update(values)
            case "summary":
                for item in record.summary.update:
                    found.summary[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
            case "artifact":
                names = [entry.path for entry in record.artifact.manifest.contents]
                found.artifacts.setdefault(record.artifact.type, []).extend(names)
            case "request":
                if record.request.WhichOneof("request_type") == "log_artifact":
                    artifact = record.request.log_artifact.artifact
                    names = [entry.path for entry in artifact.manifest.contents]
                    found.artifacts.setdefault(artifact.type, []).extend(names)
            case "exit":
                found.exit_code = record.exit.exit_code
    return found


def _records(path: Path) -> Iterator[Record]:
    """The records of a LevelDB log: parts with a checksum, a length and a kind, in blocks."""
    content = path.read_bytes()
    position, parts = FILE_HEADER, b""
    while position + PART_HEADER.size <= len(content):
        left_in_block = BLOCK - position % BLOCK
        if left_in_block < PART_HEADER.size:
            position += left_in_block  # padding
            continue
        _, length, kind = PART_HEADER.unpack_from(content, position)
        position += PART_HEADER.size
        parts += content[position : position + length]
        position += length
        if kind in (WHOLE, LAST):
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""
