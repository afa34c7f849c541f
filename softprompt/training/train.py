"""Train runs, from their settings to finished directories: what is done is skipped, what was begun is resumed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from rich.console import Console

from softprompt import interruption
from softprompt.backbone import model_fingerprint
from softprompt.console import say
from softprompt.data.sources import read_records
from softprompt.errors import UserError, first_line
from softprompt.kind import kind
from softprompt.runs import Run
from softprompt.settings import Settings
from softprompt.training.callbacks.report import Report
from softprompt.training.out_of_memory import DeviceFull, free_memory, is_out_of_memory
from softprompt.training.pack import Pack
from softprompt.training.pack_size import LARGEST_PACK
from softprompt.training.trainer import check_accelerator, claim_rank_zero, is_distributed
from softprompt.training.waiting import Claim, WaitingRuns


def train_pack(pack: Sequence[Settings], console: Console) -> list[Run]:
    """Train runs of one kind side by side; each leaves a finished directory.

    Raises:
        UserError: runs could not be trained. The others are finished all the same.
        ValueError: the runs are of different kinds.
    """
    return train_runs(pack, console, len(pack)).finished_runs()


def train_runs(
    settings: Sequence[Settings],
    console: Console,
    size: int | None = None,
    at_most: int = LARGEST_PACK,
    report: Report = lambda settings, state, details: None,
    skip: Callable[[Settings], bool] = lambda settings: False,
) -> WaitingRuns:
    """Train runs of one kind in a pack with `size` places, which waiting runs take as they become free.

    Args:
        size: None: as many as pay on this device, but not more than `at_most`.
        report: is told about every change of a run's state.
        skip: true for a run that another process has trained in the meantime, or found to fail.

    Returns:
        The runs and what became of them. None of them waits any more.

    Raises:
        UserError: data or model cannot be read.
        DeviceFull: the device has no memory for the model. The runs can be trained elsewhere.
        Exception: the device is broken, or, with several devices, a run failed.
        ValueError: the runs are of different kinds.
    """
    first = settings[0]
    if len({kind(other) for other in settings}) > 1:
        raise ValueError("the runs of a pack must have the same task, data, model and batch size")
    check_accelerator(first.trainer)
    claim_rank_zero(first.trainer)
    records = read_records(first.data, first.task)
    fingerprint = {**records.fingerprint, **model_fingerprint(first.model)}
    if is_distributed(first.trainer):
        size = len(settings)  # all devices know the same runs from the start
    runs, refused = _runs_of(settings, fingerprint)
    with WaitingRuns(runs, records, partial(say, console), report, skip) as waiting:
        for own, error in refused:
            waiting.refuse(own, error)
        alone = (
            0  # runs of a pack that failed: each is tried alone, so that only the one that caused it fails
        )
        while (claim := waiting.claim()) is not None:
            pack = _prepared(
                claim, waiting, records, fingerprint, console, 1 if alone else size, at_most, not alone
            )
            alone = max(0, alone - 1)
            if pack is None:
                continue
            try:
                pack.train()
            except Exception as error:
                interruption.raise_if_ending()
                together = list(waiting.claimed)
                if is_distributed(first.trainer) or isinstance(error, torch.AcceleratorError) or not together:
                    raise  # other devices wait for this one, or the device is broken
                out_of_memory = is_out_of_memory(error)
                if len(together) == 1:
                    run = together[0]
                    waiting.fail(run, DeviceFull(first.model.id, error, run) if out_of_memory else error)
                else:
                    size, alone = (len(together) // 2, 0) if out_of_memory else (size, len(together))
                    how = f"at most {size} side by side" if out_of_memory else "one by one"
                    say(console, f"{len(together)} runs: {first_line(error)}; they are tried again, {how}")
                    waiting.put_back(together)
            del pack
            free_memory()
    return waiting


def _prepared(claim: Claim, waiting: WaitingRuns, *arguments: Any) -> Pack | None:
    """A pack with what its runs share; None if that cannot be had, and so none of the runs can be trained."""
    try:
        pack = Pack(claim, waiting, *arguments)
        pack.prepare()
        return pack
    except UserError as error:
        for run in list(waiting.claimed):
            waiting.fail(run, error)
        waiting.fail_all(error)
        return None
    except Exception as error:
        if is_out_of_memory(error):
            raise DeviceFull(claim.run.settings.model.id, error) from error
        raise


def _runs_of(
    settings: Sequence[Settings], fingerprint: dict[str, str]
) -> tuple[list[Run], list[tuple[Settings, UserError]]]:
    """The runs with these settings, and the settings that cannot be those of a run."""
    runs, refused = [], []
    for own in settings:
        try:
            runs.append(Run.of(own, fingerprint))
        except UserError as error:
            refused.append((own, error))
    return runs, refused


def run_of(settings: Settings) -> Run:
    """The run with these settings. Raises like `read_records` and `model_fingerprint`."""
    records = read_records(settings.data, settings.task)
    return Run.of(settings, {**records.fingerprint, **model_fingerprint(settings.model)})
