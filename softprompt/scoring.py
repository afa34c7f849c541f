"""What a prompt answers: teacher-forced scores over a task's answers, without a generation loop.

All of the task's answers are put behind every text. Greedy generation writes exactly an answer if the argmax is right at
each of its positions, end-of-sequence included, given the answer's earlier tokens. So one forward pass tells what the
model would write, and how likely it finds each answer. Answers that are free text are generated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from softprompt.backbone import Backbone
from softprompt.data.batch import Batch, copy_together
from softprompt.data.examples import Example
from softprompt.free_text import is_right, write_answers

GENERATED_AT_ONCE = 32  # sequences, each with keys and values of its own


@dataclass(frozen=True)
class Scores:
    """Scores of one prompt on one set of n examples. All but `loss` are shares between 0 and 1.

    Attributes:
        loss: cross-entropy of the right answers, in nats per answer token.
        exact_match: greedy generation writes the right answer and ends there. With free text it is one of the right answers
            after normalisation (`free_text.py`).
        rank_accuracy: the right answer is the most likely of the task's answers (log-probabilities summed over an
            answer's tokens, end-of-sequence included).
        macro_f1: F1 of the most likely answers, averaged over the answers that occur (as SuperGLUE scores CB).
        invalid_prediction_rate: greedy generation writes none of the task's answers.
        extra: the metrics that the task names. With free text `token_f1`, and there is no list of answers from which the
            three scores above could be computed.
    """

    loss: float
    exact_match: float
    rank_accuracy: float | None
    macro_f1: float | None
    invalid_prediction_rate: float | None
    n: int
    extra: Mapping[str, float] = field(default_factory=dict)

    @property
    def row(self) -> dict[str, float | int | None]:
        """All scores by name, with those of `extra` behind the others."""
        return {**{name: value for name, value in vars(self).items() if name != "extra"}, **self.extra}

    @staticmethod
    def of_row(row: Mapping[str, float | int | None]) -> "Scores":
        """The scores that `row` was made from."""
        known = {own.name: row[own.name] for own in fields(Scores) if own.name != "extra"}
        extra = {name: value for name, value in row.items() if name not in known}
        return Scores(**known, extra=extra)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Outcomes:
    """How a prompt does on each of E labelled examples."""

    exact_match: Bool[Tensor, "E"]  # greedy generation writes the right answer
    rank_correct: Bool[Tensor, "E"]  # the right answer is the most likely of the task's answers
    most_likely: Int[Tensor, "E"]  # the index of the most likely answer
    loss: Float[Tensor, "E"]  # of the right answer, nats summed over its tokens


@dataclass(frozen=True)
class AnswerScores:
    """E examples against the C answers of their task, or with free text against the first right answer of each (C = 1)."""

    log_probability: Float[Tensor, "E C"]  # nats, summed over an answer's tokens
    written: Bool[
        Tensor, "E C"
    ]  # greedy generation would write exactly this answer; with free text a right one
    texts: tuple[str, ...] = ()  # with free text, what greedy generation writes

    @property
    def most_likely(self) -> Int[Tensor, "E"]:
        """The index of the most likely answer."""
        return self.log_probability.argmax(1)

    def at(self, rows: list[int]) -> "AnswerScores":
        """The scores of some of the examples."""
        return AnswerScores(
            self.log_probability[rows],
            self.written[rows],
            tuple(self.texts[row] for row in rows) if self.texts else (),
        )

    def outcomes(self, labels: Int[Tensor, "E"]) -> Outcomes:
        """The scores held against the right answers' indices."""
        rows = torch.arange(len(labels), device=labels.device)
        return Outcomes(
            exact_match=self.written[rows, labels],
            rank_correct=self.most_likely == labels,
            most_likely=self.most_likely,
            loss=-self.log_probability[rows, labels],
        )


def labels_of(examples: Sequence[Example], device: torch.device | None = None) -> Int[Tensor, "E"]:
    """The index of each example's right answer."""
    return torch.tensor([example.label for example in examples], device=device)


@torch.no_grad()
def score_answers(
    backbone: Backbone,
    prompts: Sequence[Float[Tensor, "_ d"]],
    examples: Sequence[Example],
    prompt_of: Sequence[int] | None = None,
) -> AnswerScores:
    """Score each of the task's answers behind each example's text, in one forward pass; generate answers that are free text.

    Args:
        prompts: matrices, which may differ in their number of rows.
        examples: E examples with C answers each.
        prompt_of: the prompt in front of each example; by default prompt 0.
    """
    batch = Batch.of_texts([(example.text_ids, example.answers) for example in examples], prompt_of)
    logits = backbone.answer_logits(prompts, batch)  # [A, V]
    on_device = copy_together(
        {"targets": batch.answer_ids.numpy(), "answer_of_token": batch.answer_of_token.numpy()}, logits.device
    )
    targets, answer_of_token = on_device["targets"], on_device["answer_of_token"]  # [A] each
    token_log_probability = -F.cross_entropy(logits.float(), targets, reduction="none")  # [A]
    wrong = (logits.argmax(-1) != targets).float()  # [A]
    zeros = torch.zeros(len(batch.answer_lengths), device=logits.device)  # [S], S = E·C
    log_probability = zeros.index_add(0, answer_of_token, token_log_probability).view(len(examples), -1)
    right_answers = [example.free_text.right for example in examples if example.free_text]
    if right_answers:
        texts = write_answers(backbone, prompts, examples, prompt_of or [0] * len(examples))
        is_written = [[is_right(text, right)] for text, right in zip(texts, right_answers, strict=True)]
        written = torch.tensor(is_written, device=logits.device)  # [E, 1]
        return AnswerScores(log_probability, written, tuple(texts))
    written = zeros.index_add(0, answer_of_token, wrong).view(len(examples), -1) == 0
    return AnswerScores(log_probability, written)


def score_all(
    backbone: Backbone,
    prompts: Sequence[Float[Tensor, "_ d"]],
    examples: Sequence[Example],
    answers: int = 256,
) -> list[AnswerScores]:
    """`score_answers` of every prompt on a whole data set.

    Prompts run side by side and texts of similar length together, at most `answers` answers at a time.

    Returns:
        One `AnswerScores` per prompt, in the order of `examples`, on the CPU.
    """
    by_length = sorted(range(len(examples)), key=lambda index: examples[index].length)
    pairs = [(prompt, index) for index in by_length for prompt in range(len(prompts))]
    size = max(1, answers // len(examples[0].answers))
    if examples[0].free_text:
        size = min(size, GENERATED_AT_ONCE)
    chunks = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    scores = [
        score_answers(
            backbone, prompts, [examples[index] for _, index in chunk], [prompt for prompt, _ in chunk]
        )
        for chunk in chunks
    ]
    log_probability = torch.cat(
        [chunk.log_probability for chunk in scores]
    ).cpu()  # [E·P, C], short texts first
    written = torch.cat([chunk.written for chunk in scores]).cpu()
    texts = [text for chunk in scores for text in chunk.texts]
    first_row = torch.tensor(by_length).argsort() * len(prompts)  # [E]: the row of each example with prompt 0
    return [
        AnswerScores(log_probability, written, tuple(texts)).at((first_row + prompt).tolist())
        for prompt in range(len(prompts))
    ]
