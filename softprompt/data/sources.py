"""Reads records from the Hugging Face hub, from a folder of SuperGLUE JSONL files, or from the microworld."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from softprompt.errors import UserError, first_line
from softprompt.files import sha256
from softprompt.microworld.scenes import SCENES, draw_splits
from softprompt.settings import DataSettings, HubData, MicroworldData, TaskSettings
from softprompt.tasks import Record, lift

LABELLED_SPLITS = ("train", "validation")
JSONL_FILES = {"train": "train.jsonl", "validation": "val.jsonl", "test": "test.jsonl"}


@dataclass(frozen=True)
class Records:
    """The records of a task.

    Attributes:
        splits: "train", "validation" and, if predictions were requested, "test".
        fingerprint: identifies the data a prompt is trained and evaluated on: the SHA-256 of each file (or of the drawn
            records), or the revision of the hub data set. It is part of the run id, so other data makes another run.
    """

    splits: Mapping[str, list[Record]]
    fingerprint: Mapping[str, str]


def read_records(data: DataSettings, task: TaskSettings) -> Records:
    """Read the train and validation splits, and the test split if `data.predict`.

    Raises:
        UserError: a file is missing, empty or malformed (the message names file, line and reason), the hub data set
            cannot be loaded, or the source does not have the task.
    """
    split_names = (*LABELLED_SPLITS, "test") if data.predict else LABELLED_SPLITS
    if isinstance(data, HubData):
        return _read_hub(data, task, split_names)
    if isinstance(data, MicroworldData):
        return _draw_microworld(data, task, split_names)
    folder = Path(data.root) / task.folder
    if not folder.is_dir():
        raise UserError(f"data.root={data.root}: there is no folder {folder}")
    contents = {split: _read_bytes(folder / JSONL_FILES[split]) for split in split_names}
    return Records(
        {split: parse_jsonl(content, folder / JSONL_FILES[split]) for split, content in contents.items()},
        {f"{task.folder}/{JSONL_FILES[split]}": sha256(contents[split]) for split in LABELLED_SPLITS},
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def parse_jsonl(content: bytes, path: Path) -> list[Record]:
    """Parse one record per line. The fields of nested objects (WSC's `target`) become fields of the record.

    Blank lines are skipped.

    Args:
        content: the bytes of the file.
        path: the file's path, for error messages.

    Raises:
        UserError: a line is not UTF-8, not JSON or not a JSON object, or the file has no record.
    """
    records: list[Record] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        where = f"{path}:{number}"
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if not text.strip():
                continue
            fields = json.loads(text)
        except UnicodeDecodeError as error:
            raise UserError(f"{where}: not UTF-8 ({error.reason} at byte {error.start})") from error
        except json.JSONDecodeError as error:
            raise UserError(f"{where}: not JSON ({error.msg} at column {error.colno})") from error
        if not isinstance(fields, dict):
            raise UserError(f"{where}: should be a JSON object, but is {text.strip()[:40]}")
        records.append(Record(lift(fields), where))
    if not records:
        raise UserError(f"{path}: the file has no records")
    return records


def _read_hub(data: HubData, task: TaskSettings, split_names: tuple[str, ...]) -> Records:
    # Imported here because `datasets` takes a second to import and only this source needs it.
    from datasets import ClassLabel, load_dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        loaded = load_dataset(data.id, task.hub_config, revision=data.revision)
    except Exception as error:  # `datasets` raises errors of many classes
        data_set = f"data.id={data.id} (config {task.hub_config}, revision {data.revision})"
        raise UserError(f"{data_set}: cannot be loaded: {first_line(error)}") from error
    splits: dict[str, list[Record]] = {}
    for split in split_names:
        if split not in loaded:
            raise UserError(f"data.id={data.id}: there is no split {split!r}; it has {', '.join(loaded)}")
        rows = loaded[split]
        classes = rows.features.get(task.label)
        splits[split] = []
        for index, row in enumerate(rows):
            fields = dict(row)
            if isinstance(classes, ClassLabel):
                class_index = fields.pop(task.label)
                if class_index >= 0:  # in the hub's test splits -1 means "no label"
                    fields[task.label] = classes.int2str(class_index)
            splits[split].append(Record(fields, f"{data.id} {task.hub_config} {split}[{index}]"))
        if not splits[split]:
            raise UserError(f"data.id={data.id}: split {split!r} is empty")
    return Records(splits, {f"{data.id}/{task.hub_config}": data.revision})


def _draw_microworld(data: MicroworldData, task: TaskSettings, split_names: tuple[str, ...]) -> Records:
    if task.folder not in SCENES:
        raise UserError(f"task.folder={task.folder}: the microworld has only {', '.join(SCENES)}")
    scenes = draw_splits(task.folder, data.seed, data.train, data.validation, data.level)
    splits = {
        split: [
            Record(lift(scene.fields), f"microworld/{task.folder}/{split}[{index}]")
            for index, scene in enumerate(scenes[split])
        ]
        for split in split_names
    }
    fingerprint = {
        f"microworld/{task.folder}/{split}": sha256(
            json.dumps([scene.fields for scene in scenes[split]]).encode()
        )
        for split in LABELLED_SPLITS
    }
    return Records(splits, fingerprint)
