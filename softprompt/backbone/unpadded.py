"""Answer logits without padding, for model families that let us replace their attention function.

Prompts, texts and answers stand end to end in one row of T tokens. The model's own forward runs over that row; only its
attention is ours, through transformers' attention interface. A prompt is run once, a text is read once for all its
answers, and the head is applied at the answers only.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import AttentionInterface

from softprompt.backbone.attention import Attention, uses_grids
from softprompt.backbone.attention.bias import Rows
from softprompt.backbone.attention.cpu import LoopAttention
from softprompt.backbone.attention.gpu import GridAttention
from softprompt.backbone.base import Backbone, head_at
from softprompt.backbone.layout import lay_out
from softprompt.data.batch import Batch, copy_together

# Families whose attention is plain softmax over all earlier keys and whose positions come as `position_ids`.
FAMILIES = {"llama", "gpt2", "qwen2", "qwen3", "mistral", "gpt_neox"}

_inputs: ContextVar["Inputs"] = ContextVar("inputs")


@dataclass(frozen=True)
class Inputs:
    """A batch on the model's device, as T rows: see `Layout`."""

    prompts: list[Float[Tensor, "_ d"]]  # those that occur in the batch, in the weights' dtype
    tokens: Int[Tensor, "t"]
    position_ids: Int[Tensor, "T"]
    predicting_rows: Int[Tensor, "A"]
    attention: Attention
    prefix: list[tuple[Rows, Rows]] | None = None  # of each layer, keys and values of the prompts' rows

    def keys_and_values(self, layer: int, key: Rows, value: Rows) -> tuple[Rows, Rows]:
        """Keys and values of T rows in a layer, with those of the prefix in their places, if there is one."""
        if self.prefix is None:
            return key, value
        keys, values = self.prefix[layer]
        return torch.cat([keys, key[len(keys) :]]), torch.cat([values, value[len(values) :]])


class UnpaddedBackbone(Backbone):
    """The backbone contract for `FAMILIES`."""

    _copied_slopes: Float[Tensor, "H"] | None = None

    @staticmethod
    def supports(config: Any) -> bool:
        """True if this class computes models with this config: a known family, without sliding windows."""
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        window = (
            getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        )
        scaled = getattr(config, "scale_attn_by_inverse_layer_idx", False)
        return config.model_type in FAMILIES and kinds == {"full_attention"} and window is None and not scaled

    def _answer_logits(self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch) -> Float[Tensor, "A V"]:
        """See `Backbone._answer_logits`."""
        return self._forward(self._inputs(prompts, batch))

    def prefix_logits(self, prefixes: Sequence[Float[Tensor, "_ D"]], batch: Batch) -> Float[Tensor, "A V"]:
        """See `Backbone.prefix_logits`.

        Rows of zeros hold the places of the prefixes; in every layer their keys and values are replaced by the prefixes'.
        """
        places = [prefix.new_zeros(len(prefix), self.width) for prefix in prefixes]
        used = sorted(set(batch.prompt_of.tolist()))
        joined = torch.cat([prefixes[i] for i in used]).to(
            self.model.device, self.dtype
        )  # [rows of prompts, D]
        return self._forward(replace(self._inputs(places, batch), prefix=self.split_prefix(joined)))

    def _forward(self, inputs: "Inputs") -> Float[Tensor, "A V"]:
        embedded = torch.cat([*inputs.prompts, self.model.get_input_embeddings()(inputs.tokens)])  # [T, d]
        with attending(self.model.config, inputs), head_at(self.model, inputs.predicting_rows):
            output = self.model(
                inputs_embeds=embedded[None],  # [1, T, d]
                position_ids=inputs.position_ids[None],  # [1, T]
                use_cache=False,
            )
        logits: Tensor = output.logits[0]  # [1, A, V] -> [A, V]
        return logits

    def _inputs(self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch) -> "Inputs":
        """What a forward needs, on the model's device. All indices are copied there in one transfer."""
        used = sorted(set(batch.prompt_of.tolist()))
        layout = lay_out([len(prompt) if i in used else 0 for i, prompt in enumerate(prompts)], batch)
        device, grids = self.model.device, self._uses_grids()
        on_device = copy_together(
            {
                "tokens": layout.tokens,
                "position_ids": layout.position_ids,
                "predicting_rows": layout.predicting_rows,
                **(GridAttention.indices(layout) if grids else {}),
            },
            device,
        )
        attention: Attention
        if grids:
            attention = GridAttention.build(layout, on_device, self._slopes_on(device), self.dtype)
        else:
            attention = LoopAttention.build(layout, self._slopes_on(device), self.dtype)
        return Inputs(
            [prompts[i].to(device, self.dtype) for i in used],
            on_device["tokens"],
            on_device["position_ids"],
            on_device["predicting_rows"],
            attention,
        )

    def _uses_grids(self) -> bool:
        return uses_grids(self.model.device, self.width)

    def _slopes_on(self, device: torch.device) -> Float[Tensor, "H"]:
        """`_slopes` on a device. Copied there once, not at each step."""
        if self._copied_slopes is None or self._copied_slopes.device != device:
            self._copied_slopes = self._slopes().to(device)
        return self._copied_slopes

    def _slopes(self) -> Float[Tensor, "H"]:
        """ALiBi slopes. These models use none: one slope of 0."""
        return torch.zeros(1)


@contextmanager
def attending(config: Any, inputs: Inputs) -> Iterator[None]:
    """Inside the context, models with this config use the attention of `inputs`."""
    before = config._attn_implementation
    config._attn_implementation = "softprompt"
    token = _inputs.set(inputs)
    try:
        yield
    finally:
        _inputs.reset(token)
        config._attn_implementation = before


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, scaling: float, **_: Any
) -> tuple[Float[Tensor, "1 T H e"], None]:
    """What transformers calls in every layer, with query, key and value `[1, H, T, e]`."""
    inputs = _inputs.get()
    q, k, v = (rows[0].transpose(0, 1) for rows in (query, key, value))  # [1, H, T, e] -> [T, H, e]
    k, v = inputs.keys_and_values(module.layer_idx, k, v)
    return inputs.attention.attend(q, k, v, scaling).view(1, *q.shape), None  # [T, H·e] -> [1, T, H, e]


AttentionInterface.register("softprompt", _attend)
