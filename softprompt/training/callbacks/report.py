"""Tells whoever asked how far the runs of a pack are."""

import time
from collections.abc import Callable
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from softprompt.settings import Settings
from softprompt.training.member import Member
from softprompt.training.tuning import PromptTuning

INTERVAL = 2.0  # seconds between two reports within an epoch

Report = Callable[[Settings, str, dict[str, Any]], None]  # of a run: settings, state in a word, and details


class ReportRuns(Callback):
    """Reports every run's step and newest scores: at evaluations, and between them every few seconds."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._reported_at = 0.0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Report that the runs train."""
        self._report_all(module)

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Report if it is time."""
        if time.monotonic() - self._reported_at >= INTERVAL:
            self._report_all(module)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Report the new scores."""
        self._report_all(module)

    def _report_all(self, module: L.LightningModule) -> None:
        if isinstance(module, PromptTuning):
            self._reported_at = time.monotonic()
            for member in module.members:
                self.report(member.run.settings, "training", _progress(member))


def _progress(member: Member) -> dict[str, Any]:
    state, limits = member.state, member.limits
    steps = limits.max_epochs * state.order.steps_per_epoch
    newest = state.history[-1] if state.history else None
    return {
        "step": state.order.total_steps,
        "steps": min(steps, limits.max_steps or steps),
        "epoch": state.order.epoch,
        "epochs": limits.max_epochs,
        "exact_match": newest["exact_match"] if newest else None,
        "loss": newest["loss"] if newest else None,
        "seconds": round(state.seconds, 1),
    }
