"""Lightning's loops over the runs of a pack: training, evaluation and prediction. A signal ends them between two batches."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from softprompt import interruption
from softprompt.data.module import EvaluationBatches, TaskData
from softprompt.settings import TrainerSettings
from softprompt.training.evaluation import PromptEvaluation
from softprompt.training.trainer import is_distributed, is_dry, make_trainer
from softprompt.training.tuning import PromptTuning


class Loops:
    """The Trainer of a pack.

    Attributes:
        dry: one batch of everything, and nothing is written (Lightning's `fast_dev_run`).
    """

    def __init__(self, limits: TrainerSettings, callbacks: Sequence[Callback]) -> None:
        """Raises like `make_trainer`."""
        self._limits = limits
        self._callbacks = callbacks
        self._trainer = make_trainer(limits, callbacks)
        self.dry = is_dry(limits)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self._trainer.strategy.root_device

    def train(self, module: PromptTuning, data: TaskData) -> None:
        """Train until a run stops."""
        if not is_distributed(self._limits):
            # A new one for each fit, because a time limit counts from its making. With several devices it would start the
            # other devices' processes again.
            self._trainer = make_trainer(self._limits, self._callbacks)
        with interruption.deferred():
            self._trainer.fit(module, datamodule=data)

    def evaluate(self, module: PromptEvaluation, batches: EvaluationBatches) -> None:
        """Score the module's prompts on these batches."""
        with interruption.deferred():
            self._trainer.validate(module, batches, verbose=False)

    def predict(self, module: PromptEvaluation, batches: EvaluationBatches) -> list[Any]:
        """What `PromptEvaluation.predict_step` gives for each batch."""
        with interruption.deferred():
            return list(self._trainer.predict(module, batches) or [])

    def agreed_interruption(self) -> AbstractContextManager[None]:
        """With several devices a signal may end the training only where they agree on it, in `SaveRuns`."""
        return interruption.deferred() if is_distributed(self._limits) else nullcontext()

    def wait_for_other_devices(self) -> None:
        """Lightning kills the first process if another one ends with an error, so all end at the same time."""
        self._trainer.strategy.barrier()
