"""Remembers which runs of a sweep failed, whatever launcher ran them: a Hydra callback that `conf/train.yaml` names."""

import json
import os
import socket
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from softprompt.errors import one_line

_recorded: list[Path] = []  # the file of this process's sweep


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
        _recorded[:] = [self.path]

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Add a line if the job failed."""
        if self.path is None or job_return.status != JobStatus.FAILED:
            return
        error = job_return._return_value  # `return_value` would raise it
        overrides = " ".join(job_return.overrides or [])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(f"{overrides}: {one_line(error)}") + "\n")


def failed_runs() -> list[str]:
    """The failed runs of the sweep that this process started, a line each: `<overrides>: <reason>`."""
    lines = []
    for path in _recorded:
        if path.exists():
            lines += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            path.unlink()
    return lines
