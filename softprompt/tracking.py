"""Weights & Biases: one run of theirs for each of ours, one group for a sweep."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from softprompt.errors import UserError, first_line
from softprompt.run import Run
from softprompt.tuning import Row


class WandbTracker:
    """Mirrors a run's learning curve and result. Without an API key it records offline, to sync later.

    Raises:
        UserError: W&B refuses the key, or cannot be reached.
    """

    def __init__(self, run: Run) -> None:
        # Imported here: most runs do not use it, and it takes a second.
        import wandb

        os.environ.setdefault("WANDB_SILENT", "true")
        try:
            has_key = wandb.login(prompt=False)
            self._run = wandb.init(
                project=run.settings.logger.project,
                entity=run.settings.logger.entity,
                group=run.settings.sweep,
                job_type=run.settings.task.name,
                name=run.label,
                id=f"{run.settings.sweep}-{run.settings.task.name}-{run.id}",
                resume="allow",
                config=asdict(run.settings),
                dir=str(run.path),
                mode="online" if has_key else "offline",
                reinit="create_new",  # the runs of a pack are logged side by side
            )
        except wandb.Error as error:
            raise UserError(f"logger=wandb: {first_line(error)}; WANDB_MODE=offline records here") from error
        self._next_step = self._run.starting_step  # what an earlier process has logged is logged

    def log(self, history: Sequence[Row]) -> None:
        """Add the evaluations that are new."""
        for row in history:
            if row["step"] >= self._next_step:
                self._run.log({key: row[key] for key in row if key != "step"}, step=int(row["step"]))
                self._next_step = int(row["step"]) + 1

    def finish(self, result: dict[str, Any] | None) -> None:
        """Write the result into the summary and close; without one the run is marked as failed."""
        if result is not None:
            self._run.summary.update({key: result[key] for key in ("tuned", "baselines", "best_step")})
        self._run.finish(exit_code=0 if result is not None else 1)
