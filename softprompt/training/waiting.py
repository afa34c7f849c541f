"""The runs that wait for a place in a pack, and how each of them ended.

Several processes may have the same runs in their lists. Each run is trained by the process that gets the lock of its folder.
"""

import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from softprompt import interruption
from softprompt.backbone import choose_dtype
from softprompt.data.sources import Records
from softprompt.errors import InUse, UserError
from softprompt.files import remove_leftovers
from softprompt.runs import Run, RunLock
from softprompt.runs.checkpoint import has_checkpoint
from softprompt.settings import Settings
from softprompt.training.callbacks.progress import summary
from softprompt.training.callbacks.report import Report
from softprompt.training.optimizers import check_optimizer
from softprompt.training.run_state import RunState
from softprompt.training.trackers.lightning import logger_class
from softprompt.training.trainer import is_dry, is_first_process


@dataclass(frozen=True)
class Claim:
    """A run that this process may train, or whose predictions it may write.

    Attributes:
        state: as an earlier process left it; None for a new run, and for one that only lacks predictions.
        dtype: of the frozen weights. A run keeps the one that it was begun with, even where `auto` means another.
        lock: as in `Member`.
    """

    run: Run
    state: RunState | None
    dtype: str
    lock: RunLock | None


class WaitingRuns:
    """Runs of one kind. As a context manager it releases all locks at the end."""

    def __init__(
        self,
        runs: Sequence[Run],
        records: Records,
        say: Callable[[str], None],
        report: Report,
        skip: Callable[[Settings], bool],
    ) -> None:
        """`report` is told about every change of a run's state. Runs for which `skip` is true are left out."""
        self.runs = runs
        self.report = report
        self.claimed: list[Run] = []  # that have not ended
        self.failures: list[Exception] = []
        self._records = records
        self._skip = skip
        self._say = rank_zero_only(say)
        self._runs = deque(
            {run.path: run for run in runs}.values()
        )  # a run that is asked for twice waits once
        self._of_another_dtype: list[Run] = []
        self._locks: dict[Path, RunLock] = {}

    def __enter__(self) -> "WaitingRuns":
        return self

    def __exit__(self, *_: object) -> None:
        with interruption.deferred(), ExitStack() as stack:
            for lock in self._locks.values():
                stack.push(lock)
        self._locks.clear()

    def claim(self, dtype: str | None = None) -> Claim | None:
        """The next run that is not done, with its lock; None if there is none.

        Args:
            dtype: of the pack's model. A run of another dtype waits for another pack, which begins by calling this without a
                dtype.
        """
        if dtype is None:
            self._runs.extend(self._of_another_dtype)
            self._of_another_dtype.clear()
        while self._runs:
            run = self._runs.popleft()
            if self._skip(run.settings):
                continue
            self.claimed.append(run)
            try:
                claim, notes = self._claimed(run)
            except UserError as error:
                self.fail(run, error)
                continue
            if claim is None:
                continue
            if dtype not in (None, claim.dtype):
                self._of_another_dtype.append(run)
                self._release(run)
                continue
            for note in notes:
                self._say(note)
                self.report(run.settings, "note", {"text": note})
            self.report(run.settings, "training", {})
            return claim
        return None

    def put_back(self, runs: Sequence[Run]) -> None:
        """Let runs wait again that were claimed."""
        for run in reversed(runs):
            self._release(run)
            self._runs.appendleft(run)

    def write(self, run: Run, write: Callable[..., None], *arguments: object) -> None:
        """Write into a run's folder: in the first process, and if the run's lock is still held."""
        if is_first_process() and not is_dry(run.settings.trainer):
            self._locks[run.path].check()
            write(*arguments)

    def finished(self, run: Run) -> None:
        """The run has ended well. In a dry run it has no result."""
        if is_dry(run.settings.trainer):
            self.report(run.settings, "done", {"summary": "a dry run: nothing is written"})
        elif is_first_process():
            self._report_done(run, before=False)
        self._release(run)

    def fail(self, run: Run, error: Exception) -> None:
        """The run cannot be trained here. Others go on."""
        self._release(run)
        if isinstance(error, InUse):
            self.failures.append(error)
            self.report(run.settings, "in use", {"reason": str(error)})
        else:
            self.refuse(run.settings, error)

    def refuse(self, settings: Settings, error: Exception) -> None:
        """There can be no run with these settings."""
        interruption.raise_if_ending()
        traceback.clear_frames(error.__traceback__)  # they hold tensors, and the failures are kept
        self.failures.append(error)
        self.report(settings, "failed", {"error": error})

    def fail_all(self, error: Exception) -> None:
        """None of the waiting runs can be trained."""
        while claim := self.claim():
            self.fail(claim.run, error)

    def longest_prompt(self, instruction: int) -> int:
        """Rows of the longest prompt, as far as the settings tell; other prompts count as long as the instruction."""
        return max(instruction, *(run.settings.prompt.length or 0 for run in self.runs))

    def finished_runs(self) -> list[Run]:
        """All runs.

        Raises:
            Exception: what a run failed with. If several failed, one `UserError` that says all.
        """
        bugs = [error for error in self.failures if not isinstance(error, UserError)]
        if len(self.failures) == 1 or bugs:
            raise (bugs or self.failures)[0]
        if self.failures:
            raise UserError("; ".join(dict.fromkeys(map(str, self.failures))))
        return list(self.runs)

    def _claimed(self, run: Run) -> tuple[Claim | None, list[str]]:
        """The run with its lock and state, and notes for the user; None if there is nothing to do."""
        if self._is_settled(run):
            self._release(run)
            return None, []
        check_optimizer(run.settings.optim)
        if run.settings.logger.lightning:
            logger_class(run.settings.logger)
        if is_first_process() and not is_dry(run.settings.trainer):
            # Kept before it is acquired: a signal between the two would leave it behind.
            lock = self._locks[run.path] = RunLock(run.path, self._say)
            lock.__enter__()
            if self._is_settled(run):  # another process has finished it in the meantime
                self._release(run)
                return None, []
            remove_leftovers(run.path, locked=True)
        notes: list[str] = []
        if run.done:
            dtype = str(run.result()["backbone"]["dtype"])
            return Claim(run, None, dtype, self._locks.get(run.path)), notes
        if (damage := run.damage()) is not None:
            if not has_checkpoint(run):
                raise UserError(f"{damage}; it has no checkpoint: remove the folder to train the run again")
            notes.append(f"{damage}; written anew from the checkpoint")
        state = None
        if found := RunState.resume(run):
            state, about_checkpoint = found
            notes += [*about_checkpoint, f"{run.path}: resumed at step {state.order.total_steps}"]
        new = choose_dtype(run.settings.model.dtype, run.settings.trainer.accelerator)
        dtype = state.dtype if state else str(new).removeprefix("torch.")
        return Claim(run, state, dtype, self._locks.get(run.path)), notes

    def _is_settled(self, run: Run) -> bool:
        """True if a run is done, and has answered the test records if it is to answer them."""
        if not run.done:
            return False
        settings = run.settings
        if settings.data.predict and not run.has_predictions(self._records.test_hash(settings.task)):
            return is_dry(settings.trainer)
        self._say(f"{run.path} is done ({summary(run.result())}): nothing to do")
        self._report_done(run, before=True)
        return True

    def _report_done(self, run: Run, before: bool) -> None:
        result = run.result()
        value = float(result["selection"][run.settings.objective])
        self.report(run.settings, "done", {"summary": summary(result), "value": value, "before": before})

    def _release(self, run: Run) -> None:
        with interruption.deferred():
            if run in self.claimed:
                self.claimed.remove(run)
            if lock := self._locks.pop(run.path, None):
                lock.__exit__()
