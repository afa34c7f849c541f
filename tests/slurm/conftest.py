"""A Slurm cluster of one node on this machine, for as long as the tests run."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

NEEDED = ("slurmctld", "slurmd", "munged", "srun", "sbatch", "scontrol", "squeue")

CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
JobRequeue=1
KillWait=20
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class SlurmCluster:
    """The daemons of a cluster, and its commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("state", "spool"):
            (folder / name).mkdir()
        host = socket.gethostname().partition(".")[0]
        config = CONFIG.format(host=host, folder=folder, controller_port=_free_port(), node_port=_free_port())
        (folder / "slurm.conf").write_text(config)
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start `slurmctld` or `slurmd`."""
        command = [shutil.which(name) or name, "-D"]
        with (self.folder / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                command, env=self.environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """Kill a daemon as a crash would."""
        self._daemons[name].kill()
        self._daemons[name].wait()

    def command(self, *arguments: str) -> str:
        """The output of a command of Slurm's."""
        done = subprocess.run(arguments, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def wait_for_node(self, seconds: float = 60.0) -> None:
        """Wait until the node's daemon answers."""
        deadline = time.monotonic() + seconds
        while (said := self.command("sinfo", "--noheader", "--format=%t").strip()) not in (
            "idle",
            "alloc",
            "mix",
        ):
            assert time.monotonic() < deadline, f"{said}\n{(self.folder / 'slurmctld.log').read_text()}"
            time.sleep(0.2)

    def stop(self) -> None:
        """End all jobs and daemons."""
        self.command("scancel", "--full", "--signal=KILL", "--user=root")
        self.command("scontrol", "shutdown")
        for daemon in self._daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """A running cluster; skipped where Slurm is not installed, or where this user may not start it."""
    missing = [
        name for name in NEEDED if shutil.which(name) is None and not Path(f"/usr/sbin/{name}").exists()
    ]
    if missing:
        pytest.skip(f"Slurm is not installed (no {', '.join(missing)}); on Debian: apt-get install slurm-wlm")
    if os.geteuid() != 0:
        pytest.skip("only root can start munged and slurmd")
    with _munge():
        cluster = SlurmCluster(tmp_path_factory.mktemp("slurm"))
        cluster.start("slurmctld")
        cluster.start("slurmd")
        try:
            cluster.wait_for_node()
            yield cluster
        finally:
            cluster.stop()


class _munge:
    """Munge's daemon, unless one is running."""

    def __enter__(self) -> None:
        self.daemon: subprocess.Popen[bytes] | None = None
        if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
            return
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        self.daemon = subprocess.Popen(["runuser", "-u", "munge", "--", "munged", "--foreground"])
        deadline = time.monotonic() + 20
        while subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline and self.daemon.poll() is None, "munged does not start"
            time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait(10)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
