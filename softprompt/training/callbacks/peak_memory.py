"""Measures the memory of a run's steps on a GPU."""

from itertools import chain
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from softprompt.training.tuning import PromptTuning


class PeakMemory(Callback):
    """Keeps the most memory that torch had allocated in a step, less the frozen weights, in `RunState.peak_memory`.

    A step is measured where a run trains alone on one CUDA device. The peak of a pack is that of its runs together, and a
    CPU has no such count. `RunState.measured_steps` counts these steps.
    """

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Forget the peak of what was before the step, such as an evaluation."""
        if _is_measured(trainer, module):
            torch.cuda.reset_peak_memory_stats(module.device)

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Keep the highest peak."""
        if _is_measured(trainer, module):
            assert isinstance(module, PromptTuning)
            peak = torch.cuda.max_memory_allocated(module.device) - _weights(module.backbone.model)
            (run,) = module.runs
            run.peak_memory = max(peak, run.peak_memory)
            run.measured_steps += 1


def _is_measured(trainer: L.Trainer, module: L.LightningModule) -> bool:
    assert isinstance(module, PromptTuning)
    return module.device.type == "cuda" and len(module.runs) == 1 and trainer.world_size == 1


def _weights(model: torch.nn.Module) -> int:
    """Bytes of a model's weights and buffers."""
    return sum(tensor.nbytes for tensor in chain(model.parameters(), model.buffers()))
