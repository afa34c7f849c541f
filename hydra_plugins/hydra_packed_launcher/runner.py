"""What a project tells the launcher about its jobs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Report = Callable[[int, str, dict[str, Any]], None]


@dataclass(frozen=True)
class Needs:
    """What a job needs.

    Attributes:
        kind: jobs of one kind can be trained side by side, or share what they load.
        devices: number of GPUs, or of processes on a CPU.
        gpu: True: a GPU; False: the CPU; None: a GPU if there is one.
        threads: CPU threads; None: as the launcher likes.
        memory: bytes of main memory for each device, about; 0 if that is not known.
    """

    kind: str
    devices: int = 1
    gpu: bool | None = None
    threads: int | None = None
    memory: int = 0


@dataclass(frozen=True)
class Job:
    """A job of a sweep. `config` is its composed config as plain values, without the `hydra` node."""

    number: int
    overrides: list[str]
    config: dict[str, Any]


class Runner(Protocol):
    """Trains jobs. The class is named by `hydra.launcher.runner` and is made without arguments.

    A job may be given to several workers. The runner makes sure that only one of them trains it, for instance with a lock
    in the job's folder, and that a job that was trained before is not trained again.
    """

    def needs(self, job: Job) -> Needs:
        """What a job needs. Called in the launcher's process, so it should be fast.

        Raises:
            Exception: the job's config is wrong. The message is shown, the job counts as failed, and others go on.
        """

    def done(self, job: Job) -> dict[str, Any] | None:
        """The details of `done`, as in `train`, if the job was trained before. Called before Slurm is asked for workers."""

    def train(
        self,
        jobs: Sequence[Job],
        pack_size: int | None,
        at_most: int,
        report: Report,
        skip: Callable[[Job], bool],
    ) -> None:
        """Train jobs of one kind. Called in a worker.

        Args:
            pack_size: how many side by side; None: as many as pay.
            at_most: never more than this side by side.
            report: call it with a job's number, its state and details, whenever the state changes. `training`: may have
                `step`, `steps`, `epoch`, `epochs`, `exact_match`, `loss`, `seconds`. `done`: may have `summary`, `value`
                (what a sweeper gets) and `before` (True if it was trained before). `failed`: `reason` and `traceback`.
                `in use`: another process trains the job. `note`: `text`, a line for the user.
            skip: is true for a job that another worker has finished, or found to fail.

        Raises:
            WorkerUnusable: this worker's device cannot train these jobs, and another one may.
        """


class WorkerUnusable(Exception):
    """The worker's device cannot be used, for instance because its memory is full. The message says why."""
