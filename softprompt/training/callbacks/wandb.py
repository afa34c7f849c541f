"""Weights & Biases: one W&B run for each of a pack's runs, in one group per sweep."""

from collections.abc import Callable, Sequence

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from softprompt.parsing import config_of
from softprompt.runs import Row, Run
from softprompt.training.member import Member
from softprompt.training.tuning import PromptTuning
from softprompt.wandb_run import start_wandb_run


class WandbRuns(Callback):
    """Sends learning curves and results of the runs that ask for it. Without an API key they are recorded offline.

    Lightning's WandbLogger logs one run per Trainer; here every run of a pack has its own.
    """

    def __init__(self) -> None:
        self._trackers: dict[str, _Tracker] = {}

    @rank_zero_only
    def open(self, run: Run, say: Callable[[str], None]) -> None:
        """Start a run's W&B run, if it asks for one.

        Raises:
            UserError: W&B refuses the key.
        """
        if run.settings.logger.name == "wandb":
            self._trackers[run.id] = _Tracker(run, say)

    @rank_zero_only
    def send(self, members: Sequence[Member]) -> None:
        """Send the evaluations that are new."""
        for member in members:
            if member.run.id in self._trackers:
                self._trackers[member.run.id].send(member.state.history)

    @rank_zero_only
    def close(self, run: Run) -> None:
        """Send the result and end the W&B run; without a result it is marked as failed."""
        if tracker := self._trackers.pop(run.id, None):
            tracker.finish(run)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Send the new row of every learning curve."""
        if isinstance(module, PromptTuning):
            self.send(module.members)


class _Tracker:
    """One of our runs as a W&B run."""

    def __init__(self, run: Run, say: Callable[[str], None]) -> None:
        self._run = start_wandb_run(
            run.settings.logger,
            say,
            group=run.settings.sweep,
            job_type=run.settings.task.name,
            name=run.label,
            id=f"{run.settings.sweep}-{run.settings.task.name}-{run.id}",
            resume="allow",
            config=config_of(run.settings),
            dir=str(run.path),
            reinit="create_new",  # the runs of a pack are logged side by side
        )
        self._next_step = self._run.starting_step  # an earlier process has logged the steps before

    def send(self, history: Sequence[Row]) -> None:
        for row in history:
            if row["step"] >= self._next_step:
                self._run.log(
                    {key: value for key, value in row.items() if key != "step" and value is not None},
                    step=int(row["step"]),
                )
                self._next_step = int(row["step"]) + 1

    def finish(self, run: Run) -> None:
        if run.done:
            result = run.result()
            self._run.summary.update({key: result[key] for key in ("tuned", "baselines", "best_step")})
        self._run.finish(exit_code=0 if run.done else 1)
