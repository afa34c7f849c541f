"""How many runs fit side by side into the memory of a GPU."""

import torch
from torch.nn import functional as F

from softprompt.data.batch import Batch
from softprompt.data.examples import Example
from softprompt.data.module import TaskData
from softprompt.methods import Method
from softprompt.prompt import SoftPrompt
from softprompt.training.out_of_memory import is_out_of_memory

LARGEST_PACK = 64
SHARE = 0.8  # of the free memory that a pack may take
OPTIMIZER_COPIES = 2  # Adam's state, in copies of what is trained


def choose_size(method: Method, data: TaskData, device: torch.device, rows: int) -> int:
    """How many runs to train side by side.

    On a GPU as many as fit, at most 64. On a CPU one: there a step's time is arithmetic, and a pack has the same
    arithmetic. (Eight runs of the microworld's COPA: 22.2 s as a pack on one thread, 24.2 s one by one.)

    Args:
        rows: of the longest prompt.
    """
    if device.type != "cuda":
        return 1
    method.view.to(device)
    longest = sorted(data.train, key=lambda example: example.length)[-data.batch_size :]
    one = _peak_of_step(method, longest, rows, 1, device)
    try:
        two = _peak_of_step(method, longest, rows, 2, device)
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


def _peak_of_step(
    method: Method, examples: list[Example], rows: int, count: int, device: torch.device
) -> int:
    """Peak bytes, beyond the weights, of a step of `count` runs with these examples."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    kept = take_step(method, examples, rows, count, device)
    peak = torch.cuda.max_memory_allocated(device) - before
    return peak + OPTIMIZER_COPIES * sum(values.nbytes for values in kept)


def take_step(
    method: Method, examples: list[Example], rows: int, count: int, device: torch.device
) -> list[torch.Tensor]:
    """The forward and backward pass of a step of `count` runs, all with these examples. Returns what they train.

    Args:
        rows: of each run's prompt.
    """
    backbone = method.view
    tokens = [0] * rows  # memory does not depend on which
    start = method.start(
        SoftPrompt(backbone.embed(tokens), backbone.id, backbone.revision, "", "", initial_tokens=tokens)
    )
    trained = [
        method.values(start, torch.Generator().manual_seed(0)).to(device).requires_grad_()
        for _ in range(count)
    ]
    pairs = [(example.text_ids, example.right_answer) for _ in range(count) for example in examples]
    batch = Batch.of_pairs(pairs, [run for run in range(count) for _ in examples])
    logits = backbone.answer_logits([method.in_front(values, start.matrix) for values in trained], batch)
    torch.autograd.backward(F.cross_entropy(logits.float(), batch.answer_ids.to(device)))
    return trained
