"""The launcher's options and their defaults, registered as `packed_base`.

A project names its runner in a file `hydra/launcher/packed.yaml` that has `packed_base` in its defaults.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class PackedLauncherConf:
    """Options of the launcher."""

    _target_: str = "hydra_plugins.hydra_packed_launcher.launcher.PackedLauncher"

    # The class that knows how to train jobs: see `Runner` in runner.py.
    runner: str = MISSING
    # Where workers run: local, or slurm.
    cluster: str = "local"
    # Number of workers. null: local: one per visible GPU, or per CPU core; slurm: one per job, at most 16.
    workers: int | None = None
    # Jobs side by side in a worker. null: as many as pay, which the runner measures.
    pack_size: int | None = None
    # How often a job is tried if the system kills its worker.
    attempts: int = 3

    # The rest is for Slurm; see the manual of sbatch.
    timeout_min: int = 240
    gpus_per_node: int | None = 1
    cpus_per_task: int | None = None
    mem_gb: int | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    # Seconds before the time limit at which a worker saves its jobs and is queued again.
    signal_delay_s: int = 120
    # How often a worker that has reached its time limit is queued again.
    max_num_timeout: int = 100
    # Commands that sbatch runs before a worker starts.
    setup: list[str] | None = None
    # Other options of sbatch, by name.
    additional_parameters: dict[str, Any] = field(default_factory=dict)


ConfigStore.instance().store(
    group="hydra/launcher", name="packed_base", node=PackedLauncherConf, provider="hydra_packed_launcher"
)
