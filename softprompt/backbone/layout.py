"""The order of rows in an unpadded batch, and which rows attend to which.

First come the rows of all prompts, one prompt after another, then the sequences. A sequence is a text's tokens followed
by the tokens of its answers. Each answer continues the text: its first token has the position after the text's last, and
it attends to its prompt, the text and itself, but not to the other answers. Positions count from the text's first token;
a prompt's last row is at position -1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from softprompt.data.batch import Batch

TEXT = 0  # the branch of a text's tokens, which all its answers attend to


@dataclass(frozen=True)
class Layout:
    """T rows: those of the prompts, then those of B sequences with M rows each (M differs by sequence)."""

    prompt_lengths: Sequence[int]  # rows of each prompt
    prompt_of: Sequence[int]  # [B]: the prompt in front of each sequence
    tokens: Int[Tensor, "_"]  # token ids of all sequences
    lengths: Sequence[int]  # [B]: M, rows of each sequence
    positions: Sequence[Int[Tensor, "_"]]  # per sequence [M]
    branches: Sequence[
        Int[Tensor, "_"]
    ]  # per sequence [M]: `TEXT`, or the number of the row's answer, from 1
    predicting: Sequence[Int[Tensor, "_"]]  # per sequence: its rows that predict an answer token, in order

    @property
    def predicting_rows(self) -> Int[Tensor, "A"]:
        """The rows, among all T, whose logits predict the answer tokens, in the batch's order."""
        starts = torch.tensor([sum(self.prompt_lengths), *self.lengths]).cumsum(0)
        return torch.cat([start + rows for start, rows in zip(starts, self.predicting, strict=False)])

    @property
    def position_ids(self) -> Int[Tensor, "T"]:
        """Positions as Hugging Face counts them, from 0 at a prompt's first row."""
        in_prompts = [torch.arange(length) for length in self.prompt_lengths]
        in_sequences = [
            self.prompt_lengths[prompt] + positions
            for prompt, positions in zip(self.prompt_of, self.positions, strict=True)
        ]
        return torch.cat([*in_prompts, *in_sequences])

    def visible(self, sequence: int) -> tuple[Int[Tensor, "K"], Bool[Tensor, "M K"]]:
        """The keys of a sequence: its prompt's rows, then its own.

        Returns:
            The keys' positions, and which keys each row of the sequence attends to.
        """
        positions, branches = self.positions[sequence], self.branches[sequence]  # [M]
        in_prompt = torch.arange(-self.prompt_lengths[self.prompt_of[sequence]], 0)  # [n]
        key_positions = torch.cat([in_prompt, positions])  # [K], K = n + M
        key_branches = torch.cat([torch.full_like(in_prompt, TEXT), branches])  # [K]
        same_branch = (key_branches == TEXT) | (key_branches == branches[:, None])  # [M, K]
        return key_positions, same_branch & (key_positions <= positions[:, None])


def lay_out(prompt_lengths: Sequence[int], batch: Batch) -> Layout:
    """The layout of a batch. `prompt_lengths` has 0 for a prompt that does not occur in it."""
    texts = torch.split(batch.text_ids, batch.text_lengths.tolist())
    answers_of: list[list[Int[Tensor, "_"]]] = [[] for _ in texts]
    for text, read_ids in zip(batch.text_of.tolist(), batch.read_ids, strict=True):
        answers_of[text].append(read_ids)
    positions, branches, predicting = [], [], []
    for text_ids, answers in zip(texts, answers_of, strict=True):
        end = len(text_ids)
        parts = [torch.arange(end), *(torch.arange(end, end + len(answer)) for answer in answers)]
        positions.append(torch.cat(parts))  # [M]
        branches.append(torch.cat([torch.full_like(part, branch) for branch, part in enumerate(parts)]))
        # The text's last row predicts an answer's first token; the answer's own rows predict its other tokens.
        last = torch.tensor([end - 1])
        starts = (
            torch.tensor([len(part) for part in parts]).cumsum(0).tolist()
        )  # row of each answer's first token
        predicting.append(
            torch.cat(
                [
                    torch.cat([last, torch.arange(start, start + len(answer))])
                    for start, answer in zip(starts, answers, strict=False)
                ]
            )
        )
    return Layout(
        prompt_lengths=prompt_lengths,
        prompt_of=batch.prompt_of.tolist(),
        tokens=torch.cat(
            [
                part
                for text_ids, answers in zip(texts, answers_of, strict=True)
                for part in (text_ids, *answers)
            ]
        ),
        lengths=[len(rows) for rows in positions],
        positions=positions,
        branches=branches,
        predicting=predicting,
    )
