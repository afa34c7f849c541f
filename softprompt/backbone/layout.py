"""The order of rows in an unpadded batch, and which rows attend to which.

First come the rows of all prompts, one prompt after another, then the sequences. A sequence is a text's tokens followed
by the tokens of its answers. Each answer continues the text: its first token has the position after the text's last, and
it attends to its prompt, the text and itself, but not to the other answers. Positions count from the text's first token;
a prompt's last row is at position -1.

A layout is made on the CPU, in numpy, without a loop over sequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from softprompt.data.batch import Batch

TEXT = 0  # the branch of a text's tokens, which all its answers attend to

Array = np.ndarray


@dataclass(frozen=True)
class Layout:
    """T rows: those of the prompts, then t rows of N sequences. A sequence has M rows; M differs by sequence."""

    prompt_lengths: Int[Array, "P"]  # rows of each prompt
    prompt_of: Int[Array, "N"]  # the prompt in front of each sequence
    lengths: Int[Array, "N"]  # M, rows of each sequence
    tokens: Int[Array, "t"]  # token ids of all sequences
    positions: Int[Array, "t"]
    branches: Int[Array, "t"]  # `TEXT`, or the number of the row's answer, from 1
    predicting: Int[
        Array, "A"
    ]  # the row, in its sequence, that predicts each answer token, in the batch's order
    predicting_of: Int[Array, "A"]  # and which sequence that is, ascending

    @property
    def starts(self) -> Int[Array, "N"]:
        """The first row of each sequence, among all T."""
        starts: Array = self.prompt_lengths.sum() + self.lengths.cumsum() - self.lengths
        return starts

    @property
    def predicting_rows(self) -> Int[Array, "A"]:
        """The rows, among all T, whose logits predict the answer tokens."""
        rows: Array = self.starts[self.predicting_of] + self.predicting
        return rows

    @property
    def position_ids(self) -> Int[Array, "T"]:
        """Positions as Hugging Face counts them, from 0 at a prompt's first row."""
        before = np.repeat(self.prompt_lengths[self.prompt_of], self.lengths)  # [t]
        return np.concatenate([_count_up(self.prompt_lengths), before + self.positions])

    def visible(self, sequence: int) -> tuple[Int[Tensor, "M"], Int[Tensor, "K"], Bool[Tensor, "M K"]]:
        """The rows and the keys of a sequence. The keys are its prompt's rows, then its own rows.

        Returns:
            The rows' positions, the keys' positions, and which keys each row attends to.
        """
        first = int(self.starts[sequence] - self.prompt_lengths.sum())
        own = slice(first, first + int(self.lengths[sequence]))
        positions, branches = torch.from_numpy(self.positions[own]), torch.from_numpy(self.branches[own])
        in_prompt = torch.arange(-int(self.prompt_lengths[self.prompt_of[sequence]]), 0)  # [n]
        key_positions = torch.cat([in_prompt, positions])  # [K], K = n + M
        key_branches = torch.cat([torch.full_like(in_prompt, TEXT), branches])  # [K]
        return positions, key_positions, sees(positions, branches, key_positions, key_branches)


def sees(
    positions: Int[Tensor, "*N Q"],
    branches: Int[Tensor, "*N Q"],
    key_positions: Int[Tensor, "*N K"],
    key_branches: Int[Tensor, "*N K"],
) -> Bool[Tensor, "*N Q K"]:
    """Which keys a row attends to: those up to its own position, in the text or in its own answer."""
    same_branch = (key_branches[..., None, :] == TEXT) | (key_branches[..., None, :] == branches[..., None])
    return same_branch & (key_positions[..., None, :] <= positions[..., None])


def lay_out(prompt_lengths: Sequence[int], batch: Batch) -> Layout:
    """The layout of a batch. `prompt_lengths` has 0 for a prompt that does not occur in it."""
    text_lengths, answer_lengths = batch.text_lengths.numpy(), batch.answer_lengths.numpy()  # [B], [S]
    text_of = batch.text_of.numpy()  # [S]
    read_lengths = answer_lengths - 1  # an answer's last token is predicted, and never an input
    number = _count_up(np.bincount(text_of, minlength=len(text_lengths)))  # [S]: which of its text's answers

    # A part is a text, or what is read of an answer. Parts of one text stand together, the text first.
    part_text = np.concatenate([np.arange(len(text_lengths)), text_of])  # [B + S]
    part_branch = np.concatenate([np.full_like(text_lengths, TEXT), number + 1])
    part_length = np.concatenate([text_lengths, read_lengths])
    part_position = np.concatenate([np.zeros_like(text_lengths), text_lengths[text_of]])
    text_source = text_lengths.cumsum() - text_lengths
    answer_source = len(batch.text_ids) + answer_lengths.cumsum() - answer_lengths
    part_source = np.concatenate([text_source, answer_source])
    order = np.lexsort((part_branch, part_text))
    length = part_length[order]
    within = _count_up(length)  # [t]: index of each row in its part

    part_start = np.empty_like(part_length)  # [B + S]: first row of each part, in its sequence
    lengths = np.bincount(part_text, weights=part_length).astype(np.int64)  # [B]
    part_start[order] = (
        length.cumsum() - length - np.repeat(lengths.cumsum() - lengths, np.bincount(part_text))
    )

    # The text's last row predicts an answer's first token; the answer's own rows predict its other tokens.
    index = _count_up(answer_lengths)  # [A]: index of each token in its answer
    first_row = np.repeat(part_start[len(text_lengths) :], answer_lengths)  # [A]
    last_of_text = np.repeat(text_lengths[text_of] - 1, answer_lengths)  # [A]
    source = np.concatenate([batch.text_ids.numpy(), batch.answer_ids.numpy()])
    return Layout(
        prompt_lengths=np.asarray(prompt_lengths, dtype=np.int64),
        prompt_of=batch.prompt_of.numpy(),
        lengths=lengths,
        tokens=source[np.repeat(part_source[order], length) + within],
        positions=np.repeat(part_position[order], length) + within,
        branches=np.repeat(part_branch[order], length),
        predicting=np.where(index == 0, last_of_text, first_row + index - 1),
        predicting_of=np.repeat(text_of, answer_lengths),
    )


def _count_up(counts: Int[Array, "_"]) -> Int[Array, "_"]:
    """0, 1, ..., count - 1 for each count, end to end."""
    counted: Array = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    return counted
