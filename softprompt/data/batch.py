"""The one shape in which texts and answers reach a backbone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Texts laid end to end and the answers behind them laid end to end, without padding, on the CPU.

    B texts of T tokens in all; S answers of A tokens in all. In training every text has one answer; where answers
    are compared each text has several, which do not see each other.
    """

    text_ids: Int[Tensor, "T"]
    text_lengths: Int[Tensor, "B"]
    prompt_of: Int[Tensor, "B"]  # which prompt stands in front of each text
    answer_ids: Int[Tensor, "A"]
    answer_lengths: Int[Tensor, "S"]
    text_of: Int[Tensor, "S"]  # which text each answer stands behind, in the order of the texts

    @staticmethod
    def pack(
        sequences: Sequence[tuple[Sequence[int], Sequence[int]]], prompt_of: Sequence[int] | None = None
    ) -> "Batch":
        """`(text ids, answer ids)` pairs, all behind prompt 0 unless told otherwise."""
        return Batch.branch([(text, [answer]) for text, answer in sequences], prompt_of)

    @staticmethod
    def branch(
        texts: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]], prompt_of: Sequence[int] | None = None
    ) -> "Batch":
        """Texts, each with one or more answers, all behind prompt 0 unless told otherwise."""
        answers = [(index, answer) for index, (_, own) in enumerate(texts) for answer in own]
        return Batch(
            text_ids=torch.tensor([token for text, _ in texts for token in text]),
            text_lengths=torch.tensor([len(text) for text, _ in texts]),
            prompt_of=torch.tensor([0] * len(texts) if prompt_of is None else list(prompt_of)),
            answer_ids=torch.tensor([token for _, answer in answers for token in answer]),
            answer_lengths=torch.tensor([len(answer) for _, answer in answers]),
            text_of=torch.tensor([index for index, _ in answers]),
        )

    @property
    def answer_of_token(self) -> Int[Tensor, "A"]:
        """Which answer each answer token belongs to."""
        return torch.repeat_interleave(torch.arange(len(self.answer_lengths)), self.answer_lengths)

    @property
    def read_ids(self) -> list[Int[Tensor, "_"]]:
        """Of each answer the tokens that the model reads: all but the last, which is predicted, never read."""
        return [answer[:-1] for answer in torch.split(self.answer_ids, self.answer_lengths.tolist())]
