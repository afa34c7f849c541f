"""The command that answers records with a run's prompt."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import softprompt
from softprompt.runs import Run
from softprompt.settings import Settings
from softprompt.training.train import train_pack
from tests.conftest import ROOT, cb_records, write_jsonl

COMMAND = [sys.executable, "-c", "from softprompt.commands import predict; predict()"]


@pytest.fixture
def run(settings: Settings) -> Run:
    (run,) = train_pack([settings], Console(quiet=True))
    return run


def call(*arguments: str, standard_input: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], input=standard_input, capture_output=True, text=True, cwd=ROOT
    )


def test_records_are_answered_from_a_file_and_from_standard_input(run: Run, tmp_path: Path) -> None:
    records = cb_records(7)
    write_jsonl(tmp_path / "records.jsonl", records)
    from_file = call(f"run={run.path}", f"file={tmp_path / 'records.jsonl'}")
    assert from_file.returncode == 0, from_file.stderr
    lines = [json.loads(line) for line in from_file.stdout.splitlines()]
    trained = softprompt.load(run.path)
    assert [line["answer"] for line in lines] == trained.predict(records)
    assert [line["idx"] for line in lines] == list(range(7))
    for line, expected in zip(lines, trained.probabilities(records), strict=True):
        assert line["probabilities"] == pytest.approx(expected, abs=1e-5)
        assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert line["answer"] == max(expected, key=expected.__getitem__)
    piped = call(f"run={run.path}", "batch=2", standard_input=(tmp_path / "records.jsonl").read_text())
    assert [json.loads(line)["answer"] for line in piped.stdout.splitlines()] == trained.predict(records)


def test_a_bad_line_is_named_after_the_answers_before_it(run: Run, tmp_path: Path) -> None:
    good, bad = json.dumps(cb_records(1)[0]), '{"premise": "a dog runs"}'
    result = call(f"run={run.path}", "batch=1", standard_input=f"{good}\n\n{bad}\n")
    assert result.returncode == 1 and result.stdout.count("\n") == 1
    assert result.stderr.startswith("error: standard input:3: no field 'hypothesis'")
    assert result.stderr.count("\n") == 1
    absent = call(f"run={run.path}", f"file={tmp_path / 'nothing.jsonl'}")
    assert absent.returncode == 1
    assert (
        absent.stderr
        == f"error: file={tmp_path / 'nothing.jsonl'}: cannot be read (No such file or directory)\n"
    )
