"""The order in which a run sees its training examples, determined by its seed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class DataOrder:
    """A run's position in its shuffled training examples.

    The permutation of an epoch is drawn from (seed, epoch). So a checkpoint needs only `epoch` and `step`, and a
    resumed run gets the same batches as an uninterrupted one.
    """

    seed: int
    examples: int  # number of training examples
    batch_size: int
    epoch: int = 0  # epochs completed
    step: int = 0  # steps taken in the current epoch

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; the last one may be smaller."""
        return -(-self.examples // self.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimiser steps taken since the start of the run."""
        return self.epoch * self.steps_per_epoch + self.step

    def remaining(self) -> Iterator[list[int]]:
        """The remaining batches of the current epoch, as indices of examples."""
        state = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(state) >> 1)
        permutation: list[int] = torch.randperm(self.examples, generator=generator).tolist()
        for step in range(self.step, self.steps_per_epoch):
            yield permutation[step * self.batch_size : (step + 1) * self.batch_size]

    def advance(self) -> None:
        """Count one training step; the last step of an epoch starts the next epoch."""
        self.step += 1
        if self.step == self.steps_per_epoch:
            self.epoch, self.step = self.epoch + 1, 0
