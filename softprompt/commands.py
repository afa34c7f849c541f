"""The two commands: `train.py` and `analyze.py`, installed as `softprompt-train` and `softprompt-analyze`.

A single command ends with one line on standard error and exit code 1 if something is wrong. In a sweep a failed run
raises its error to Hydra, so that every launcher and sweeper counts it as failed; the other runs go on, and the sweep
ends with a list of what failed and exit code 1.
"""

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from softprompt.errors import UserError, print_error
from softprompt.failures import failed_runs
from softprompt.files import CONF
from softprompt.parsing import parse_analysis_settings, parse_settings
from softprompt.settings import Settings

# Errors that the user can mend. All others are bugs and are shown with their traceback.
EXPECTED = (UserError, HydraException, OmegaConfBaseException)


def train() -> None:
    """Train one run, or with `-m` a sweep."""
    _run(_train)


def analyze() -> None:
    """Analyse the finished runs under a folder."""
    _run(_analyze)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def _train(config: DictConfig) -> float | None:
    """Returns the objective of a hyperparameter search: see `objective` in conf/train.yaml."""
    objective: float | None = _as_job(
        lambda: _train_run(parse_settings(OmegaConf.to_container(config, resolve=True)))
    )
    return objective


def _train_run(settings: Settings) -> float | None:
    if settings.trainer.devices > 1 and _in_sweep():
        # Lightning starts the other processes by calling this command again, sweep and all.
        raise UserError(f"trainer.devices={settings.trainer.devices}: a sweep (-m) takes one device a run")
    # Imported here, because torch takes seconds and a mistyped value should not wait for it.
    from softprompt.training.pack import train_pack

    (run,) = train_pack([settings], Console())
    return float(run.result()["selection"][settings.objective]) if run.done else None


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="analyze")
def _analyze(config: DictConfig) -> None:
    _as_job(lambda: _write_report(parse_analysis_settings(OmegaConf.to_container(config, resolve=True))))


def _write_report(settings: Any) -> None:
    from softprompt.report.write import write_report  # here, as in `_train_run`

    write_report(settings, Console())


def _as_job(job: Callable[[], Any]) -> Any:
    """Run a job of Hydra's. Its error is shown at once; alone it ends the process, in a sweep it goes to the launcher."""
    try:
        return job()
    except Exception as error:
        if not _in_sweep():
            if not isinstance(error, EXPECTED):
                raise
            print_error(error)
            raise SystemExit(1) from error
        if isinstance(error, EXPECTED):
            print_error(error)
        else:
            traceback.print_exc()
        raise


def _in_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _run(command: Callable[[], Any]) -> None:
    """Run a command to its exit code."""
    # Without it Hydra prints its own errors over several lines.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    error: Exception | None = None
    try:
        command()
    except Exception as raised:
        error = raised
    if failed := failed_runs():  # a sweeper may tolerate some, and then raises nothing
        print(f"error: {len(failed)} of the sweep's runs failed:", file=sys.stderr)
        for line in failed:
            print(f"  {line}", file=sys.stderr)
    elif isinstance(error, EXPECTED):  # Hydra itself failed
        print_error(error)
    elif error is not None:
        raise error
    if failed or error:
        sys.exit(1)
