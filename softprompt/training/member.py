"""A member of a pack: a run, what it has learned so far, and the lock on its folder."""

from dataclasses import dataclass

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
    def limits(self) -> TrainerSettings:
        """When this run ends. Members of a pack may differ in it."""
        return self.run.settings.trainer
