"""A sweep through a real Slurm on this machine: a job that is queued again, and a node daemon that dies."""

import re
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import ROOT, thorough
from tests.integration.test_command_line import call
from tests.slurm.conftest import SlurmCluster

RUNS = 4


def curves(folder: Path) -> dict[str, list[str]]:
    """The learning curves of all runs, without the seconds (the last column)."""
    found = {path.parent.name: path.read_text() for path in folder.glob("cb/*/metrics.csv")}
    return {name: [line.rpartition(",")[0] for line in text.splitlines()] for name, text in found.items()}


def running(slurm: SlurmCluster) -> list[str]:
    return re.findall(
        r"\d+_\d+", slurm.command("squeue", "--noheader", "--array", "--format=%i", "--states=R")
    )


@thorough
def test_a_sweep_through_slurm_survives_a_requeue_and_a_dead_node_daemon(
    slurm: SlurmCluster, tmp_path: Path, model_folder: Path, data_folder: Path
) -> None:
    overrides = [
        "model=bloomz_560m", f"model.id={model_folder}", "model.revision=null", "model.dtype=float32",
        "data=superglue_jsonl", f"data.root={data_folder}", f"output_root={tmp_path}", "trainer=cpu",
        "trainer.max_epochs=300", "trainer.patience=300", f"seed=range({RUNS})", "trainer.checkpoint_seconds=0",
    ]  # fmt: skip
    whole = call("train.py", "-m", *overrides, "sweep=whole", "hydra.launcher.workers=2")
    assert whole.returncode == 0, whole.stderr

    command = [
        sys.executable, "train.py", "-m", *overrides, "sweep=slurm", "hydra.launcher.cluster=slurm",
        "hydra.launcher.workers=2", "hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1",
        "hydra.launcher.partition=main",
    ]  # fmt: skip
    environment = {**slurm.environment, "COLUMNS": "200"}
    with (tmp_path / "launcher.log").open("w") as log:
        launcher = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)

        def wait_for(what: str, condition: object) -> None:
            deadline = time.monotonic() + 200
            while not condition():  # type: ignore[operator]
                said = (tmp_path / "launcher.log").read_text()
                assert launcher.poll() is None and time.monotonic() < deadline, f"{what}: {said}"
                time.sleep(0.1)

        wait_for("two workers train", lambda: len(curves(tmp_path / "slurm")) == 2)
        slurm.kill("slurmd")
        slurm.start("slurmd")
        slurm.wait_for_node()
        requeued, preempted = running(slurm)
        slurm.command("scontrol", "requeue", requeued)
        slurm.command(
            "scancel", "--signal=USR2", preempted
        )  # what submitit asks Slurm to send before a time limit
        wait_for("both jobs wait", lambda: not running(slurm))
        for job in (requeued, preempted):  # Slurm lets a job that was queued again wait for two minutes
            wait_for(
                "the job waits",
                lambda job=job: "JobState=PENDING" in slurm.command("scontrol", "show", "job", job),
            )
            slurm.command("scontrol", "update", f"JobId={job}", "StartTime=now")
        wait_for("both jobs run again", lambda: set(running(slurm)) == {requeued, preempted})
        code = launcher.wait(300)
    said = (tmp_path / "launcher.log").read_text()
    assert code == 0 and f"{RUNS} runs: {RUNS} trained" in said, said
    for job in (requeued, preempted):
        assert "Restarts=1" in slurm.command("scontrol", "show", "job", job)
    assert len(curves(tmp_path / "slurm")) == RUNS
    assert curves(tmp_path / "slurm") == curves(tmp_path / "whole")
    for path in (tmp_path / "slurm").glob("cb/*/prompt.safetensors"):
        assert path.read_bytes() == (tmp_path / "whole" / "cb" / path.parent.name / path.name).read_bytes()
    assert not list((tmp_path / "slurm").glob(".launch/*"))
