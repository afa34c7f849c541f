"""Answer logits without padding, for model families that let us replace their attention function.

Prompts, texts and answers stand end to end in one row of T tokens. The model's own forward runs over that row; only its
attention is ours, through transformers' attention interface. A prompt is run once, a text is read once for all its
answers, and the head is applied at the answers only.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import AttentionInterface

from softprompt.backbone.attention import Attention, uses_grids
from softprompt.backbone.attention.cpu import LoopAttention
from softprompt.backbone.attention.gpu import GridAttention
from softprompt.backbone.base import Backbone, head_at
from softprompt.backbone.layout import lay_out
from softprompt.data.batch import Batch, copy_together

# Families whose attention is plain softmax over all earlier keys and whose positions come as `position_ids`.
FAMILIES = {"llama", "gpt2", "qwen2", "qwen3", "mistral", "gpt_neox"}

_attention: ContextVar[Attention] = ContextVar("attention")


@dataclass(frozen=True)
class Inputs:
    """A batch on the model's device, as T rows: see `Layout`."""

    prompts: list[Float[Tensor, "_ d"]]  # those that occur in the batch, in the weights' dtype
    tokens: Int[Tensor, "t"]
    position_ids: Int[Tensor, "T"]
    predicting_rows: Int[Tensor, "A"]
    attention: Attention


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
        inputs = self._inputs(prompts, batch)
        embedded = torch.cat([*inputs.prompts, self.model.get_input_embeddings()(inputs.tokens)])  # [T, d]
        with attending(self.model.config, inputs.attention), head_at(self.model, inputs.predicting_rows):
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
def attending(config: Any, attention: Attention) -> Iterator[None]:
    """Inside the context, models with this config use `attention`."""
    before = config._attn_implementation
    config._attn_implementation = "softprompt"
    token = _attention.set(attention)
    try:
        yield
    finally:
        _attention.reset(token)
        config._attn_implementation = before


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, scaling: float, **_: Any
) -> tuple[Float[Tensor, "1 T H e"], None]:
    """What transformers calls in every layer, with query, key and value `[1, H, T, e]`."""
    q, k, v = (rows[0].transpose(0, 1) for rows in (query, key, value))  # [1, H, T, e] -> [T, H, e]
    return _attention.get().attend(q, k, v, scaling).view(1, *q.shape), None  # [T, H·e] -> [1, T, H, e]


AttentionInterface.register("softprompt", _attend)
