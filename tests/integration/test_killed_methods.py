"""A sweep over the methods that is killed by SIGKILL while every run is in the middle of its training, and started again."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import checkpoint_state, thorough
from tests.integration.test_sweeps import finish, outcome, start, wait_for

# A method of a folder of the user's, because `method.hidden` is a key of one method only.
NETWORK = "# @package _global_\ndefaults: [prefix, _self_]\nmethod: {hidden: 8}\n"
METHODS = ["prompt", "residual", "prefix", "network", "autoprompt", "pez"]
STEPS = 72  # 12 epochs of 6 steps


@pytest.fixture
def command(model_folder: Path, data_folder: Path, tmp_path: Path) -> list[str]:
    """A sweep with a run of each method, which is saved after every step."""
    (tmp_path / "conf/method").mkdir(parents=True)
    (tmp_path / "conf/method/network.yaml").write_text(NETWORK)
    return [
        sys.executable, "train.py", "-m", "--config-dir", str(tmp_path / "conf"), f"method={','.join(METHODS)}",
        "model=bloomz_560m", f"model.id={model_folder}", "model.revision=null", "model.dtype=float32",
        "data=superglue_jsonl", f"data.root={data_folder}", f"output_root={tmp_path}", "trainer=cpu",
        "trainer.batch_size=2", "trainer.max_epochs=12", "trainer.patience=12", "trainer.min_delta=0",
        "trainer.checkpoint_seconds=0",
    ]  # fmt: skip


def state_of(run: Path) -> dict[str, Any]:
    """What a resumed run would go on from."""
    last = run / "last.ckpt"
    return checkpoint_state(last if last.exists() else run / "previous.ckpt")


def steps_of(state: dict[str, Any]) -> int:
    return int(state["order"]["epoch"] * 6 + state["order"]["step"])


@thorough
def test_runs_of_every_method_end_after_kill_9_with_the_bytes_of_undisturbed_ones(
    command: list[str], tmp_path: Path
) -> None:
    assert "6 runs: 6 trained" in finish(start(command, "sweep=whole"))
    cut, stopped = tmp_path / "cut", set[Path]()
    process = start(command, "sweep=cut", f"hydra.launcher.workers={len(METHODS)}")

    def all_are_in_the_middle() -> bool:
        """Stop each worker in the fourth epoch of its run or later, so that none ends before the others are there."""
        for curve in set(cut.glob("cb/*/metrics.csv")) - stopped:
            if curve.read_text().count("\n") > 4:
                owner = json.loads((curve.parent / ".lock").read_text())
                os.kill(owner["process"], signal.SIGSTOP)
                stopped.add(curve)
        return len(stopped) == len(METHODS)

    try:
        wait_for(all_are_in_the_middle, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    runs = [curve.parent for curve in stopped]
    assert not list(cut.glob("cb/*/result.json")), "a run had ended before it was killed"
    killed = {run: state_of(run) for run in runs}
    assert all(0 < steps_of(state) < STEPS for state in killed.values())

    assert "6 runs: 6 trained" in finish(start(command, "sweep=cut"))
    for run, before in killed.items():
        after = state_of(run)
        assert steps_of(after) == STEPS
        # The same times, so these evaluations were not made again.
        times = [[row["seconds"] for row in state["history"]] for state in (before, after)]
        assert times[1][: len(times[0])] == times[0]
    assert len(outcome(cut)) == len(METHODS) and outcome(cut) == outcome(tmp_path / "whole")
    for run in runs:
        whole = tmp_path / "whole/cb" / run.name
        assert (run / "initial.safetensors").read_bytes() == (whole / "initial.safetensors").read_bytes()
