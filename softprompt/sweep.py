"""Trains the runs of a sweep in the workers of the packed launcher (see `hydra_plugins/hydra_packed_launcher`)."""

import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub.constants import HF_HUB_CACHE
from rich.console import Console

from hydra_plugins.hydra_packed_launcher.runner import Job, Needs, Report, WorkerUnusable
from softprompt import interruption
from softprompt.distributed_job import run_as_own_command
from softprompt.errors import InUse, UserError, one_line
from softprompt.files import json_sha256
from softprompt.kind import kind
from softprompt.parsing import config_of, parse_settings
from softprompt.settings import ModelSettings, Settings

if TYPE_CHECKING:
    from softprompt.runs import Run

WORKER_MEMORY = 10**9  # bytes of a worker without a model: libraries, data, a step's activations
# How many bytes in memory a byte of a weights file becomes: bfloat16 may become float32; 4 bits become 16 or 32.
WEIGHTS_IN_MEMORY = {".safetensors": 2, ".gguf": 8}


class SweepRunner:
    """The launcher's `Runner` for this project."""

    def needs(self, job: Job) -> Needs:
        """See `Runner.needs`."""
        interruption.raise_if_received()  # if a library swallowed the exception of the signal's handler
        settings = parse_settings(job.config)
        trainer = settings.trainer
        prompt = settings.prompt
        if prompt.run is not None or prompt.runs is not None:  # before a worker loads a model
            from softprompt.runs.source import folders_of_mean, source_folder

            if prompt.run is not None:
                source_folder(prompt.run, settings.seed)
            if prompt.runs is not None:
                folders_of_mean(prompt, settings.task.name, settings.seed)
        gpu = {"cpu": False, "gpu": True, "auto": None}[trainer.accelerator]
        return Needs(kind(settings), trainer.devices, gpu, trainer.threads, _memory(settings.model))

    def done(self, job: Job) -> dict[str, Any] | None:
        """See `Runner.done`."""
        from softprompt.training.train import run_of

        settings = parse_settings(job.config)
        run = run_of(settings)
        return _result_of(run, settings) if run.done and not settings.data.predict else None

    def train(
        self,
        jobs: Sequence[Job],
        pack_size: int | None,
        at_most: int,
        report: Report,
        skip: Callable[[Job], bool],
    ) -> None:
        """See `Runner.train`."""
        # Imported here, because the launcher's process needs neither.
        from softprompt.training.out_of_memory import DeviceFull
        from softprompt.training.train import train_runs
        from softprompt.training.trainer import is_distributed

        interruption.listen(take=(signal.SIGTERM, signal.SIGUSR2))  # from submitit, which would not save
        settings = [parse_settings(job.config) for job in jobs]
        if is_distributed(settings[0].trainer):
            for job, own in zip(jobs, settings, strict=True):
                if not skip(job):
                    _train_on_several_devices(job, own, report)
            return
        jobs_of: dict[str, list[Job]] = {}
        for job, own in zip(jobs, settings, strict=True):
            jobs_of.setdefault(_key(own), []).append(job)

        def tell(own: Settings, state: str, details: dict[str, Any]) -> None:
            if error := details.pop("error", None):
                details |= {
                    "reason": one_line(error),
                    "traceback": "".join(traceback.format_exception(error)),
                }
            for job in jobs_of[_key(own)]:
                report(job.number, state, details)

        try:
            train_runs(
                settings,
                Console(width=200),
                min(pack_size, at_most) if pack_size else None,
                at_most=at_most,
                report=tell,
                skip=lambda own: all(skip(job) for job in jobs_of[_key(own)]),
            )
        except DeviceFull as error:
            raise WorkerUnusable(str(error)) from error
        except UserError as error:  # of what all jobs share
            for own in settings:
                tell(own, "failed", {"error": error})
        interruption.raise_if_received()


def _train_on_several_devices(job: Job, settings: Settings, report: Report) -> None:
    """Train one run in a command of its own, whose processes Lightning starts."""
    from softprompt.training.train import run_of

    try:
        run = run_of(settings)
        if not (before := run.done) or settings.data.predict:
            report(job.number, "training", {})
            searchpath = [argument for argument in sys.argv if argument.startswith("hydra.searchpath")]
            run_as_own_command([*job.overrides, *searchpath])
        details = _result_of(run, settings)
    except InUse as error:
        report(job.number, "in use", {"reason": str(error)})
    except UserError as error:
        report(job.number, "failed", {"reason": str(error)})
    else:
        report(job.number, "done", {**details, "before": before})


def _result_of(run: "Run", settings: Settings) -> dict[str, Any]:
    """The details of `done`."""
    from softprompt.training.callbacks.progress import summary

    result = run.result()
    return {"summary": summary(result), "value": float(result["selection"][settings.objective])}


@lru_cache
def _memory(model: ModelSettings) -> int:
    """About how many bytes a worker with this model takes; 0 if its weights are not at hand."""
    if model.package:
        spec = find_spec(model.package)
        folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    else:
        cache = Path(HF_HUB_CACHE) / f"models--{model.id.replace('/', '--')}" / "snapshots"
        folders = [Path(model.id), *cache.glob("*")]
    sizes = [0]
    for folder in folders:
        files = [path for path in folder.glob("*") if path.suffix in WEIGHTS_IN_MEMORY and path.exists()]
        sizes.append(sum(path.stat().st_size * WEIGHTS_IN_MEMORY[path.suffix] for path in files))
    return WORKER_MEMORY + max(sizes) if max(sizes) else 0


def _key(settings: Settings) -> str:
    return json_sha256(config_of(settings))
