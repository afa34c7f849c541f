"""Time and memory of one training step: softprompt against PEFT, with the same model, batch, prompt and dtype.

    .venv/bin/python benchmarks/step.py --task rte --prompt-tokens 15

PEFT is used as in its documentation: `PromptTuningConfig`, a right-padded batch, the answers as labels. First a check
that losses and prompt gradients agree; then the two are timed alternately in one process. Peak memory is measured in a
separate process for each. Weights are random (a step's time does not depend on them); text lengths are drawn from those
of the SuperGLUE tasks (`lengths.json`, with SmolLM2's tokenizer). The last line printed is one JSON object.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from peft import PromptTuningConfig, TaskType, get_peft_model
from shared import LENGTHS, make_model, metadata, parser, peak_memory, random_tokens, timed
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from softprompt.backbone import Backbone, make_backbone
from softprompt.data.batch import Batch

Sequences = list[tuple[list[int], list[int]]]  # token ids of B texts, each with those of its answer
Step = Callable[[Sequences], tuple[float, torch.Tensor]]  # -> loss, gradient of the prompt [n, d]


def main() -> None:
    """Check that both agree, measure them, and print the result."""
    arguments = parser(__doc__)
    arguments.add_argument("--memory-of", choices=["softprompt", "peft"], help=argparse.SUPPRESS)
    options = arguments.parse_args()
    warnings.filterwarnings(
        "ignore", category=FutureWarning
    )  # PEFT uses deprecated functions of transformers
    backbone, ours, peft = make_steps(options)
    if options.memory_of:
        step = {"softprompt": ours, "peft": peft}[options.memory_of]
        print(peak_memory(lambda: step(draw_sequences(options, 0)), options.device))
        return
    agreement = compare(ours, peft, draw_sequences(options, 0), 1e-4 if options.dtype == "float32" else 0.1)
    print(f"loss and gradient agree: {agreement}", flush=True)
    rows = []
    for number in range(options.repeats):
        sequences = draw_sequences(options, number)
        batch = Batch.of_pairs(sequences)
        row: dict[str, Any] = {
            "lengths": (batch.text_lengths + batch.answer_lengths).tolist(),
            "softprompt": timed(lambda: ours(sequences), options.device),  # noqa: B023
            "peft": timed(lambda: peft(sequences), options.device),  # noqa: B023
            "matmul_limit": matmul_seconds(backbone, batch, options),
        }
        rows.append(row)
        print(
            {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()},
            flush=True,
        )
    ratios = [row["peft"] / row["softprompt"] for row in rows]
    memory = {name: measure_memory(name) for name in ("softprompt", "peft")}
    tokens = sum(options.prompt_tokens + sum(row["lengths"]) for row in rows)
    result = {
        "ratio_vs_peft": {"min": min(ratios), "median": statistics.median(ratios), "max": max(ratios)},
        "matmul_limit_fraction": statistics.median(row["matmul_limit"] / row["softprompt"] for row in rows),
        "peak_memory_ratio": memory["softprompt"] / memory["peft"],
        "peak_memory_mb": {name: round(value / 1e6) for name, value in memory.items()},
        "tokens_per_second": tokens / sum(row["softprompt"] for row in rows),
        "agreement": agreement,
        "batches": rows,
        **metadata(options),
    }
    print(json.dumps(result))


def make_steps(options: argparse.Namespace) -> tuple[Backbone, Step, Step]:
    """Make a training step (forward, backward, Adam) of softprompt and of PEFT, with the same model and prompt.

    Returns:
        The backbone, softprompt's step, and PEFT's step.
    """
    model = make_model(options)
    backbone = make_backbone(model, None, options.shape, None)
    start = backbone.embed(list(range(100, 100 + options.prompt_tokens)))  # [n, d]
    prompt = torch.nn.Parameter(start.to(options.device))
    optimizer = torch.optim.Adam([prompt], lr=0.0)  # with lr 0 every step has the same prompt

    def ours(sequences: Sequences) -> tuple[float, torch.Tensor]:
        batch = Batch.of_pairs(sequences)
        optimizer.zero_grad()
        logits = backbone.answer_logits([prompt], batch).float()  # [A, V]
        loss = F.cross_entropy(logits, batch.answer_ids.to(logits.device))
        torch.autograd.backward(loss)
        optimizer.step()
        assert prompt.grad is not None
        return loss.item(), prompt.grad

    wrapped = get_peft_model(
        model, PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=options.prompt_tokens)
    )
    embedding = wrapped.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        embedding.copy_(start)
    peft_optimizer = torch.optim.Adam([embedding], lr=0.0)

    def peft(sequences: Sequences) -> tuple[float, torch.Tensor]:
        # Each is [B, longest text with its answer].
        ids = pad_sequence([torch.tensor([*text, *answer]) for text, answer in sequences], batch_first=True)
        mask = pad_sequence(
            [torch.ones(len(text) + len(answer)).long() for text, answer in sequences], batch_first=True
        )
        labels = pad_sequence(
            [torch.tensor([-100] * len(text) + answer) for text, answer in sequences],
            batch_first=True,
            padding_value=-100,  # no loss at texts and padding
        )
        inputs = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        peft_optimizer.zero_grad()
        loss: torch.Tensor = wrapped(
            **{name: value.to(options.device) for name, value in inputs.items()}
        ).loss
        torch.autograd.backward(loss)
        peft_optimizer.step()
        return loss.item(), embedding.grad

    return backbone, ours, peft


def draw_sequences(options: argparse.Namespace, number: int) -> Sequences:
    """Random tokens in the lengths of randomly chosen training texts and answers of the task.

    Args:
        options: task and batch size.
        number: the number of the batch; the same number gives the same batch.
    """
    lengths = LENGTHS[options.task]
    rng = random.Random(number)
    return [
        (random_tokens(rng, rng.choice(lengths["train"])), random_tokens(rng, rng.choice(lengths["answers"])))
        for _ in range(options.batch_size)
    ]


def compare(ours: Step, peft: Step, sequences: Sequences, tolerance: float) -> dict[str, float]:
    """Relative differences between the two steps' losses, and between their gradients (in Frobenius norm).

    Raises:
        SystemExit: a difference is above `tolerance`.
    """
    (loss, gradient), (their_loss, their_gradient) = ours(sequences), peft(sequences)
    differences = {
        "loss": abs(loss - their_loss) / abs(their_loss),
        "gradient": ((gradient - their_gradient).norm() / their_gradient.norm()).item(),
    }
    if max(differences.values()) > tolerance:
        raise SystemExit(f"softprompt and PEFT do not compute the same: {differences}")
    return differences


def matmul_seconds(backbone: Backbone, batch: Batch, options: argparse.Namespace) -> float:
    """Seconds that a step's matrix products take alone: a lower limit for the time of a step.

    Counted are the products with the weights in the forward pass, and in the backward pass those for the gradient of
    the inputs (the weights are frozen). Every layer computes the prompt's rows and all tokens but the last of each
    answer; after the last layer's attention only the answer positions are computed.
    """
    all_rows = options.prompt_tokens + len(batch.text_ids) + int((batch.answer_lengths - 1).sum())
    answer_rows = len(batch.answer_ids)
    last_layer = f".{backbone.model.config.num_hidden_layers - 1}."
    head = backbone.model.get_output_embeddings().weight  # [V, d]
    products = [(head, answer_rows)]  # each weight [out, in] with the number of rows it is multiplied with
    for name, weight in backbone.model.base_model.named_parameters():
        if weight.ndim == 2 and "embed" not in name:
            after_attention = not any(
                part in name for part in ("query_key_value", "q_proj", "k_proj", "v_proj")
            )
            products.append((weight, answer_rows if last_layer in name and after_attention else all_rows))

    inputs = {
        (rows, size): torch.randn(rows, size, dtype=head.dtype, device=head.device)
        for weight, rows in products
        for size in weight.shape
    }

    def multiply() -> None:
        for weight, rows in products:
            F.linear(inputs[rows, weight.shape[1]], weight)  # forward: [rows, in] -> [rows, out]
            inputs[rows, weight.shape[0]] @ weight  # backward: [rows, out] -> [rows, in]

    with torch.no_grad():
        multiply()
        return min(timed(multiply, options.device) for _ in range(3))


def measure_memory(name: str) -> int:
    """Peak memory of a step of "softprompt" or "peft" in bytes, measured in a new process."""
    command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(output.splitlines()[-1])


if __name__ == "__main__":
    main()
