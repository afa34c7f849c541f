"""The one shape in which sequences reach a backbone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Sequences laid end to end, without padding, on the CPU.

    Every sequence is a text followed by an answer. B sequences, T tokens in all, A of them in answers.
    """

    token_ids: Int[Tensor, "T"]
    lengths: Int[Tensor, "B"]
    answer_lengths: Int[Tensor, "B"]
    prompt_of: Int[Tensor, "B"]  # which prompt stands in front of each sequence

    @staticmethod
    def pack(
        sequences: Sequence[tuple[Sequence[int], Sequence[int]]], prompt_of: Sequence[int] | None = None
    ) -> "Batch":
        """Lay `(text ids, answer ids)` pairs end to end; all stand behind prompt 0 unless told otherwise."""
        return Batch(
            token_ids=torch.tensor([token for text, answer in sequences for token in (*text, *answer)]),
            lengths=torch.tensor([len(text) + len(answer) for text, answer in sequences]),
            answer_lengths=torch.tensor([len(answer) for _, answer in sequences]),
            prompt_of=torch.tensor([0] * len(sequences) if prompt_of is None else list(prompt_of)),
        )

    @property
    def sequence_of_answer_token(self) -> Int[Tensor, "A"]:
        """Which sequence each answer token belongs to."""
        return torch.repeat_interleave(torch.arange(len(self.lengths)), self.answer_lengths)

    @property
    def answer_ids(self) -> Int[Tensor, "A"]:
        """The tokens that the logits at the answer positions should name."""
        sequence = self.sequence_of_answer_token
        first = self.lengths.cumsum(0) - self.answer_lengths
        place = torch.arange(len(sequence)) - (self.answer_lengths.cumsum(0) - self.answer_lengths)[sequence]
        return self.token_ids[first[sequence] + place]
