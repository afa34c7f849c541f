"""Shared by the benchmarks: command-line options, models, token lengths, time and memory measurement, and metadata.

The models have the exact architecture of the named models and random weights: the time of a step does not depend on the
weights.
"""

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

# Makes a model from its number of layers (None: as many as the named model has).
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

# Token counts of every text of the SuperGLUE tasks, by task and split, and of the task's answers ("answers"), with
# SmolLM2's tokenizer.
LENGTHS: dict[str, dict[str, list[int]]] = json.loads(Path(__file__).with_name("lengths.json").read_text())


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have."""
    arguments = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--shape", choices=SHAPES, default="bloomz_560m", help="the model whose architecture to use"
    )
    arguments.add_argument("--layers", type=int, help="number of layers, if not the model's own")
    arguments.add_argument("--prompt-tokens", type=int, default=15, help="rows of the prompt")
    arguments.add_argument("--batch-size", type=int, default=8)
    arguments.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    arguments.add_argument(
        "--task", choices=list(LENGTHS), default="rte", help="the task whose text lengths to use"
    )
    arguments.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments.add_argument("--repeats", type=int, default=7, help="number of measurements")
    return arguments


def make_model(options: argparse.Namespace) -> Any:
    """A model of this architecture with random weights."""
    torch.manual_seed(0)
    return SHAPES[options.shape](options.layers).to(options.device, getattr(torch, options.dtype)).eval()


def random_tokens(rng: random.Random, count: int) -> list[int]:
    """Random token ids that are in both vocabularies and are no special tokens."""
    return [rng.randrange(4, 40_000) for _ in range(count)]


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds that a call of `work` takes, until the GPU has finished."""
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def peak_memory(work: Callable[[], object], device: str) -> int:
    """Peak memory of a call of `work` in bytes, less the memory in use before it (mostly the weights)."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # reset VmHWM, which includes the peak of making the model
    before = _resident_peak()
    work()
    return _resident_peak() - before


def _resident_peak() -> int:
    """The largest resident memory of this process in bytes (Linux: VmHWM)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def metadata(options: argparse.Namespace) -> dict[str, Any]:
    """Options, machine, versions and date: stored with every result."""
    return {
        "options": {key: value for key, value in vars(options).items() if key != "memory_of"},
        "machine": machine(options.device),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        "date": date.today().isoformat(),
    }


def machine(device: str) -> str:
    """The name of the GPU, or the name of the CPU and the number of threads."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    names = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"
