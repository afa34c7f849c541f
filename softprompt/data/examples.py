"""Rendered records as token ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from softprompt.errors import UserError
from softprompt.settings import TaskSettings
from softprompt.tasks import Rendered


@dataclass(frozen=True)
class Example:
    """One record, tokenised.

    `answers` holds the token ids of every answer the task knows, end-of-sequence included, in the order of
    the task's verbalizers; `label` says which of them is right (None: not known).
    """

    text_ids: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    label: int | None
    where: str

    @property
    def right_answer(self) -> tuple[int, ...]:
        """The tokens of the right answer, which must be known: train and validation records have labels."""
        assert self.label is not None, self.where
        return self.answers[self.label]

    @property
    def length(self) -> int:
        """Tokens of the text and of the longest answer."""
        return len(self.text_ids) + max(map(len, self.answers))


def tokenise(task: TaskSettings, rendered: Sequence[Rendered], tokenizer: Any) -> list[Example]:
    """Token ids of texts and answers: `<text> <answer><end-of-sequence>`, without other special tokens.

    Text and answer are tokenised together and then cut apart, so that the answer's first token is the one
    the model would write after this text, whether the tokenizer marks words by a space before them
    (GPT-2, BLOOM) or of its own accord (SentencePiece).

    Raises:
        UserError: the tokenizer joins text and answer, has no end-of-sequence, does not know an answer or
            half of the texts' words, or tells two answers not apart.
    """
    if tokenizer.eos_token_id is None:
        raise UserError("the model's tokenizer has no end-of-sequence token, which every answer ends with")
    texts = [item.text for item in rendered]
    text_ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    _check_known(texts, text_ids, tokenizer)
    answers_of: list[list[tuple[int, ...]]] = [[] for _ in rendered]
    for answer in task.verbalizers:
        joined = tokenizer([f"{text} {answer}" for text in texts], add_special_tokens=False)["input_ids"]
        for item, ids, full, answers in zip(rendered, text_ids, joined, answers_of, strict=True):
            if full[: len(ids)] != ids or len(full) == len(ids):
                raise UserError(
                    f"{item.where}: the tokenizer joins the end of the text to the answer {answer!r}; "
                    f"end the template of task {task.name!r} with punctuation"
                )
            tokens = tuple(full[len(ids) :])
            if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in tokens:
                raise UserError(
                    f"task.verbalizers: the model's tokenizer does not know the answer {answer!r}"
                )
            answers.append((*tokens, tokenizer.eos_token_id))
    for item, ids, answers in zip(rendered, text_ids, answers_of, strict=True):
        if len(set(answers)) < len(answers):
            raise UserError(f"{item.where}: two answers of task {task.name!r} have the same tokens")
        if not ids:
            raise UserError(f"{item.where}: the text has no tokens")
    return [
        Example(tuple(ids), tuple(answers), item.label, item.where)
        for item, ids, answers in zip(rendered, text_ids, answers_of, strict=True)
    ]


def _check_known(texts: Sequence[str], text_ids: Sequence[Sequence[int]], tokenizer: Any) -> None:
    unknown = sum(ids.count(tokenizer.unk_token_id) for ids in text_ids)
    share = unknown / max(1, sum(map(len, text_ids)))
    if share > 0.5:
        raise UserError(
            f"the model's tokenizer does not know {share:.0%} of the words in texts like "
            f"{' '.join(texts[0].split())[:60]!r}; choose a model of this language with model=..."
        )


def check_lengths(examples: Sequence[Example], prompt_length: int, context_length: int | None) -> None:
    """Raise a `UserError` for the first example that does not fit the model's context behind the prompt."""
    for example in examples:
        # An answer's last token is predicted, never read.
        if context_length is not None and prompt_length + example.length - 1 > context_length:
            raise UserError(
                f"{example.where}: {prompt_length} prompt rows and {example.length} tokens "
                f"do not fit the model's context of {context_length}"
            )
