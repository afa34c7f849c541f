"""Answer logits without padding, for model families that let us replace their attention function.

Prompts, texts and answers stand end to end in one row of T tokens. The model's own forward runs over that row; only its
attention is ours, through transformers' attention interface. A prompt is run once, a text is read once for all its
answers, and the head is applied at the answers only.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AttentionInterface

from softprompt.backbone.attention import Attention, make_attention
from softprompt.backbone.base import Backbone, head_at
from softprompt.backbone.layout import Layout, lay_out
from softprompt.data.batch import Batch

# Families whose attention is plain softmax over all earlier keys and whose positions come as `position_ids`.
FAMILIES = {"llama", "gpt2", "qwen2", "qwen3", "mistral", "gpt_neox"}

_attention: ContextVar[Attention] = ContextVar("attention")


class UnpaddedBackbone(Backbone):
    """The backbone contract for `FAMILIES`."""

    @staticmethod
    def supports(config: Any) -> bool:
        """True if this class computes models with this config: a known family, without sliding windows."""
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        window = (
            getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        )
        scaled = getattr(config, "scale_attn_by_inverse_layer_idx", False)
        return config.model_type in FAMILIES and kinds == {"full_attention"} and window is None and not scaled

    def answer_logits(self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch) -> Float[Tensor, "A V"]:
        """See `Backbone.answer_logits`."""
        device = self.model.device
        layout, prompt_rows = self._lay_out(prompts, batch)
        token_rows = self.model.get_input_embeddings()(layout.tokens.to(device))
        embedded = torch.cat([*prompt_rows, token_rows])  # [T, d]
        with (
            attending(self.model.config, self._make_attention(layout)),
            head_at(self.model, layout.predicting_rows.to(device)),
        ):
            output = self.model(
                inputs_embeds=embedded[None],  # [1, T, d]
                position_ids=layout.position_ids.to(device)[None],  # [1, T]
                use_cache=False,
            )
        logits: Tensor = output.logits[0]  # [1, A, V] -> [A, V]
        return logits

    def _lay_out(
        self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch
    ) -> tuple[Layout, list[Float[Tensor, "_ d"]]]:
        """The layout of a batch, and the prompts that occur in it, on the model's device and in its dtype."""
        used = sorted(set(batch.prompt_of.tolist()))
        layout = lay_out([len(prompt) if i in used else 0 for i, prompt in enumerate(prompts)], batch)
        return layout, [prompts[i].to(self.model.device, self.dtype) for i in used]

    def _make_attention(self, layout: Layout) -> Attention:
        return make_attention(layout, self._slopes(), self.dtype, self.model.device, self.width)

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
