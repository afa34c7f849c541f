"""A batch of texts and answers: the input of a backbone beside the prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Token ids of B texts and of their S answers, without padding, on the CPU.

    All texts are concatenated into one vector of L tokens, all answers into one of A tokens. In training every text has
    one answer. In evaluation it has each of the task's answers; answers to the same text do not attend to each other.
    """

    text_ids: Int[Tensor, "L"]
    text_lengths: Int[Tensor, "B"]
    prompt_of: Int[Tensor, "B"]  # index of the prompt in front of each text
    answer_ids: Int[Tensor, "A"]
    answer_lengths: Int[Tensor, "S"]
    text_of: Int[Tensor, "S"]  # index of the text in front of each answer, ascending

    @staticmethod
    def of_pairs(
        pairs: Sequence[tuple[Sequence[int], Sequence[int]]], prompt_of: Sequence[int] | None = None
    ) -> "Batch":
        """A batch of texts with one answer each.

        Args:
            pairs: token ids of B texts, each with the token ids of its answer.
            prompt_of: index of the prompt in front of each text; by default prompt 0 for every text.
        """
        return Batch.of_texts([(text, [answer]) for text, answer in pairs], prompt_of)

    @staticmethod
    def of_texts(
        texts: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]], prompt_of: Sequence[int] | None = None
    ) -> "Batch":
        """A batch of texts with one or more answers each.

        Args:
            texts: token ids of B texts, each with the token ids of all its answers.
            prompt_of: index of the prompt in front of each text; by default prompt 0 for every text.
        """
        answers = [
            (index, answer) for index, (_, text_answers) in enumerate(texts) for answer in text_answers
        ]
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
        """Index of the answer that each answer token belongs to."""
        return torch.repeat_interleave(torch.arange(len(self.answer_lengths)), self.answer_lengths)

    @property
    def prompt_of_token(self) -> Int[Tensor, "A"]:
        """Index of the prompt in front of each answer token's text."""
        return self.prompt_of[self.text_of[self.answer_of_token]]

    @property
    def read_ids(self) -> list[Int[Tensor, "_"]]:
        """Per answer, all tokens but the last (shifted inputs): the last one is predicted and never an input."""
        return [answer[:-1] for answer in torch.split(self.answer_ids, self.answer_lengths.tolist())]


def copy_together(
    arrays: Mapping[str, Int[np.ndarray, "..."]], device: torch.device
) -> dict[str, Int[Tensor, "..."]]:
    """Arrays of integers on a device. All of them are copied in one transfer, to a GPU from pinned memory."""
    joined = torch.from_numpy(np.concatenate([array.ravel() for array in arrays.values()]))
    if device.type == "cuda":
        joined = joined.pin_memory()
    joined = joined.to(device, non_blocking=True)
    parts = torch.split(joined, [array.size for array in arrays.values()])
    return {name: part.view(array.shape) for (name, array), part in zip(arrays.items(), parts, strict=True)}
