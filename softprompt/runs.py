"""A run's directory, and finding all runs under a folder.

outputs/<sweep>/<task>/<run id>/
  config.yaml          the composed config, as it ran
  initial.safetensors  the prompt it started from
  prompt.safetensors   the best prompt so far
  metrics.csv          a row per evaluation
  last.ckpt            prompt, optimiser, place in the data: what a resume needs, without the backbone
  result.json          written last: if it exists, the run is done
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml
from jaxtyping import Float
from torch import Tensor

from softprompt.errors import UserError
from softprompt.files import read_json, sha256, write_atomically
from softprompt.parsing import config_of, parse_settings
from softprompt.prompt import SoftPrompt
from softprompt.renamed import current_config, current_result
from softprompt.settings import Settings

Row = dict[str, int | float]  # an evaluation: column -> value

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
# Top-level keys that do not make it another run, either.
NAMING = ("sweep", "output_root", "logger", "objective")


def identity(settings: Settings) -> dict[str, Any]:
    """The part of the config that makes a run this run: nested, plain values."""
    config = {name: value for name, value in config_of(settings).items() if name not in NAMING}
    for group, names in CIRCUMSTANCES.items():
        config[group] = {key: value for key, value in config[group].items() if key not in names}
    return config


def run_id(settings: Settings, fingerprint: Mapping[str, str]) -> str:
    """`<init>-seed<seed>-<hash>`, from the settings and the hashes of data and model.

    It does not depend on the clock, so that the same command finds the run again.
    """
    content: dict[str, Any] = {**identity(settings), "fingerprint": dict(fingerprint)}
    if settings.prompt.path:
        content["prompt"]["path"] = _content_hash(Path(settings.prompt.path))
    digest = sha256(json.dumps(content, sort_keys=True).encode())[:8]
    return f"{settings.prompt.init}-seed{settings.seed}-{digest}"


@dataclass(frozen=True)
class Run:
    """One run and its directory."""

    settings: Settings
    path: Path

    @staticmethod
    def of(settings: Settings, fingerprint: Mapping[str, str]) -> "Run":
        """The run with these settings, on data and a model with these hashes (by file name); it may not exist yet."""
        folder = Path(settings.output_root) / settings.sweep / settings.task.name
        return Run(settings, folder / run_id(settings, fingerprint))

    @staticmethod
    def at(path: Path) -> "Run":
        """The run in a directory, with the settings of its config.yaml.

        Raises:
            UserError: config.yaml cannot be read, or its values are not allowed.
        """
        config = path / "config.yaml"
        try:
            settings = parse_settings(current_config(yaml.safe_load(config.read_text(encoding="utf-8"))))
        except (OSError, ValueError, yaml.YAMLError, UserError) as error:
            raise UserError(f"{config}: cannot be read ({error})".replace("\n", " ")) from error
        return Run(settings, path)

    @property
    def id(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def label(self) -> str:
        """The run's name on screen: `cb/text-seed0-1a2b3c4d`."""
        return f"{self.settings.task.name}/{self.id}"

    @property
    def predictions(self) -> Path:
        """The file with the answers to the test records, if they were asked for."""
        return self.path / "predictions.jsonl"

    @property
    def done(self) -> bool:
        """True if the run has its result."""
        return (self.path / "result.json").exists()

    def begin(self, initial: SoftPrompt) -> None:
        """Write the config and the prompt that the run starts from."""
        config = yaml.safe_dump(config_of(self.settings), sort_keys=False, allow_unicode=True)
        write_atomically(self.path / "config.yaml", config)
        initial.save(self.path / "initial.safetensors")

    @cached_property
    def initial_prompt(self) -> SoftPrompt:
        """The prompt that the run started from."""
        return SoftPrompt.load(self.path / "initial.safetensors")

    def best_prompt(self) -> SoftPrompt:
        """The best prompt so far."""
        return SoftPrompt.load(self.path / "prompt.safetensors")

    def save_best(self, matrix: Float[Tensor, "n d"], step: int) -> None:
        """Write the best prompt so far, which the run had after `step` steps."""
        replace(self.initial_prompt, matrix=matrix, step=step).save(self.path / "prompt.safetensors")

    def save_history(self, history: Sequence[Row]) -> None:
        """Write the learning curve."""
        write_atomically(self.path / "metrics.csv", _as_csv(history))

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write what a resume needs: tensors and plain values."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.path / "last.ckpt", buffer.getvalue())

    def checkpoint(self) -> dict[str, Any] | None:
        """What `save_checkpoint` wrote, with tensors on the CPU; None if there is no checkpoint."""
        path = self.path / "last.ckpt"
        return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result, after which the run is done."""
        for leftover in self.path.glob(".*.tmp"):  # of a process that was killed while it wrote
            leftover.unlink()
        write_atomically(self.path / "result.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")

    def result(self) -> dict[str, Any]:
        """What `finish` wrote, under the current names.

        Raises:
            UserError: the file cannot be read.
        """
        path = self.path / "result.json"
        try:
            return current_result(read_json(path))
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: cannot be read (no scores under 'tuned' and 'baselines')") from error


def find_runs(folder: Path) -> list[Run]:
    """All finished runs under a folder, by path.

    Raises:
        UserError: the folder does not exist, holds no finished run, one whose files cannot be read, or one run twice.
    """
    if not folder.is_dir():
        raise UserError(f"sweep={folder}: there is no such folder")
    runs: list[Run] = []
    for path in sorted(folder.rglob("result.json")):
        runs.append(Run.at(path.parent))
    if not runs:
        raise UserError(f"sweep={folder}: there is no finished run (no result.json) under this folder")
    _check_different(folder, runs)
    return runs


def _check_different(folder: Path, runs: Sequence[Run]) -> None:
    """Raise a `UserError` if two runs have the same settings and data.

    Names are not compared, because another version may have given the run another name.
    """
    known: dict[str, Path] = {}
    for run in runs:
        content = json.dumps([identity(run.settings), run.result().get("hashes")], sort_keys=True)
        if (other := known.setdefault(content, run.path)) != run.path:
            raise UserError(
                f"sweep={folder}: {other} and {run.path} are the same run; remove one of them, or name a folder that "
                "holds it once"
            )


def _content_hash(path: Path) -> str:
    try:
        return sha256(path.read_bytes())
    except OSError as error:
        raise UserError(f"prompt.path={path}: cannot be read ({error.strerror})") from error


def _as_csv(rows: Sequence[Row]) -> str:
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if math.isnan(value) else value for key, value in row.items()})
    return buffer.getvalue()
