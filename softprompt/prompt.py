"""The prompt: a learnable n×d matrix in front of a frozen model (Lester et al. 2021, section 2).

What it may start from, and how it is kept.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from softprompt.backbone import Backbone
from softprompt.errors import UserError
from softprompt.files import write_atomically
from softprompt.settings import PromptSettings

TENSOR = "prompt"
METADATA = "softprompt"


@dataclass(frozen=True)
class SoftPrompt:
    """A prompt and where it comes from.

    `initial_tokens` are the vocabulary ids whose embeddings the rows started as; empty where a row started as
    no token (random).
    """

    matrix: Float[Tensor, "n d"]
    backbone: str
    revision: str | None
    task: str
    init: str
    initial_text: str | None = None
    initial_tokens: list[int] = field(default_factory=list)
    step: int = 0

    def save(self, path: Path) -> None:
        """Write float32 safetensors with the other fields as metadata, whole or not at all."""
        about = {name: value for name, value in asdict(self).items() if name != "matrix"}
        matrix = self.matrix.detach().to("cpu", torch.float32).contiguous()
        # One key: safetensors keeps no order among several, and equal prompts should be equal files.
        write_atomically(path, save({TENSOR: matrix}, {METADATA: json.dumps(about, sort_keys=True)}))

    @staticmethod
    def load(path: Path) -> "SoftPrompt":
        """Read what `save` wrote.

        Raises:
            UserError: the file is absent or is no prompt of ours.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})[METADATA])
                return SoftPrompt(matrix=file.get_tensor(TENSOR).float(), **about)
        except FileNotFoundError as error:
            raise UserError(f"{path}: there is no such prompt") from error
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, OSError) as error:
            raise UserError(f"{path}: not a prompt saved by softprompt ({error})") from error


def initial_prompt(
    settings: PromptSettings, backbone: Backbone, task: str, instruction: str, seed: int
) -> SoftPrompt:
    """The prompt that a run starts from, as `conf/prompt` asks.

    n is `settings.length`; by default as long as the instruction has tokens (or the other prompt rows).
    A longer n repeats the tokens or rows from the beginning, a shorter one cuts them.

    Raises:
        UserError: the text has no tokens, or the other prompt is of another width or backbone.
    """
    text = settings.text or instruction
    text_tokens: list[int] = backbone.tokenizer(text, add_special_tokens=False)["input_ids"]
    generator = torch.Generator().manual_seed(seed)
    tokens: list[int] = []
    match settings.init:
        case "file":
            matrix = _rows_of(Path(settings.path or ""), settings.length, backbone)
        case "text":
            if not text_tokens:
                raise UserError(f"prompt.text={text!r}: the tokenizer makes no token of it")
            tokens = _repeat(text_tokens, settings.length or len(text_tokens))
            matrix = backbone.embed(tokens)
        case "vocab":
            tokens = _sample_vocabulary(backbone.tokenizer, settings.length or len(text_tokens), generator)
            matrix = backbone.embed(tokens)
        case "random":
            shape = (settings.length or len(text_tokens), backbone.width)
            matrix = torch.randn(shape, generator=generator) * backbone.embedding_scale()
    return SoftPrompt(
        matrix=matrix,
        backbone=backbone.id,
        revision=backbone.revision,
        task=task,
        init=settings.init,
        initial_text=text if settings.init == "text" else None,
        initial_tokens=tokens,
    )


def _repeat(tokens: list[int], length: int) -> list[int]:
    return [tokens[i % len(tokens)] for i in range(length)]


def _sample_vocabulary(tokenizer: Any, length: int, generator: torch.Generator) -> list[int]:
    """Different tokens, drawn evenly, no special ones. A table may have more rows than there are tokens."""
    added = tokenizer.added_tokens_decoder
    special = {*tokenizer.all_special_ids, *(token for token in added if added[token].special)}
    ordinary = [token for token in range(len(tokenizer)) if token not in special]
    if length > len(ordinary):
        raise UserError(
            f"prompt.length={length}: the vocabulary has only {len(ordinary)} tokens to draw from"
        )
    drawn = torch.randperm(len(ordinary), generator=generator)[:length]
    return [ordinary[i] for i in drawn.tolist()]


def _rows_of(path: Path, length: int | None, backbone: Backbone) -> Float[Tensor, "n d"]:
    other = SoftPrompt.load(path)
    if other.backbone != backbone.id:
        raise UserError(
            f"{path}: this prompt was trained for {other.backbone}, and the model is {backbone.id}"
        )
    rows, width = other.matrix.shape
    if width != backbone.width:
        raise UserError(f"{path}: this prompt is {width} wide, and the model's embeddings {backbone.width}")
    return other.matrix[_repeat(list(range(rows)), length or rows)]
