"""Runs that were copied or renamed, and data that was moved."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from softprompt.errors import UserError
from softprompt.runs import find_runs
from softprompt.settings import JsonlData, Settings
from softprompt.study import Study
from softprompt.training.train import train_pack
from tests.conftest import cb_records, write_jsonl
from tests.integration.refusal import QUIET
from tests.integration.small_sweep import ANALYSIS


def test_a_copy_of_a_run_and_a_renamed_run(settings: Settings) -> None:
    (run,) = train_pack([settings], QUIET)
    copy = run.path.with_name("run.bak")
    shutil.copytree(run.path, copy)
    with pytest.raises(UserError, match=rf"{copy} is a copy of {run.path}; remove one of them"):
        find_runs(run.path.parent)
    shutil.rmtree(run.path)
    (renamed,) = find_runs(run.path.parent)
    assert renamed.path == copy and renamed.id == run.id


def test_data_that_was_moved_is_found_by_the_analysis(settings: Settings, tmp_path: Path) -> None:
    assert isinstance(settings.data, JsonlData)
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(settings.data.root, old)
    (run,) = train_pack([replace(settings, data=replace(settings.data, root=str(old)))], QUIET)
    old.rename(new)
    options = replace(ANALYSIS, sweep=str(run.path.parent))
    with pytest.raises(UserError, match="there is no folder"):
        _ = Study(run.path.parent, QUIET, options).targets
    moved = replace(options, data_root=str(new))
    assert len(Study(run.path.parent, QUIET, moved).targets["cb"].examples) == 8
    write_jsonl(new / "CB" / "val.jsonl", cb_records(7))
    with pytest.raises(UserError, match=r"CB/val\.jsonl has changed since this run was trained"):
        _ = Study(run.path.parent, QUIET, moved).targets
