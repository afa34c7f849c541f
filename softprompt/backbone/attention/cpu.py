"""Attention on a CPU: one sequence after another, each at its own length."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from softprompt.backbone.attention.bias import Bias, Rows, attention_bias, repeat_heads
from softprompt.backbone.layout import Layout


@dataclass(frozen=True)
class LoopAttention:
    """Attention of every prompt to itself, then of every sequence to its prompt and itself."""

    sizes: list[int]  # rows of each prompt, then of each sequence; they sum to T
    prompt_of: Sequence[int]  # the prompt of each sequence
    prompt_biases: Sequence[Bias]  # per prompt [H, n, n]
    biases: Sequence[Bias]  # per sequence [H, M, n + M]
    predicting: Sequence[Int[Tensor, "_"]]  # per sequence: the rows that predict an answer token

    @staticmethod
    def build(layout: Layout, slopes: Float[Tensor, "H"], dtype: torch.dtype) -> "LoopAttention":
        """Computes the biases of a layout, once for all layers."""
        prompt_biases, biases = [], []
        for length in layout.prompt_lengths.tolist():
            rows = torch.arange(length)
            prompt_biases.append(attention_bias(slopes, rows, rows, rows <= rows[:, None]).to(dtype))
        for sequence in range(len(layout.lengths)):
            positions, key_positions, visible = layout.visible(sequence)
            biases.append(attention_bias(slopes, positions, key_positions, visible).to(dtype))
        counts = np.bincount(layout.predicting_of, minlength=len(layout.lengths))
        predicting = torch.split(torch.from_numpy(layout.predicting), counts.tolist())
        sizes = [*layout.prompt_lengths.tolist(), *layout.lengths.tolist()]
        return LoopAttention(sizes, layout.prompt_of.tolist(), prompt_biases, biases, predicting)

    def attend(self, query: Rows, key: Rows, value: Rows, scale: float) -> Float[Tensor, "T He"]:
        """See `Attention.attend`."""
        prompt_queries, queries = self._split(query)
        prompt_keys, keys = self._split(key)
        prompt_values, values = self._split(value)
        of_prompts = [
            _attend(q, [k], [v], bias, scale)
            for q, k, v, bias in zip(
                prompt_queries, prompt_keys, prompt_values, self.prompt_biases, strict=True
            )
            if len(q)
        ]
        of_sequences = [
            _attend(q, [prompt_keys[prompt], k], [prompt_values[prompt], v], bias, scale)
            for q, k, v, prompt, bias in zip(queries, keys, values, self.prompt_of, self.biases, strict=True)
        ]
        return torch.cat([*of_prompts, *of_sequences])

    def attend_predicting(self, query: Rows, key: Rows, value: Rows, scale: float) -> Float[Tensor, "A He"]:
        """See `Attention.attend_predicting`."""
        _, queries = self._split(query)
        prompt_keys, keys = self._split(key)
        prompt_values, values = self._split(value)
        return torch.cat(
            [
                _attend(q[rows], [prompt_keys[prompt], k], [prompt_values[prompt], v], bias[:, rows], scale)
                for q, k, v, prompt, rows, bias in zip(
                    queries, keys, values, self.prompt_of, self.predicting, self.biases, strict=True
                )
            ]
        )

    def _split(self, rows: Rows) -> tuple[Sequence[Rows], Sequence[Rows]]:
        """T rows as those of each prompt and those of each sequence."""
        parts = torch.split(rows, self.sizes)
        return parts[: len(self.prompt_biases)], parts[len(self.prompt_biases) :]


def _attend(
    query: Float[Tensor, "Q H e"], keys: Sequence[Rows], values: Sequence[Rows], bias: Bias, scale: float
) -> Float[Tensor, "Q He"]:
    """Softmax attention of Q queries to the concatenation of `keys`.

    Written out, because on a CPU the backward of `scaled_dot_product_attention` takes several times as long. Heads are
    moved to the front and made contiguous before the products: `bmm` would copy its arguments otherwise, and copy them
    again in the backward.
    """
    heads = query.shape[1]
    key, value = (  # [K, H, e] in parts -> [H, K, e]
        torch.cat([repeat_heads(part, heads).transpose(0, 1) for part in parts], 1)
        for parts in (keys, values)
    )
    q = query.transpose(0, 1).contiguous()  # [Q, H, e] -> [H, Q, e]
    scores = torch.baddbmm(bias, q, key.transpose(1, 2), alpha=scale)  # [H, Q, e] x [H, e, K] -> [H, Q, K]
    output = torch.bmm(scores.softmax(-1), value)  # [H, Q, K] x [H, K, e] -> [H, Q, e]
    return output.transpose(0, 1).flatten(1)  # [H, Q, e] -> [Q, H·e]
