"""A sweep while it runs: which worker trains which job, what became of each job, and what to do about workers that die."""

import os
import signal
import threading
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from hydra.errors import HydraException

from hydra_plugins.hydra_packed_launcher._cluster import Cluster, LocalCluster, SlurmCluster
from hydra_plugins.hydra_packed_launcher._control import Control, Plan
from hydra_plugins.hydra_packed_launcher._devices import (
    Place,
    available_memory,
    cpu_cores,
    places,
    visible_gpus,
)
from hydra_plugins.hydra_packed_launcher._signals import signals_at_pauses
from hydra_plugins.hydra_packed_launcher._table import Display, JobState
from hydra_plugins.hydra_packed_launcher._worker import Worker, describe, load_runner
from hydra_plugins.hydra_packed_launcher.runner import Job, Needs

LOST_AT_START = 3  # workers of one place that may die one after another before they train a job
SLURM_WORKERS = 16  # tasks of the job array, if `workers` is not set
LOG_LINES = 40  # of a dead worker's log that are shown with its jobs
LAST_WORDS = 3.0  # seconds to wait for what a worker that has ended wrote; network file systems may be late


@dataclass(frozen=True)
class Options:
    """The launcher's options; see config.py."""

    runner: str
    cluster: str
    workers: int | None
    pack_size: int | None
    attempts: int
    slurm: dict[str, Any]


class Sweep:
    """The jobs of one launch and their workers."""

    def __init__(
        self,
        options: Options,
        jobs: Sequence[Job],
        labels: Sequence[str],
        folder: Path,
        arguments: Sequence[str],
        on_end: Callable[[Job, JobState], None],
    ) -> None:
        """
        Args:
            folder: of the sweep.
            arguments: of the command line.
            on_end: is called once for every job, when it is done or has failed.
        """
        self.options = options
        self.local = options.cluster == "local"
        self.jobs = {job.number: job for job in jobs}
        self.states = {job.number: JobState(label) for job, label in zip(jobs, labels, strict=True)}
        self.folder = folder
        self.arguments = list(arguments)
        self.on_end = on_end
        self.display = Display(self.states)
        self._places: list[Place] = []
        self._lost: list[int] = []  # by place: workers that died since one of its workers has trained a job
        self._place_of: dict[str, int] = {}  # by worker
        self._alive: list[str] = []
        self._ended: set[str] = set()  # workers that have said that they end
        self._staying: set[str] = set()
        self._broken: dict[str, dict[str, Any]] = {}  # by worker: the error that it ended with
        self._unusable: dict[int, dict[str, Any]] = {}  # by job: why a worker could not train it
        self._last_loss: dict[str, Any] = {"reason": "no worker has trained it; run the command again"}
        self._at_most = 1

    def run(self) -> None:
        """Train all jobs to their ends.

        Raises:
            HydraException: a job needs devices that are not there, or Slurm takes no jobs.
        """
        self.control = Control.new(self.folder, self.local)
        cluster: Cluster | None = None
        try:
            with self.display, signals_at_pauses() as self._pause:
                needs = self._needs()
                if waiting := self._unsettled():
                    cluster = self.cluster = self._make_cluster([needs[number] for number in waiting])
                    self._start(waiting, needs)
                    while self._unsettled():
                        self._take_events()
                        self._look_after_workers()
                        self.display.draw()
                        self._pause(cluster.poll)
                    self._wait_for_ends()
        finally:
            with _without_sigterm():
                self._stop(cluster)
        self.display.say(self._summary())

    def _make_cluster(self, needs: Sequence[Needs]) -> Cluster:
        if self.local:
            return LocalCluster(self.control.logs)
        parameters = dict(self.options.slurm)
        if parameters.get("gpus_per_node") is not None:
            devices = max(need.devices for need in needs)
            parameters["gpus_per_node"] = max(parameters["gpus_per_node"], devices)
        return SlurmCluster(self.control.logs, self.folder.name, parameters, self.display.say)

    def _needs(self) -> dict[int, Needs]:
        """What each job needs. Jobs whose configs are wrong have failed; under Slurm those that are done are left out.

        Raises:
            HydraException: all jobs are wrong for the same reason, which is then said once.
        """
        runner = load_runner(self.options.runner)
        needs: dict[int, Needs] = {}
        wrong: dict[int, dict[str, Any]] = {}
        for number, job in self.jobs.items():
            try:
                needs[number] = runner.needs(job)
            except Exception as error:
                wrong[number] = {"reason": describe(error), "traceback": traceback.format_exc()}
        reasons = {details["reason"] for details in wrong.values()}
        if len(self.jobs) == len(wrong) > 1 and len(reasons) == 1:
            raise HydraException(reasons.pop())
        for number, details in wrong.items():
            self._settle(number, "failed", details)
        for number in [] if self.local else needs:
            try:
                done = runner.done(self.jobs[number])
            except Exception:
                continue  # perhaps its data is seen by the nodes only: the workers will tell
            if done is not None:
                self._settle(number, "done", {**done, "before": True})
        return needs

    def _start(self, waiting: Sequence[int], needs: dict[int, Needs]) -> None:
        kinds: dict[str, list[int]] = defaultdict(list)
        for number in waiting:
            kinds[needs[number].kind].append(number)
        if self.local:
            own = [needs[number] for number in waiting]
            free = available_memory()
            self._places = places(own, self.options.workers, visible_gpus(), cpu_cores(), free)
        else:
            self._places = [Place({})] * min(len(waiting), self.options.workers or SLURM_WORKERS)
        self._lost = [0] * len(self._places)
        self._at_most = self.options.pack_size or ceil(len(waiting) / len(self._places))
        jobs = [self.jobs[number] for number in waiting]
        plan = Plan(self.options.runner, jobs, list(kinds.values()), self.arguments, len(self._places))
        self.control.write_plan(plan)
        count, where = len(self._places), "on this machine" if self.local else "asked of Slurm"
        self.display.say(f"{len(waiting)} runs, {count} {'worker' if count == 1 else 'workers'} {where}")
        self._add_workers(range(len(self._places)), self._at_most)

    def _add_workers(self, place_numbers: Sequence[int], at_most: int, stay: bool = False) -> None:
        workers = []
        for place in place_numbers:
            name = f"worker-{len(self._place_of)}"
            self._place_of[name] = place
            environment, launcher = self._places[place].environment, os.getpid() if self.local else None
            options = (self.options.pack_size, at_most, environment, launcher, stay)
            workers.append(Worker(self.control.path, name, place, *options))
        names = [worker.name for worker in workers]
        self.cluster.start(workers)
        self._alive += names
        if stay:
            self._staying.update(names)

    def _unsettled(self) -> list[int]:
        return [number for number, state in self.states.items() if not state.settled]

    def _take_events(self) -> None:
        for event in self.control.new_events():
            worker, number, what = event.pop("worker"), event.pop("job"), event.pop("state")
            if number is None:
                self._take_event_of_worker(worker, what, event)
                continue
            state = self.states[number]
            if what == "note":
                self.display.say(event["text"])
            if state.settled or what == "note":
                continue
            if what in ("done", "failed"):
                self._settle(number, what, event)
            elif what == "training":
                state.state, state.worker, state.details = what, worker, {**state.details, **event}
                self._lost[self._place_of[worker]] = 0
            elif state.state != "training" or state.worker == worker:
                state.state, state.worker, state.details = what, "", event

    def _take_event_of_worker(self, worker: str, what: str, event: dict[str, Any]) -> None:
        if what == "ended":
            self._ended.add(worker)
        elif what == "unusable":
            self._unusable.update(dict.fromkeys(event["jobs"], event))
            self.display.say(f"{worker} cannot train {len(event['jobs'])} of the runs: {event['reason']}")
        elif what == "broken":
            self._broken[worker] = event

    def _settle(self, number: int, what: str, details: dict[str, Any]) -> None:
        state = self.states[number]
        state.state, state.details = what, details
        self.control.settle(number)
        self.display.ended(state)
        self.on_end(self.jobs[number], state)

    def _look_after_workers(self) -> None:
        for name in [name for name in self._alive if not self.cluster.is_alive(name)]:
            self._alive.remove(name)
            self._wait_for_last_words(name)
            held = [number for number in self._unsettled() if self.states[number].worker == name]
            for number in held:
                self.states[number].state, self.states[number].worker = "waiting", ""
            if name not in self._ended:
                self._replace(name, held)
        if self._alive or not (unsettled := self._unsettled()):
            return
        for number in unsettled:
            if reason := self._unusable.get(number):
                self._settle(number, "failed", reason)
        if not (unsettled := self._unsettled()):
            return
        # Locks of the other runs are held by another launcher, or were held by a worker that has ended since.
        if self._staying or min(self._lost) >= LOST_AT_START:
            for number in unsettled:
                self._settle(number, "failed", self._last_loss)
            return
        if elsewhere := sum(self.states[number].state == "in use" for number in unsettled):
            self.display.say(f"another process trains {elsewhere} of the runs; waiting for it")
        count = min(len(self._places), len(unsettled))
        self._add_workers(range(count), self._at_most, stay=True)

    def _wait_for_last_words(self, name: str) -> None:
        for _ in range(int(LAST_WORDS / 0.1)):
            self._take_events()
            if name in self._ended or self.local:  # a local file system is never late
                return
            self._pause(0.1)

    def _replace(self, name: str, held: Sequence[int]) -> None:
        """Start another worker for one that died. If it had several jobs side by side, the new one has half as many."""
        place, last = self._place_of[name], self._last_lines(name)
        self._lost[place] += 1
        broken = self._broken.get(name)
        reason = broken["reason"] if broken else "it was killed, perhaps for want of memory"
        log = broken["traceback"] if broken else "\n".join(last)
        self._last_loss = {"reason": f"{name}: {reason}", "traceback": log}
        at_most = max(1, len(held) // 2) if held else self._at_most
        self.display.say(
            f"{name} has ended: {reason}" + (f"; its {len(held)} runs are tried again" if held else "")
        )
        for number in held:
            state = self.states[number]
            state.killed += 1
            if state.killed >= self.options.attempts:
                details = {"reason": f"its worker ended {state.killed} times: {reason}", "traceback": log}
                self._settle(number, "failed", details)
        if self._unsettled() and self._lost[place] < LOST_AT_START:
            self._add_workers([place], at_most, stay=name in self._staying)

    def _last_lines(self, name: str) -> list[str]:
        try:
            text = self.cluster.log(name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-LOG_LINES:]

    def _wait_for_ends(self) -> None:
        """Workers end by themselves soon after the last job has ended."""
        for _ in range(50):
            if not any(self.cluster.is_alive(name) for name in self._alive):
                return
            self._pause(0.1)

    def _stop(self, cluster: Cluster | None) -> None:
        """End the workers that are left, and remove the control folder."""
        left: list[str] = []
        if cluster is not None:
            if self._alive and self._unsettled():
                self.display.say(f"stopping: {len(self._alive)} workers save their runs")
            self.control.stop()
            left = cluster.stop()
        if left:
            self.display.say(f"{', '.join(left)} did not end; their logs are in {self.control.logs}")
        else:
            self.control.remove()

    def _summary(self) -> str:
        states = list(self.states.values())
        failed = sum(state.state == "failed" for state in states)
        before = sum(state.before for state in states)
        text = f"{len(states)} runs: {len(states) - failed - before} trained"
        return text + (f", {before} done before" if before else "") + (f", {failed} failed" if failed else "")


@contextmanager
def _without_sigterm() -> Iterator[None]:
    """Inside the context, SIGTERM is ignored: workers are being stopped already."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
