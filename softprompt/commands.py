"""The commands: `train.py` and `analyze.py`, installed as `softprompt-train` and `softprompt-analyze`, and `softprompt-predict`.

A single command ends with one line on standard error and exit code 1 if something is wrong. In a sweep a failed run
raises its error to Hydra, so that every launcher and sweeper counts it as failed; the other runs go on, and the sweep
ends with a list of what failed and exit code 1. A signal ends the command, sweep and all, with 128 + its number.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Before torch is imported. OpenMP threads that wait spin for milliseconds by default before they sleep. If other processes
# use the cores, a step then takes several times as long.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from softprompt import interruption
from softprompt.distributed_job import run_as_own_command
from softprompt.errors import InUse, UserError, one_line, print_error
from softprompt.failures import failed_runs, print_failed_runs
from softprompt.files import CONF, check_folder
from softprompt.interruption import Interrupted
from softprompt.nearest_keys import with_nearest_keys
from softprompt.parsing import parse_analysis_settings, parse_predict_settings, parse_settings
from softprompt.settings import AnalysisSettings, PredictSettings, Settings

# Errors that the user can mend. All others are bugs and are shown with their traceback.
EXPECTED = (UserError, HydraException, OmegaConfBaseException)


def train() -> None:
    """Train one run, or with `-m` a sweep."""
    _run(_train, "train")


def analyze() -> None:
    """Analyse the finished runs under a folder."""
    _run(_analyze, "analyze")


def predict() -> None:
    """Answer records with a finished run's prompt."""
    _run(_predict, "predict")


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def _train(config: DictConfig) -> float | None:
    """Returns the objective of a hyperparameter search: see `objective` in conf/train.yaml."""
    objective: float | None = _as_job(
        lambda: _train_run(parse_settings(OmegaConf.to_container(config, resolve=True)))
    )
    return objective


def _train_run(settings: Settings) -> float | None:
    # Imported here, because torch takes seconds and a mistyped value should not wait for it.
    from softprompt.training.train import run_of, train_pack
    from softprompt.training.trainer import is_distributed, is_first_process

    if is_distributed(settings.trainer) and _in_sweep():
        overrides = HydraConfig.get().overrides
        run_as_own_command(
            [*overrides.task, *(o for o in overrides.hydra if o.startswith("hydra.searchpath"))]
        )
        run = run_of(settings)
    else:
        (run,) = train_pack([settings], Console())
    interruption.raise_if_received(quiet=not is_first_process())
    return float(run.result()["selection"][settings.objective]) if run.done else None


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="analyze")
def _analyze(config: DictConfig) -> None:
    _as_job(lambda: _write_report(parse_analysis_settings(OmegaConf.to_container(config, resolve=True))))


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="predict")
def _predict(config: DictConfig) -> None:
    _as_job(lambda: _print_predictions(parse_predict_settings(OmegaConf.to_container(config, resolve=True))))


def _print_predictions(settings: PredictSettings) -> None:
    from softprompt.predict import predictions  # here, as in `_train_run`

    for line in predictions(settings):
        print(line, flush=True)


def _write_report(settings: AnalysisSettings) -> None:
    check_folder(Path(settings.sweep))
    from softprompt.report.write import write_report  # here, as in `_train_run`

    write_report(settings, Console())


def _as_job(job: Callable[[], Any]) -> Any:
    """Run a job of Hydra's. Its error is shown at once; alone it ends the process, in a sweep it goes to the launcher."""
    _prepare_process()  # again, because a launcher may run jobs in processes of its own
    try:
        return job()
    except Exception as error:
        interruption.raise_if_ending()
        if not _in_sweep():
            if not _is_expected(error):
                raise
            print_error(error)
            raise SystemExit(InUse.EXIT_CODE if isinstance(error, InUse) else 1) from error
        if _is_expected(error):
            print_error(error)
        else:
            traceback.print_exc()
        raise


def _is_expected(error: BaseException) -> bool:
    return isinstance(error, EXPECTED) or (isinstance(error, OSError) and error.filename is not None)


def _in_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _prepare_process() -> None:
    """Handle signals, and print on any terminal: characters that its encoding lacks are shown as `\\u2026`."""
    interruption.listen()
    # How Lightning calls the command for the other devices of a run.
    if any(argument.startswith("hydra.job.name=train_ddp_process_") for argument in sys.argv):
        interruption.defer_to_first_process()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors="backslashreplace")


def _check_groups(overrides: Sequence[str]) -> None:
    """Raise a `UserError` for `task=null`, of which Hydra does not say where it stands."""
    for override in overrides:
        group, _, choice = override.partition("=")
        if choice == "null" and group and (CONF / group).is_dir():
            options = ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))
            raise UserError(f"{override}: should be one of {options}")


def _run(command: Callable[[], Any], config: str) -> None:
    """Run a command, whose config file has this name, to its exit code."""
    # Without it Hydra prints its own errors over several lines.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    _prepare_process()
    error: BaseException | None = None
    try:
        _check_groups(sys.argv[1:])
        command()
    except (Exception, Interrupted) as raised:
        error = interruption.ending() or with_nearest_keys(raised, config)
    if failed := failed_runs():  # a sweeper may tolerate some, and then raises nothing
        print_failed_runs(failed)
    if isinstance(error, Interrupted):
        if not error.quiet:
            print(error, file=sys.stderr, flush=True)
        sys.exit(error.code)
    if error is not None and one_line(error) not in [run.reason for run in failed]:  # Hydra itself failed
        if not _is_expected(error):
            raise error
        print_error(error)
    if failed or error:
        sys.exit(1)


if __name__ == "__main__":  # python -m softprompt.commands: see distributed_job.py
    train()
