"""A run's directory: what was asked, what was learned, and what a resume needs.

outputs/<sweep>/<task>/<run id>/
  config.yaml          the composed config, as it ran
  initial.safetensors  the prompt it started from
  prompt.safetensors   the best prompt so far
  metrics.csv          a row per evaluation
  last.ckpt            prompt, optimiser, place in the data: what a resume needs; never the backbone
  result.json          the last file to be written: where it is, the run is done
"""

import csv
import io
import json
import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml

from softprompt.errors import UserError, first_line
from softprompt.files import read_json, sha256, write_atomically
from softprompt.prompt import SoftPrompt
from softprompt.settings import Settings, parse_settings
from softprompt.tuning import Row, RunState

# What may differ between two machines, or be changed half-way, without making it another run.
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


@dataclass(frozen=True)
class Run:
    """One run and its directory. `fingerprint` identifies data and model: hashes of files, by name."""

    settings: Settings
    fingerprint: dict[str, str]

    @cached_property
    def id(self) -> str:
        """Made from what was asked, not from the clock, so that asking again finds the run."""
        asked = asdict(self.settings)
        for name in ("sweep", "output_root", "logger"):
            del asked[name]
        for group, names in CIRCUMSTANCES.items():
            asked[group] = {key: value for key, value in asked[group].items() if key not in names}
        asked["fingerprint"] = self.fingerprint
        if self.settings.prompt.path:
            asked["prompt"]["path"] = _content_hash(Path(self.settings.prompt.path))
        digest = sha256(json.dumps(asked, sort_keys=True).encode())[:8]
        return f"{self.settings.prompt.init}-seed{self.settings.seed}-{digest}"

    @property
    def path(self) -> Path:
        """The run's directory."""
        return Path(self.settings.output_root) / self.settings.sweep / self.settings.task.name / self.id

    @property
    def label(self) -> str:
        """How the run is called on screen: `cb/text-seed0-1a2b3c4d`."""
        return f"{self.settings.task.name}/{self.id}"

    @property
    def predictions(self) -> Path:
        """The answers to the test records, where they were asked for."""
        return self.path / "predictions.jsonl"

    @property
    def done(self) -> bool:
        """Whether the run has its result."""
        return (self.path / "result.json").exists()

    def begin(self, initial: SoftPrompt) -> None:
        """Write down what was asked and what the prompt starts from."""
        config = yaml.safe_dump(asdict(self.settings), sort_keys=False, allow_unicode=True)
        write_atomically(self.path / "config.yaml", config)
        initial.save(self.path / "initial.safetensors")

    @cached_property
    def initial_prompt(self) -> SoftPrompt:
        """What the run started from."""
        return SoftPrompt.load(self.path / "initial.safetensors")

    def best_prompt(self) -> SoftPrompt:
        """The best prompt so far."""
        return SoftPrompt.load(self.path / "prompt.safetensors")

    def save(self, state: RunState, optimizer_state: dict[str, Any]) -> None:
        """Write down where the run stands: best prompt, learning curve, and checkpoint last."""
        best = replace(self.initial_prompt, matrix=state.best_prompt, step=state.best_step)
        best.save(self.path / "prompt.safetensors")
        self.save_history(state)
        buffer = io.BytesIO()
        torch.save(state.state_dict(optimizer_state), buffer)
        write_atomically(self.path / "last.ckpt", buffer.getvalue())

    def save_history(self, state: RunState) -> None:
        """Write down the learning curve alone."""
        write_atomically(self.path / "metrics.csv", _as_csv(state.history))

    def resume(self) -> RunState | None:
        """Where an earlier process left the run; None where there was none.

        Raises:
            UserError: the checkpoint cannot be read.
        """
        path = self.path / "last.ckpt"
        if not path.exists():
            return None
        try:
            return RunState.resume(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # torch raises what its unpickler, zip reader and file system raise
            why = f"cannot be read ({first_line(error)}); delete it to train the run anew"
            raise UserError(f"{path}: {why}") from error

    def finish(self, result: dict[str, Any]) -> None:
        """The last thing a run does."""
        for leftover in self.path.glob(".*.tmp"):  # of a process that was killed while it wrote
            leftover.unlink()
        write_atomically(self.path / "result.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")

    def result(self) -> dict[str, Any]:
        """What `finish` wrote."""
        return read_json(self.path / "result.json")


@dataclass(frozen=True)
class FinishedRun:
    """A run that is done, as found on disk."""

    path: Path
    settings: Settings
    result: dict[str, Any]

    def prompt(self) -> SoftPrompt:
        """The best prompt."""
        return SoftPrompt.load(self.path / "prompt.safetensors")


def find_runs(folder: Path) -> list[FinishedRun]:
    """All finished runs under a folder, by path.

    Raises:
        UserError: the folder is absent, holds no finished run, one whose files cannot be read, or one run twice.
    """
    if not folder.is_dir():
        raise UserError(f"sweep={folder}: there is no such folder")
    found = []
    for path in sorted(folder.rglob("result.json")):
        config = path.with_name("config.yaml")
        try:
            settings = parse_settings(yaml.safe_load(config.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError, UserError) as error:
            raise UserError(f"{config}: cannot be read ({error})".replace("\n", " ")) from error
        found.append(FinishedRun(path.parent, settings, read_json(path)))
    if not found:
        raise UserError(f"sweep={folder}: there is no finished run (no result.json) under this folder")
    places: dict[str, Path] = {}
    for run in found:
        if (other := places.setdefault(run.path.name, run.path)) != run.path:
            raise UserError(
                f"sweep={folder}: {other} and {run.path} are the same run; name a folder that holds it once"
            )
    return found


def _content_hash(path: Path) -> str:
    try:
        return sha256(path.read_bytes())
    except OSError as error:
        raise UserError(f"prompt.path={path}: cannot be read ({error.strerror})") from error


def _as_csv(rows: list[Row]) -> str:
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if math.isnan(value) else value for key, value in row.items()})
    return buffer.getvalue()
