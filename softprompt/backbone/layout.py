"""Where the rows of prompts, texts and answers lie when all are packed, and which attend to which.

Index arithmetic alone: T packed rows are the prompts' rows, then the texts' tokens, then the tokens of the answers
that are read. Positions count from the first token of a text; a prompt's last row is at -1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from softprompt.data.batch import Batch


@dataclass(frozen=True)
class Group:
    """A grid of N sequences with Q queries and K keys each, named by their packed rows."""

    queries: Int[Tensor, "N Q"]
    query_positions: Int[Tensor, "#N Q"]  # or one line, where all sequences have the same
    keys: Int[Tensor, "N K"]
    key_positions: Int[Tensor, "K"]
    absent: Bool[Tensor, "#N K"]  # keys that are none of the sequence's own
    filled: Int[Tensor, "t"]  # the places of the flattened queries that hold a row

    @property
    def rows(self) -> Int[Tensor, "t"]:
        """The packed rows of the queries that hold one."""
        return self.queries.flatten()[self.filled]


@dataclass(frozen=True)
class Layout:
    """Every packed row is a query of one of `groups`, in packed order; `answers` has the answer positions alone."""

    groups: Sequence[Group]
    answers: Group


def lay_out(prompt_lengths: Sequence[int], batch: Batch) -> Layout:
    """The layout of a batch whose prompts, by number, have so many rows (0 for a prompt that is not in it)."""
    n = torch.tensor(prompt_lengths)
    texts, reads, of = batch.text_lengths, batch.answer_lengths - 1, batch.text_of
    prompt_starts, text_starts = _starts(n), n.sum() + _starts(texts)
    answer_starts = n.sum() + texts.sum() + _starts(reads)

    # Prompts end where the texts begin, so the shorter ones have empty places in front.
    own = n[batch.prompt_of]
    before = torch.arange(-int(own.max()), 0)
    prefix = torch.where(
        before >= -own[:, None],
        prompt_starts[batch.prompt_of, None] + own[:, None] + before,
        text_starts[:, None],
    )

    # Behind each prompt an answer's text, then the answer.
    places = _places(texts[of] + reads)
    in_answer = places - texts[of, None]
    path = torch.where(in_answer < 0, text_starts[of, None] + places, answer_starts[:, None] + in_answer)

    def behind(
        which: Int[Tensor, "N"],
        paths: Int[Tensor, "N P"],
        positions: Int[Tensor, "#N Q"],
        filled: Int[Tensor, "t"],
    ) -> Group:
        key_positions = torch.cat([before, torch.arange(paths.shape[1])])
        missing = key_positions < -own[which, None]
        return Group(
            paths.gather(1, positions.expand(len(paths), -1)),
            positions,
            torch.cat([prefix[which], paths], 1),
            key_positions,
            missing if missing.any() else missing[:1],
            filled,
        )

    groups = []
    if len(with_rows := n.nonzero()[:, 0]):
        rows = prompt_starts[with_rows, None] + _places(n[with_rows])
        positions = torch.arange(rows.shape[1])
        nothing = torch.zeros(1, len(positions), dtype=torch.bool)
        groups.append(Group(rows, positions[None], rows, positions, nothing, _filled(n[with_rows])))
    if len(of) == len(texts):  # one answer behind each text: they go together
        filled = torch.cat([_filled(texts, path.shape[1]), _filled(reads, path.shape[1], texts)])
        groups.append(behind(of, path, torch.arange(path.shape[1])[None], filled))
    else:
        rows = text_starts[:, None] + _places(texts)
        groups.append(
            behind(torch.arange(len(texts)), rows, torch.arange(rows.shape[1])[None], _filled(texts))
        )
        if len(read := reads.nonzero()[:, 0]):
            positions = texts[of[read], None] + _places(reads[read])
            groups.append(behind(of[read], path[read], positions, _filled(reads[read])))
    # An answer's first token is predicted at its text's last.
    positions = texts[of, None] - 1 + _places(batch.answer_lengths)
    return Layout(groups, behind(of, path, positions, _filled(batch.answer_lengths)))


def _starts(lengths: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
    return lengths.cumsum(0) - lengths


def _places(lengths: Int[Tensor, "N"]) -> Int[Tensor, "N max"]:
    """Consecutive places of every sequence. Empty ones repeat its last, never another sequence's: what is masked
    still meets the arithmetic, and a run whose prompt is no number must not reach the others."""
    return torch.minimum(torch.arange(int(lengths.max())), lengths[:, None] - 1)


def _filled(
    lengths: Int[Tensor, "N"], columns: int | None = None, first: Int[Tensor, "N"] | None = None
) -> Int[Tensor, "t"]:
    """Where the rows lie when a `[N, columns]` grid is flattened, each sequence's from its column `first` on."""
    columns = columns or int(lengths.max())
    first = torch.zeros_like(lengths) if first is None else first
    column = torch.arange(columns)
    held = (column >= first[:, None]) & (column < (first + lengths)[:, None])
    return held.flatten().nonzero()[:, 0]
