"""Reads records from the Hugging Face hub, a folder of SuperGLUE JSONL files, other files, or the microworld."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from softprompt.data.jsonl import parse_jsonl
from softprompt.data.tables import parse_table
from softprompt.errors import UserError, first_line
from softprompt.files import json_sha256, sha256
from softprompt.hub import UNREACHABLE, is_reachable
from softprompt.microworld.scenes import SCENES, draw_splits
from softprompt.settings import DataSettings, FilesData, HubData, JsonlData, MicroworldData, TaskSettings
from softprompt.tasks import Record, lift

LABELLED_SPLITS = ("train", "validation")
JSONL_FILES = {"train": "train.jsonl", "validation": "val.jsonl", "test": "test.jsonl"}


@dataclass(frozen=True)
class Records:
    """The records of a task.

    Attributes:
        splits: "train", "validation" and, if predictions were requested, "test".
        fingerprint: identifies the data a prompt is trained and evaluated on: the SHA-256 of each file, or of each split's
            records. It is part of the run id, so other data makes another run.
    """

    splits: Mapping[str, list[Record]]
    fingerprint: Mapping[str, str]

    def test_hash(self, task: TaskSettings) -> str:
        """SHA-256 of the test records' fields that the task's template reads."""
        return _used_content(self.splits["test"], task.fields)


def read_records(data: DataSettings, task: TaskSettings) -> Records:
    """Read the train and validation splits, and the test split if `data.predict`.

    Raises:
        UserError: a file is missing, empty or malformed (the message names file, line and reason), the hub data set
            cannot be loaded, the source does not have the task, or both splits have the same records.
    """
    split_names = (*LABELLED_SPLITS, "test") if data.predict else LABELLED_SPLITS
    if isinstance(data, HubData):
        records = _read_hub(data, task, split_names)
    elif isinstance(data, MicroworldData):
        records = _draw_microworld(data, task, split_names)
    elif isinstance(data, FilesData):
        records = _read_files(data, task)
    else:
        records = _read_jsonl(data, task, split_names)
    (train, train_hash), (validation, validation_hash) = records.fingerprint.items()
    if train_hash == validation_hash:
        raise UserError(
            f"{validation}: has the same records as {train}, so its scores would be those of training examples; use other "
            "records"
        )
    return records


def _read_jsonl(data: JsonlData, task: TaskSettings, split_names: tuple[str, ...]) -> Records:
    folder = Path(data.root) / task.folder
    if not folder.is_dir():
        raise UserError(f"data.root={data.root}: there is no folder {folder}")
    contents = {split: _read_bytes(folder / JSONL_FILES[split]) for split in split_names}
    return Records(
        {split: parse_jsonl(content, folder / JSONL_FILES[split]) for split, content in contents.items()},
        {f"{task.folder}/{JSONL_FILES[split]}": sha256(contents[split]) for split in LABELLED_SPLITS},
    )


def _read_files(data: FilesData, task: TaskSettings) -> Records:
    if data.predict and data.test is None:
        raise UserError("data.predict=true needs data.test, the file with the records to predict")
    paths = {"train": data.train, "validation": data.validation}
    if data.predict and data.test is not None:
        paths["test"] = data.test
    contents = {split: _read_bytes(Path(path)) for split, path in paths.items()}
    splits = {
        split: parse_table(content, Path(paths[split]), task, data.columns or {}, labelled=split != "test")
        for split, content in contents.items()
    }
    return Records(splits, {f"{task.folder}/{split}": sha256(contents[split]) for split in LABELLED_SPLITS})


def moved(data: DataSettings, root: str) -> DataSettings:
    """The same data in another place: `root` is the new `data.root`, or the new folder of a local data set.

    Raises:
        UserError: this source has no place.
    """
    if isinstance(data, JsonlData):
        return replace(data, root=root)
    if isinstance(data, HubData):
        return replace(data, id=root)
    if isinstance(data, FilesData):
        train, validation = (str(Path(root) / Path(path).name) for path in (data.train, data.validation))
        return replace(data, train=train, validation=validation)
    raise UserError(f"data_root={root}: the runs' records come from the microworld, which has no folder")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _read_hub(data: HubData, task: TaskSettings, split_names: tuple[str, ...]) -> Records:
    # Imported here because `datasets` takes a second to import and only this source needs it.
    from datasets import ClassLabel, load_dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    reachable = Path(data.id).is_dir() or is_reachable()
    try:
        with TemporaryDirectory() as cache:
            # For a local folder `datasets` would reuse what it cached under the same path, even if the files have changed.
            local = {"cache_dir": cache, "keep_in_memory": True} if Path(data.id).is_dir() else {}
            loaded = load_dataset(data.id, task.hub_config, revision=data.revision, **local)
    except Exception as error:  # `datasets` raises errors of many classes
        data_set = f"data.id={data.id} (config {task.hub_config}, revision {data.revision})"
        reason = first_line(error) if reachable else UNREACHABLE
        raise UserError(f"{data_set}: cannot be loaded: {reason}") from error
    splits: dict[str, list[Record]] = {}
    for split in split_names:
        if split not in loaded:
            raise UserError(f"data.id={data.id}: there is no split {split!r}; it has {', '.join(loaded)}")
        rows = loaded[split]
        classes = rows.features.get(task.answer_field)
        splits[split] = []
        for index, row in enumerate(rows):
            fields = dict(row)
            if isinstance(classes, ClassLabel):
                class_index = fields.pop(task.answer_field)
                if class_index >= 0:  # in the hub's test splits -1 means "no label"
                    fields[task.answer_field] = classes.int2str(class_index)
            splits[split].append(Record(fields, f"{data.id} {task.hub_config} {split}[{index}]"))
        if not splits[split]:
            raise UserError(f"data.id={data.id}: split {split!r} is empty")
    # By the content that is used, because a branch moves and files in a local folder change.
    names = [*task.fields, task.answer_field]
    fingerprint = {
        f"{task.hub_config or task.folder}/{split}": _used_content(splits[split], names)
        for split in LABELLED_SPLITS
    }
    return Records(splits, fingerprint)


def _used_content(records: Sequence[Record], names: Sequence[str]) -> str:
    return json_sha256([[repr(record.fields.get(name)) for name in names] for record in records])


def _draw_microworld(data: MicroworldData, task: TaskSettings, split_names: tuple[str, ...]) -> Records:
    if task.folder not in SCENES:
        raise UserError(f"task.folder={task.folder}: the microworld has only {', '.join(SCENES)}")
    scenes = draw_splits(task.folder, data.seed, data.train, data.validation, data.level)
    splits = {
        split: [
            Record(  # with the facts, which tasks of the microworld have as labels
                {**scene.facts, **lift(scene.fields, where := f"microworld/{task.folder}/{split}[{index}]")},
                where,
            )
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
