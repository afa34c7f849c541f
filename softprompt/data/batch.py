"""The form in which texts and answers reach a backbone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Token ids of B texts and of their S answers, without padding, on the CPU.

    L and A are the tokens of all texts and of all answers. In training every text has one answer; in evaluation it has
    each of the task's answers, which do not attend to each other.
    """

    text_ids: Int[Tensor, "L"]
    text_lengths: Int[Tensor, "B"]
    prompt_of: Int[Tensor, "B"]  # the prompt in front of each text, an index into the list of prompts
    answer_ids: Int[Tensor, "A"]
    answer_lengths: Int[Tensor, "S"]
    text_of: Int[Tensor, "S"]  # the text in front of each answer, ascending

    @staticmethod
    def of_pairs(
        pairs: Sequence[tuple[Sequence[int], Sequence[int]]], prompt_of: Sequence[int] | None = None
    ) -> "Batch":
        """A batch of texts with one answer each, from token ids. `prompt_of`: by default prompt 0 for every text."""
        return Batch.of_texts([(text, [answer]) for text, answer in pairs], prompt_of)

    @staticmethod
    def of_texts(
        texts: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]], prompt_of: Sequence[int] | None = None
    ) -> "Batch":
        """A batch of texts with one or more answers each, from token ids. `prompt_of` as in `of_pairs`."""
        answers = [(index, answer) for index, (_, of_text) in enumerate(texts) for answer in of_text]
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
        """The answer that each answer token belongs to."""
        return torch.repeat_interleave(torch.arange(len(self.answer_lengths)), self.answer_lengths)

    @property
    def prompt_of_token(self) -> Int[Tensor, "A"]:
        """The prompt in front of the text of each answer token."""
        return self.prompt_of[self.text_of[self.answer_of_token]]

    @property
    def read_ids(self) -> list[Int[Tensor, "_"]]:
        """Per answer, the tokens the model reads: all but the last, which is only predicted."""
        return [answer[:-1] for answer in torch.split(self.answer_ids, self.answer_lengths.tolist())]
