import errno
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from softprompt.errors import UserError
from softprompt.prompt import FILE, SoftPrompt
from softprompt.runs import run_id
from softprompt.runs.source import folders_of_mean, source_folder
from softprompt.settings import PromptSettings
from tests.conftest import composed


@pytest.fixture
def sweep(tmp_path):
    for run in ("rte/text-seed0-aa", "rte/text-seed1-bb", "rte/text-seed1-cc", "cb/text-seed[0]"):
        (tmp_path / "demo" / run).mkdir(parents=True)
        (tmp_path / "demo" / run / FILE).touch()
    (tmp_path / "demo/rte/text-seed0-empty").mkdir()
    return tmp_path / "demo"


@pytest.mark.parametrize(
    "pattern", ["rte/text-seed0-*", "rte/text-seed{seed}-*", "rte/text-seed0-aa", "*/*0-??"]
)
def test_a_pattern_names_the_run_that_matches(sweep, pattern):
    assert source_folder(f"{sweep}/{pattern}", 0) == sweep / "rte/text-seed0-aa"


def test_a_folder_whose_name_looks_like_a_pattern_is_itself(sweep):
    assert source_folder(f"{sweep}/cb/text-seed[0]", 0) == sweep / "cb/text-seed[0]"


def test_no_run_several_runs_and_no_sweep_are_one_line_each(sweep):
    pattern = f"{sweep}/rte/text-seed{{seed}}-*"
    with pytest.raises(
        UserError,
        match=r"^prompt\.run=.*text-seed1-\*: 2 runs match \(text-seed1-bb, text-seed1-cc\); name one",
    ):
        source_folder(pattern, 1)
    with pytest.raises(UserError, match=r"^prompt\.run=.*text-seed2-\*: no run matches; train it first$"):
        source_folder(pattern, 2)
    with pytest.raises(
        UserError, match=r"^prompt\.run: there is no sweep .*nowhere; train it first .*make demo"
    ):
        source_folder(f"{sweep.parent}/nowhere/rte/*", 0)


@pytest.fixture
def prompts(tmp_path):
    """A folder with a prompt of each of three tasks."""
    for task in ("cb", "rte", "copa"):
        prompt = SoftPrompt(torch.ones(2, 3), "model", None, task, "text")
        prompt.save(tmp_path / "demo" / task / "text-seed0-aa" / FILE)
    return tmp_path / "demo"


def mean_of(folder, tasks, like, task="rte"):
    runs = [f"{folder}/{name}/text-seed{{seed}}-*" for name in tasks]
    settings = PromptSettings(
        init="mean", runs=runs or None, like=like and f"{folder}/{like}/text-seed{{seed}}-*"
    )
    return folders_of_mean(settings, task, 0)


def test_a_mean_leaves_out_runs_of_the_task_itself(prompts):
    found = mean_of(prompts, ["cb", "rte", "copa", "*te"], "{task}")  # one of them named twice
    assert found.averaged == [prompts / "cb/text-seed0-aa", prompts / "copa/text-seed0-aa"]
    assert found.like == prompts / "rte/text-seed0-aa"


@pytest.mark.parametrize(
    ("tasks", "like", "message"),
    [
        (["cb"], None, r"^prompt=mean needs prompt\.runs, .*, and prompt\.like"),
        ([], "rte", r"^prompt=mean needs prompt\.runs"),
        (["cb", "wsc"], "rte", r"^prompt\.runs=.*wsc/text-seed0-\*: no run matches; train it first$"),
        (["cb"], "wsc", r"^prompt\.like=.*wsc/text-seed0-\*: no run matches; train it first$"),
        (["cb"], "copa", r"^prompt\.like=.*text-seed0-aa: is a run of task 'copa'; name one of 'rte'$"),
        (["cb", "*b"], "rte", r"^prompt\.runs: .*/cb/text-seed0-aa is named twice; name each run once$"),
        (
            ["rte"],
            "rte",
            r"^prompt\.runs names only runs of task 'rte', which are left out; name runs of other tasks$",
        ),
        (
            ["c*"],
            "rte",
            r"^prompt\.runs=.*: 2 runs match \(text-seed0-aa, text-seed0-aa\); name one of them$",
        ),
    ],
)
def test_what_is_no_mean_is_one_line(prompts, tasks, like, message):
    with pytest.raises(UserError, match=message):
        mean_of(prompts, tasks, like)


@pytest.mark.parametrize(("init", "key"), [("run", "prompt.run"), ("mean", "prompt.runs")])
def test_a_source_that_cannot_be_read_is_named_with_its_key(prompts, monkeypatch, init, key):
    run = str(prompts / "cb/text-seed0-aa")
    start = {
        "run": PromptSettings(init="run", run=run),
        "mean": PromptSettings(init="mean", runs=[run], like=f"{prompts}/{{task}}/*"),
    }[init]
    settings = replace(composed("task=rte"), prompt=start)

    def fails(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fails)
    with pytest.raises(
        UserError, match=rf"^{re.escape(key)}={run}/{FILE}: cannot be read \(Input/output error\)$"
    ):
        run_id(settings, {})
