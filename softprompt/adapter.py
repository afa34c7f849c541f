"""The files of a prompt-tuning or prefix-tuning adapter, as PEFT writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from softprompt.errors import UserError, first_line
from softprompt.files import read_json

CONFIG, WEIGHTS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
TENSOR = "prompt_embeddings"
PROMPT, PREFIX = "PROMPT_TUNING", "PREFIX_TUNING"


@dataclass(frozen=True)
class Adapter:
    """What an adapter puts in front of the text.

    Attributes:
        matrix: the rows of a prompt, or of a prefix as `Backbone.keys_and_values` lays them out; float32.
        cache_shapes: of a prefix, for each layer its heads, the width of a key, and of a value; None for a prompt.
    """

    matrix: Float[Tensor, "n _"]
    cache_shapes: list[tuple[int, int, int]] | None = None


def is_adapter(path: Path) -> bool:
    """True for a folder that PEFT wrote, or `export`."""
    return (path / CONFIG).is_file()


def read_adapter(folder: Path) -> Adapter:
    """The prompt or prefix of an adapter.

    PEFT stores a prefix with `prefix_projection` as its network's output, so the network is not needed.

    Raises:
        UserError: the adapter is of another kind, is stored as a pickle, or holds no matrix of finite numbers.
    """
    config, weights = read_json(folder / CONFIG), folder / WEIGHTS
    kind, of = config.get("peft_type"), config.get("task_type")
    if kind not in (PROMPT, PREFIX) or of not in ("CAUSAL_LM", None):
        raise UserError(
            f"{folder / CONFIG}: is a {kind} adapter for {of}; should be {PROMPT} or {PREFIX} for CAUSAL_LM"
        )
    if not weights.exists() and (folder / PICKLED).exists():
        raise UserError(
            f"{folder / PICKLED}: a pickle, which can run code and is not read; load it in PEFT and save it again with "
            "save_pretrained"
        )
    try:
        with safe_open(weights, framework="pt") as file:
            matrix: Tensor = file.get_tensor(TENSOR).float()
    except (OSError, SafetensorError) as error:
        raise UserError(f"{weights}: holds no {TENSOR} ({first_line(error)})") from error
    if matrix.ndim != 2 or not matrix.numel() or not torch.isfinite(matrix).all():
        raise UserError(f"{weights}: {TENSOR} should be a matrix of finite numbers")
    if kind == PROMPT:
        return Adapter(matrix)
    cache_shapes = _cache_shapes(config, folder / CONFIG)
    width = sum(heads * (key + value) for heads, key, value in cache_shapes)
    if matrix.shape[1] != width:
        raise UserError(
            f"{weights}: {TENSOR} is {matrix.shape[1]} wide, and should be {width} by the layers of {CONFIG}"
        )
    return Adapter(matrix, cache_shapes)


def _cache_shapes(config: Mapping[str, Any], path: Path) -> list[tuple[int, int, int]]:
    """The keys and values that PEFT makes of a prefix: those of all layers have one shape."""
    names = ("num_layers", "num_attention_heads", "token_dim")
    numbers = [config.get(name) for name in names]
    layers, heads, width = (number if isinstance(number, int) else 0 for number in numbers)
    if min(layers, heads, width) < 1 or width % heads:
        found = ", ".join(f"{name}={number}" for name, number in zip(names, numbers, strict=True))
        raise UserError(f"{path}: {found}: should be positive numbers, the last one a multiple of the heads")
    return [(heads, width // heads, width // heads)] * layers
