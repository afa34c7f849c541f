"""A run on Weights & Biases. Without an API key it is recorded offline."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from softprompt.parsing import config_of
from softprompt.runs import Run
from softprompt.runs.run import FILES, RESULT
from softprompt.wandb_run import start_wandb_run


class WandbTracker:
    """One of our runs as a W&B run, in one group per sweep. The steps of W&B are those of the run."""

    def __init__(self, run: Run, facts: Mapping[str, Any], say: Callable[[str], None]) -> None:
        """Raises a `UserError` if W&B refuses the key. The arguments are those of `open_tracker`."""
        settings = run.settings
        self._name = f"{settings.sweep}-{settings.task.name}-{run.id}"
        self._run = start_wandb_run(
            settings.logger,
            say,
            group=settings.sweep,
            job_type=settings.task.name,
            name=run.label,
            id=self._name,
            tags=[settings.task.name, settings.prompt.init, *settings.logger.tags],
            resume="allow",
            config={**config_of(settings), **facts},
            dir=str(run.path),
            reinit="create_new",  # the runs of a pack are logged side by side
        )
        self._first_step = self._run.starting_step  # an earlier process has logged the steps before

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        if step >= self._first_step:
            self._run.log(dict(values), step=step)

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """See `Tracker`."""
        if step >= self._first_step:
            import wandb  # loaded already by `start_wandb_run`

            self._run.log({name: wandb.Table(list(columns), [list(row) for row in rows])}, step=step)

    def finish(self, run: Run) -> None:
        """Send the result, and the prompt with the files beside it as an artifact."""
        if run.done:
            result = run.result()
            self._run.summary.update({key: result[key] for key in ("tuned", "baselines", "best_step")})
            self._log_artifact(run, result)
        self._run.finish(exit_code=0 if run.done else 1)

    def _log_artifact(self, run: Run, result: Mapping[str, Any]) -> None:
        import wandb

        described = {"best_step": result["best_step"], "exact_match": result["tuned"]["exact_match"]}
        artifact = wandb.Artifact(f"{self._name}-prompt", type="prompt", metadata=described)
        for name in (*FILES, RESULT):
            artifact.add_file(str(run.path / name))
        self._run.log_artifact(artifact)
