"""What records the curves of one run, and which of them a run asks for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from softprompt.runs import Run
from softprompt.training.trackers.lightning import LightningTracker
from softprompt.training.trackers.wandb import WandbTracker


@runtime_checkable
class Tracker(Protocol):
    """Records the curves of one run."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record values at a step of the run. Steps do not decrease."""
        ...

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Record a table at a step of the run, if the logger has tables."""
        ...

    def finish(self, run: Run) -> None:
        """Record the result and end; without a result the run is marked as failed."""
        ...


def open_tracker(run: Run, facts: Mapping[str, Any], say: Callable[[str], None]) -> Tracker | None:
    """The tracker that a run asks for; None if metrics.csv is enough.

    Args:
        facts: what is known of the run besides its settings, as plain values.
        say: is called with a line for the user.

    Raises:
        UserError: the logger cannot be started.
    """
    match run.settings.logger.name:
        case "csv":
            return None
        case "wandb":
            return WandbTracker(run, facts, say)
        case _:
            return LightningTracker(run, facts)
