"""Prompts, texts and answers without padding, with models that take attention from outside.

The model's own forward runs over one packed row of tokens; only its attention is ours, through transformers' attention
interface. As for BLOOM, a prompt is run once, a text serves all its answers, and the head is applied at the answers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AttentionInterface

from softprompt.backbone.attention import BySequence, InGrids, arrange
from softprompt.backbone.layout import Layout, lay_out
from softprompt.backbone.shared_prefix import Backbone, keep_before_head
from softprompt.data.batch import Batch

# Whose attention is plain softmax over visible keys, with positions that come as `position_ids`.
FAMILIES = {"llama", "gpt2", "qwen2", "qwen3", "mistral", "gpt_neox"}

_current: ContextVar[BySequence | InGrids] = ContextVar("attention")


class PackedBackbone(Backbone):
    """The backbone contract for the model families that are known to allow it."""

    @staticmethod
    def fits(config: Any) -> bool:
        """Whether a model of this config is computed here."""
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        window = (
            getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        )
        scaled = getattr(config, "scale_attn_by_inverse_layer_idx", False)
        return config.model_type in FAMILIES and kinds == {"full_attention"} and window is None and not scaled

    def answer_logits(self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch) -> Float[Tensor, "A V"]:
        """Logits that predict each answer token of the batch, in the batch's order, in the weights' dtype."""
        device = self.model.device
        layout, rows = self._lay_out(prompts, batch)
        embedded = torch.cat([*rows, self.model.get_input_embeddings()(layout.tokens.to(device))])
        own = [
            layout.prompt_lengths[which] + at
            for which, at in zip(layout.prompt_of, layout.positions, strict=True)
        ]
        positions = torch.cat([*(torch.arange(length) for length in layout.prompt_lengths), *own]).to(device)
        asked = layout.asked_rows.to(device)
        with attending(self.model.config, self._arrange(layout)), keep_before_head(self.model, asked):
            output = self.model(inputs_embeds=embedded[None], position_ids=positions[None], use_cache=False)
        logits: Tensor = output.logits[0]
        return logits

    def _lay_out(
        self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch
    ) -> tuple[Layout, list[Float[Tensor, "_ d"]]]:
        """The layout of a batch, and the rows of those prompts that are in it, where and as the model reads them."""
        used = sorted(set(batch.prompt_of.tolist()))
        layout = lay_out([len(prompt) if i in used else 0 for i, prompt in enumerate(prompts)], batch)
        return layout, [prompts[i].to(self.model.device, self.dtype) for i in used]

    def _arrange(self, layout: Layout) -> BySequence | InGrids:
        return arrange(layout, self._slopes(), self.dtype, self.model.device, self.width)

    def _slopes(self) -> Float[Tensor, "H"]:
        """ALiBi's: no bias, whatever the head."""
        return torch.zeros(1)


@contextmanager
def attending(config: Any, attention: BySequence | InGrids) -> Iterator[None]:
    """Within, a model of this config attends as `attention` says."""
    before = config._attn_implementation
    config._attn_implementation = "softprompt"
    token = _current.set(attention)
    try:
        yield
    finally:
        _current.reset(token)
        config._attn_implementation = before


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, scaling: float, **_: Any
) -> tuple[Float[Tensor, "1 T H e"], None]:
    """What transformers calls in every layer, with `[1, heads, T, e]` each."""
    q, k, v = (rows[0].transpose(0, 1) for rows in (query, key, value))
    return _current.get().every_row(q, k, v, scaling).view(1, *q.shape), None


AttentionInterface.register("softprompt", _attend)
