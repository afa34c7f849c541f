"""Where records come from: the hub, a folder in SuperGLUE's own JSONL layout, or the microworld."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from softprompt.errors import UserError, first_line
from softprompt.files import sha256
from softprompt.microworld.scenes import SCENES, draw_splits
from softprompt.settings import DataSettings, HubData, MicroworldData, TaskSettings
from softprompt.tasks import Record, lift

SPLITS = ("train", "validation", "test")
JSONL_FILES = {"train": "train.jsonl", "validation": "val.jsonl", "test": "test.jsonl"}


@dataclass(frozen=True)
class Records:
    """The records of a task, by split, and what identifies them.

    `fingerprint` maps each file (or hub data set) that a prompt is made from to its SHA-256 (or revision): a
    run is only the same run if it was made from the same data.
    """

    splits: Mapping[str, list[Record]]
    fingerprint: Mapping[str, str]


def read_records(data: DataSettings, task: TaskSettings) -> Records:
    """Read the splits that `data` asks for: train and validation, and test where predictions are wanted.

    Raises:
        UserError: a file is absent, empty or malformed (names the file, the line and the reason), or the
            source does not have the task.
    """
    wanted = SPLITS if data.predict else SPLITS[:2]
    if isinstance(data, HubData):
        return _read_hub(data, task, wanted)
    if isinstance(data, MicroworldData):
        return _draw_microworld(data, task, wanted)
    folder = Path(data.root) / task.folder
    if not folder.is_dir():
        raise UserError(f"data.root={data.root}: there is no folder {folder}")
    contents = {split: _read_bytes(folder / JSONL_FILES[split]) for split in wanted}
    return Records(
        {split: parse_jsonl(content, folder / JSONL_FILES[split]) for split, content in contents.items()},
        {f"{task.folder}/{JSONL_FILES[split]}": sha256(contents[split]) for split in SPLITS[:2]},
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def parse_jsonl(content: bytes, path: Path) -> list[Record]:
    """One record per line; nested objects (WSC's `target`) are lifted to the top.

    Raises:
        UserError: bad UTF-8, bad JSON, a line that is no object, or no record at all.
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
            raise UserError(f"{where}: should be a JSON object, and is {text.strip()[:40]}")
        records.append(Record(lift(fields), where))
    if not records:
        raise UserError(f"{path}: the file is empty")
    return records


def _read_hub(data: HubData, task: TaskSettings, wanted: tuple[str, ...]) -> Records:
    # Imported here: `datasets` takes a second to import, and a run on JSONL has no use for it.
    from datasets import ClassLabel, load_dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        loaded = load_dataset(data.id, task.hub_config, revision=data.revision)
    except Exception as error:  # the hub raises requests, OS and its own errors, all with long texts
        what = f"data.id={data.id} (config {task.hub_config}, revision {data.revision})"
        raise UserError(f"{what}: cannot be loaded: {first_line(error)}") from error
    splits: dict[str, list[Record]] = {}
    for split in wanted:
        if split not in loaded:
            raise UserError(f"data.id={data.id}: there is no split {split!r}; it has {', '.join(loaded)}")
        rows = loaded[split]
        classes = rows.features.get(task.label)
        splits[split] = []
        for index, row in enumerate(rows):
            fields = dict(row)
            if isinstance(classes, ClassLabel):
                number = fields.pop(task.label)
                if number >= 0:  # -1 stands for "no label" in the hub's test splits
                    fields[task.label] = classes.int2str(number)
            splits[split].append(Record(fields, f"{data.id} {task.hub_config} {split}[{index}]"))
        if not splits[split]:
            raise UserError(f"data.id={data.id}: split {split!r} is empty")
    return Records(splits, {f"{data.id}/{task.hub_config}": data.revision})


def _draw_microworld(data: MicroworldData, task: TaskSettings, wanted: tuple[str, ...]) -> Records:
    if task.folder not in SCENES:
        raise UserError(f"task.folder={task.folder}: the microworld has {', '.join(SCENES)}")
    scenes = draw_splits(task.folder, data.seed, data.train, data.validation, data.level)
    splits = {
        split: [
            Record(lift(scene.fields), f"microworld/{task.folder}/{split}[{index}]")
            for index, scene in enumerate(scenes[split])
        ]
        for split in wanted
    }
    content = {
        split: sha256(json.dumps([scene.fields for scene in scenes[split]]).encode()) for split in SPLITS[:2]
    }
    return Records(splits, {f"microworld/{task.folder}/{split}": content[split] for split in SPLITS[:2]})
