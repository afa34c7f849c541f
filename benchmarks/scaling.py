"""How a training step's time grows: with the prompt's rows, the batch, and the prompts that are trained side by side.

    .venv/bin/python benchmarks/scaling.py --layers 6

Ours and PEFT's alternate in one process, each point the least of a few repeats. A pack of R prompts takes one step with
R batches; beside it stand R steps of ours, one after another. Writes `results/scaling-*.png`; the last line printed is
one JSON object.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from shared import circumstances, make_model, parser, timed
from step import draw_sequences, make_steps
from torch.nn import functional as F

from softprompt.backbone import Backbone, make_backbone
from softprompt.data.batch import Batch

PROMPT_TOKENS = (1, 15, 50, 100, 200)
BATCH_SIZES = (1, 2, 4, 8, 16)  # at 32 PEFT needs more than 24 GB
PROMPTS = (1, 2, 4, 8, 16)


def main() -> None:
    """Time every point, draw, and print."""
    arguments = parser(__doc__)
    arguments.set_defaults(layers=6, repeats=3)
    options = arguments.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)  # between PEFT and transformers
    result: dict[str, Any] = {
        "prompt_tokens": [_step(options, "prompt_tokens", rows) for rows in PROMPT_TOKENS],
        "batch_size": [_step(options, "batch_size", size) for size in BATCH_SIZES],
    }
    backbone = make_backbone(make_model(options), None, options.shape, None)
    result["prompts"] = [_pack(options, backbone, count) for count in PROMPTS]
    result |= circumstances(options)
    path = Path(__file__).parent / "results" / f"scaling-{options.shape}-{options.task}-{options.device}.png"
    draw(result, path)
    print(json.dumps(result))


def _step(options: argparse.Namespace, axis: str, value: int) -> dict[str, float]:
    asked = argparse.Namespace(**{**vars(options), axis: value})
    _, ours, peft = make_steps(asked)
    sequences = draw_sequences(asked, 0)
    return _least(
        {"softprompt": lambda: ours(sequences), "peft": lambda: peft(sequences)}, options, {axis: value}
    )


def _pack(options: argparse.Namespace, backbone: Backbone, count: int) -> dict[str, float]:
    start = backbone.embed(list(range(100, 100 + options.prompt_tokens))).to(options.device)
    prompts = [torch.nn.Parameter(start.clone()) for _ in range(count)]
    batches = [draw_sequences(options, number) for number in range(count)]
    optimizer = torch.optim.Adam(prompts, lr=0.0)

    def step(sequences: list[Any], prompt_of: list[int]) -> None:
        batch = Batch.of_pairs(sequences, prompt_of)
        optimizer.zero_grad()
        logits = backbone.answer_logits(prompts, batch).float()
        torch.autograd.backward(F.cross_entropy(logits, batch.answer_ids.to(logits.device)))
        optimizer.step()

    def together() -> None:
        step(
            [pair for batch in batches for pair in batch],
            [i for i, batch in enumerate(batches) for _ in batch],
        )

    def apart() -> None:
        for i, batch in enumerate(batches):
            step(batch, [i] * len(batch))

    return _least({"together": together, "apart": apart}, options, {"prompts": count})


def _least(
    works: dict[str, Callable[[], object]], options: argparse.Namespace, point: dict[str, int]
) -> dict[str, float]:
    """The least seconds of each, which take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()  # once to warm up
    for _ in range(options.repeats):
        for name, work in works.items():
            seconds[name].append(timed(work, options.device))
    row: dict[str, float] = {**point, **{name: min(found) for name, found in seconds.items()}}
    print({name: round(value, 3) for name, value in row.items()}, flush=True)
    return row


def draw(result: dict[str, Any], path: Path) -> None:
    """A panel for each axis."""
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    panels = {
        "prompt_tokens": "rows of the prompt",
        "batch_size": "texts in a batch",
        "prompts": "prompts in a pack",
    }
    for axis, (name, label) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        rows = result[name]
        for line in [key for key in rows[0] if key != name]:
            axis.plot([row[name] for row in rows], [row[line] for row in rows], ".-", label=line)
        axis.set(xlabel=label, ylabel="seconds a step", ylim=(0, None))
        axis.legend(frameon=False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
