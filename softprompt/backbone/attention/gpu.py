"""Attention on a GPU, or for a narrow model: sequences padded to a grid, one fused product for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from softprompt.backbone.attention.bias import Rows, attention_bias, repeat_heads
from softprompt.backbone.layout import TEXT, Layout, sees

PADDING = -1  # the branch of a key that no row attends to


@dataclass(frozen=True)
class Grid:
    """N sequences of up to Q queries and K keys, given as indices into the T rows.

    A padded place repeats a row of its own sequence, never of another one. Masked keys are still multiplied, so another
    run's NaN would spread.
    """

    queries: Int[Tensor, "N Q"]
    keys: Int[Tensor, "N K"]
    bias: Float[Tensor, "N H Q K"]
    filled: Int[Tensor, "t"]  # which of the N·Q places are not padding

    def attend(self, query: Rows, key: Rows, value: Rows, scale: float) -> Float[Tensor, "t He"]:
        """Outputs of the queries that are not padding."""
        heads = query.shape[1]
        q, k, v = (  # [T, H, e] -> [N·Q, H, e] -> [N, H, Q, e]; keys and values with K for Q
            repeat_heads(rows, heads)
            .index_select(0, places.flatten())
            .view(*places.shape, heads, -1)
            .transpose(1, 2)
            for rows, places in ((query, self.queries), (key, self.keys), (value, self.keys))
        )
        bias = self.bias.expand(-1, heads, -1, -1)
        output = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)  # [N, H, Q, e]
        # [N, H, Q, e] -> [N, Q, H·e] -> [N·Q, H·e] -> [t, H·e]
        return output.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, self.filled)


@dataclass(frozen=True)
class GridAttention:
    """Attention of the prompts in one grid, of the sequences in another."""

    prompts: Grid | None  # None if no prompt has a row
    sequences: Grid
    predicting: Grid

    @staticmethod
    def indices(layout: Layout) -> dict[str, Int[np.ndarray, "..."]]:
        """What `build` needs on the device."""
        counts = np.bincount(layout.predicting_of, minlength=len(layout.lengths))  # [N]
        return {**_sequence_indices(layout), **_predicting_indices(layout, counts), **_prompt_indices(layout)}

    @staticmethod
    def build(
        layout: Layout, on_device: Mapping[str, Tensor], slopes: Float[Tensor, "H"], dtype: torch.dtype
    ) -> "GridAttention":
        """Computes the grids of a layout, once for all layers.

        Args:
            on_device: `indices` of the layout, on the device.
            slopes: on the device.
        """
        tables = _SequenceTables(**{name: on_device[name] for name in _SequenceTables.__annotations__})
        all_rows = torch.arange(tables.rows.shape[1], device=tables.rows.device).expand(len(tables.rows), -1)

        def grid(queries: Int[Tensor, "N Q"], filled: Int[Tensor, "_"]) -> Grid:
            """The grid of these rows of every sequence."""
            positions = tables.positions.gather(1, queries)  # [N, Q]
            visible = sees(
                positions, tables.branches.gather(1, queries), tables.key_positions, tables.key_branches
            )
            bias = attention_bias(slopes, positions, tables.key_positions, visible)
            return Grid(tables.rows.gather(1, queries), tables.keys, bias.to(dtype), filled)

        return GridAttention(
            _prompt_grid(on_device, slopes, dtype) if layout.prompt_lengths.any() else None,
            grid(all_rows, on_device["filled"]),
            grid(on_device["predicting"], on_device["predicting_filled"]),
        )

    def attend(self, query: Rows, key: Rows, value: Rows, scale: float) -> Float[Tensor, "T He"]:
        """See `Attention.attend`."""
        grids = [self.sequences] if self.prompts is None else [self.prompts, self.sequences]
        return torch.cat([grid.attend(query, key, value, scale) for grid in grids])

    def attend_predicting(self, query: Rows, key: Rows, value: Rows, scale: float) -> Float[Tensor, "A He"]:
        """See `Attention.attend_predicting`."""
        return self.predicting.attend(query, key, value, scale)


@dataclass(frozen=True)
class _SequenceTables:
    """A layout's sequences, padded on the right to M rows; their prompts, padded on the left to n rows; K = n + M."""

    rows: Int[Tensor, "N M"]  # index into the T rows
    keys: Int[Tensor, "N K"]  # index into the T rows
    positions: Int[Tensor, "N M"]
    branches: Int[Tensor, "N M"]
    key_positions: Int[Tensor, "N K"]
    key_branches: Int[Tensor, "N K"]  # `PADDING`: no row attends to it


def _sequence_indices(layout: Layout) -> dict[str, Int[np.ndarray, "..."]]:
    prompt_lengths = layout.prompt_lengths[layout.prompt_of]  # [N]
    prompt_ends = layout.prompt_lengths.cumsum()[layout.prompt_of]  # [N]
    starts = layout.starts  # [N]
    width = layout.lengths.max()

    # A prompt ends where its text begins, so shorter prompts are padded in front, with the sequence's first row.
    before = np.arange(-prompt_lengths.max(), 0)  # [n]
    in_prompt = before >= -prompt_lengths[:, None]  # [N, n]
    prefix = np.where(in_prompt, prompt_ends[:, None] + before, starts[:, None])  # [N, n]
    places = np.arange(width)  # [M]
    rows = starts[:, None] + np.minimum(places, layout.lengths[:, None] - 1)  # [N, M]
    of_sequences = rows - layout.prompt_lengths.sum()  # [N, M]: index into the sequences' rows
    positions, branches = layout.positions[of_sequences], layout.branches[of_sequences]
    filled = places < layout.lengths[:, None]  # [N, M]
    prompt_positions = np.broadcast_to(before, prefix.shape)
    return {
        "rows": rows,
        "keys": np.concatenate([prefix, rows], 1),
        "positions": positions,
        "branches": branches,
        "key_positions": np.concatenate([prompt_positions, positions], 1),
        "key_branches": np.concatenate(
            [np.where(in_prompt, TEXT, PADDING), np.where(filled, branches, PADDING)], 1
        ),
        "filled": filled.ravel().nonzero()[0],
    }


def _predicting_indices(layout: Layout, counts: Int[np.ndarray, "N"]) -> dict[str, Int[np.ndarray, "..."]]:
    """The rows of every sequence that predict a token, padded by repeating the last one."""
    first = counts.cumsum() - counts  # [N]
    places = np.arange(counts.max())  # [Q]
    return {
        "predicting": layout.predicting[first[:, None] + np.minimum(places, counts[:, None] - 1)],  # [N, Q]
        "predicting_filled": (places < counts[:, None]).ravel().nonzero()[0],  # [A]
    }


def _prompt_indices(layout: Layout) -> dict[str, Int[np.ndarray, "..."]]:
    """The rows of every prompt that has rows, padded by repeating the last one."""
    present = layout.prompt_lengths.nonzero()[0]
    lengths = layout.prompt_lengths[present]  # [P]
    starts = (layout.prompt_lengths.cumsum() - layout.prompt_lengths)[present]
    places = np.arange(lengths.max() if len(lengths) else 0)  # [n]
    return {
        "prompts": starts[:, None] + np.minimum(places, lengths[:, None] - 1),  # [P, n]
        "prompts_filled": (places < lengths[:, None]).ravel().nonzero()[0],
    }


def _prompt_grid(on_device: Mapping[str, Tensor], slopes: Float[Tensor, "H"], dtype: torch.dtype) -> Grid:
    """Every prompt that has rows, attending causally to itself."""
    rows = on_device["prompts"]  # [P, n]
    places = torch.arange(rows.shape[1], device=rows.device)  # [n]
    bias = attention_bias(slopes, places, places, places <= places[:, None])  # [H, n, n]
    return Grid(rows, rows, bias.to(dtype).expand(len(rows), -1, -1, -1), on_device["prompts_filled"])
