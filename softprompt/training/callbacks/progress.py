"""What a person sees while prompts are trained: progress bars, and a line per evaluation."""

import math
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from softprompt.console import duration, say
from softprompt.runs import Row
from softprompt.scoring import Scores
from softprompt.training.member import Member
from softprompt.training.tuning import PromptTuning

SHARES = ("exact_match", "rank_accuracy", "macro_f1", "invalid_prediction_rate")
HEADER = f"{'epoch':>5} {'step':>7} {'train loss':>11} {'loss':>8} {'exact match':>12} {'rank acc.':>10} {'F1':>7} {'invalid':>8} {'time':>8}"


def evaluation_line(row: Row, best: bool) -> str:
    """One row of a run's learning curve, aligned under `HEADER`. A star marks the best prompt so far."""
    train_loss = "" if math.isnan(row["train_loss"]) else f"{row['train_loss']:.4f}"
    with_f1 = {**row, "macro_f1": row.get("token_f1", row["macro_f1"])}
    exact_match, rank_accuracy, f1, invalid = (
        "–" if with_f1[name] is None else f"{with_f1[name]:.1%}" for name in SHARES
    )
    return (
        f"{row['epoch']:5.0f} {row['step']:7.0f} {train_loss:>11} {row['loss']:8.4f} {exact_match:>12} "
        f"{rank_accuracy:>10} {f1:>7} {invalid:>8} {duration(row['seconds']):>8}{' *' if best else ''}"
    )


def summary(result: dict[str, Any]) -> str:
    """A result in one line."""
    tuned, baselines = result["tuned"], result["baselines"]
    extra = "".join(f", {name} {value:.1%}" for name, value in Scores.of_row(tuned).extra.items())
    return (
        f"exact match {tuned['exact_match']:.1%}{extra} after {result['best_step']} steps; "
        f"instruction {baselines['instruction']['exact_match']:.1%}, "
        f"no prompt {baselines['no_prompt']['exact_match']:.1%}, majority {baselines['majority']:.1%}, "
        f"n={tuned['n']}, {duration(result['seconds'])}"
    )


class PackProgress(ProgressBar):
    """On a terminal a bar for the epoch and one for the evaluation; in a log file only the lines."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console
        self.evaluated = ""  # what the present evaluation is of, for the bar
        self._enabled = getattr(rank_zero_only, "rank", 0) == 0
        self._progress: Progress | None = None
        self._bars: dict[str, Any] = {}
        self.shows_labels = False  # of the runs, beside their evaluations
        self._header_is_printed = False
        self._printed: dict[str, int] = {}  # evaluations printed, by run

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        """Lightning calls this in all processes but the first."""
        self._enabled = False

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        if self._enabled:
            say(self.console, text)

    def print_evaluations(self, members: Sequence[Member]) -> None:
        """Print the newest evaluation of every run that has a new one."""
        for member in members:
            state, label = member.state, member.run.label
            if len(state.history) > self._printed.get(label, 0):
                self._printed[label] = len(state.history)
                row = state.history[-1]
                name = f"  {label}" if self.shows_labels else ""
                self.say(evaluation_line(row, row["step"] == state.best_step) + name)

    def print_header(self) -> None:
        """Print the names of the columns, once."""
        if not self._header_is_printed:
            self._header_is_printed = True
            self.say(HEADER)

    def _start(self, key: str, description: str, total: float) -> None:
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=self.console,
                transient=True,
                disable=not (self._enabled and self.console.is_terminal),
            )
            self._progress.start()
        self._stop(key)
        self._bars[key] = self._progress.add_task(description, total=total)

    def _advance(self, key: str) -> None:
        if self._progress is not None and key in self._bars:
            self._progress.advance(self._bars[key])

    def _stop(self, key: str) -> None:
        if self._progress is not None and key in self._bars:
            self._progress.remove_task(self._bars.pop(key))

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Show a bar of the steps that are left of the epoch."""
        assert isinstance(module, PromptTuning)
        furthest = max(module.members, key=lambda member: member.state.order.epoch)
        epoch = f"epoch {furthest.state.order.epoch + 1}/{furthest.limits.max_epochs}"
        self._start("train", epoch, trainer.num_training_batches)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._advance("train")

    def on_predict_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Show a bar of the prediction's batches."""
        self._start("predict", "answering the test records", sum(trainer.num_predict_batches))

    def on_predict_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._advance("predict")

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Show a bar of the evaluation's batches."""
        self._start("validation", f"evaluating {self.evaluated}".strip(), sum(trainer.num_val_batches))

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._advance("validation")

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Remove the bar and print the new rows of the learning curves."""
        self._stop("validation")
        if isinstance(module, PromptTuning):
            self.print_evaluations(module.members)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Restore the terminal."""
        self._close()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Restore the terminal."""
        self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._bars = None, {}
