"""The folder through which a launcher and its workers communicate. It may be on a network file system.

<sweep>/.launch/<start time>-<random letters>/
  plan.json             the jobs, and what a worker needs to know
  events/<worker>.jsonl what each worker reports, a line per event
  settled/<job>         an empty file for every job that has ended
  stop                  an empty file, from when the launcher asks its workers to end
  logs/                 standard output and error of the workers, and what submitit writes
"""

import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra_plugins.hydra_packed_launcher.runner import Job


@dataclass(frozen=True)
class Plan:
    """What all workers of a launcher do.

    Attributes:
        kinds: numbers of the jobs of each kind.
        arguments: of the launcher's command line.
    """

    runner: str
    jobs: list[Job]
    kinds: list[list[int]]
    arguments: list[str]
    workers: int


class Control:
    """The folder of one launcher. The same object is used on both sides."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[Path, int] = {}

    @staticmethod
    def new(sweep: Path, local: bool) -> "Control":
        """A new folder in a sweep's folder. Removes those of local launchers of this machine that have died."""
        parent = sweep / ".launch"
        for path in parent.glob("*/owner.json"):
            with suppress(OSError, ValueError, KeyError):  # another launcher may remove it now, too
                owner = json.loads(path.read_text(encoding="utf-8"))
                if owner["machine"] == _machine() and owner["local"] and not is_running(owner["process"]):
                    shutil.rmtree(path.parent, ignore_errors=True)
        parent.mkdir(parents=True, exist_ok=True)
        control = Control(Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=parent)))
        for name in ("events", "settled", "logs"):
            (control.path / name).mkdir()
        control._write("owner.json", {"machine": _machine(), "process": os.getpid(), "local": local})
        return control

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def write_plan(self, plan: Plan) -> None:
        """Make the plan visible to workers."""
        self._write("plan.json", asdict(plan))

    def _write(self, name: str, content: dict[str, Any]) -> None:
        """Write a file that readers see whole or not at all."""
        temporary = self.path / f"{name}.tmp"
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self.path / name)

    def read_plan(self) -> Plan | None:
        """The plan; None if it is not there: a network file system may show it late."""
        path = self.path / "plan.json"
        if not path.exists():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        return Plan(**{**content, "jobs": [Job(**job) for job in content["jobs"]]})

    def report(self, worker: str, job: int | None, state: str, details: dict[str, Any]) -> None:
        """Add an event to a worker's file, in one write."""
        line = json.dumps({"worker": worker, "job": job, "state": state, **details}) + "\n"
        descriptor = os.open(self.path / "events" / f"{worker}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def new_events(self) -> Iterator[dict[str, Any]]:
        """The events since the last call, in the order of each worker."""
        for path in sorted((self.path / "events").glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                content = file.read()
            whole, newline, _ = content.rpartition(b"\n")  # a line that is still being written waits
            self._offsets[path] = self._offsets.get(path, 0) + len(whole) + len(newline)
            for line in whole.splitlines():
                # Not JSON if a worker was killed while it wrote, and went on in its file when it was queued again.
                with suppress(ValueError):
                    yield json.loads(line)

    def settle(self, job: int) -> None:
        """Mark a job as ended, well or not: no worker needs to look at it again."""
        (self.path / "settled" / str(job)).touch()

    def is_settled(self, job: int) -> bool:
        return (self.path / "settled" / str(job)).exists()

    def stop(self) -> None:
        """Ask all workers to end. A signal alone can come before a worker handles it."""
        (self.path / "stop").touch()

    def is_stopped(self) -> bool:
        return (self.path / "stop").exists()

    def remove(self) -> None:
        """Remove the folder, and its parent if it is empty."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            self.path.parent.rmdir()


def _machine() -> str:
    """Where process ids mean something: this boot of this machine, and the container on it."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # not Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def is_running(process: int) -> bool:
    """True if there is a process with this id on this machine, other than one that only waits to be removed."""
    with suppress(OSError, IndexError):
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        return state.split()[0] != "Z"
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


def varying(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The overrides of each job that not all jobs have, as a label."""
    common = set(jobs[0]).intersection(*jobs[1:]) if len(jobs) > 1 else set()
    return [" ".join(o for o in overrides if o not in common) or " ".join(overrides) for overrides in jobs]
