"""Which devices local workers get."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.errors import HydraException

from hydra_plugins.hydra_packed_launcher.runner import Needs

MEMORY_SHARE = 0.8  # of the free memory that workers may take


@dataclass(frozen=True)
class Place:
    """Where a worker runs: the environment variables that keep it to its devices."""

    environment: dict[str, str]


def installed_gpus() -> list[str]:
    """The indices of the GPUs of this machine, as nvidia-smi lists them; empty without one."""
    if (command := shutil.which("nvidia-smi")) is None:
        return []
    listed = subprocess.run([command, "--list-gpus"], capture_output=True, text=True, check=False)
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(index) for index, _ in enumerate(lines)] if listed.returncode == 0 else []


def visible_gpus(
    environment: Mapping[str, str] = os.environ, installed: Callable[[], Sequence[str]] = installed_gpus
) -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them (indices, or UUIDs), or all."""
    if (names := environment.get("CUDA_VISIBLE_DEVICES")) is None:
        return list(installed())
    visible: list[str] = []
    for name in (name.strip() for name in names.split(",")):
        if not name or name == "-1":
            break  # CUDA ignores what follows
        visible.append(name)
    return visible


def cpu_cores() -> int:
    """The CPU cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for line in _lines("/sys/fs/cgroup/cpu.max"):  # a container's share: microseconds in a period, or max
        quota, _, period = line.partition(" ")
        if quota.isdigit() and period.isdigit():
            cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores


def available_memory() -> int:
    """Bytes of memory that are free on this machine, or in this container."""
    free = 0
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = 1024 * int(line.split()[1])
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit():
        cached = [
            int(line.split()[1])
            for line in _lines("/sys/fs/cgroup/memory.stat")
            if line.startswith("inactive_file ")
        ]
        free = min(free, int(limit[0]) - int(used[0]) + sum(cached))
    return free


def places(
    needs: Sequence[Needs],
    workers: int | None,
    gpus: Sequence[str],
    cores: int,
    memory: int = 0,
    environment: Mapping[str, str] = os.environ,
) -> list[Place]:
    """Where the workers for these jobs run.

    On GPUs one worker for each, or for each group of as many GPUs as a job asks for. On a CPU one worker for each core, because
    several workers with one thread each are faster than one with several threads. Never more workers than jobs, and on a
    CPU no more than fit its memory, unless `workers` asks for more. Cores that are left over become threads.

    Args:
        memory: free bytes; 0 if they are not known.

    Raises:
        HydraException: a job needs GPUs that are not there.
    """
    asked_threads = max((need.threads or 0 for need in needs), default=0)
    if not asked_threads and environment.get("OMP_NUM_THREADS", "").isdigit():
        asked_threads = int(environment["OMP_NUM_THREADS"])
    on_gpu = any(need.gpu for need in needs) or (bool(gpus) and not all(need.gpu is False for need in needs))
    group = max(need.devices for need in needs)
    if on_gpu:
        groups = [gpus[start : start + group] for start in range(0, len(gpus) - group + 1, group)]
        if not groups:
            raise HydraException(
                f"a run needs {group} GPUs, and {len(gpus)} are visible (CUDA_VISIBLE_DEVICES)"
            )
        count = min(len(needs), workers or len(groups))
        visible = [",".join(groups[i % len(groups)]) for i in range(count)]
    else:
        fit = cores // (group * max(1, asked_threads))
        if memory and (need := max(need.memory for need in needs)):
            fit = min(fit, int(MEMORY_SHARE * memory) // (group * need))
        count = min(len(needs), workers or max(1, fit))
        visible = [""] * count
    threads = str(asked_threads or max(1, cores // (count * group)))
    return [
        Place({"CUDA_VISIBLE_DEVICES": names, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads})
        for names in visible
    ]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []
