"""SIGTERM, Ctrl-C and SIGUSR1: saved, one line, an exit code, and the same bytes in the end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, THOROUGH, thorough

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
GOES_ON = "the same command goes on from here"
on_two_devices = pytest.mark.skipif(
    not THOROUGH or not torch.distributed.is_gloo_available(),
    reason="takes two minutes (set SOFTPROMPT_THOROUGH), and torch with gloo",
)


@pytest.fixture
def command(model_folder: Path, data_folder: Path, tmp_path: Path) -> list[str]:
    """A training of some seconds."""
    return [
        sys.executable, "train.py", "model=bloomz_560m", f"model.id={model_folder}", "model.revision=null",
        "model.dtype=float32", "data=superglue_jsonl", f"data.root={data_folder}", f"output_root={tmp_path}",
        "trainer=cpu", "trainer.max_epochs=60", "trainer.patience=60", "trainer.min_delta=0", "prompt=random",
    ]  # fmt: skip


def start(command: list[str], *more: str) -> subprocess.Popen[str]:
    if "-m" in more:  # has to stand before the overrides
        command = [*command[:2], "-m", *command[2:]]
    return subprocess.Popen(
        [*command, *(argument for argument in more if argument != "-m")], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.02)


def rows(folder: Path, pattern: str) -> int:
    return sum(path.read_text().count("\n") for path in folder.glob(f"cb/{pattern}/metrics.csv"))


def prompts(sweep: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sweep.glob("cb/*/prompt.safetensors")}


@pytest.mark.parametrize("devices", [pytest.param(1, marks=thorough), pytest.param(2, marks=on_two_devices)])
def test_a_sweep_that_gets_sigterm_ends_in_order_and_goes_on(
    command: list[str], tmp_path: Path, devices: int
) -> None:
    sweep = ["-m", "seed=0,1,2", f"trainer.devices={devices}"]
    sweep += ["trainer.strategy=ddp"] if devices > 1 else []
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    process = start(command, *sweep, "sweep=cut")
    # In the middle of the third run. On one device two workers train the first and the second one side by side.
    wait_for(lambda: rows(cut, "*-seed2-*") > 3, process)
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    output, errors = process.communicate(timeout=60)
    assert time.monotonic() - sent < 10
    assert process.returncode == 143 and errors == f"stopped by SIGTERM; {GOES_ON}\n", errors
    with pytest.raises(ProcessLookupError):  # no process of the sweep is left
        os.killpg(process.pid, 0)
    assert 1 <= len(list(cut.glob("cb/*/result.json"))) <= 2
    assert not list(cut.glob("cb/*/.lock")) and not list(cut.glob(".launch"))
    for name in ("cut", "whole"):
        process = start(command, *sweep, f"sweep={name}")
        output, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        assert ("done before" in output) == (name == "cut")
    assert len(prompts(whole)) == 3 and prompts(cut) == prompts(whole)
    for mine in sorted(cut.glob("cb/*/metrics.csv")):
        other = whole / "cb" / mine.parent.name / "metrics.csv"
        # The last column is the time.
        assert [line.rpartition(",")[0] for line in mine.read_text().splitlines()] == [
            line.rpartition(",")[0] for line in other.read_text().splitlines()
        ]


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGUSR1, 138, marks=thorough), (signal.SIGHUP, 129)],
)
def test_ctrl_c_sigusr1_and_sighup_save_and_say_so(
    command: list[str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = start(command, "sweep=one")
    wait_for(lambda: rows(tmp_path / "one", "*") > 3, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code and errors == f"stopped by {number.name}; {GOES_ON}\n"
    assert list(tmp_path.glob("one/cb/*/last.ckpt"))


def test_a_signal_before_training_ends_at_once(command: list[str], tmp_path: Path) -> None:
    process = start(command, "sweep=one")
    wait_for(lambda: Path(f"/proc/{process.pid}/maps").read_text().count("libtorch"), process)
    process.terminate()
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 143 and errors == f"stopped by SIGTERM; {GOES_ON}\n"


@pytest.mark.parametrize("sweep", [[], ["-m", "seed=0,1", "hydra/launcher=basic"]])
def test_a_signal_is_not_hidden_by_an_error_that_it_causes(command: list[str], sweep: list[str]) -> None:
    """The signal arrives in the middle of a library's work, whose clean-up then fails."""
    script = (
        "import os, signal, time\nfrom softprompt import commands\n"
        "def broken(settings):\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGTERM)\n        time.sleep(9)\n"
        "    finally:\n        raise AttributeError('half changed')\n"
        "commands._train_run = broken\ncommands.train()"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script, *sweep, *command[2:]],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True,
    )  # fmt: skip
    assert finished.returncode == 143 and finished.stderr == f"stopped by SIGTERM; {GOES_ON}\n"


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    """The training loop does not answer: here it sleeps where signals are deferred."""
    script = (
        "import time; from softprompt import interruption; interruption.listen()\n"
        "with interruption.deferred():\n    print('ready', flush=True)\n    while True: time.sleep(1)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == 130
    process.stdout.close()
