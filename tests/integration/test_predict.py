"""The command that answers records with a run's prompt."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import softprompt
from softprompt.errors import UserError
from softprompt.predict import predictions
from softprompt.runs import Run
from softprompt.settings import PredictSettings, Settings
from softprompt.training.train import train_pack
from tests.conftest import ROOT, cb_records, write_jsonl

COMMAND = [sys.executable, "-c", "from softprompt.commands import predict; predict()"]


@pytest.fixture
def run(settings: Settings) -> Run:
    (run,) = train_pack([settings], Console(quiet=True))
    return run


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=ROOT)


def test_records_are_answered_from_a_file_and_from_standard_input(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper((tmp_path / "records.jsonl").open("rb")))
    piped = list(predictions(PredictSettings(run=str(run.path), file=None, batch=2)))
    assert [json.loads(line)["answer"] for line in piped] == [line["answer"] for line in lines]


def test_a_bad_line_is_named_after_the_answers_before_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text(
        f'{json.dumps(cb_records(1)[0])}\n\n{{"premise": "a dog runs"}}\n'
    )
    answers = predictions(PredictSettings(str(run.path), str(tmp_path / "records.jsonl"), batch=1))
    assert json.loads(next(answers))["idx"] == 0
    with pytest.raises(UserError, match=r"records\.jsonl:3: no field 'hypothesis'"):
        next(answers)
    with pytest.raises(
        UserError, match=r"^file=/nowhere\.jsonl: cannot be read \(No such file or directory\)$"
    ):
        next(predictions(PredictSettings(str(run.path), "/nowhere.jsonl", batch=1)))
