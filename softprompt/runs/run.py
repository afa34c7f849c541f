"""A run and its directory.

outputs/<sweep>/<task>/<run id>/
  config.yaml          the composed config, as it ran
  initial.safetensors  the prompt it started from
  prompt.safetensors   the best prompt so far
  metrics.csv          a row per evaluation
  last.ckpt            prompt, optimiser, place in the data: what a resume needs, without the backbone
  previous.ckpt        the checkpoint before, used if last.ckpt is damaged
  result.json          written last, with the checksums of the other files

`config.yaml`, `initial.safetensors`, `prompt.safetensors`, `metrics.csv` and `result.json` follow from the settings and
the state in `last.ckpt`, so a damaged or missing one is written anew when the run is asked for again.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from softprompt.errors import UserError
from softprompt.files import (
    Damaged,
    check_json,
    file_sha256,
    read_json,
    sealed_json,
    write_atomically,
)
from softprompt.parsing import config_of, parse_settings
from softprompt.prompt import FILE, SoftPrompt
from softprompt.renamed import current_config, current_result, is_without_checksums
from softprompt.runs.identity import run_id, without_details
from softprompt.settings import BOS, ModelSettings, Settings

Row = dict[str, Any]  # an evaluation: column -> number; None for a score that the task does not have

PREDICTIONS = "predictions.jsonl"
CONFIG, INITIAL, PROMPT, METRICS, RESULT = (
    "config.yaml",
    "initial.safetensors",
    FILE,
    "metrics.csv",
    "result.json",
)
LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
FILES = (CONFIG, INITIAL, PROMPT, METRICS)  # whose checksums are in result.json


@dataclass(frozen=True)
class Run:
    """One run and its directory. The id is the directory's name, unless somebody renamed or copied the directory."""

    settings: Settings
    path: Path
    id: str

    @staticmethod
    def of(settings: Settings, fingerprint: Mapping[str, str]) -> "Run":
        """The run with these settings, on data and a model with these hashes (by file name); it may not exist yet."""
        folder = Path(settings.output_root) / settings.sweep / settings.task.name
        id = run_id(settings, fingerprint)
        older = without_details(id, settings)
        if (folder / older).exists() and not (folder / id).exists():
            id = older
        return Run(settings, folder / id, id)

    @staticmethod
    def at(path: Path) -> "Run":
        """The finished run in a directory, with the settings of its config.yaml and the id in its result.json.

        Raises:
            UserError: one of the run's files is missing, cannot be read, or differs from its checksum.
        """
        try:
            result = read_result(path)
            check_files(path, result)
        except UserError as error:
            raise UserError(f"{error}; {_advice(path)}") from error
        config = path / CONFIG
        try:
            settings = parse_settings(current_config(yaml.safe_load(config.read_text(encoding="utf-8"))))
        except (OSError, ValueError, RecursionError, yaml.YAMLError, UserError) as error:
            raise UserError(f"{config}: cannot be read ({error})".replace("\n", " ")) from error
        return Run(settings, path, str(result["run"]))

    @property
    def label(self) -> str:
        """The run's name on screen: `cb/text-seed0-1a2b3c4d`."""
        return f"{self.settings.task.name}/{self.id}"

    @property
    def predictions(self) -> Path:
        """The file with the answers to the test records, if they were asked for."""
        return self.path / PREDICTIONS

    @property
    def done(self) -> bool:
        """True if the run has its result and all files are as the result says."""
        return (self.path / RESULT).exists() and self.damage() is None

    def damage(self) -> str | None:
        """What is wrong with the files of a run that has a result, as one line; None if nothing is, or it has none."""
        if not (self.path / RESULT).exists():
            return None
        try:
            check_files(self.path, self.result())
        except UserError as error:
            return str(error)
        return None

    def begin(self, initial: SoftPrompt) -> None:
        """Write the config and the prompt that the run starts from."""
        config = yaml.safe_dump(config_of(self.settings), sort_keys=False, allow_unicode=True)
        write_atomically(self.path / CONFIG, config)
        initial.save(self.path / INITIAL)

    def trained_model(self) -> ModelSettings:
        """The model's settings, with what they came to when the run was trained: commit, and token in front of prompts."""
        result, model = self.result(), self.settings.model
        return replace(
            model, revision=result["backbone"]["revision"] or model.revision, bos=BOS in result["hashes"]
        )

    def changed_since(self, now: Mapping[str, str]) -> str | None:
        """The first file of data or model whose hash differs from that in the result; None if none does.

        Args:
            now: hashes by name; names that the result does not have are not compared.
        """
        hashes = self.result()["hashes"]
        return next((name for name, value in now.items() if hashes.get(name, value) != value), None)

    def initial_prompt(self) -> SoftPrompt:
        """The prompt that the run started from."""
        return SoftPrompt.load(self.path / INITIAL)

    def best_prompt(self) -> SoftPrompt:
        """The best prompt so far."""
        return SoftPrompt.load(self.path / PROMPT)

    def save_best(self, prompt: SoftPrompt) -> None:
        """Write the best prompt so far."""
        prompt.save(self.path / PROMPT)

    def save_history(self, history: Sequence[Row]) -> None:
        """Write the learning curve."""
        write_atomically(self.path / METRICS, _as_csv(history))

    def has_predictions(self, test_hash: str) -> bool:
        """True if the answers to the test records with this hash are there, as they were written."""
        result = self.result()
        if "files" not in result:
            return self.predictions.exists()
        hashes = (result["files"].get(PREDICTIONS), file_sha256(self.predictions))
        return hashes[0] == hashes[1] is not None and result.get("test_records") == test_hash

    def save_predictions(self, lines: Sequence[str], test_hash: str) -> None:
        """Write the answers to the test records, and into the result, if it has checksums, their checksum."""
        write_atomically(self.predictions, "\n".join(lines) + "\n")
        result = read_result(self.path)
        if "files" in result:
            hashes = {**result["files"], PREDICTIONS: file_sha256(self.predictions)}
            _write_result(self.path, {**result, "test_records": test_hash}, hashes)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result with the checksums of the other files, after which the run is done.

        Predictions stay valid if the result before lists them with the same prompt.
        """
        hashes = {name: file_sha256(self.path / name) for name in FILES}
        kept: dict[str, Any] = {}
        with suppress(UserError):
            before = read_result(self.path)
            if before.get("files", {}).get(PROMPT) == hashes[PROMPT] and PREDICTIONS in before["files"]:
                kept = {"test_records": before["test_records"]}
                hashes[PREDICTIONS] = before["files"][PREDICTIONS]
        _write_result(self.path, {**result, **kept}, hashes)

    def result(self) -> dict[str, Any]:
        """What `finish` wrote, under the current names.

        Raises:
            UserError: the file cannot be read, differs from its checksum, or is of another run.
        """
        result = read_result(self.path)
        if result["run"] != self.id:
            raise UserError(f"{self.path / RESULT}: is the result of another run, {result['run']}")
        return result


def _write_result(path: Path, result: Mapping[str, Any], hashes: Mapping[str, str | None]) -> None:
    content = {key: value for key, value in result.items() if key not in ("files", "checksum")}
    write_atomically(path / RESULT, sealed_json({**content, "files": dict(hashes)}))


def read_result(path: Path) -> dict[str, Any]:
    """The content of a run's result.json, under the current names.

    Raises:
        UserError: the file cannot be read, or differs from its checksum.
    """
    file = path / RESULT
    result = read_json(file)
    try:
        if not is_without_checksums(result):
            check_json(result)
        result["run"], result["hashes"], result["backbone"]["dtype"]  # all results have these
        return current_result(result)
    except Damaged as error:
        raise UserError(f"{file}: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: cannot be read (it is not a complete result)") from error


def check_files(path: Path, result: Mapping[str, Any]) -> None:
    """Check that a finished run's files are there and are as its result says.

    Raises:
        UserError: names the first file that is missing, or differs from its checksum.
    """
    hashes: Mapping[str, Any] = result.get("files", dict.fromkeys(FILES))  # an older result knows no hashes
    for name, expected in hashes.items():
        if name == PREDICTIONS:
            continue  # nothing is computed from them, and data.predict=true writes them anew
        found = file_sha256(path / name)
        if found is None:
            raise UserError(f"{path / name}: is missing or cannot be read")
        if expected not in (None, found):
            raise UserError(f"{path / name}: differs from its checksum in result.json")


def _advice(path: Path) -> str:
    kept = (path / LAST).exists() or (path / PREVIOUS).exists()
    return "the same training command restores it" if kept else "remove the folder and train the run again"


def _as_csv(rows: Sequence[Row]) -> str:
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {key: "" if value is None or math.isnan(value) else value for key, value in row.items()}
            )
    return buffer.getvalue()
