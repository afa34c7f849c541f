"""Causal attention over packed rows, behind shared prompts: in a loop on a CPU, in a grid on a GPU.

A CPU does best to take one sequence after another, at its own length: nothing is padded and little is copied. A GPU
wants one large product, so there the sequences are laid out in a grid; and so they are for a model so narrow that the
loop would cost more than it saves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from softprompt.backbone.layout import Layout

WIDE = 256  # hidden units from which on a CPU gains more by not padding than it loses by looping

Rows = Float[Tensor, "_ _ _"]  # rows, heads (of queries, or of keys and values), width of a head
Bias = Float[Tensor, "_ _ _"]  # heads, queries, keys


def bias_of(
    slopes: Float[Tensor, "H"],
    queries: Int[Tensor, "*N Q"],
    keys: Int[Tensor, "*N K"],
    visible: Bool[Tensor, "*N Q K"],
) -> Float[Tensor, "*N H Q K"]:
    """ALiBi (Press et al. 2022) by distance, and minus infinity where a key is not visible. Models that mark positions
    otherwise have one slope of 0.

    Hugging Face adds slope times key position; softmax does not see the difference, but in bfloat16 the distance of near
    keys is exact and a late position is not.
    """
    distance = (keys[..., None, :] - queries[..., :, None])[..., None, :, :]
    return (slopes[:, None, None] * distance).masked_fill(~visible[..., None, :, :], float("-inf"))


@dataclass(frozen=True)
class BySequence:
    """Prompts, then sequences, one at a time."""

    sizes: list[int]  # packed rows of every prompt, then of every sequence
    prompt_of: Sequence[int]
    biases: Sequence[Bias]  # of every prompt, then of every sequence
    asked: Sequence[Int[Tensor, "_"]]

    @staticmethod
    def of(layout: Layout, slopes: Float[Tensor, "H"], dtype: torch.dtype) -> "BySequence":
        """For a CPU."""
        biases = []
        for length in layout.prompt_lengths:
            own = torch.arange(length)
            biases.append(bias_of(slopes, own, own, own <= own[:, None]).to(dtype))
        for index, positions in enumerate(layout.positions):
            keys, visible = layout.visible(index)
            biases.append(bias_of(slopes, positions, keys, visible).to(dtype))
        return BySequence([*layout.prompt_lengths, *layout.lengths], layout.prompt_of, biases, layout.asked)

    def every_row(self, query: Rows, key: Rows, value: Rows, scale: float) -> Float[Tensor, "T He"]:
        """The outputs of all rows, in packed order."""
        (q, of_prompts), (k, prompt_keys), (v, prompt_values) = map(self._parts, (query, key, value))
        prompts = [
            _attend(own, [keys], [values], bias, scale)
            for own, keys, values, bias in zip(
                of_prompts, prompt_keys, prompt_values, self.biases, strict=False
            )
            if len(own)
        ]
        rows = [
            _attend(own, [prompt_keys[which], keys], [prompt_values[which], values], bias, scale)
            for own, keys, values, which, bias in zip(
                q, k, v, self.prompt_of, self.biases[len(of_prompts) :], strict=True
            )
        ]
        return torch.cat([*prompts, *rows])

    def asked_rows(self, query: Rows, key: Rows, value: Rows, scale: float) -> Float[Tensor, "A He"]:
        """The outputs of the rows that predict answer tokens."""
        (q, of_prompts), (k, prompt_keys), (v, prompt_values) = map(self._parts, (query, key, value))
        return torch.cat(
            [
                _attend(
                    own[asked],
                    [prompt_keys[which], keys],
                    [prompt_values[which], values],
                    bias[:, asked],
                    scale,
                )
                for own, keys, values, which, asked, bias in zip(
                    q, k, v, self.prompt_of, self.asked, self.biases[len(of_prompts) :], strict=True
                )
            ]
        )

    def _parts(self, rows: Rows) -> tuple[Sequence[Rows], Sequence[Rows]]:
        """The sequences' rows, and the prompts'."""
        parts = torch.split(rows, self.sizes)
        prompts = len(self.sizes) - len(self.prompt_of)
        return parts[prompts:], parts[:prompts]


def _attend(
    query: Float[Tensor, "Q H e"], keys: Sequence[Rows], values: Sequence[Rows], bias: Bias, scale: float
) -> Float[Tensor, "Q He"]:
    """Spelled out: on a CPU the backward of `scaled_dot_product_attention` takes several times as long.

    Heads come first before anything is multiplied: batched products would copy what is not laid out so, and copy it
    again in the backward.
    """
    heads = query.shape[1]
    key, value = (
        torch.cat([_for_heads(part, heads).transpose(0, 1) for part in rows], 1) for rows in (keys, values)
    )
    scores = torch.baddbmm(bias, query.transpose(0, 1).contiguous(), key.transpose(1, 2), alpha=scale)
    return torch.bmm(scores.softmax(-1), value).transpose(0, 1).flatten(1)


def _for_heads(rows: Rows, heads: int) -> Float[Tensor, "_ H e"]:
    """Grouped-query attention: several heads read the same keys and values."""
    return rows if rows.shape[1] == heads else rows.repeat_interleave(heads // rows.shape[1], 1)


@dataclass(frozen=True)
class Grid:
    """N sequences of up to Q queries and K keys, named by their packed rows."""

    queries: Int[Tensor, "N Q"]
    keys: Int[Tensor, "N K"]
    bias: Float[Tensor, "N H Q K"]
    filled: Int[Tensor, "t"]  # the places of the flattened queries that hold a row

    def __call__(self, query: Rows, key: Rows, value: Rows, scale: float) -> Float[Tensor, "t He"]:
        """The outputs of the queries that hold a row."""
        heads = query.shape[1]
        q, k, v = (
            _for_heads(rows, heads)
            .index_select(0, places.flatten())
            .view(*places.shape, heads, -1)
            .transpose(1, 2)
            for rows, places in ((query, self.queries), (key, self.keys), (value, self.keys))
        )
        bias = self.bias.expand(-1, heads, -1, -1)
        output = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)
        return output.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, self.filled)


@dataclass(frozen=True)
class InGrids:
    """Prompts in one grid, sequences in another."""

    grids: Sequence[Grid]
    asked: Grid

    @staticmethod
    def of(layout: Layout, slopes: Float[Tensor, "H"], dtype: torch.dtype, device: torch.device) -> "InGrids":
        """For a GPU."""
        n = torch.tensor(layout.prompt_lengths)
        prompt_starts, starts = n.cumsum(0) - n, n.sum() + _starts(layout.lengths)
        own = n[torch.tensor(layout.prompt_of)]
        longest, width = int(own.max()), max(layout.lengths)
        # Prompts end where the texts begin, so the shorter ones have empty places in front. An empty place repeats a row
        # of its own sequence, never another's: what is masked still meets the arithmetic, and a run whose prompt is no
        # number must not reach the others.
        before = torch.arange(-longest, 0)
        ends = (prompt_starts + n)[torch.tensor(layout.prompt_of)]
        prefix = torch.where(before >= -own[:, None], ends[:, None] + before, starts[:, None])
        rows = starts[:, None] + torch.minimum(torch.arange(width), torch.tensor(layout.lengths)[:, None] - 1)
        keys = torch.cat([prefix, rows], 1)

        key_positions = torch.zeros(len(rows), longest + width, dtype=torch.long)
        visible = torch.zeros(len(rows), width, longest + width, dtype=torch.bool)
        positions = torch.zeros(len(rows), width, dtype=torch.long)
        for index, length in enumerate(layout.lengths):
            found, seen = layout.visible(index)
            first = longest - int(own[index])
            key_positions[index, first : first + len(found)] = found
            visible[index, :length, first : first + len(found)] = seen
            visible[index, length:] = visible[index, length - 1]  # an empty place as the row that it repeats
            positions[index, :length] = layout.positions[index]
            positions[index, length:] = layout.positions[index][-1]

        def grid(queries: Int[Tensor, "N Q"], counts: Sequence[int]) -> Grid:
            chosen = positions.gather(1, queries)
            seen = visible.gather(1, queries[:, :, None].expand(-1, -1, visible.shape[2]))
            bias = bias_of(slopes.to(device), chosen.to(device), key_positions.to(device), seen.to(device))
            filled = _filled(counts)
            return Grid(
                rows.gather(1, queries).to(device), keys.to(device), bias.to(dtype), filled.to(device)
            )

        every = torch.arange(width).expand(len(rows), -1)
        counts = [len(asked) for asked in layout.asked]
        asked = torch.stack([_padded(asked, max(counts)) for asked in layout.asked])
        grids = [grid(every, layout.lengths)]
        if len(present := n.nonzero()[:, 0]):
            places = torch.arange(int(n.max()))
            own_rows = prompt_starts[present, None] + torch.minimum(places, n[present, None] - 1)
            bias = bias_of(slopes, places, places, places <= places[:, None]).to(device, dtype)
            on_device = own_rows.to(device)
            filled = _filled(n[present].tolist()).to(device)
            grids.insert(0, Grid(on_device, on_device, bias.expand(len(present), -1, -1, -1), filled))
        return InGrids(grids, grid(asked, counts))

    def every_row(self, query: Rows, key: Rows, value: Rows, scale: float) -> Float[Tensor, "T He"]:
        """The outputs of all rows, in packed order."""
        return torch.cat([grid(query, key, value, scale) for grid in self.grids])

    def asked_rows(self, query: Rows, key: Rows, value: Rows, scale: float) -> Float[Tensor, "A He"]:
        """The outputs of the rows that predict answer tokens."""
        return self.asked(query, key, value, scale)


def _starts(lengths: Sequence[int]) -> Int[Tensor, "N"]:
    counts = torch.tensor(lengths)
    return counts.cumsum(0) - counts


def _filled(counts: Sequence[int]) -> Int[Tensor, "t"]:
    """Where the rows lie when a `[N, max]` grid is flattened."""
    return (torch.arange(max(counts)) < torch.tensor(counts)[:, None]).flatten().nonzero()[:, 0]


def _padded(values: Int[Tensor, "_"], length: int) -> Int[Tensor, "_"]:
    return values[torch.minimum(torch.arange(length), torch.tensor(len(values) - 1))]


def arrange(
    layout: Layout, slopes: Float[Tensor, "H"], dtype: torch.dtype, device: torch.device, width: int
) -> BySequence | InGrids:
    """The way that suits the device and the width of the model."""
    if device.type == "cpu" and width >= WIDE:
        return BySequence.of(layout, slopes, dtype)
    return InGrids.of(layout, slopes, dtype, device)
