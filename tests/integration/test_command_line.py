"""The entry points as a user calls them: in a process of their own, from the project's folder."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from softprompt.prompt import SoftPrompt
from tests.conftest import ROOT, THOROUGH, thorough
from tests.wandb_file import read_wandb_file

Command = list[str]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def call(script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script, *arguments],
        cwd=ROOT,
        env={**ENVIRONMENT, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def tiny(tmp_path: Path, model_folder: Path, data_folder: Path) -> Command:
    """Overrides that put the tiny model and data in the place of the real ones."""
    return [
        "model=bloomz_560m", f"model.id={model_folder}", "model.revision=null", "model.dtype=float32",
        "data=superglue_jsonl", f"data.root={data_folder}", f"output_root={tmp_path}",
        "trainer=cpu", "trainer.max_steps=2",
    ]  # fmt: skip


def test_a_sweep_makes_a_directory_for_every_run_and_can_be_read(tiny: Command, tmp_path: Path) -> None:
    sweep = ["-m", *tiny, "task=cb,copa", "seed=0,1", "sweep=four"]
    first = call("train.py", *sweep)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    results = sorted((tmp_path / "four").glob("*/*/result.json"))
    runs = [f"{path.parts[-3]}/{path.parts[-2].rpartition('-')[0]}" for path in results]
    assert runs == ["cb/text-seed0", "cb/text-seed1", "copa/text-seed0", "copa/text-seed1"]
    again = call("train.py", *sweep)
    assert again.stdout.endswith("\n4 runs: 0 trained, 4 done before\n") and again.returncode == 0

    read = call("analyze.py", f"sweep={tmp_path / 'four'}", "parts=[scores,neighbours]")
    assert read.returncode == 0 and read.stderr == "", read.stderr
    tables = tmp_path / "four" / "analysis" / "tables"
    assert len((tables / "scores.csv").read_text().splitlines()) == 1 + 4
    # In two spaces, for each task's rows: two seeds' prompts, their starts, these after a random step, and random vectors;
    # three neighbours each.
    lines = (tables / "neighbours.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * (3 * 2 + 1) * (11 + 10) * 3
    assert "majority" in read.stdout and "report.html" in read.stdout


def test_a_sweep_starts_from_the_runs_of_another_with_the_same_seeds(tiny: Command, tmp_path: Path) -> None:
    """Hydra's interpolation is resolved for every run; `{seed}` is tested in test_starts.py."""
    assert call("train.py", "-m", *tiny, "task=copa", "seed=0,1", "sweep=source").returncode == 0
    source = "prompt.run='${output_root}/source/copa/text-seed${seed}-*'"
    done = call("train.py", "-m", *tiny, "task=cb", "prompt=run", source, "seed=0,1", "sweep=further")
    assert done.returncode == 0, done.stderr
    best, initial = (
        [SoftPrompt.load(next(tmp_path.glob(f"{path}-seed{seed}-*/{file}"))).matrix for seed in (0, 1)]
        for path, file in (
            ("source/copa/text", "prompt.safetensors"),
            ("further/cb/run", "initial.safetensors"),
        )
    )
    assert torch.equal(best[0], initial[0]) and torch.equal(best[1], initial[1])
    assert not torch.equal(best[0], best[1])


def test_an_experiment_without_the_sweep_it_starts_from_says_so_once(tmp_path: Path) -> None:
    done = call("train.py", "-m", "experiment=spot", f"output_root={tmp_path}")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: prompt.run: there is no sweep {tmp_path}/demo; train it first (outputs/demo is trained by `make demo`)\n"
    )


def test_a_run_killed_with_9_ends_as_if_it_had_not_been(tiny: Command, tmp_path: Path) -> None:
    overrides = [
        *tiny, "trainer.max_steps=null", "trainer.max_epochs=60", "trainer.patience=60", "trainer.checkpoint_seconds=0"
    ]  # fmt: skip
    whole = call("train.py", *overrides, "sweep=whole")
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen(
        [sys.executable, "train.py", *overrides, "sweep=cut"],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + 120
    while not (lines := [*tmp_path.glob("cut/cb/*/metrics.csv")]) or lines[0].read_text().count("\n") < 10:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not [*tmp_path.glob("cut/cb/*/result.json")]
    resumed = call("train.py", *overrides, "sweep=cut")
    assert resumed.returncode == 0 and "resumed at step" in resumed.stdout
    (one,), (other,) = (list(tmp_path.glob(f"{name}/cb/*/prompt.safetensors")) for name in ("whole", "cut"))
    assert one.read_bytes() == other.read_bytes()
    assert one.parent.name == other.parent.name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["task=nli"], "error: In 'train': Could not find 'task/nli'"),
        (["trainer.epochs=3"], "error: there is no key 'trainer.epochs'; did you mean trainer.max_epochs?"),
        (["data=superglue_jsonl"], "error: data.root is missing: set it"),
        (["seed=one"], "error: seed='one': should be a valid integer"),
        (["optim.lr=0"], "error: optim.lr=0: should be greater than 0"),
        (
            ["data=superglue_jsonl", "data.root=/nowhere"],
            "error: data.root=/nowhere: there is no folder /nowhere/CB",
        ),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(arguments: Command, message: str, tmp_path: Path) -> None:
    result = call("train.py", *arguments, f"output_root={tmp_path}")
    assert result.returncode == 1
    assert result.stderr.startswith(message) and result.stderr.count("\n") == 1
    assert result.stdout == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("launcher", ["packed", "basic", *(["joblib", "submitit_local"] if THOROUGH else [])])
def test_a_failed_run_fails_the_sweep_and_the_others_go_on(
    tiny: Command, tmp_path: Path, launcher: str
) -> None:
    if launcher not in ("packed", "basic"):
        plugin = f"hydra_{launcher.partition('_')[0]}_launcher"
        pytest.importorskip(f"hydra_plugins.{plugin}", reason=f"{plugin} is not installed")
    result = call(
        "train.py",
        "-m",
        *tiny,
        "prompt.length=0,3",
        "trainer.max_steps=1,2",
        "sweep=two",
        f"hydra/launcher={launcher}",
    )
    assert result.returncode == 1
    if launcher in ("basic", "joblib"):  # the others' jobs print into files of their own
        assert "error: prompt.length=0: should be greater than or equal to 1" in result.stderr
    *_, first, second = result.stderr.splitlines()
    assert "error: 2 of the sweep's runs failed:" in result.stderr
    assert all(
        "prompt.length=0: should be greater" in line and "prompt.length=0" in line for line in (first, second)
    )
    assert len(list(tmp_path.glob("two/cb/*/result.json"))) == 2
    assert not list((tmp_path / "two").glob(".failed-*"))
    for line in (first, second):
        log = Path(line.rpartition("(log: ")[2].rstrip(")"))
        assert "UserError: prompt.length=0: should be greater" in log.read_text()


@thorough
@pytest.mark.skipif(torch.cuda.is_available(), reason="there are GPUs")
def test_a_sweep_over_several_devices_says_why_a_run_failed(tmp_path: Path) -> None:
    result = call("train.py", "-m", "trainer=ddp", f"output_root={tmp_path}")
    assert result.returncode == 1
    assert result.stderr == "error: a run needs 2 GPUs, and 0 are visible (CUDA_VISIBLE_DEVICES)\n"
    basic = call("train.py", "-m", "trainer=ddp", f"output_root={tmp_path}", "hydra/launcher=basic")
    assert basic.returncode == 1
    assert basic.stderr.startswith("error: trainer.accelerator=gpu: torch finds no GPU here; ")
    assert basic.stderr.count("torch finds no GPU here") == 2  # at once, and in the list at the end
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_PROCID": "3", "SLURM_LOCALID": "3", "SLURM_NODEID": "0", "SLURM_NTASKS": "8",
         "SLURM_NTASKS_PER_NODE": "8", "SLURM_JOB_ID": "17", "SLURM_JOB_NAME": "train"},
        {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "JSM_NAMESPACE_RANK": "1"},
    ],
    ids=["slurm", "torchrun and jsrun"],
)  # fmt: skip
def test_a_process_with_a_rank_trains_a_run_of_its_own(
    tiny: Command, tmp_path: Path, variables: dict[str, str]
) -> None:
    """As in `srun --ntasks-per-node=8 bash -c 'python train.py seed=$SLURM_PROCID'`."""
    result = call("train.py", *tiny, "seed=3", "sweep=ranks", **variables)
    assert result.returncode == 0 and result.stderr == ""
    assert "exact match" in result.stdout and len(list(tmp_path.glob("ranks/cb/*/result.json"))) == 1


@thorough
def test_optuna_finds_a_better_learning_rate_than_the_worst(tmp_path: Path) -> None:
    """`train.py` returns its objective, so a Hydra sweeper can search for the best settings."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="hydra-optuna-sweeper is not installed")
    result = call(
        "train.py", "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=4",
        "hydra.sweeper.sampler.seed=0", "hydra.sweeper.direction=minimize", "optim.lr=tag(log,interval(0.00001,0.1))",
        "task=cb", "prompt=random", "trainer=cpu", "trainer.max_steps=32", "trainer.batch_size=16", "sweep=search",
        f"output_root={tmp_path}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    losses = [
        json.loads(path.read_text())["selection"]["loss"] for path in tmp_path.glob("search/cb/*/result.json")
    ]
    (best,) = tmp_path.rglob("optimization_results.yaml")
    best_value = yaml.safe_load(best.read_text())["best_value"]
    assert len(losses) == 4 and best_value == pytest.approx(min(losses)) and best_value < 0.9 * max(losses)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: sweep is missing: set it"),
        (["sweep=/nowhere"], "error: sweep=/nowhere: there is no such folder"),
        (["sweep=conf"], "error: sweep=conf: there is no finished run"),
        (["sweep=conf", "neighbours=0"], "error: neighbours=0: should be greater than or equal to 1"),
    ],
)
def test_analyze_says_what_is_wrong(arguments: Command, message: str) -> None:
    result = call("analyze.py", *arguments)
    assert result.returncode == 1
    assert result.stderr.startswith(message) and result.stderr.count("\n") == 1


def test_weights_and_biases_records_offline(tiny: Command, tmp_path: Path) -> None:
    result = call("train.py", *tiny, "logger=wandb", "sweep=watched")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    (recorded,) = tmp_path.glob("watched/cb/text-seed0-*/wandb/offline-run-*/run-*.wandb")
    found = read_wandb_file(recorded)
    assert found.group == "watched" and {"val/exact_match", "val/rank_accuracy"} <= set(found.steps[2])


@thorough
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_learn_what_one_learns(tiny: Command, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    for name, devices in {
        "one": ["trainer.devices=1"],
        "two": ["trainer.devices=2", "trainer.strategy=ddp"],
    }.items():
        result = call(
            "train.py",
            *tiny,
            "trainer.max_steps=5",
            "trainer.batch_size=5",
            "data.predict=true",
            f"sweep={name}",
            *devices,
        )
        assert result.returncode == 0, result.stderr
        if name == "two":
            assert result.stdout.count("rows from text") == 1
    (one,), (two,) = (list(tmp_path.glob(f"{name}/cb/*/prompt.safetensors")) for name in ("one", "two"))
    assert one.parent.name == two.parent.name
    for run in (one.parent, two.parent):
        assert len((run / "predictions.jsonl").read_text().splitlines()) == 5
    torch.testing.assert_close(load_file(one)["prompt"], load_file(two)["prompt"], rtol=1e-4, atol=1e-5)
    scores = [
        (path.parent / "metrics.csv").read_text().splitlines()[-1].split(",")[2:9] for path in (one, two)
    ]
    assert [float(x) for x in scores[0]] == pytest.approx([float(x) for x in scores[1]], rel=1e-4)


def test_a_group_that_is_null_is_named(tiny: Command) -> None:
    result = call("train.py", *tiny, "task=null")
    assert result.returncode == 1
    assert (
        result.stderr
        == "error: task=null: should be one of boolq, cb, copa, multirc, record, rte, wic, wsc\n"
    )


def test_a_terminal_without_unicode_is_no_obstacle(tiny: Command) -> None:
    result = call("train.py", *tiny, "task.instruction='Does…entail?'", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert result.returncode == 0, result.stderr


def test_without_network_a_run_is_trained_and_recorded_offline(tiny: Command) -> None:
    variables = {"WANDB_MODE": "", "WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    result = call("train.py", *tiny, "logger=wandb", **variables)
    assert result.returncode == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if "W&B cannot be reached" in line]
    place = line.partition("upload with `wandb sync ")[2].rstrip("`").removesuffix("/offline-run-*")
    assert list(Path(place).glob("offline-run-*/*.wandb"))
