"""The prompt: a learnable n×d matrix in front of a frozen model (Lester et al. 2021, section 2), and its file."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from softprompt.adapter import WEIGHTS, is_adapter
from softprompt.errors import UserError, one_line
from softprompt.files import write_atomically

FILE = "prompt.safetensors"  # in a run's folder
TENSOR = "prompt"
METADATA = "softprompt"


@dataclass(frozen=True)
class SoftPrompt:
    """A prompt and where it comes from.

    Attributes:
        matrix: float32.
        backbone: id of the model it was trained for.
        revision: the model's commit on the hub, if it came from there.
        backbone_hash: of the model's embeddings (`Backbone.embedding_hash`), whatever the model is called; None in prompts
            of versions before 0.5.
        task: name of the task it was trained on.
        init: the initialiser of its first rows.
        initial_text: the text it started from, if it started from one.
        initial_tokens: the token ids whose embeddings its rows started as; empty if the rows were no tokens'.
        step: optimiser steps taken.
        bos: id of the token whose embedding stands in front of the rows; None if there is none.
        method: what trained it. The rows of method "prefix" are keys and values (`Backbone.keys_and_values`).
    """

    matrix: Float[Tensor, "n d"]
    backbone: str
    revision: str | None
    task: str
    init: str
    initial_text: str | None = None
    initial_tokens: list[int] = field(default_factory=list)
    step: int = 0
    backbone_hash: str | None = None
    bos: int | None = None
    method: str = "prompt"

    def save(self, path: Path) -> None:
        """Write float32 safetensors with the other fields as metadata."""
        about = {name: value for name, value in asdict(self).items() if name != "matrix"}
        if self.bos is None:  # as versions before 0.5 wrote it
            del about["bos"]
        if self.method == "prompt":  # as versions before 0.5 wrote it
            del about["method"]
        matrix = self.matrix.detach().to("cpu", torch.float32).contiguous()
        # One metadata key, because safetensors keeps no order among several, and equal prompts should be equal files.
        write_atomically(path, save({TENSOR: matrix}, {METADATA: json.dumps(about, sort_keys=True)}))

    @staticmethod
    def load(path: Path) -> "SoftPrompt":
        """Read what `save` wrote.

        Raises:
            UserError: the file does not exist, was not written by `save`, or is no matrix of finite numbers.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})[METADATA])
                matrix = file.get_tensor(TENSOR).float()
        except FileNotFoundError as error:
            raise UserError(f"{path}: there is no such prompt") from error
        except (SafetensorError, KeyError, ValueError, RecursionError, OSError) as error:
            raise UserError(f"{path}: not a prompt saved by softprompt ({one_line(error)})") from error
        if matrix.ndim != 2 or not matrix.numel():
            shape = "×".join(map(str, matrix.shape)) or "a single number"
            raise UserError(f"{path}: the prompt should be a matrix of n rows, but its shape is {shape}")
        if not torch.isfinite(matrix).all():
            raise UserError(f"{path}: the prompt has values that are not finite; use another one")
        known = {entry.name for entry in fields(SoftPrompt)} - {"matrix"}
        if not isinstance(about, dict) or not {"backbone", "revision", "task", "init"} <= set(about) <= known:
            raise UserError(
                f"{path}: not a prompt saved by softprompt (its metadata lacks the model or the task)"
            )
        return SoftPrompt(matrix=matrix, **about)


def prompt_file(path: Path) -> Path:
    """The file with the prompt: in a run's folder, in a PEFT adapter's folder, or the path itself."""
    if is_adapter(path):
        return path / WEIGHTS
    return path / FILE if path.is_dir() else path
