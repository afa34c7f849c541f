"""In what order the rows of prompts, texts and answers are packed, and which of them see which.

A sequence is a text followed by the tokens of its answers. Every answer stands right behind the text: its first token
has the position after the text's last, and it sees its prompt, the text and itself, not the other answers. Positions
count from the first token of the text; a prompt's last row is at -1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from softprompt.data.batch import Batch

TEXT = 0  # the branch that all answers see


@dataclass(frozen=True)
class Layout:
    """T packed rows: those of P prompts, one after another, then those of B sequences of R_i rows each."""

    prompt_lengths: Sequence[int]
    prompt_of: Sequence[int]  # by sequence
    tokens: Int[Tensor, "_"]  # of all sequences
    lengths: Sequence[int]  # R_i, by sequence
    positions: Sequence[Int[Tensor, "_"]]  # of a sequence's rows
    branches: Sequence[Int[Tensor, "_"]]  # `TEXT`, or the number of the answer that a row belongs to, from 1
    asked: Sequence[Int[Tensor, "_"]]  # of a sequence's rows those that predict an answer token, in order

    @property
    def asked_rows(self) -> Int[Tensor, "A"]:
        """The packed rows that predict answer tokens."""
        starts = torch.tensor([sum(self.prompt_lengths), *self.lengths]).cumsum(0)
        return torch.cat([start + rows for start, rows in zip(starts, self.asked, strict=False)])

    def visible(self, sequence: int) -> tuple[Int[Tensor, "K"], Bool[Tensor, "R K"]]:
        """Positions of the keys of a sequence, which are its prompt's rows and its own, and what each row sees."""
        positions, branches = self.positions[sequence], self.branches[sequence]
        before = torch.arange(-self.prompt_lengths[self.prompt_of[sequence]], 0)
        keys = torch.cat([before, positions])
        of_key = torch.cat([torch.full_like(before, TEXT), branches])
        seen = (of_key == TEXT) | (of_key == branches[:, None])
        return keys, seen & (keys <= positions[:, None])


def lay_out(prompt_lengths: Sequence[int], batch: Batch) -> Layout:
    """The layout of a batch whose prompts, by number, have so many rows (0 for a prompt that is not in it)."""
    texts = torch.split(batch.text_ids, batch.text_lengths.tolist())
    answers: list[list[Int[Tensor, "_"]]] = [[] for _ in texts]
    for text, read in zip(batch.text_of.tolist(), batch.read_ids, strict=True):
        answers[text].append(read)
    positions, branches, asked = [], [], []
    for text, reads in zip(texts, answers, strict=True):
        end = len(text)
        own = [torch.arange(end), *(torch.arange(end, end + len(read)) for read in reads)]
        starts = torch.tensor([len(part) for part in own]).cumsum(0).tolist()
        positions.append(torch.cat(own))
        branches.append(torch.cat([torch.full_like(part, branch) for branch, part in enumerate(own)]))
        # An answer's first token is predicted at its text's last, the others where the answer is read.
        last = torch.tensor([end - 1])
        predicting = [
            torch.cat([last, torch.arange(start, start + len(read))])
            for start, read in zip(starts, reads, strict=False)
        ]
        asked.append(torch.cat(predicting))
    return Layout(
        prompt_lengths=prompt_lengths,
        prompt_of=batch.prompt_of.tolist(),
        tokens=torch.cat(
            [part for text, reads in zip(texts, answers, strict=True) for part in (text, *reads)]
        ),
        lengths=[len(own) for own in positions],
        positions=positions,
        branches=branches,
        asked=asked,
    )
