"""Keeps the directories of a pack's runs up to date while they are trained, and ends the training on a signal."""

import signal
import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from softprompt import interruption
from softprompt.training.tuning import PromptTuning


class SaveRuns(Callback):
    """Saves after every evaluation, between evaluations every `checkpoint_seconds`, and when a signal ends the process.

    Only the first process writes. All devices end at the same step, because each of them asks the others.
    """

    def __init__(self, checkpoint_seconds: float) -> None:
        self.checkpoint_seconds = checkpoint_seconds
        self._saved_at = time.monotonic()

    # Lightning installs its own signal handlers just before each of the next three hooks.

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Take the handlers of signals back."""
        interruption.retake_handlers()

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Take the handlers of signals back."""
        interruption.retake_handlers()

    def on_predict_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Take the handlers of signals back."""
        interruption.retake_handlers()

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Save if it is time. Between two steps all runs are in a consistent state."""
        assert isinstance(module, PromptTuning)
        self._end_if_interrupted(trainer, module)
        if time.monotonic() - self._saved_at >= self.checkpoint_seconds:
            self._save(trainer, module)

    def on_validation_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """End between two batches of an evaluation, too. A resumed run begins with the evaluation that it awaits."""
        self._end_if_interrupted(trainer, module)

    def on_predict_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """End between two batches of a prediction."""
        self._end_if_interrupted(trainer, module)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Save the new row of the learning curve and, perhaps, a new best prompt."""
        if isinstance(module, PromptTuning):
            self._save(trainer, module)

    def _end_if_interrupted(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Save and raise `Interrupted` if this process, or one of another device, received a signal."""
        number = int(interruption.received() or 0)
        if trainer.world_size > 1:
            on_device = torch.tensor(number, device=trainer.strategy.root_device)
            number = int(trainer.strategy.reduce(on_device, reduce_op="max"))
        if number:
            if isinstance(module, PromptTuning):
                self._save(trainer, module)
            interruption.end(signal.Signals(number), quiet=trainer.global_rank > 0)

    def _save(self, trainer: L.Trainer, module: PromptTuning) -> None:
        if getattr(trainer, "fast_dev_run", False):
            return
        for i, member in enumerate(module.members):
            if member.lock is not None:
                member.lock.check()
            if member.state.failed:
                rank_zero_only(member.run.save_history)(member.state.history)
            else:
                rank_zero_only(member.state.save)(member.run, module.optimizer_state(i))
        self._saved_at = time.monotonic()
