"""A member of a pack: a run, what it has learned so far, and the lock on its folder."""

from dataclasses import dataclass, replace

from softprompt.data.module import Turn
from softprompt.runs import Run, RunLock
from softprompt.settings import TrainerSettings
from softprompt.training.run_state import RunState


@dataclass(frozen=True)
class Member:
    """A run in training.

    Attributes:
        lock: None where this process does not write: with several devices in all processes but the first, and in a dry run.
    """

    run: Run
    state: RunState
    lock: RunLock | None

    @property
    def turn(self) -> Turn | None:
        """The run's next turn; None if it has stopped."""
        if not self.state.live:
            return None
        return Turn(self.state.order, self.state.steps_to_evaluation(self.limits))

    @property
    def limits(self) -> TrainerSettings:
        """When this run ends. Members of a pack may differ in it. A dry run has as many steps as `fast_dev_run` says."""
        limits = self.run.settings.trainer
        dry_steps = int((limits.extra or {}).get("fast_dev_run", 0))
        return replace(limits, max_steps=dry_steps) if dry_steps else limits
