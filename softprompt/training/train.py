"""Train runs, from their settings to finished directories: what is done is skipped, what was begun is resumed."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from softprompt.backbone import model_fingerprint
from softprompt.console import say
from softprompt.data.sources import Records, read_records
from softprompt.errors import UserError
from softprompt.files import remove_leftovers
from softprompt.runs import Run, RunLock
from softprompt.runs.checkpoint import has_checkpoint
from softprompt.settings import Settings
from softprompt.training.callbacks.progress import summary
from softprompt.training.optimizers import check_optimizer
from softprompt.training.pack import Pack
from softprompt.training.trainer import claim_rank_zero, is_dry, is_first_process


def train_pack(pack: Sequence[Settings], console: Console) -> list[Run]:
    """Train the runs with these settings; each leaves a finished directory.

    The settings of a pack differ in `seed` and `prompt` only.

    Raises:
        UserError: the settings cannot be carried out, or a run's loss is not finite.
        ValueError: the settings differ in more.
    """
    first = pack[0]
    if any(replace(settings, seed=first.seed, prompt=first.prompt) != first for settings in pack):
        raise ValueError("the runs of a pack may differ in seed and prompt alone")
    claim_rank_zero(first.trainer)
    check_optimizer(first.optim)
    records = read_records(first.data, first.task)
    fingerprint = {**records.fingerprint, **model_fingerprint(first.model)}
    runs = [Run.of(settings, fingerprint) for settings in pack]
    tell = rank_zero_only(partial(say, console))
    with ExitStack() as stack:
        locks: dict[str, RunLock] = {}
        if is_first_process() and not is_dry(first.trainer):
            for run in runs:
                if not run.done or _lacks_predictions(run, records):
                    locks[run.id] = stack.enter_context(RunLock(run.path, tell))
                    remove_leftovers(run.path, locked=True)
        for run in runs:
            if run.done:
                tell(f"{run.path} is done ({summary(run.result())}): nothing to do")
            elif (damage := run.damage()) is not None:
                if not has_checkpoint(run):
                    raise UserError(
                        f"{damage}; it has no checkpoint: remove the folder to train the run again"
                    )
                tell(f"{damage}; written anew from the checkpoint")
        unfinished = [run for run in runs if not run.done]
        if unfinished:
            Pack(unfinished, records, fingerprint, console, locks).train()
        unanswered = [run for run in runs if run.done and _lacks_predictions(run, records)]
        if unanswered:
            Pack(unanswered, records, fingerprint, console, locks).predict()
    return runs


def finished_run(settings: Settings) -> Run | None:
    """The run with these settings, if it is done. Raises like `read_records` and `model_fingerprint`."""
    records = read_records(settings.data, settings.task)
    run = Run.of(settings, {**records.fingerprint, **model_fingerprint(settings.model)})
    return run if run.done else None


def _lacks_predictions(run: Run, records: Records) -> bool:
    """True if a finished run is to answer the test records, and has not answered these."""
    return run.settings.data.predict and not run.has_predictions(records.test_hash(run.settings.task))
