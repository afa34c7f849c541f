"""Starting workers, asking whether they run, and stopping them: on this machine or through Slurm, with submitit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from hydra.errors import HydraException

from hydra_plugins.hydra_packed_launcher._worker import Worker

FOREVER = 60 * 24 * 365  # minutes: submitit's local executor always has a time limit
GRACE = 60.0  # seconds in which workers that are asked to stop have to save their jobs
ASK = 2.0  # seconds between two questions to Slurm
UNANSWERED = 60.0  # seconds after which it is said that Slurm does not answer


class Cluster(Protocol):
    """Where workers run."""

    poll: float  # seconds between two looks at the workers

    def start(self, workers: Sequence[Worker]) -> None:
        """Start workers, or ask Slurm for them."""

    def is_alive(self, name: str) -> bool:
        """True while a worker runs or waits in a queue."""

    def log(self, name: str) -> Path:
        """The file with a worker's standard error."""

    def stop(self) -> list[str]:
        """Ask all workers to save their jobs and to end, and wait. Returns those that did not end."""


class LocalCluster:
    """Workers on this machine, each a process with a process of submitit's above it."""

    poll = 0.2

    def __init__(self, logs: Path) -> None:
        import submitit

        self._executor = submitit.LocalExecutor(folder=logs / "%j")
        self._executor.update_parameters(timeout_min=FOREVER, stderr_to_stdout=False)
        self._jobs: dict[str, Any] = {}

    def start(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            with _ctrl_c_is_ours(), _import_path():
                self._jobs[worker.name] = self._executor.submit(worker)

    def is_alive(self, name: str) -> bool:
        return not self._jobs[name].done()

    def log(self, name: str) -> Path:
        return Path(self._jobs[name].paths.stderr)

    def stop(self) -> list[str]:
        alive = [name for name in self._jobs if self.is_alive(name)]
        for name in alive:
            self._jobs[name]._process.send_signal(
                signal.SIGTERM
            )  # submitit's process passes it on to the worker
        deadline = time.monotonic() + GRACE
        while any(self.is_alive(name) for name in alive) and time.monotonic() < deadline:
            time.sleep(0.05)
        left = [name for name in alive if self.is_alive(name)]
        for name in left:
            self._jobs[name]._process.kill()  # the worker notices it and ends itself
        return left


class SlurmCluster:
    """Workers as tasks of a Slurm job array."""

    poll = 1.0

    def __init__(self, logs: Path, name: str, parameters: dict[str, Any], say: Callable[[str], None]) -> None:
        """
        Args:
            parameters: as in config.py.
            say: is told if Slurm does not answer.

        Raises:
            HydraException: Slurm is not installed here, or a parameter is wrong.
        """
        import submitit

        timeouts, minutes = parameters.pop("max_num_timeout"), parameters.pop("timeout_min")
        memory = parameters.pop("mem_gb")
        if 60 * minutes <= parameters["signal_delay_s"]:
            raise HydraException(
                f"hydra.launcher.timeout_min={minutes}: should be longer than signal_delay_s="
                f"{parameters['signal_delay_s']} seconds"
            )
        # Not all clusters queue jobs again by default.
        more = {"requeue": True, **(parameters.pop("additional_parameters") or {})}
        self._say = say
        with _slurm_errors():
            self._executor = submitit.SlurmExecutor(folder=logs / "%j", max_num_timeout=timeouts)
            self._executor.update_parameters(
                job_name=name,
                time=minutes,
                mem=None if memory is None else f"{memory}GB",
                ntasks_per_node=1,
                nodes=1,
                stderr_to_stdout=False,
                additional_parameters=more,
                **{key: value for key, value in parameters.items() if value is not None},
            )
        self._jobs: dict[str, Any] = {}
        self._queued: set[str] | None = None  # ids of the jobs in the queue; None before Slurm has answered
        self._asked_at = self._answered_at = time.monotonic()

    def start(self, workers: Sequence[Worker]) -> None:
        with _import_path(), _slurm_errors():
            if len(workers) == 1:
                jobs = [self._executor.submit(workers[0])]
            else:
                with self._executor.batch():
                    jobs = [self._executor.submit(worker) for worker in workers]
        self._jobs.update(zip((worker.name for worker in workers), jobs, strict=True))
        self._queued = None

    def is_alive(self, name: str) -> bool:
        job = self._jobs[name]
        if job.paths.result_pickle.exists():
            return False
        self._ask()
        return self._queued is None or job.job_id in self._queued

    def log(self, name: str) -> Path:
        return Path(self._jobs[name].paths.stderr)

    def stop(self) -> list[str]:
        alive = [name for name in self._jobs if self.is_alive(name)]
        if alive:
            self._run("scancel", *(self._jobs[name].job_id for name in alive))
        deadline = time.monotonic() + GRACE
        while (left := [name for name in alive if self.is_alive(name)]) and time.monotonic() < deadline:
            time.sleep(0.5)
        return left

    def _ask(self) -> None:
        """Ask squeue which jobs are in the queue. (sacct would need a database.)"""
        now = time.monotonic()
        if self._queued is not None and now - self._asked_at < ASK:
            return
        self._asked_at = now
        ids = sorted({job.job_id.split("_")[0] for job in self._jobs.values()})
        listed = self._run(
            "squeue", "--noheader", "--array", "--states=all", "--format=%i %T", f"--jobs={','.join(ids)}"
        )
        gone = "Invalid job id" in listed.stderr  # of jobs that ended some time ago
        if listed.returncode == 0 or gone:
            self._answered_at = now
            states = [line.split() for line in listed.stdout.splitlines()]
            self._queued = {job for job, state in states if state not in ENDED}
        elif now - self._answered_at > UNANSWERED:
            self._answered_at = now
            self._say(f"Slurm does not answer: {listed.stderr.strip()}; waiting for it")

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
        try:
            return subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False, timeout=30
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 1, "", f"{command[0]} took more than 30 seconds")


# States in which squeue may still list a job that has ended and is not queued again.
ENDED = {
    "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "PREEMPTED",
}  # fmt: skip


@contextmanager
def _slurm_errors() -> Iterator[None]:
    """Inside the context, an error of submitit's or sbatch's becomes one line."""
    import submitit

    try:
        yield
    except (submitit.core.utils.FailedJobError, RuntimeError, ValueError, OSError) as error:
        raise HydraException(
            f"hydra.launcher: Slurm takes no jobs: {' '.join(str(error).split())}"
        ) from error


@contextmanager
def _ctrl_c_is_ours() -> Iterator[None]:
    """Processes that are started in the context never receive Ctrl-C, which a terminal sends to all of them.

    The launcher asks them to stop. Submitit's own processes would kill the workers after a second. A Ctrl-C that comes
    while the signal is blocked here is received at the end of the context.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _import_path() -> Iterator[None]:
    """Processes that are started in the context import what this process can import beside its script."""
    before = os.environ.get("PYTHONPATH")
    own = [str(Path(path).resolve()) for path in (sys.path[0], Path(__file__).parents[2])]
    os.environ["PYTHONPATH"] = os.pathsep.join([*dict.fromkeys(own), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
