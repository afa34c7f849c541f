"""Keeps the directories and trackers of a pack's runs up to date while they are trained."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from softprompt.progress import PackProgress
from softprompt.run import Run
from softprompt.tracking import WandbTracker
from softprompt.tuning import PromptTuning, RunState


class SaveRuns(Callback):
    """Writes after every evaluation, and now and then between; on the first of several processes."""

    def __init__(self, runs: Sequence[Run], progress: PackProgress, checkpoint_seconds: float) -> None:
        self.runs = runs
        self.progress = progress
        self.checkpoint_seconds = checkpoint_seconds
        self._trackers: dict[str, WandbTracker] = {}
        self._saved_at = time.monotonic()

    @rank_zero_only
    def open_trackers(self) -> None:
        """Start W&B for the runs that ask for it."""
        for run in self.runs:
            if run.settings.logger.name == "wandb":
                self._trackers[run.id] = WandbTracker(run)

    @rank_zero_only
    def track(self, states: Sequence[RunState]) -> None:
        """Hand the trackers what is new."""
        for run, state in zip(self.runs, states, strict=True):
            if run.id in self._trackers:
                self._trackers[run.id].log(state.history)

    @rank_zero_only
    def close_trackers(self) -> None:
        """Hand over the results and finish; a run that has none by now has failed."""
        for run in self.runs:
            if run.id in self._trackers:
                self._trackers[run.id].finish(run.result() if run.done else None)

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Between two steps all runs are in a consistent state."""
        assert isinstance(module, PromptTuning)
        if time.monotonic() - self._saved_at >= self.checkpoint_seconds:
            # A run that waits for the others of its pack to end their epoch is saved with its evaluation.
            self._save(trainer, module, lambda run: not run.awaits_evaluation(module.settings))

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """A new row of the learning curve, perhaps a new best prompt."""
        if not isinstance(module, PromptTuning):
            return
        self._save(trainer, module, lambda run: True)
        self.progress.report(module.runs, [run.label for run in self.runs])
        self.track(module.runs)

    def _save(self, trainer: L.Trainer, module: PromptTuning, wanted: Callable[[RunState], bool]) -> None:
        for run, state in zip(self.runs, module.runs, strict=True):
            if state.failed:
                rank_zero_only(run.save_history)(state)
            elif wanted(state):
                rank_zero_only(run.save)(state, trainer.optimizers[0].state[state.prompt])
        self._saved_at = time.monotonic()
