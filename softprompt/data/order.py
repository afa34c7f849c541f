"""Which examples a run sees, and when: a function of its seed alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class DataOrder:
    """A run's place in its own shuffled data.

    Every epoch is a permutation drawn from (seed, epoch), so that two numbers say exactly where a run stands
    and a resumed run sees what an uninterrupted one would have seen.
    """

    seed: int
    examples: int
    batch_size: int
    epoch: int = 0  # epochs completed
    step: int = 0  # steps taken in the present epoch

    @property
    def steps_per_epoch(self) -> int:
        """The last batch of an epoch may be smaller than the others."""
        return -(-self.examples // self.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimiser steps taken since the start of the run."""
        return self.epoch * self.steps_per_epoch + self.step

    def remaining(self) -> Iterator[list[int]]:
        """Indices of the examples in each batch that is left of the present epoch."""
        state = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(state) >> 1)
        order: list[int] = torch.randperm(self.examples, generator=generator).tolist()
        for step in range(self.step, self.steps_per_epoch):
            yield order[step * self.batch_size : (step + 1) * self.batch_size]

    def advance(self) -> None:
        """Count one step."""
        self.step += 1
        if self.step == self.steps_per_epoch:
            self.epoch, self.step = self.epoch + 1, 0
