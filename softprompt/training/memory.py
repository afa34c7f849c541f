"""Memory of the device: running out of it, and how many runs fit side by side."""

import gc

import torch
from torch.nn import functional as F

from softprompt.backbone import Backbone
from softprompt.data.batch import Batch
from softprompt.data.examples import Example
from softprompt.data.module import TaskData
from softprompt.errors import UserError, first_line
from softprompt.runs import Run

OUT_OF_MEMORY = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
LARGEST_PACK = 64
SHARE = 0.8  # of the free memory that a pack may take


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


def choose_size(backbone: Backbone, data: TaskData, device: torch.device, rows: int) -> int:
    """How many runs to train side by side.

    On a GPU as many as fit, at most 64. On a CPU one: there a step's time is arithmetic, and a pack has the same
    arithmetic. (Eight runs of the microworld's COPA: 22.2 s as a pack on one thread, 24.2 s one by one.)

    Args:
        rows: of the longest prompt.
    """
    if device.type != "cuda":
        return 1
    backbone.to(device)
    longest = sorted(data.train, key=lambda example: example.length)[-data.batch_size :]
    one = _step_memory(backbone, longest, rows, 1, device)
    try:
        two = _step_memory(backbone, longest, rows, 2, device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return 1
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return size_that_fits(one, two, free)


def size_that_fits(one: int, two: int, free: int) -> int:
    """How many runs fit, from the bytes that a step of one run and of two runs take."""
    per_run = max(1, two - one)
    return max(1, min(LARGEST_PACK, 1 + int((SHARE * free - one) / per_run)))


def _step_memory(
    backbone: Backbone, examples: list[Example], rows: int, count: int, device: torch.device
) -> int:
    """Peak bytes, beyond the weights, of a step of `count` runs with these examples."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    prompts = [torch.randn(rows, backbone.width, device=device, requires_grad=True) for _ in range(count)]
    pairs = [(example.text_ids, example.right_answer) for _ in range(count) for example in examples]
    batch = Batch.of_pairs(pairs, [prompt for prompt in range(count) for _ in examples])
    logits = backbone.answer_logits(prompts, batch)
    torch.autograd.backward(F.cross_entropy(logits.float(), batch.answer_ids.to(device)))
    return torch.cuda.max_memory_allocated(device) - before
