"""The files of a prompt-tuning adapter, as PEFT writes them."""

from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from softprompt.errors import UserError, first_line
from softprompt.files import read_json

CONFIG, WEIGHTS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
TENSOR = "prompt_embeddings"


def is_adapter(path: Path) -> bool:
    """True for a folder that PEFT wrote, or `export`."""
    return (path / CONFIG).is_file()


def read_adapter(folder: Path) -> Float[Tensor, "n d"]:
    """The matrix of a prompt-tuning adapter, float32.

    Raises:
        UserError: the adapter is of another kind, is stored as a pickle, or holds no matrix of finite numbers.
    """
    config, weights = read_json(folder / CONFIG), folder / WEIGHTS
    kind, of = config.get("peft_type"), config.get("task_type")
    if kind != "PROMPT_TUNING" or of not in ("CAUSAL_LM", None):
        raise UserError(
            f"{folder / CONFIG}: is a {kind} adapter for {of}; should be PROMPT_TUNING for CAUSAL_LM, whose prompt is a matrix "
            "in front of the text"
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
    return matrix
