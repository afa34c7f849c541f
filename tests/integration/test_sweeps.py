"""Sweeps with the packed launcher on bad days: killed workers and launchers, two launchers at once, two devices."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from softprompt.parsing import config_of
from softprompt.settings import Settings
from tests.conftest import ROOT, thorough
from tests.integration.test_packs import different_runs

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture
def command(model_folder: Path, data_folder: Path, tmp_path: Path) -> list[str]:
    """A sweep of some seconds per run."""
    return [
        sys.executable, "train.py", "-m", "model=bloomz_560m", f"model.id={model_folder}", "model.revision=null",
        "model.dtype=float32", "data=superglue_jsonl", f"data.root={data_folder}", f"output_root={tmp_path}",
        "trainer=cpu", "trainer.max_epochs=60", "trainer.patience=60", "trainer.min_delta=0", "prompt=random",
    ]  # fmt: skip


def start(command: list[str], *more: str) -> subprocess.Popen[str]:
    """In a process group of its own, as a shell starts a command."""
    return subprocess.Popen(
        [*command, *more], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0 and errors == "", errors
    return output


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.02)


def rows(sweep: Path) -> int:
    return sum(path.read_text().count("\n") for path in sweep.glob("cb/*/metrics.csv"))


def workers(sweep: Path) -> list[int]:
    """The process ids of workers that have started."""
    files = list(sweep.glob(".launch/*/events/*.jsonl"))
    events = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [event["process"] for event in events if event["state"] == "started"]


def outcome(sweep: Path) -> dict[str, tuple[bytes, list[str]]]:
    """Each run's prompt, byte for byte, and its learning curve without the seconds (the last column)."""
    return {
        path.parent.name: (
            path.read_bytes(),
            [line.rpartition(",")[0] for line in (path.parent / "metrics.csv").read_text().splitlines()],
        )
        for path in sweep.glob("cb/*/prompt.safetensors")
    }


def is_over(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def whole(command: list[str], tmp_path: Path) -> dict[str, tuple[bytes, list[str]]]:
    """What an undisturbed sweep of three runs ends with."""
    output = finish(start(command, "sweep=whole", "seed=0,1,2"))
    assert "3 runs: 3 trained" in output and not list((tmp_path / "whole").glob(".launch"))
    return outcome(tmp_path / "whole")


@thorough
def test_a_worker_is_killed_then_the_launcher_then_two_launchers_finish(
    command: list[str], tmp_path: Path, whole: dict[str, tuple[bytes, list[str]]]
) -> None:
    cut = tmp_path / "cut"
    sweep = [*command, "sweep=cut", "seed=0,1,2"]
    process = start(sweep)
    wait_for(lambda: rows(cut) > 8 and len(workers(cut)) == 2, process)
    os.kill(workers(cut)[0], signal.SIGKILL)
    wait_for(lambda: len(workers(cut)) == 3, process)  # another one takes its place
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while not is_over(process.pid):  # the workers notice it, save and end
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "worker-0 has ended: it was killed" in process.communicate()[0]

    first, second = start(sweep), start(sweep)
    outputs = [finish(first), finish(second)]
    assert all("3 runs: " in output and "failed" not in output for output in outputs)
    # A run that one of them trains is "done before" for the other. Some may have been done before both.
    trained = [int(output.rpartition("3 runs: ")[2].split()[0]) for output in outputs]
    assert sum(trained) <= 3
    assert outcome(cut) == whole


def test_ctrl_c_saves_and_the_sweep_goes_on(
    command: list[str], tmp_path: Path, whole: dict[str, tuple[bytes, list[str]]]
) -> None:
    cut = tmp_path / "cut"
    process = start(command, "sweep=cut", "seed=0,1,2")
    wait_for(lambda: rows(cut) > 8, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors == "stopped by SIGINT; the same command goes on from here\n"
    assert "2 workers save their runs" in output and is_over(process.pid)
    assert not list(cut.glob("cb/*/.lock")) and not list(cut.glob(".launch"))
    finish(start(command, "sweep=cut", "seed=0,1,2"))
    assert outcome(cut) == whole


def test_runs_side_by_side_in_workers(command: list[str], tmp_path: Path) -> None:
    pack = ["seed=0,1,2,3", "optim.lr=0.01,0.05", "hydra.launcher.pack_size=4", "trainer.max_epochs=2"]
    output = finish(start(command, "sweep=packed", *pack))
    assert "8 runs: 8 trained" in output and "seed=3 optim.lr=0.05" in output
    assert len(outcome(tmp_path / "packed")) == 8


@thorough
def test_a_sweep_that_is_killed_twenty_times_ends_as_if_it_had_not_been(
    command: list[str], tmp_path: Path
) -> None:
    rng = random.Random(0)
    epochs = 300
    sweep = [
        "seed=range(8)",
        "trainer.checkpoint_seconds=0.2",
        f"trainer.max_epochs={epochs}",
        "trainer.patience=300",
    ]
    finish(start(command, "sweep=whole", *sweep))
    kills = 0
    while kills < 20:
        process = start(command, "sweep=chaos", *sweep)
        time.sleep(rng.uniform(2.0, 9.0))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    output = finish(start(command, "sweep=chaos", *sweep))
    assert kills == 20, f"the sweep was done after {kills} kills"
    assert "8 runs: " in output
    chaos, whole = outcome(tmp_path / "chaos"), outcome(tmp_path / "whole")
    assert chaos == whole and len(chaos) == 8
    for _, curve in chaos.values():
        steps = [line.split(",")[1] for line in curve]
        assert len(set(steps)) == len(steps) == epochs + 2  # the header, the start


SCRIPT = """
import sys, yaml
from rich.console import Console
from softprompt.parsing import parse_settings
from softprompt.training.train import train_pack

train_pack([parse_settings(config) for config in yaml.safe_load(open(sys.argv[1]))], Console(width=200))
"""


@thorough
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch has no gloo")
def test_a_pack_on_two_devices_is_the_pack_on_one_and_resumes(settings: Settings, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)

    def begin(name: str, devices: int) -> subprocess.Popen[str]:
        configs = [config_of(run) for run in different_runs(settings)]
        for config in configs:
            config["sweep"] = name
            config["trainer"] |= {"devices": devices, "checkpoint_seconds": 0.0, "threads": 1}
            config["trainer"]["strategy"] = "ddp" if devices > 1 else "auto"
            config["trainer"]["max_epochs"] = 12 if config["seed"] == 1 else config["trainer"]["max_epochs"]
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(configs))
        return start([sys.executable, str(script), str(tmp_path / f"{name}.yaml")])

    output = Path(settings.output_root)
    finish(begin("one", 1))
    finish(begin("two", 2))
    process = begin("cut", 2)
    wait_for(lambda: rows(output / "cut") > 18, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert "resumed at step" in finish(begin("cut", 2))
    one, two, cut = (outcome(output / name) for name in ("one", "two", "cut"))
    assert len(one) == 8
    for name, (_, curve) in one.items():
        for other in (two[name][1], cut[name][1]):  # equal up to the order of sums
            assert len(curve) == len(other)
            for row, other_row in zip(curve[1:], other[1:], strict=True):
                values, others = ([float(v or "nan") for v in line.split(",")] for line in (row, other_row))
                assert values == pytest.approx(others, abs=1e-3, nan_ok=True)
