"""Causal attention with ALiBi over packed rows, behind shared prompts: in a loop on a CPU, in a grid on a GPU.

A CPU does best to take one sequence after another, at its own length: nothing is padded and little is copied. A GPU
wants one large product, so there the sequences are laid out in a grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from softprompt.backbone.layout import Layout

Bias = Float[Tensor, "_ _ _"]  # heads, queries, keys


def alibi(
    slopes: Float[Tensor, "H"],
    queries: Int[Tensor, "*N Q"],
    keys: Int[Tensor, "*N K"],
    visible: Bool[Tensor, "*N Q K"],
) -> Float[Tensor, "*N H Q K"]:
    """ALiBi (Press et al. 2022) by distance, and minus infinity where a key is not visible.

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
            biases.append(alibi(slopes, own, own, own <= own[:, None]).to(dtype))
        for index, positions in enumerate(layout.positions):
            keys, visible = layout.visible(index)
            biases.append(alibi(slopes, positions, keys, visible).to(dtype))
        return BySequence([*layout.prompt_lengths, *layout.lengths], layout.prompt_of, biases, layout.asked)

    def every_row(self, qkv: Float[Tensor, "T H 3 e"]) -> Float[Tensor, "T He"]:
        """The outputs of all rows, in packed order."""
        parts = torch.split(qkv, self.sizes)
        prompts = parts[: len(self.sizes) - len(self.prompt_of)]
        outputs = [
            _attend(own[:, :, 0], [own], bias)
            for own, bias in zip(prompts, self.biases, strict=False)
            if len(own)
        ]
        for own, which, bias in zip(
            parts[len(prompts) :], self.prompt_of, self.biases[len(prompts) :], strict=True
        ):
            outputs.append(_attend(own[:, :, 0], [prompts[which], own], bias))
        return torch.cat(outputs)

    def asked_rows(self, qkv: Float[Tensor, "T H 3 e"]) -> Float[Tensor, "A He"]:
        """The outputs of the rows that predict answer tokens."""
        parts = torch.split(qkv, self.sizes)
        prompts = parts[: len(self.sizes) - len(self.prompt_of)]
        return torch.cat(
            [
                _attend(own[asked, :, 0], [prompts[which], own], bias[:, asked])
                for own, which, asked, bias in zip(
                    parts[len(prompts) :],
                    self.prompt_of,
                    self.asked,
                    self.biases[len(prompts) :],
                    strict=True,
                )
            ]
        )


def _attend(
    query: Float[Tensor, "Q H e"], read: Sequence[Float[Tensor, "_ H 3 e"]], bias: Float[Tensor, "H Q K"]
) -> Float[Tensor, "Q He"]:
    """Spelled out: on a CPU the backward of `scaled_dot_product_attention` takes several times as long."""
    key, value = (torch.cat([rows[:, :, which] for rows in read]).transpose(0, 1) for which in (1, 2))
    scores = torch.baddbmm(bias, query.transpose(0, 1), key.transpose(1, 2), alpha=query.shape[2] ** -0.5)
    return torch.bmm(scores.softmax(-1), value).transpose(0, 1).flatten(1)


@dataclass(frozen=True)
class Grid:
    """N sequences of up to Q queries and K keys, named by their packed rows."""

    queries: Int[Tensor, "N Q"]
    keys: Int[Tensor, "N K"]
    bias: Float[Tensor, "N H Q K"]
    filled: Int[Tensor, "t"]  # the places of the flattened queries that hold a row

    def __call__(self, qkv: Float[Tensor, "T H 3 e"]) -> Float[Tensor, "t He"]:
        """The outputs of the queries that hold a row."""
        n, width = self.queries.shape
        query = qkv[:, :, 0].index_select(0, self.queries.flatten()).view(n, width, *qkv.shape[1::2])
        pairs = qkv[:, :, 1:].index_select(0, self.keys.flatten()).view(n, -1, qkv.shape[1], 2, qkv.shape[3])
        key, value = pairs.unbind(3)
        output = F.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=self.bias
        )
        return output.transpose(1, 2).reshape(n * width, -1).index_select(0, self.filled)


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
            bias = alibi(slopes.to(device), chosen.to(device), key_positions.to(device), seen.to(device))
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
            bias = alibi(slopes, places, places, places <= places[:, None]).to(device, dtype)
            on_device = own_rows.to(device)
            filled = _filled(n[present].tolist()).to(device)
            grids.insert(0, Grid(on_device, on_device, bias.expand(len(present), -1, -1, -1), filled))
        return InGrids(grids, grid(asked, counts))

    def every_row(self, qkv: Float[Tensor, "T H 3 e"]) -> Float[Tensor, "T He"]:
        """The outputs of all rows, in packed order."""
        return torch.cat([grid(qkv) for grid in self.grids])

    def asked_rows(self, qkv: Float[Tensor, "T H 3 e"]) -> Float[Tensor, "A He"]:
        """The outputs of the rows that predict answer tokens."""
        return self.asked(qkv)


def _starts(lengths: Sequence[int]) -> Int[Tensor, "N"]:
    counts = torch.tensor(lengths)
    return counts.cumsum(0) - counts


def _filled(counts: Sequence[int]) -> Int[Tensor, "t"]:
    """Where the rows lie when a `[N, max]` grid is flattened."""
    return (torch.arange(max(counts)) < torch.tensor(counts)[:, None]).flatten().nonzero()[:, 0]


def _padded(values: Int[Tensor, "_"], length: int) -> Int[Tensor, "_"]:
    return values[torch.minimum(torch.arange(length), torch.tensor(len(values) - 1))]
