"""Remembers which runs of a sweep failed, whatever launcher ran them: a Hydra callback that `conf/train.yaml` names."""

import json
import os
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from softprompt.errors import one_line
from softprompt.files import write_atomically

SHOWN = 20  # failed runs that are listed at the end of a sweep

_recorded: list[Path] = []  # the file of this process's sweep


@dataclass(frozen=True)
class FailedRun:
    """A failed job of a sweep: its overrides, the error in one line, and the file with the traceback."""

    overrides: str
    reason: str
    log: str


class RecordFailures(Callback):
    """Collects failures in a file in the sweep's folder, because a launcher may run jobs in other processes.

    Launchers pickle the callback into their jobs' processes, so its path goes along.
    """

    def __init__(self) -> None:
        self.path: Path | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Choose a file of this sweep's own."""
        name = f".failed-{socket.gethostname()}-{os.getpid()}.jsonl"
        self.path = (Path(config.hydra.sweep.dir) / name).absolute()
        self.path.unlink(missing_ok=True)  # of a process with the same id, which was killed
        _recorded[:] = [self.path]

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Write a log and add a line if the job failed."""
        if self.path is None or job_return.status != JobStatus.FAILED:
            return
        error = job_return._return_value  # `return_value` would raise it
        overrides = " ".join(job_return.overrides or [])
        log = self.path.parent / "failed" / f"{socket.gethostname()}-{os.getpid()}-{config.hydra.job.num}.log"
        write_atomically(log, f"{overrides}\n\n{''.join(traceback.format_exception(error))}")
        shown = log.relative_to(Path.cwd()) if log.is_relative_to(Path.cwd()) else log
        failed = FailedRun(overrides, one_line(error), str(shown))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(failed)) + "\n")


def failed_runs() -> list[FailedRun]:
    """The failed runs of the sweep that this process started."""
    found = []
    for path in _recorded:
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            found += [FailedRun(**json.loads(line)) for line in lines]
            path.unlink()
    return found


def print_failed_runs(failed: Sequence[FailedRun]) -> None:
    """Print on standard error which runs of a sweep failed, why, and where their logs are."""
    print(f"error: {len(failed)} of the sweep's runs failed:", file=sys.stderr)
    for run in failed[:SHOWN]:
        print(f"  {run.overrides}: {run.reason} (log: {run.log})", file=sys.stderr)
    if len(failed) > SHOWN:
        logs = Path(failed[SHOWN].log).parent
        print(f"  and {len(failed) - SHOWN} more: see {logs}", file=sys.stderr)
