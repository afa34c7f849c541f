"""What makes a run this run: the settings and the hashes of data and model that its id is computed from."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from softprompt.errors import UserError
from softprompt.files import json_sha256, sha256
from softprompt.parsing import config_of
from softprompt.prompt import FILE, prompt_file
from softprompt.runs.source import folders_of_mean, source_folder
from softprompt.settings import Settings, TaskSettings

# Settings that may differ between two machines, or be changed half-way, without making it another run.
CIRCUMSTANCES = {
    "trainer": {
        "accelerator",
        "devices",
        "strategy",
        "threads",
        "deterministic",
        "eval_batch_size",
        "checkpoint_seconds",
    },
    "data": {"root", "predict"},
}
FILES = ("train", "validation", "test")  # paths, if the source is files; numbers of the microworld
# Top-level keys that do not make it another run, either: where it is written, logged, and how it is compared.
NAMING = ("sweep", "output_root", "logger", "objective")
# Keys that were added later, with the value that stands for what was done before: it keeps the ids of older runs.
ADDED: dict[str, dict[str, Any]] = {
    "trainer": {"min_delta": 0.0, "early_evaluations": False},
    "data": {"truncate": None},
    "prompt": {"run": None, "bound": None, "runs": None, "like": None},
    "task": {"answers": None, "max_answer_tokens": 16, "metrics": [], "group_by": []},
}


def identity(settings: Settings) -> dict[str, Any]:
    """The part of the config that makes a run this run: nested, plain values."""
    config = {name: value for name, value in config_of(settings).items() if name not in NAMING}
    for group, names in CIRCUMSTANCES.items():
        config[group] = {key: value for key, value in config[group].items() if key not in names}
    if settings.data.source == "files":  # known by their content
        config["data"] = {key: value for key, value in config["data"].items() if key not in FILES}
    if config["method"] == {"name": "prompt"}:  # until version 0.5 there was no other
        del config["method"]
    del config["model"]["bos"]  # what it comes to is among the hashes of the model
    for group in ADDED:
        config[group] = _without_added(group, config[group])
    return config


def task_identity(task: TaskSettings) -> dict[str, Any]:
    """The part of `identity` that says what the task is."""
    return _without_added("task", asdict(task))


def _without_added(group: str, config: Mapping[str, Any]) -> dict[str, Any]:
    defaults = ADDED[group]
    return {key: value for key, value in config.items() if key not in defaults or value != defaults[key]}


def run_id(settings: Settings, fingerprint: Mapping[str, str]) -> str:
    """`<init>-seed<seed>[-<method>][-<rows>rows][-<optimiser>][-lr<lr>]-<hash>`, from the settings and the hashes of data and model.

    Method, rows, optimiser and learning rate are named where they are not the default. The id does not depend on the clock, so that
    the same command finds the run again.
    """
    content: dict[str, Any] = {**identity(settings), "fingerprint": dict(fingerprint)}
    if settings.prompt.init not in ("text", "file", "run", "mean"):
        # Until version 0.4 random rows were drawn from the seed alone.
        content["drawn_from"] = ["task", "seed"]
    if settings.prompt.path:
        content["prompt"]["path"] = _content_hash(prompt_file(Path(settings.prompt.path)), "prompt.path")
    if settings.prompt.run:
        source = source_folder(settings.prompt.run, settings.seed)
        content["prompt"]["run"] = _content_hash(source / FILE, "prompt.run")
    if settings.prompt.runs:
        folders = folders_of_mean(settings.prompt, settings.task.name, settings.seed)
        content["prompt"]["runs"] = [
            _content_hash(folder / FILE, "prompt.runs") for folder in folders.averaged
        ]
        content["prompt"]["like"] = _content_hash(folders.like / FILE, "prompt.like")
    return "-".join([*_start(settings), *_set_by_hand(settings), json_sha256(content)[:8]])


def without_details(id: str, settings: Settings) -> str:
    """A run id as versions before 0.5 wrote it: start, seed and hash."""
    return "-".join([*_start(settings), id.rpartition("-")[2]])


def _start(settings: Settings) -> list[str]:
    return [settings.prompt.init, f"seed{settings.seed}"]


def _set_by_hand(settings: Settings) -> Iterator[str]:
    optim, rows = settings.optim, settings.prompt.length
    if settings.method.name != "prompt":
        yield settings.method.name
    if rows is not None:
        yield f"{rows}rows"
    if optim.name != "adam":
        yield optim.name
    if optim.lr not in (None, settings.model.lr):
        yield f"lr{optim.lr:g}"


def _content_hash(path: Path, key: str) -> str:
    """The hash of a file that a key of the config names."""
    try:
        return sha256(path.read_bytes())
    except OSError as error:
        raise UserError(f"{key}={path}: cannot be read ({error.strerror})") from error
