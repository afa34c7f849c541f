"""BLOOM without padding: the same function as Hugging Face's, on the same weights, with less work.

Prompt rows, text tokens and answer tokens stay end to end in one `[T, d]` matrix through every linear layer and norm.
In attention the keys of an answer token are its prompt's rows, its text, and its own answer's tokens up to itself. In
the last block only the rows that predict an answer token go on after attention.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from transformers.models.bloom.modeling_bloom import build_alibi_tensor

from softprompt.backbone.unpadded import Inputs, UnpaddedBackbone

Heads = Float[Tensor, "T H e"]


class BloomBackbone(UnpaddedBackbone):
    """The backbone contract for BLOOM and BLOOMZ."""

    @staticmethod
    def supports(config: Any) -> bool:
        """True if this class computes models with this config."""
        return config.model_type == "bloom" and not config.apply_residual_connection_post_layernorm

    def _forward(self, inputs: Inputs) -> Float[Tensor, "A V"]:
        transformer = self.model.transformer
        attention = inputs.attention
        scale = (self.width // self.model.config.n_head) ** -0.5

        embedded = torch.cat([*inputs.prompts, transformer.word_embeddings(inputs.tokens)])
        hidden = transformer.word_embeddings_layernorm(embedded)  # [T, d]
        *blocks, last = transformer.h
        for layer, block in enumerate(blocks):
            query, key, value = self._query_key_value(block, hidden)
            attended = attention.attend(query, *inputs.keys_and_values(layer, key, value), scale)  # [T, H·e]
            hidden = self._after_attention(block, attended, hidden)  # [T, d]

        # Nothing reads the last block's other rows, so only the predicting rows are computed.
        query, key, value = self._query_key_value(last, hidden)
        key, value = inputs.keys_and_values(len(blocks), key, value)
        attended = attention.attend_predicting(query, key, value, scale)  # [A, H·e]
        hidden = hidden.index_select(0, inputs.predicting_rows)  # [T, d] -> [A, d]
        hidden = self._after_attention(last, attended, hidden)  # [A, d]
        logits: Tensor = self.model.lm_head(transformer.ln_f(hidden))  # [A, V]
        return logits

    def _query_key_value(self, block: Any, hidden: Float[Tensor, "T d"]) -> tuple[Heads, Heads, Heads]:
        fused: Tensor = block.self_attention.query_key_value(block.input_layernorm(hidden))  # [T, H·3·e]
        query, key, value = fused.view(len(hidden), self.model.config.n_head, 3, -1).unbind(
            2
        )  # [T, H, e] each
        return query, key, value

    def _after_attention(
        self, block: Any, attended: Float[Tensor, "t d"], residual: Float[Tensor, "t d"]
    ) -> Float[Tensor, "t d"]:
        """The rest of a block: output projection, feed-forward, and their residual connections."""
        hidden = residual + block.self_attention.dense(attended)
        # The tanh approximation that Hugging Face writes out as several passes over memory.
        inner = F.gelu(
            block.mlp.dense_h_to_4h(block.post_attention_layernorm(hidden)), approximate="tanh"
        )  # [t, 4·d]
        outer: Tensor = hidden + block.mlp.dense_4h_to_h(inner)  # [t, d]
        return outer

    @torch.no_grad()
    def model_input(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Embeddings after BLOOM's embedding LayerNorm, which removes each row's scale and mean."""
        norm = self.model.transformer.word_embeddings_layernorm
        normalised: Tensor = norm(rows.to(norm.weight.device, norm.weight.dtype))
        return normalised.float().cpu()

    def _slopes(self) -> Float[Tensor, "H"]:
        """ALiBi slopes, one per head (Press et al. 2022, section 3)."""
        # transformers builds slope · position for [1, 2] tokens, [H, 1, 2]: at position 1 that is the slope.
        bias: Tensor = build_alibi_tensor(
            torch.ones(1, 2, dtype=torch.long), self.model.config.n_head, torch.float32
        )
        return bias[:, 0, 1]
