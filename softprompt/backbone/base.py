"""The contract of a backbone: a frozen causal LM that computes logits at the answers behind soft prompts.

`unpadded.py` and `bloom.py` are the fastest implementations and know certain model families. `shared_prefix.py` works with any
causal LM that has a key-value cache, `padded.py` with the others. The shape letters are explained in CONTRIBUTING.md.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from softprompt.console import show_control_characters
from softprompt.data.batch import Batch
from softprompt.data.examples import check_ids
from softprompt.errors import UserError
from softprompt.files import sha256

HASHED_ROWS = 256  # of the embedding table, evenly spaced


class Backbone(ABC):
    """A frozen causal LM with its tokenizer.

    It is not an `nn.Module`, so a LightningModule that holds one does not put the model's weights into checkpoints or
    into an optimiser.
    """

    bos_id: int | None = None  # of the token in front of every prompt; None: there is none (`bos.py`)
    notice = ""  # what a user should know about how this implementation computes

    def __init__(self, model: Any, tokenizer: Any, id: str, revision: str | None) -> None:
        self.model = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.id = id
        self.revision = revision

    def answer_logits(self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch) -> Float[Tensor, "A V"]:
        """Logits that predict each answer token of the batch.

        Args:
            prompts: float32 matrices, which may differ in their number of rows. A prompt of 0 rows means no prompt.
                They are cast to the weights' dtype here; gradients flow back to them.
            batch: `batch.prompt_of` says which prompt stands in front of each text.

        Returns:
            One row per answer token, in the order of `batch.answer_ids`, in the weights' dtype.
        """
        return self._answer_logits([self.behind_bos(prompt) for prompt in prompts], batch)

    @abstractmethod
    def _answer_logits(self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch) -> Float[Tensor, "A V"]:
        """`answer_logits` of prompts with all that stands in front of the text."""

    @cached_property
    @torch.no_grad()
    def bos(self) -> Float[Tensor, "_ d"]:
        """What stands in front of every prompt: one row, or none. float32, on the model's device."""
        return self.embed([] if self.bos_id is None else [self.bos_id]).to(self.model.device)

    def behind_bos(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "_ d"]:
        """The rows of a prompt, with the beginning-of-sequence token in front if the model needs it. It is never trained."""
        return rows if self.bos_id is None else torch.cat([self.bos.to(rows), rows])

    @abstractmethod
    def prefix_logits(self, prefixes: Sequence[Float[Tensor, "_ D"]], batch: Batch) -> Float[Tensor, "A V"]:
        """`answer_logits` behind prefixes: keys and values of every layer, instead of rows that the model turns into them.

        Args:
            prefixes: one row per position, as `keys_and_values` lays them out. Cast and differentiated like prompts.

        Raises:
            UserError: the model has no key-value cache.
        """

    @cached_property
    def cache_shapes(self) -> list[tuple[int, int, int]]:
        """For each layer with a key-value cache: its heads H, the width of a key, and of a value."""
        with torch.no_grad():
            cache = self._cache_of(torch.zeros(1, 1, self.width))
        return [(layer.keys.shape[1], layer.keys.shape[3], layer.values.shape[3]) for layer in cache.layers]

    @property
    def prefix_width(self) -> int:
        """D, how many numbers the keys and values of a position have in all layers."""
        return sum(heads * (key + value) for heads, key, value in self.cache_shapes)

    @torch.no_grad()
    def keys_and_values(self, prompt: Float[Tensor, "n d"]) -> Float[Tensor, "_ D"]:
        """What the model makes of a prompt's rows: a prefix that does what the prompt does. Float32 on the CPU.

        Its first row is that of the beginning-of-sequence token, if the model needs it; then come n rows, one per row.
        A row of D numbers has the keys of all heads of the first layer, their values, the keys of the second layer, and so on.

        Raises:
            UserError: a layer keeps only the last positions (sliding-window attention), and the prompt has more.
        """
        rows = self.behind_bos(prompt)
        parts = [
            part[0].transpose(0, 1).flatten(1)  # [1, H, n, e] -> [n, H·e]
            for layer in self._cache_of(rows[None]).layers
            for part in (layer.keys, layer.values)
        ]
        if (kept := min(len(part) for part in parts)) < len(rows):
            raise UserError(
                f"method=prefix: a layer of {self.id} keeps keys and values of only {kept} positions, and the prompt has "
                f"{len(rows)} rows; use a smaller prompt.length"
            )
        return torch.cat(parts, 1).float().cpu()

    def split_prefix(
        self, prefix: Float[Tensor, "n D"]
    ) -> list[tuple[Float[Tensor, "n H e"], Float[Tensor, "n H _"]]]:
        """The keys and values of each layer of a prefix."""
        sizes = [heads * width for heads, *widths in self.cache_shapes for width in widths]
        parts = iter(torch.split(prefix, sizes, 1))
        return [
            (next(parts).view(-1, heads, key), next(parts).view(-1, heads, value))
            for heads, key, value in self.cache_shapes
        ]

    def _cache_of(self, prompts: Float[Tensor, "P n d"]) -> Any:
        """The model's key-value cache after P prompts of equal length."""
        rows = prompts.to(self.model.device, self.dtype)
        return self.model.base_model(inputs_embeds=rows, use_cache=True).past_key_values

    @property
    def width(self) -> int:
        """d, the width of an embedding."""
        return int(self.model.get_input_embeddings().weight.shape[1])

    @property
    def table_rows(self) -> int:
        """Rows of the embedding table. A tokenizer may know fewer tokens, or more."""
        return int(self.model.get_input_embeddings().num_embeddings)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the frozen weights."""
        return self.model.dtype  # type: ignore[no-any-return]

    @property
    def context_length(self) -> int | None:
        """The longest sequence, in tokens, that the model was made for; None if its config does not say.

        The place of the token in front of every prompt is not counted.
        With LongRoPE (Ding et al. 2024) it is the original context: if any sequence of a batch is longer, the keys of all
        are rotated in another way, and a prompt cannot share its keys between short and long sequences.
        """
        config, taken = self.model.config, 0 if self.bos_id is None else 1
        rope = getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type") == "longrope":
            return int(rope["original_max_position_embeddings"]) - taken
        for name in ("max_position_embeddings", "n_positions", "seq_length"):
            if isinstance(length := getattr(config, name, None), int):
                return length - taken
        return None

    def non_finite_weight(self) -> str | None:
        """The name of the first weight that is not finite; None if all are."""
        parameters = self.model.named_parameters()
        return next((name for name, weight in parameters if not torch.isfinite(weight).all()), None)

    def to(self, device: torch.device) -> None:
        """Move the weights to a device."""
        self.model.to(device)
        self.__dict__.pop("bos", None)  # is on the other device

    def tokens_of(self, text: str) -> list[int]:
        """The token ids of a text, without special tokens.

        Raises:
            UserError: the embedding table has no row for one of them.
        """
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        check_ids(ids, self.table_rows, repr(text))
        return ids

    def token_text(self, token: int) -> str:
        """A token as text; its name in the vocabulary if it decodes to nothing, or to part of a character."""
        text = str(self.tokenizer.decode([token]))
        name = self.tokenizer.convert_ids_to_tokens(token)
        return show_control_characters(str(name) if "\ufffd" in text or not text else text)

    @torch.no_grad()
    def embed(self, ids: list[int]) -> Float[Tensor, "n d"]:
        """The input embeddings of tokens, float32 on the CPU."""
        table = self.model.get_input_embeddings()
        embedded: Tensor = table(torch.tensor(ids, dtype=torch.long, device=table.weight.device))  # [n, d]
        return embedded.float().cpu()

    def embed_text(self, text: str) -> Float[Tensor, "n d"]:
        """The input embeddings of a text's tokens, float32 on the CPU: an untuned prompt."""
        return self.embed(self.tokens_of(text))

    def embedding_chunks(self, rows: int = 16384) -> Iterator[Float[Tensor, "_ d"]]:
        """The input embeddings of all tokens in order, float32 on the CPU, `rows` at a time.

        In chunks, because a multilingual table takes a gigabyte in float32. A table may have more rows than the
        tokenizer has tokens; the spare rows are left out.
        """
        size = min(len(self.tokenizer), self.table_rows)
        for start in range(0, size, rows):
            yield self.embed(list(range(start, min(start + rows, size))))

    @cached_property
    def embedding_scale(self) -> float:
        """Standard deviation of the entries of the embedding table."""
        count, total, squares = 0, 0.0, 0.0
        for chunk in self.embedding_chunks():
            count += chunk.numel()
            total += chunk.sum(dtype=torch.float64).item()
            squares += chunk.double().square().sum().item()
        return float(((squares - total**2 / count) / (count - 1)) ** 0.5)

    @cached_property
    def embedding_hash(self) -> str:
        """A hash of the model's shape and of `HASHED_ROWS` of its embeddings, rounded to bfloat16.

        It is the same for every place that the model is loaded from, and for both dtypes, if the weights were stored in
        bfloat16 or are rounded from the same values.
        """
        rows = torch.linspace(0, self.table_rows - 1, HASHED_ROWS).long().tolist()
        embedded = self.embed(rows).bfloat16().view(torch.int16)  # [HASHED_ROWS, d]
        shape = f"{self.model.config.model_type} {self.table_rows} "
        return sha256(shape.encode() + embedded.numpy().tobytes())[:16]

    def model_input(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Embeddings after the model's embedding LayerNorm, float32 on the CPU.

        Most models have no such LayerNorm: returns `rows` unchanged.
        """
        return rows

    @torch.no_grad()
    def feed_forward_activity(self, prompt: Float[Tensor, "n d"]) -> Bool[Tensor, "F"] | None:
        """Which feed-forward neurons of all layers are active (above 0) at an end-of-sequence token behind a prompt.

        The token carries no content, so that the activity is due to the prompt (after Su et al. 2022, section 5.2).

        Returns:
            One entry per neuron, layer by layer; None if the model's activation functions are not found by name.
        """
        names = ("act_fn", "act", "gelu_impl", "activation_fn")
        modules = [m for name, m in self.model.named_modules() if name.rpartition(".")[2] in names]
        if not modules:
            return None
        active: list[Tensor] = []
        handles = [
            module.register_forward_hook(
                # The last position's activations: [1, n + 1, F of a layer] -> [F of a layer]
                lambda _, __, output: active.append(output.reshape(-1, output.shape[-1])[-1] > 0)
            )
            for module in modules
        ]
        try:
            end_of_sequence = self.embed([self.tokenizer.eos_token_id])
            rows = torch.cat([self.behind_bos(prompt), end_of_sequence]).to(
                self.model.device, self.dtype
            )  # [n + 1, d]
            self.model.base_model(inputs_embeds=rows[None], use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return torch.cat(active).cpu()


@contextmanager
def head_at(model: Any, positions: Int[Tensor, "A"]) -> Iterator[None]:
    """Inside the context, the model's head is applied at these positions of its flattened `[B·L]` input only.

    A hook in front of the head, and not the base model's hidden states, so that the model's own forward still does
    what it does around the head (scaling, soft-capping).
    """

    def select(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *rest = inputs
        # [B, L, d] -> [B·L, d] -> [1, A, d]
        return (hidden.flatten(0, 1).index_select(0, positions)[None], *rest)

    hook = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        hook.remove()
