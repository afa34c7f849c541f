"""Time of a training step by rows of the prompt, by batch size, and by the number of prompts in a pack.

    .venv/bin/python benchmarks/scaling.py --layers 6

softprompt and PEFT are timed alternately in one process; each point is the minimum of a few repeats. For packs, one
step of R prompts with R batches ("together") is compared with R separate steps ("apart"), both of softprompt. Writes
`results/scaling-*.png`. The last line printed is one JSON object.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from shared import make_model, metadata, parser, timed
from step import draw_sequences, make_steps
from torch.nn import functional as F

from softprompt.backbone import Backbone, make_backbone
from softprompt.data.batch import Batch

PROMPT_TOKENS = (1, 15, 50, 100, 200)
BATCH_SIZES = (1, 2, 4, 8, 16)  # at 32 PEFT needs more than 24 GB
PROMPTS = (1, 2, 4, 8, 16)


def main() -> None:
    """Time every point, plot the times, and print the result."""
    arguments = parser(__doc__)
    arguments.set_defaults(layers=6, repeats=3)
    options = arguments.parse_args()
    warnings.filterwarnings(
        "ignore", category=FutureWarning
    )  # PEFT uses deprecated functions of transformers
    result: dict[str, Any] = {
        "prompt_tokens": [_time_step(options, "prompt_tokens", rows) for rows in PROMPT_TOKENS],
        "batch_size": [_time_step(options, "batch_size", size) for size in BATCH_SIZES],
    }
    backbone = make_backbone(make_model(options), None, options.shape, None)
    result["prompts"] = [_time_pack(options, backbone, count) for count in PROMPTS]
    result |= metadata(options)
    path = Path(__file__).parent / "results" / f"scaling-{options.shape}-{options.task}-{options.device}.png"
    plot(result, path)
    print(json.dumps(result))


def _time_step(options: argparse.Namespace, axis: str, value: int) -> dict[str, float]:
    """Time a step of softprompt and of PEFT with the option `axis` set to `value`."""
    changed_options = argparse.Namespace(**{**vars(options), axis: value})
    _, ours, peft = make_steps(changed_options)
    sequences = draw_sequences(changed_options, 0)
    return _fastest(
        {"softprompt": lambda: ours(sequences), "peft": lambda: peft(sequences)}, options, {axis: value}
    )


def _time_pack(options: argparse.Namespace, backbone: Backbone, count: int) -> dict[str, float]:
    """Time a step of a pack of `count` prompts, and as many separate steps."""
    start = backbone.embed(list(range(100, 100 + options.prompt_tokens))).to(options.device)  # [n, d]
    prompts = [torch.nn.Parameter(start.clone()) for _ in range(count)]
    batches = [draw_sequences(options, number) for number in range(count)]
    optimizer = torch.optim.Adam(prompts, lr=0.0)

    def step(sequences: list[Any], prompt_of: list[int]) -> None:
        batch = Batch.of_pairs(sequences, prompt_of)
        optimizer.zero_grad()
        logits = backbone.answer_logits(prompts, batch).float()  # [A, V]
        torch.autograd.backward(F.cross_entropy(logits, batch.answer_ids.to(logits.device)))
        optimizer.step()

    def together() -> None:
        step(
            [pair for batch in batches for pair in batch],
            [prompt for prompt, batch in enumerate(batches) for _ in batch],
        )

    def apart() -> None:
        for prompt, batch in enumerate(batches):
            step(batch, [prompt] * len(batch))

    return _fastest({"together": together, "apart": apart}, options, {"prompts": count})


def _fastest(
    variants: dict[str, Callable[[], object]], options: argparse.Namespace, point: dict[str, int]
) -> dict[str, float]:
    """Time each variant `options.repeats` times, alternately.

    Args:
        variants: functions to time, by name.
        options: the command-line options.
        point: the varied option and its value.

    Returns:
        `point`, and the minimum seconds of each variant.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for run in variants.values():
        run()  # warm-up
    for _ in range(options.repeats):
        for name, run in variants.items():
            seconds[name].append(timed(run, options.device))
    row: dict[str, float] = {**point, **{name: min(times) for name, times in seconds.items()}}
    print({name: round(value, 3) for name, value in row.items()}, flush=True)
    return row


def plot(result: dict[str, Any], path: Path) -> None:
    """Write a figure with one panel for each varied quantity."""
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    panels = {
        "prompt_tokens": "rows of the prompt",
        "batch_size": "texts in a batch",
        "prompts": "prompts in a pack",
    }
    for axes, (name, label) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        points = result[name]
        for variant in [key for key in points[0] if key != name]:
            axes.plot(
                [point[name] for point in points], [point[variant] for point in points], ".-", label=variant
            )
        axes.set(xlabel=label, ylabel="seconds per step", ylim=(0, None))
        axes.legend(frameon=False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
