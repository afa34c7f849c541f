"""Count of operations and of copies to the device in a training step, without a GPU.

    .venv/bin/python benchmarks/operations.py

The model is on torch's `meta` device, which computes shapes only, so that every operation of a step passes by and can be
counted. On a GPU most operations are one kernel; attention, which is one kernel there, counts as about ten here. A copy is
a transfer from the host's memory, for which the host waits unless the memory is pinned. The last line printed is one JSON
object.
"""

import json
from collections import Counter
from typing import Any

import torch
from shared import SHAPES, metadata, parser
from step import draw_sequences
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from softprompt.backbone import make_backbone
from softprompt.data.batch import Batch

VIEWS = {"view", "_unsafe_view", "t", "transpose", "expand", "unsqueeze", "split", "split_with_sizes", "slice", "select",
         "unbind", "detach", "alias", "permute", "as_strided", "squeeze", "_reshape_alias"}  # fmt: skip


class CountOperations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts, while it is active, the operations on the device by name, and the copies to it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: Counter[str] = Counter()
        self.copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if any(isinstance(leaf, torch.Tensor) and leaf.device.type == "meta" for leaf in tree_leaves(result)):
            sources = [argument for argument in args if isinstance(argument, torch.Tensor)]
            if name in ("_to_copy", "copy_") and any(source.device.type == "cpu" for source in sources):
                self.copies += 1
            elif name not in VIEWS:
                self.operations[name] += 1
        return result


def main() -> None:
    """Count a step of one run and of a pack of eight, and print the result."""
    arguments = parser(__doc__)
    options = arguments.parse_args()
    with torch.device("meta"):
        model = SHAPES[options.shape](options.layers).to(getattr(torch, options.dtype)).eval()
    backbone = make_backbone(model, None, options.shape, None)
    result: dict[str, Any] = {}
    for runs in (1, 8):
        prompts = [
            torch.zeros(options.prompt_tokens, backbone.width, device="meta", requires_grad=True)
            for _ in range(runs)
        ]
        batches = [draw_sequences(options, number) for number in range(runs)]
        backbone.answer_logits(prompts, Batch.of_pairs(batches[0]))  # what is copied once is there
        with CountOperations() as counted:
            batch = Batch.of_pairs(
                [pair for pairs in batches for pair in pairs],
                [run for run, pairs in enumerate(batches) for _ in pairs],
            )
            logits = backbone.answer_logits(prompts, batch)
            torch.autograd.backward(F.cross_entropy(logits.float(), batch.answer_ids.to("meta")))
        result[f"{runs} runs"] = {"operations": counted.operations.total(), "copies": counted.copies}
        print(runs, "runs:", counted.operations.most_common(12), flush=True)
    print(json.dumps({**result, **metadata(options)}))


if __name__ == "__main__":
    main()
