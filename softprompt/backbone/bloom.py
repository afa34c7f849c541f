"""BLOOM without padding: the same function as Hugging Face's, on the same weights, with less work.

The rows of every prompt once, the tokens of every text once, and the answers' tokens stay packed in one `[T, d]`
matrix through every linear layer and norm. In attention the keys of an answer are its prompt's rows, its text, and
its own tokens. In the last block nothing but the answer positions goes past attention.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from transformers.models.bloom.modeling_bloom import build_alibi_tensor

from softprompt.backbone.attention import Rows
from softprompt.backbone.packed import PackedBackbone
from softprompt.data.batch import Batch


class BloomBackbone(PackedBackbone):
    """The backbone contract for BLOOM and BLOOMZ."""

    @staticmethod
    def fits(config: Any) -> bool:
        """Whether a model of this config is computed here; else the general way has to do."""
        return config.model_type == "bloom" and not config.apply_residual_connection_post_layernorm

    @torch.no_grad()
    def as_read(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Rows after BLOOM's embedding LayerNorm, which takes away their scale and their mean."""
        norm = self.model.transformer.word_embeddings_layernorm
        read: Tensor = norm(rows.to(norm.weight.device, norm.weight.dtype))
        return read.float().cpu()

    def answer_logits(self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch) -> Float[Tensor, "A V"]:
        """Logits that predict each answer token of the batch, in the batch's order, in the weights' dtype."""
        transformer = self.model.transformer
        device = self.model.device
        layout, rows = self._lay_out(prompts, batch)
        attention = self._arrange(layout)
        scale = (self.width // self.model.config.n_head) ** -0.5
        hidden = torch.cat([*rows, transformer.word_embeddings(layout.tokens.to(device))])
        hidden = transformer.word_embeddings_layernorm(hidden)
        *blocks, last = transformer.h
        for block in blocks:
            attended = attention.every_row(*self._project(block, hidden), scale)
            hidden = self._after_attention(block, attended, hidden)
        attended = attention.asked_rows(*self._project(last, hidden), scale)
        hidden = hidden.index_select(0, layout.asked_rows.to(device))
        hidden = self._after_attention(last, attended, hidden)
        logits: Tensor = self.model.lm_head(transformer.ln_f(hidden))
        return logits

    def _project(self, block: Any, hidden: Float[Tensor, "T d"]) -> tuple[Rows, Rows, Rows]:
        qkv: Tensor = block.self_attention.query_key_value(block.input_layernorm(hidden))
        query, key, value = qkv.view(len(hidden), self.model.config.n_head, 3, -1).unbind(2)
        return query, key, value

    def _after_attention(
        self, block: Any, attended: Float[Tensor, "t d"], residual: Float[Tensor, "t d"]
    ) -> Float[Tensor, "t d"]:
        hidden = residual + block.self_attention.dense(attended)
        # Hugging Face spells out the same tanh approximation, in several passes over memory.
        inner = F.gelu(block.mlp.dense_h_to_4h(block.post_attention_layernorm(hidden)), approximate="tanh")
        outer: Tensor = hidden + block.mlp.dense_4h_to_h(inner)
        return outer

    def _slopes(self) -> Float[Tensor, "H"]:
        """ALiBi's, by head."""
        # One key at position 1 has a bias of one slope.
        bias: Tensor = build_alibi_tensor(
            torch.ones(1, 2, dtype=torch.long), self.model.config.n_head, torch.float32
        )
        return bias[:, 0, 1]
