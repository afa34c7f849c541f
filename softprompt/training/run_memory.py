"""The memory that a run takes because of its method, beside that of the frozen model."""

from torch import Tensor

from softprompt.backbone import Backbone
from softprompt.backbone.padded import PaddedBackbone
from softprompt.methods import Method
from softprompt.training.run_state import RunState


def run_memory(method: Method, state: RunState) -> dict[str, int | None]:
    """Bytes by what they are of.

    Returns:
        `keys_and_values`: what stands in front of a text, in all layers, in the dtype of the weights, once for all texts; None
        if the model has no such cache. `training`: the trained values, their gradient, and what the optimiser keeps of
        them; None without a step. `peak`: the most memory in a step, beyond the frozen weights; None unless all steps were
        measured (`PeakMemory`).
    """
    steps = state.order.total_steps
    return {
        "keys_and_values": _cache_bytes(method.view, len(state.initial.matrix)),
        "training": _training_bytes(state) if steps else None,
        "peak": state.peak_memory if 0 < steps == state.measured_steps else None,
    }


def _cache_bytes(backbone: Backbone, rows: int) -> int | None:
    if isinstance(backbone, PaddedBackbone):
        return None
    return (rows + len(backbone.bos)) * backbone.prefix_width * backbone.dtype.itemsize


def _training_bytes(state: RunState) -> int:
    kept = [value for value in state.optimizer_state.values() if isinstance(value, Tensor) and value.ndim]
    return 2 * state.prompt.nbytes + sum(value.nbytes for value in kept)
