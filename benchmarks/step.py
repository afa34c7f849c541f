"""One training step, ours against PEFT's, on the same model, batch, prompt, dtype and answers.

    .venv/bin/python benchmarks/step.py --task rte --prompt-tokens 15

PEFT is used as its documentation does: `PromptTuningConfig`, a right-padded batch, the answers as labels. The two
alternate in one process, after a check that loss and prompt gradient agree; peak memory is measured in a process
for each. Weights are random (a step's time does not depend on them), lengths are drawn from the real tasks' token
lengths (`lengths.json`, under SmolLM2's tokenizer). The last line printed is one JSON object.
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
from shared import LENGTHS, circumstances, make_model, parser, peak_memory, random_tokens, timed
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from softprompt.backbone import Backbone, make_backbone
from softprompt.data.batch import Batch

Sequences = list[tuple[list[int], list[int]]]  # texts and answers
Step = Callable[[Sequences], tuple[float, torch.Tensor]]


def main() -> None:
    """Check, time, and print."""
    arguments = parser(__doc__)
    arguments.add_argument("--memory-of", choices=["softprompt", "peft"], help=argparse.SUPPRESS)
    options = arguments.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)  # between PEFT and transformers
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
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
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
        **circumstances(options),
    }
    print(json.dumps(result))


def make_steps(options: argparse.Namespace) -> tuple[Backbone, Step, Step]:
    """A training step of ours and one of PEFT's: forward, backward, Adam; both on the same model and prompt."""
    model = make_model(options)
    backbone = make_backbone(model, None, options.shape, None)
    start = backbone.embed(list(range(100, 100 + options.prompt_tokens)))
    prompt = torch.nn.Parameter(start.to(options.device))
    optimizer = torch.optim.Adam([prompt], lr=0.0)  # so that every step sees the same prompt

    def ours(sequences: Sequences) -> tuple[float, torch.Tensor]:
        batch = Batch.of_pairs(sequences)
        optimizer.zero_grad()
        logits = backbone.answer_logits([prompt], batch).float()
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
        ids = pad_sequence([torch.tensor([*t, *a]) for t, a in sequences], batch_first=True)
        mask = pad_sequence([torch.ones(len(t) + len(a)).long() for t, a in sequences], batch_first=True)
        labels = pad_sequence(
            [torch.tensor([-100] * len(t) + a) for t, a in sequences], batch_first=True, padding_value=-100
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
    """Random tokens in the lengths of a random batch, the same for the same number, of the task's training texts."""
    lengths = LENGTHS[options.task]
    rng = random.Random(number)
    return [
        (random_tokens(rng, rng.choice(lengths["train"])), random_tokens(rng, rng.choice(lengths["answers"])))
        for _ in range(options.batch_size)
    ]


def compare(ours: Step, peft: Step, sequences: Sequences, tolerance: float) -> dict[str, float]:
    """Relative differences of loss and gradient.

    Raises:
        SystemExit: they are not the same computation.
    """
    (loss, gradient), (their_loss, their_gradient) = ours(sequences), peft(sequences)
    differences = {
        "loss": abs(loss - their_loss) / abs(their_loss),
        "gradient": ((gradient - their_gradient).norm() / their_gradient.norm()).item(),
    }
    if max(differences.values()) > tolerance:
        raise SystemExit(f"not the same computation: {differences}")
    return differences


def matmul_seconds(backbone: Backbone, batch: Batch, options: argparse.Namespace) -> float:
    """Seconds of the bare matrix products that the needed tokens take, forward and backward (to the input only).

    Every layer reads the prompt and all tokens but each answer's last; past the last layer's attention only the
    answer positions go on.
    """
    tokens = options.prompt_tokens + len(batch.text_ids) + int((batch.answer_lengths - 1).sum())
    answers = len(batch.answer_ids)
    last = f".{backbone.model.config.num_hidden_layers - 1}."
    head = backbone.model.get_output_embeddings().weight
    work = [(head, answers)]
    for name, weight in backbone.model.base_model.named_parameters():
        if weight.ndim == 2 and "embed" not in name:
            past_attention = not any(
                part in name for part in ("query_key_value", "q_proj", "k_proj", "v_proj")
            )
            work.append((weight, answers if last in name and past_attention else tokens))

    inputs = {
        (rows, size): torch.randn(rows, size, dtype=head.dtype, device=head.device)
        for w, rows in work
        for size in w.shape
    }

    def products() -> None:
        for weight, rows in work:
            F.linear(inputs[rows, weight.shape[1]], weight)
            inputs[rows, weight.shape[0]] @ weight

    with torch.no_grad():
        products()
        return min(timed(products, options.device) for _ in range(3))


def measure_memory(name: str) -> int:
    """`peak_memory` of a fresh process."""
    command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(output.splitlines()[-1])


if __name__ == "__main__":
    main()
