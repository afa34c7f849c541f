"""The launcher: composes the jobs of a sweep, has them trained by workers, and returns what became of them."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict


class JobFailed(Exception):
    """A job failed in a worker. The message is the reason; a note has the worker's traceback."""


class PackedLauncher(Launcher):
    """See README.md in this folder; the options are in config.py."""

    def __init__(
        self,
        runner: str,
        cluster: str = "local",
        workers: int | None = None,
        pack_size: int | None = None,
        attempts: int = 3,
        **slurm: Any,
    ) -> None:
        from hydra_plugins.hydra_packed_launcher._sweep import Options

        if cluster not in ("local", "slurm"):
            raise HydraException(f"hydra.launcher.cluster={cluster}: should be local or slurm")
        for name, number in (("workers", workers), ("pack_size", pack_size), ("attempts", attempts)):
            if number is not None and number < 1:
                raise HydraException(f"hydra.launcher.{name}={number}: should be at least 1")
        plain = {k: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for k, v in slurm.items()}
        self.options = Options(runner, cluster, workers, pack_size, attempts, plain)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """See `Launcher.setup`. The sweeper, which composes all jobs to check them, gets the same faster loader."""
        from hydra_plugins.hydra_packed_launcher._compose import SharedCompositions

        hydra_context.config_loader = SharedCompositions(hydra_context.config_loader)  # type: ignore[assignment]
        self.context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train all jobs; returns when each is done or has failed."""
        from hydra_plugins.hydra_packed_launcher._control import varying
        from hydra_plugins.hydra_packed_launcher._sweep import Sweep
        from hydra_plugins.hydra_packed_launcher._table import JobState
        from hydra_plugins.hydra_packed_launcher.runner import Job

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        returns: dict[int, JobReturn] = {}

        def on_end(job: Job, state: JobState) -> None:
            returns[job.number] = returned = _job_return(job.overrides, state.state, state.details)
            config = self._composed(job.number, job.overrides)
            self.context.callbacks.on_job_end(config=config, job_return=returned)

        jobs = [
            Job(
                initial_job_idx + index,
                list(overrides),
                self._plain(initial_job_idx + index, list(overrides)),
            )
            for index, overrides in enumerate(job_overrides)
        ]
        folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        labels = varying([filter_overrides(overrides) for overrides in job_overrides])
        Sweep(self.options, jobs, labels, folder, sys.argv, on_end).run()
        return [returns[job.number] for job in jobs]

    def _composed(self, number: int, overrides: list[str]) -> DictConfig:
        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _plain(self, number: int, overrides: list[str]) -> dict[str, Any]:
        """A job's config as plain values."""
        config = self._composed(number, overrides)
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(config)  # for interpolations like ${hydra:job.num}
        try:
            with open_dict(config):
                del config["hydra"]
            plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
            return plain
        finally:
            HydraConfig.instance().cfg = before


def _job_return(overrides: list[str], state: str, details: dict[str, Any]) -> JobReturn:
    returned = JobReturn(overrides=overrides, working_dir=os.getcwd())
    if state == "done":
        returned.status, returned.return_value = JobStatus.COMPLETED, details.get("value")
        return returned
    error = JobFailed(str(details.get("reason", "no reason is known")))
    if traceback := details.get("traceback"):
        error.add_note(traceback)
    returned.status, returned.return_value = JobStatus.FAILED, error
    return returned
