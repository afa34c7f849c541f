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
        which = torch.tensor([used.index(i) for i in batch.prompt_of.tolist()])
        n = torch.tensor(prompt_lengths)
        prompt_starts = n.cumsum(0) - n
        lengths = batch.lengths - 1
        starts = n.sum() + lengths.cumsum(0) - lengths
        longest = int(n.max())

        texts = _grid(starts, lengths)
        answers = _grid(starts + lengths - batch.answer_lengths, batch.answer_lengths)
        # Prompts end where the texts begin, so the shorter ones have empty places in front.
        places = torch.arange(longest) - (longest - n[which])[:, None]
        prefix = torch.where(places >= 0, prompt_starts[which, None] + places, starts[:, None])
        keys = torch.cat([prefix, texts], 1).to(device)
        key_positions = torch.arange(-longest, texts.shape[1])
        absent = key_positions < -n[which, None]
        absent = absent if absent.any() else absent[:1]

        with_rows = n > 0
        prompts = _grid(prompt_starts[with_rows], n[with_rows]).to(device) if longest else None
        return Layout(
            prompts=None
            if prompts is None
            else Attention(
                prompts,
                prompts,
                self._bias(torch.arange(longest)[None], torch.arange(longest)),
                _filled(n[with_rows]).to(device),
            ),
            texts=Attention(
                texts.to(device),
                keys,
                self._bias(torch.arange(texts.shape[1])[None], key_positions, absent),
                _filled(lengths).to(device),
            ),
            answers=Attention(
                answers.to(device),
                keys,
                self._bias(answers - starts[:, None], key_positions, absent),
                _filled(batch.answer_lengths).to(device),
            ),
            answer_rows=answers.flatten()[_filled(batch.answer_lengths)].to(device),
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


def _grid(starts: Int[Tensor, "N"], lengths: Int[Tensor, "N"]) -> Int[Tensor, "N max"]:
    """Consecutive rows of every sequence. Empty places repeat its last row, never a row of another sequence:
    what is masked still meets the arithmetic, and a run whose prompt is no number must not reach the others."""
    places = torch.arange(int(lengths.max()))
    return starts[:, None] + torch.minimum(places, lengths[:, None] - 1)


def _filled(lengths: Int[Tensor, "N"]) -> Int[Tensor, "t"]:
    """Where the rows of a `[N, max]` grid lie when it is flattened, empty places left out."""
    grid = torch.arange(len(lengths) * int(lengths.max())).view(len(lengths), -1)
    return grid[torch.arange(grid.shape[1]) < lengths[:, None]]
