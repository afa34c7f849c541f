"""Attention on a GPU, or for a narrow model: sequences padded to a grid, one fused product for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from softprompt.backbone.attention.bias import Rows, attention_bias, repeat_heads
from softprompt.backbone.layout import Layout


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
    def build(
        layout: Layout, slopes: Float[Tensor, "H"], dtype: torch.dtype, device: torch.device
    ) -> "GridAttention":
        """Computes the grids of a layout, once for all layers."""
        tables = _sequence_tables(layout)

        def grid(queries: Int[Tensor, "N Q"], counts: Sequence[int]) -> Grid:
            """The grid of these rows of every sequence; the first `counts` of each are not padding."""
            positions = tables.positions.gather(1, queries)  # [N, Q]
            visible = tables.visible.gather(1, queries[:, :, None].expand(-1, -1, tables.keys.shape[1]))
            bias = attention_bias(
                slopes.to(device), positions.to(device), tables.key_positions.to(device), visible.to(device)
            )
            return Grid(
                tables.rows.gather(1, queries).to(device),
                tables.keys.to(device),
                bias.to(dtype),
                _filled(counts).to(device),
            )

        all_rows = torch.arange(max(layout.lengths)).expand(len(layout.lengths), -1)  # [N, M]
        counts = [len(rows) for rows in layout.predicting]
        predicting = torch.stack([_pad(rows, max(counts)) for rows in layout.predicting])  # [N, Q]
        return GridAttention(
            _prompt_grid(layout, slopes, dtype, device),
            grid(all_rows, layout.lengths),
            grid(predicting, counts),
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
    key_positions: Int[Tensor, "N K"]
    visible: Bool[Tensor, "N M K"]


def _sequence_tables(layout: Layout) -> _SequenceTables:
    lengths = torch.tensor(layout.lengths)  # [N]
    all_prompt_lengths = torch.tensor(layout.prompt_lengths)
    prompt_of = torch.tensor(layout.prompt_of)  # [N]
    prompt_lengths = all_prompt_lengths[prompt_of]  # [N]
    prompt_ends = all_prompt_lengths.cumsum(0)[prompt_of]  # [N]
    starts = all_prompt_lengths.sum() + lengths.cumsum(0) - lengths  # [N]
    longest, width = int(prompt_lengths.max()), max(layout.lengths)

    # A prompt ends where its text begins, so shorter prompts are padded in front, with the sequence's first row.
    before = torch.arange(-longest, 0)  # [n]
    prefix = torch.where(before >= -prompt_lengths[:, None], prompt_ends[:, None] + before, starts[:, None])
    rows = starts[:, None] + torch.minimum(torch.arange(width), lengths[:, None] - 1)  # [N, M]

    positions = torch.zeros(len(rows), width, dtype=torch.long)
    key_positions = torch.zeros(len(rows), longest + width, dtype=torch.long)
    visible = torch.zeros(len(rows), width, longest + width, dtype=torch.bool)
    for index, length in enumerate(layout.lengths):
        sequence_key_positions, sequence_visible = layout.visible(
            index
        )  # [n' + length], [length, n' + length]
        first = longest - int(prompt_lengths[index])
        last = first + len(sequence_key_positions)
        key_positions[index, first:last] = sequence_key_positions
        visible[index, :length, first:last] = sequence_visible
        visible[index, length:] = visible[index, length - 1]  # padding attends like the row it repeats
        positions[index, :length] = layout.positions[index]
        positions[index, length:] = layout.positions[index][-1]
    return _SequenceTables(rows, torch.cat([prefix, rows], 1), positions, key_positions, visible)


def _prompt_grid(
    layout: Layout, slopes: Float[Tensor, "H"], dtype: torch.dtype, device: torch.device
) -> Grid | None:
    """Every prompt that has rows, attending causally to itself."""
    lengths = torch.tensor(layout.prompt_lengths)
    starts = lengths.cumsum(0) - lengths
    present = lengths.nonzero()[:, 0]
    if not len(present):
        return None
    places = torch.arange(int(lengths.max()))  # [n]
    rows = starts[present, None] + torch.minimum(places, lengths[present, None] - 1)  # [P, n]
    bias = attention_bias(slopes, places, places, places <= places[:, None]).to(device, dtype)  # [H, n, n]
    on_device = rows.to(device)
    return Grid(
        on_device,
        on_device,
        bias.expand(len(present), -1, -1, -1),  # [P, H, n, n]
        _filled(lengths[present].tolist()).to(device),
    )


def _filled(counts: Sequence[int]) -> Int[Tensor, "t"]:
    """The places of a flattened `[N, max(counts)]` grid that are not padding: the first `counts` of each row."""
    return (torch.arange(max(counts)) < torch.tensor(counts)[:, None]).flatten().nonzero()[:, 0]


def _pad(rows: Int[Tensor, "_"], length: int) -> Int[Tensor, "_"]:
    """Lengthens by repeating the last entry."""
    return rows[torch.minimum(torch.arange(length), torch.tensor(len(rows) - 1))]
