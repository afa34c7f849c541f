"""Running out of the device's memory."""

import gc

import torch

from softprompt.errors import UserError, first_line
from softprompt.runs import Run

OUT_OF_MEMORY = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


class DeviceFull(UserError):
    """The device has too little memory, even for one run."""

    def __init__(self, model: str, error: BaseException, run: Run | None = None) -> None:
        advice = (
            "lower trainer.batch_size or trainer.eval_batch_size"
            if run
            else "use a device with more free memory"
        )
        where = run.path if run else f"model.id={model}"
        super().__init__(f"{where}: out of memory ({first_line(error)}); {advice}")


def is_out_of_memory(error: BaseException) -> bool:
    """True for the errors of torch's allocators, of CUDA, and of Python."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def free_memory() -> None:
    """Return what is not used any more to a GPU. (On a CPU a collection only costs time.)"""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
