"""BLOOM without padding: the same function as Hugging Face's, on the same weights, with less work.

Tokens of all sequences, and the rows of every prompt once, stay packed in one `[T, d]` matrix through every
linear layer and norm. They are laid out in a grid only inside attention, where each sequence's keys are its
prompt's rows, then its own tokens. In the last block nothing but the answer positions goes past attention.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers.models.bloom.modeling_bloom import build_alibi_tensor

from softprompt.backbone.shared_prefix import Backbone
from softprompt.data.batch import Batch


@dataclass(frozen=True)
class Attention:
    """Which packed rows attend to which: a grid of N sequences, Q queries and K keys, and what is added there."""

    queries: Int[Tensor, "N Q"]
    keys: Int[Tensor, "N K"]
    bias: Float[Tensor, "M H Q K"]  # ALiBi and mask; M is N, or 1 where it is the same for all
    filled: Int[Tensor, "t"]  # places of the flattened grid of queries that hold a row, in packed order

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


@dataclass(frozen=True)
class Layout:
    """Where prompts, texts and answers lie among the T packed rows: prompts first, then texts."""

    prompts: Attention | None  # every prompt over itself; None where no prompt has a row
    texts: Attention
    answers: Attention  # as `texts`, for the answer positions' queries alone
    answer_rows: Int[Tensor, "A"]


class BloomBackbone(Backbone):
    """The backbone contract for BLOOM and BLOOMZ."""

    @staticmethod
    def fits(config: Any) -> bool:
        """Whether a model of this config is computed here; else the general way has to do."""
        return config.model_type == "bloom" and not config.apply_residual_connection_post_layernorm

    def answer_logits(self, prompts: Sequence[Float[Tensor, "_ d"]], batch: Batch) -> Float[Tensor, "A V"]:
        """Logits that predict each answer token of the batch, in the batch's order, in the weights' dtype."""
        transformer = self.model.transformer
        device = self.model.device
        used = sorted(set(batch.prompt_of.tolist()))
        layout = self._layout([prompts[i].shape[0] for i in used], used, batch)
        # An answer's last token is predicted, never read.
        read = torch.cat([ids[:-1] for ids in torch.split(batch.token_ids, batch.lengths.tolist())])
        rows = [prompts[i].to(device, self.dtype) for i in used]
        hidden = torch.cat([*rows, transformer.word_embeddings(read.to(device))])
        hidden = transformer.word_embeddings_layernorm(hidden)
        *blocks, last = transformer.h
        for block in blocks:
            qkv = self._project(block, hidden)
            parts = [layout.prompts(qkv)] if layout.prompts else []
            hidden = self._after_attention(block, torch.cat([*parts, layout.texts(qkv)]), hidden)
        attended = layout.answers(self._project(last, hidden))
        hidden = self._after_attention(last, attended, hidden.index_select(0, layout.answer_rows))
        logits: Tensor = self.model.lm_head(transformer.ln_f(hidden))
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

    def _layout(self, prompt_lengths: list[int], used: list[int], batch: Batch) -> Layout:
        device = self.model.device
        longest = max(prompt_lengths)
        ends = torch.tensor(prompt_lengths).cumsum(0)
        prompt_rows = [
            torch.arange(end - n, end) for end, n in zip(ends.tolist(), prompt_lengths, strict=True)
        ]
        text_lengths = (batch.lengths - 1).tolist()
        starts = int(ends[-1]) + (batch.lengths - 1).cumsum(0) - (batch.lengths - 1)
        text_rows = [torch.arange(s, s + n) for s, n in zip(starts.tolist(), text_lengths, strict=True)]
        answer_lengths = batch.answer_lengths.tolist()
        answer_rows = [rows[len(rows) - a :] for rows, a in zip(text_rows, answer_lengths, strict=True)]

        which = [used.index(i) for i in batch.prompt_of.tolist()]
        # Prompts end where the texts begin: the shorter ones are padded in front.
        prefix = torch.stack([F.pad(prompt_rows[w], (longest - len(prompt_rows[w]), 0)) for w in which])
        own = pad_sequence(text_rows, batch_first=True)
        keys = torch.cat([prefix, own], 1).to(device)
        key_positions = torch.arange(-longest, own.shape[1])
        absent = torch.stack([key_positions < -prompt_lengths[w] for w in which])
        if not absent.any():
            absent = absent[:1]
        query_positions = torch.arange(own.shape[1])[None]
        answer_positions = pad_sequence(
            [rows - start for rows, start in zip(answer_rows, starts.tolist(), strict=True)], batch_first=True
        )
        own_prompt = pad_sequence(prompt_rows, batch_first=True).to(device)
        places = torch.arange(longest)
        return Layout(
            prompts=Attention(
                own_prompt, own_prompt, self._bias(places[None], places), _filled(prompt_lengths, device)
            )
            if longest
            else None,
            texts=Attention(
                own.to(device),
                keys,
                self._bias(query_positions, key_positions, absent),
                _filled(text_lengths, device),
            ),
            answers=Attention(
                pad_sequence(answer_rows, batch_first=True).to(device),
                keys,
                self._bias(answer_positions, key_positions, absent),
                _filled(answer_lengths, device),
            ),
            answer_rows=torch.cat(answer_rows).to(device),
        )

    def _bias(
        self,
        queries: Int[Tensor, "M Q"],
        keys: Int[Tensor, "K"],
        absent: Tensor | None = None,
    ) -> Float[Tensor, "N H Q K"]:
        """ALiBi (Press et al. 2022) by distance, and minus infinity where a key is not before its query.

        Hugging Face adds slope times key position; softmax does not see the difference, but in bfloat16 the
        distance of near keys is exact and a late position is not.
        """
        heads = self.model.config.n_head
        # One key at position 1 has a bias of one slope.
        slopes: Tensor = build_alibi_tensor(torch.ones(1, 2, dtype=torch.long), heads, torch.float32)[:, 0, 1]
        distance = keys - queries[:, :, None]
        hidden = distance > 0
        if absent is not None:
            hidden = hidden | absent[:, None]
        bias = slopes[:, None, None] * distance[:, None]
        return bias.masked_fill(hidden[:, None], float("-inf")).to(self.model.device, self.dtype)


def _filled(lengths: list[int], device: torch.device) -> Int[Tensor, "t"]:
    """Where the rows of a right-padded `[N, max]` grid lie when it is flattened."""
    return torch.cat([torch.arange(n) + i * max(lengths) for i, n in enumerate(lengths)]).to(device)
