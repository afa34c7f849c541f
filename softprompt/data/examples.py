"""Tokenises rendered records into examples: token ids of a text and of every answer of the task.

If the task's answers are free text, an example has its own right answer instead, and the texts of all right ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from softprompt.errors import UserError
from softprompt.settings import TaskSettings
from softprompt.tasks import Rendered


@dataclass(frozen=True)
class FreeText:
    """The right answers of an example whose answer is free text, and how many tokens are generated at most."""

    right: tuple[str, ...]
    max_tokens: int


@dataclass(frozen=True)
class Example:
    """One tokenised record.

    Attributes:
        text_ids: token ids of the text.
        answers: token ids of each of the task's C answers, end-of-sequence included, in the order of its verbalizers. With
            free text the first right answer alone (C = 1), or none if the record has no answer.
        label: index of the right answer; None if the record has no label.
        where: the place of the record, for error messages: `CB/train.jsonl:12`.
        group: the same for records that belong together; None if the task has no groups.
    """

    text_ids: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    label: int | None
    where: str
    group: str | None = None
    free_text: FreeText | None = None

    @property
    def right_answer(self) -> tuple[int, ...]:
        """Token ids of the right answer. Only for examples with a label (train and validation records have one)."""
        assert self.label is not None, self.where
        return self.answers[self.label]

    def with_answers(self, others: Sequence[tuple[int, ...]]) -> "Example":
        """The example with its own answers first, then others that are not among them. The label stays."""
        return replace(self, answers=tuple(dict.fromkeys([*self.answers, *others])))

    @property
    def length(self) -> int:
        """Number of tokens of the text and the longest answer together, or as many as may be generated."""
        generated = self.free_text.max_tokens if self.free_text else 0
        return len(self.text_ids) + max([generated, *map(len, self.answers)])


def tokenise(
    task: TaskSettings, rendered: Sequence[Rendered], tokenizer: Any, table_rows: int
) -> list[Example]:
    """Tokenise texts with each of the task's answers: `<text> <answer><end-of-sequence>`, no other special tokens.

    Text and answer are tokenised together and then split, so that the answer's first token is the one that the model
    would generate after this text. This holds for tokenizers that put the space before a word into its token
    (GPT-2, BLOOM) and for those that mark the start of a word themselves (SentencePiece).

    Args:
        task: its verbalizers are the answers.
        rendered: texts with their labels.
        tokenizer: a Hugging Face tokenizer.
        table_rows: rows of the model's embedding table.

    Returns:
        One example per rendered record, in the same order.

    Raises:
        UserError: the tokenizer has no end-of-sequence token, does not know a token of an answer, or joins text and answer
            into one token, two answers have the same tokens, a text has none, or the embedding table has no row for a token.
    """
    if tokenizer.eos_token_id is None:
        raise UserError(
            "the model's tokenizer has no end-of-sequence token, and every answer must end with one"
        )
    texts = [record.text for record in rendered]
    text_ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    answers_of: list[list[tuple[int, ...]]] = [[] for _ in rendered]
    # Per answer of the task, its text behind each record. With free text every record has an answer of its own, or none.
    columns = [[answer] * len(rendered) for answer in task.verbalizers]
    if rendered[0].answers:
        columns = [[record.answers[0] for record in rendered]]
    for column in columns:
        joined = tokenizer(
            [f"{text} {answer}" for text, answer in zip(texts, column, strict=True)], add_special_tokens=False
        )["input_ids"]
        for record, answer, ids, joined_ids, answers in zip(
            rendered, column, text_ids, joined, answers_of, strict=True
        ):
            if joined_ids[: len(ids)] != ids or len(joined_ids) == len(ids):
                raise UserError(
                    f"{record.where}: the tokenizer joins the end of the text to the answer {answer!r}; "
                    f"end the template of task {task.name!r} with punctuation"
                )
            answer_ids = tuple(joined_ids[len(ids) :])
            if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in answer_ids:
                source = f"{record.where}: " if record.answers else "task.verbalizers: "
                raise UserError(f"{source}the model's tokenizer does not know the answer {answer!r}")
            answers.append((*answer_ids, tokenizer.eos_token_id))
    for record, ids, answers in zip(rendered, text_ids, answers_of, strict=True):
        if len(set(answers)) < len(answers):
            raise UserError(f"{record.where}: two answers of task {task.name!r} have the same tokens")
        if not ids:
            raise UserError(f"{record.where}: the text has no tokens")
        check_ids([*ids, *(token for answer in answers for token in answer)], table_rows, record.where)
    return [
        Example(
            tuple(ids),
            tuple(answers),
            record.label,
            record.where,
            record.group,
            FreeText(record.answers, task.max_answer_tokens) if task.answers else None,
        )
        for record, ids, answers in zip(rendered, text_ids, answers_of, strict=True)
    ]


def check_ids(ids: Sequence[int], table_rows: int, where: str) -> None:
    """Raise a `UserError` if the embedding table has no row for a token id."""
    if ids and max(ids) >= table_rows:
        raise UserError(
            f"{where}: the tokenizer's token {max(ids)} is not in the model's embedding table of {table_rows} rows; use "
            "the tokenizer that belongs to the model"
        )


def check_language(texts: Sequence[str], examples: Sequence[Example], tokenizer: Any) -> None:
    """Raise a `UserError` if more than half of the texts' tokens are unknown to the tokenizer."""
    unknown = sum(example.text_ids.count(tokenizer.unk_token_id) for example in examples)
    share = unknown / max(1, sum(len(example.text_ids) for example in examples))
    if share > 0.5:
        raise UserError(
            f"the model's tokenizer does not know {share:.0%} of the words in texts like "
            f"{' '.join(texts[0].split())[:60]!r}; choose a model of this language with model=..."
        )


def check_lengths(examples: Sequence[Example], prompt_length: int, context_length: int | None) -> None:
    """Check that every example fits the model's context together with a prompt.

    Args:
        examples: the examples to check.
        prompt_length: n, the rows of the prompt.
        context_length: the model's context in tokens; None if the model has no fixed limit.

    Raises:
        UserError: for the first example that is too long.
    """
    for example in examples:
        # An answer's last token is predicted and never an input.
        if context_length is not None and prompt_length + example.length - 1 > context_length:
            raise UserError(
                f"{example.where}: {prompt_length} prompt rows and {example.length} tokens "
                f"do not fit the model's context of {context_length}; to cut a field of the records, set "
                f"'data.truncate={{field: ..., drop: end, prompt_rows: {prompt_length}}}'"
            )
