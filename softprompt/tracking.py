"""Weights & Biases: one run of theirs for each of ours and one for the report, one group for a sweep."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from softprompt.errors import UserError, first_line
from softprompt.run import Run
from softprompt.settings import LoggerSettings
from softprompt.tuning import Row


def track_report(
    settings: LoggerSettings,
    sweep: str,
    folder: Path,
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Path],
) -> None:
    """The tables and figures of a sweep's report as a run of its own in the sweep's group; offline it is recorded in
    `folder`.

    Raises:
        UserError: W&B refuses the key, or cannot be reached.
    """
    import wandb

    run = _begin(settings, group=sweep, job_type="analysis", name=f"{sweep}/analysis", dir=str(folder))
    # As text where a column has more than one kind of value, which a table of theirs refuses.
    shown = {
        name: table.astype({c: str for c in table.select_dtypes("object")}) for name, table in tables.items()
    }
    run.log({f"tables/{name}": wandb.Table(dataframe=table) for name, table in shown.items()})
    run.log({f"figures/{name}": wandb.Image(str(path)) for name, path in figures.items()})
    run.finish()


def _begin(settings: LoggerSettings, **asked: Any) -> Any:
    """A run of theirs, offline where there is no API key."""
    # Imported here: most runs do not use it, and it takes a second.
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        has_key = wandb.login(prompt=False)
        return wandb.init(
            project=settings.project,
            entity=settings.entity,
            mode="online" if has_key else "offline",
            **asked,
        )
    except wandb.Error as error:
        raise UserError(f"logger=wandb: {first_line(error)}; WANDB_MODE=offline records here") from error


class WandbTracker:
    """Mirrors a run's learning curve and result. Without an API key it records offline, to sync later.

    Raises:
        UserError: W&B refuses the key, or cannot be reached.
    """

    def __init__(self, run: Run) -> None:
        self._run = _begin(
            run.settings.logger,
            group=run.settings.sweep,
            job_type=run.settings.task.name,
            name=run.label,
            id=f"{run.settings.sweep}-{run.settings.task.name}-{run.id}",
            resume="allow",
            config=asdict(run.settings),
            dir=str(run.path),
            reinit="create_new",  # the runs of a pack are logged side by side
        )
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
