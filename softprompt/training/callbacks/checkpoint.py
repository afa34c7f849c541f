"""Keeps the directories of a pack's runs up to date while they are trained."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from softprompt.runs import Run
from softprompt.training.run_state import RunState
from softprompt.training.tuning import PromptTuning


class SaveRuns(Callback):
    """Saves after every evaluation, and between evaluations every `checkpoint_seconds`; in the first process only."""

    def __init__(self, runs: Sequence[Run], checkpoint_seconds: float) -> None:
        self.runs = runs
        self.checkpoint_seconds = checkpoint_seconds
        self._saved_at = time.monotonic()

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Save if it is time. Between two steps all runs are in a consistent state."""
        assert isinstance(module, PromptTuning)
        if time.monotonic() - self._saved_at >= self.checkpoint_seconds:
            # A run that waits for its pack to end the epoch is saved with its evaluation.
            self._save(trainer, module, lambda state: not state.awaits_evaluation(module.limits))

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Save the new row of the learning curve and, perhaps, a new best prompt."""
        if isinstance(module, PromptTuning):
            self._save(trainer, module, lambda state: True)

    def _save(self, trainer: L.Trainer, module: PromptTuning, wanted: Callable[[RunState], bool]) -> None:
        if getattr(trainer, "fast_dev_run", False):
            return
        for run, state in zip(self.runs, module.runs, strict=True):
            if state.failed:
                rank_zero_only(run.save_history)(state.history)
            elif wanted(state):
                rank_zero_only(state.save)(run, trainer.optimizers[0].state[state.prompt])
        self._saved_at = time.monotonic()
