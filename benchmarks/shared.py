"""What the benchmarks have in common: exact shapes with random weights, real lengths, a clock, and what machine it was."""

import argparse
import json
import platform
import random
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import BloomConfig, BloomForCausalLM, LlamaConfig, LlamaForCausalLM

SHAPES: dict[str, Callable[[int | None], Any]] = {
    "bloomz_560m": lambda layers: BloomForCausalLM(
        BloomConfig(vocab_size=250_880, hidden_size=1024, n_layer=layers or 24, n_head=16, pad_token_id=3)
    ),
    "smollm2_135m": lambda layers: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=49_152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=layers or 30,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
        )
    ),
}

# Tokens of texts and answers of the real tasks, under SmolLM2's tokenizer.
LENGTHS: dict[str, dict[str, list[int]]] = json.loads(Path(__file__).with_name("lengths.json").read_text())


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--shape", choices=SHAPES, default="bloomz_560m", help="the model's exact shape")
    made.add_argument("--layers", type=int, help="fewer (or more) layers than the shape has")
    made.add_argument("--prompt-tokens", type=int, default=15, help="rows of the prompt")
    made.add_argument("--batch-size", type=int, default=8)
    made.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    made.add_argument("--task", choices=list(LENGTHS), default="rte", help="whose text lengths")
    made.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    made.add_argument("--repeats", type=int, default=7, help="batches to time")
    return made


def make_model(options: argparse.Namespace) -> Any:
    """The shape with random weights, on the device, in the dtype."""
    torch.manual_seed(0)
    return SHAPES[options.shape](options.layers).to(options.device, getattr(torch, options.dtype)).eval()


def random_tokens(rng: random.Random, count: int) -> list[int]:
    """Ordinary tokens of either shape's vocabulary."""
    return [rng.randrange(4, 40_000) for _ in range(count)]


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds it takes."""
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def peak_memory(work: Callable[[], object], device: str) -> int:
    """Bytes that it takes above what was held before, the weights above all."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the model
    before = _resident_peak()
    work()
    return _resident_peak() - before


def _resident_peak() -> int:
    """Bytes; Linux's high-water mark of this process."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def circumstances(options: argparse.Namespace) -> dict[str, Any]:
    """What a result has to be read with."""
    return {
        "options": {key: value for key, value in vars(options).items() if key != "memory_of"},
        "machine": machine(options.device),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        "date": date.today().isoformat(),
    }


def machine(device: str) -> str:
    """What it ran on."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    names = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"
