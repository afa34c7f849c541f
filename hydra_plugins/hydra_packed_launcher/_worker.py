"""What runs in a worker: it trains jobs of one kind after another, until none is left that it can train."""

import importlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, TypeVar

from hydra_plugins.hydra_packed_launcher._control import Control, Plan, is_running
from hydra_plugins.hydra_packed_launcher.runner import Job, Runner, WorkerUnusable

T = TypeVar("T")

PATIENCE = 120.0  # seconds to wait until a network file system shows the plan
GRACE = 30.0  # seconds that a worker without a launcher has to save its jobs
LONGEST_PAUSE = 30.0  # seconds between two looks at jobs that other processes train


class Worker:
    """A worker, as submitit pickles it, also when Slurm queues it again. Its work is in the control folder."""

    def __init__(
        self,
        folder: Path,
        name: str,
        place: int,
        pack_size: int | None,
        at_most: int,
        environment: dict[str, str],
        launcher: int | None,
        stay: bool = False,
    ) -> None:
        """
        Args:
            folder: the control folder.
            name: unique among the workers of this launcher.
            place: different workers begin with different jobs.
            pack_size: see `Runner.train`.
            at_most: see `Runner.train`.
            environment: variables to set before anything is imported: the visible GPUs, the number of threads.
            launcher: process id of the launcher, if this worker should end when it ends.
            stay: wait for jobs that other processes train, and train them if these processes give them up.
        """
        self.folder = folder
        self.name = name
        self.place = place
        self.pack_size = pack_size
        self.at_most = at_most
        self.environment = environment
        self.launcher = launcher
        self.stay = stay

    def __call__(self) -> str:
        os.environ.update(self.environment)
        if cores := os.environ.get("SLURM_CPUS_PER_TASK"):
            os.environ.setdefault("OMP_NUM_THREADS", cores)
        signal.signal(signal.SIGTERM, _end)  # submitit ignores it; the runner replaces this when it trains
        requeue = signal.getsignal(signal.SIGUSR2)  # of submitit: checkpoint, and queue this worker again
        if self.launcher is not None:
            watch = threading.Thread(target=_end_with, args=(self.launcher, os.getppid()), daemon=True)
            watch.start()
        control = Control(self.folder)
        _end_if_stopped(control)
        plan = self._wait_for_plan(control)
        sys.argv = list(plan.arguments)
        control.report(self.name, None, "started", {"host": socket.gethostname(), "process": os.getpid()})
        try:
            self._train(control, plan)
        except SystemExit as end:
            if end.code == 128 + signal.SIGUSR2 and callable(requeue):
                requeue(signal.SIGUSR2, None)
            raise
        except Exception as error:
            control.report(self.name, None, "broken", _details(error))
            raise
        control.report(self.name, None, "ended", {})
        return self.name

    def checkpoint(self) -> Any:
        """What submitit queues again: the same worker."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)

    def _wait_for_plan(self, control: Control) -> Plan:
        deadline = time.monotonic() + PATIENCE
        while (plan := control.read_plan()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{control.path}: no plan after {PATIENCE:.0f} s; is the launcher alive?")
            time.sleep(0.05)
        return plan

    def _train(self, control: Control, plan: Plan) -> None:
        runner = load_runner(plan.runner)
        jobs = {job.number: job for job in plan.jobs}

        ended = 0
        in_use: set[int] = set()

        def report(number: int, state: str, details: dict[str, Any]) -> None:
            nonlocal ended
            if state == "in use" and number in in_use:
                return
            in_use.add(number) if state == "in use" else in_use.discard(number)
            control.report(self.name, number, state, details)
            if state in ("done", "failed"):
                ended += 1
                control.settle(number)  # after the report, or a worker that dies in between loses the job

        def skip(job: Job) -> bool:
            _end_if_stopped(control)
            return control.is_settled(job.number)

        kinds = [[jobs[number] for number in kind] for kind in self._rotated(plan.kinds, plan.workers)]
        pause = 1.0
        while kinds:
            ended_before = ended
            for kind in list(kinds):
                waiting = [job for job in kind if not skip(job)]
                try:
                    if waiting:
                        own = self._rotated(waiting, plan.workers)
                        runner.train(own, self.pack_size, self.at_most, report, skip)
                except WorkerUnusable as error:
                    kinds.remove(kind)
                    numbers = [job.number for job in waiting]
                    control.report(self.name, None, "unusable", {"jobs": numbers, **_details(error)})
            if all(skip(job) for kind in kinds for job in kind):
                return
            # Otherwise look again, because another worker may have given up a job in the meantime.
            if ended == ended_before:
                if not self.stay:
                    return
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _rotated(self, items: list[T], workers: int) -> list[T]:
        """The items, beginning at another one for each worker."""
        first = self.place * len(items) // max(1, workers) % len(items)
        return [*items[first:], *items[:first]]


def load_runner(path: str) -> Runner:
    """The runner whose class this dotted path names."""
    module, _, name = path.rpartition(".")
    runner: Runner = getattr(importlib.import_module(module), name)()
    return runner


def describe(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return text or type(error).__name__


def _details(error: BaseException) -> dict[str, Any]:
    return {"reason": describe(error), "traceback": "".join(traceback.format_exception(error))}


def _end_if_stopped(control: Control) -> None:
    """End if the launcher asks for it: its signal has no effect before this process handles it."""
    if control.is_stopped():
        raise SystemExit(128 + signal.SIGTERM)


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _end_with(launcher: int, parent: int) -> None:
    """End this process when its launcher, or the process that started it, has died: cleanly, if it can."""
    while is_running(launcher) and os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
