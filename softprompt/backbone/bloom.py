"""BLOOM without padding: the same function as Hugging Face's, on the same weights, with less work.

The rows of every prompt once, the tokens of every text once, and the answers' tokens stay packed in one `[T, d]`
matrix through every linear layer and norm. They are laid out in grids only inside attention, where the keys of an
answer are its prompt's rows, its text, and its own tokens. In the last block nothing but the answer positions goes
past attention.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformers.models.bloom.modeling_bloom import build_alibi_tensor

from softprompt.backbone.layout import Group, lay_out
from softprompt.backbone.shared_prefix import Backbone
from softprompt.data.batch import Batch


@dataclass(frozen=True)
class Attention:
    """A group of queries and keys, with what is added to their products, on the device."""

    queries: Int[Tensor, "N Q"]
    keys: Int[Tensor, "N K"]
    bias: Float[Tensor, "#N H Q K"]  # ALiBi and mask
    filled: Int[Tensor, "t"]  # places of the flattened grid of queries that hold a row

    def __call__(self, qkv: Float[Tensor, "T H 3 e"]) -> Float[Tensor, "t He"]:
        """Attention outputs of the queries that hold a row."""
        n, width = self.queries.shape
        query = qkv[:, :, 0].index_select(0, self.queries.flatten()).view(n, width, *qkv.shape[1::2])
        pairs = (
            qkv[:, :, 1:].index_select(0, self.keys.flatten()).view(n, -1, *qkv.shape[1:2], 2, qkv.shape[3])
        )
        key, value = pairs.unbind(3)
        output = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=self.bias.expand(n, -1, -1, -1),
        )
        return output.transpose(1, 2).reshape(n * width, -1).index_select(0, self.filled)


class BloomBackbone(Backbone):
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
        used = sorted(set(batch.prompt_of.tolist()))
        layout = lay_out([len(prompt) if i in used else 0 for i, prompt in enumerate(prompts)], batch)
        groups = [self._attention(group) for group in layout.groups]
        answers = self._attention(layout.answers)

        tokens = torch.cat([batch.text_ids, *batch.read_ids]).to(device)
        rows = [prompts[i].to(device, self.dtype) for i in used]
        hidden = torch.cat([*rows, transformer.word_embeddings(tokens)])
        hidden = transformer.word_embeddings_layernorm(hidden)
        *blocks, last = transformer.h
        for block in blocks:
            qkv = self._project(block, hidden)
            attended = torch.cat([group(qkv) for group in groups])
            hidden = self._after_attention(block, attended, hidden)
        attended = answers(self._project(last, hidden))
        hidden = hidden.index_select(0, layout.answers.rows.to(device))
        logits: Tensor = self.model.lm_head(transformer.ln_f(self._after_attention(last, attended, hidden)))
        return logits

    def _project(self, block: Any, hidden: Float[Tensor, "T d"]) -> Float[Tensor, "T H 3 e"]:
        heads = self.model.config.n_head
        qkv: Tensor = block.self_attention.query_key_value(block.input_layernorm(hidden))
        return qkv.view(len(hidden), heads, 3, -1)

    def _after_attention(
        self, block: Any, attended: Float[Tensor, "t d"], residual: Float[Tensor, "t d"]
    ) -> Float[Tensor, "t d"]:
        hidden = residual + block.self_attention.dense(attended)
        # Hugging Face spells out the same tanh approximation, in several passes over memory.
        inner = F.gelu(block.mlp.dense_h_to_4h(block.post_attention_layernorm(hidden)), approximate="tanh")
        outer: Tensor = hidden + block.mlp.dense_4h_to_h(inner)
        return outer

    def _attention(self, group: Group) -> Attention:
        """ALiBi (Press et al. 2022) by distance, and minus infinity where a key is absent or behind its query.

        Hugging Face adds slope times key position; softmax does not see the difference, but in bfloat16 the
        distance of near keys is exact and a late position is not.
        """
        heads, device = self.model.config.n_head, self.model.device
        # One key at position 1 has a bias of one slope.
        slopes: Tensor = build_alibi_tensor(torch.ones(1, 2, dtype=torch.long), heads, torch.float32)[:, 0, 1]
        distance = group.key_positions - group.query_positions[:, :, None]
        hidden = (distance > 0) | group.absent[:, None]
        bias = slopes[:, None, None] * distance[:, None]
        return Attention(
            group.queries.to(device),
            group.keys.to(device),
            bias.masked_fill(hidden[:, None], float("-inf")).to(device, self.dtype),
            group.filled.to(device),
        )
