"""The LightningDataModule of one task: training batches for a pack of runs, and evaluation batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any

import lightning as L

from softprompt.data.examples import Example, check_lengths
from softprompt.data.order import DataOrder
from softprompt.data.prepare import prepare
from softprompt.data.sources import Records
from softprompt.errors import UserError
from softprompt.settings import DataSettings, TaskSettings


@dataclass(frozen=True)
class Turn:
    """Where a run in training stands: its data order, and the steps until its next evaluation (0: it awaits one)."""

    order: DataOrder
    steps: int


class PackSteps:
    """The training steps of a pack up to the next evaluation of any of its runs.

    Each step yields a list with one entry per run: the run's next batch of examples, or None if it has stopped training
    (it has no turn).
    """

    def __init__(self, examples: Sequence[Example], turns: Sequence[Turn | None]) -> None:
        self.examples = examples
        self.turns = turns

    def __len__(self) -> int:
        return min(turn.steps for turn in self.turns if turn)

    def __iter__(self) -> Iterator[list[list[Example] | None]]:
        batches = (turn.order.remaining() if turn else repeat(None) for turn in self.turns)
        for step in islice(zip(*batches, strict=False), len(self)):
            yield [None if indices is None else [self.examples[i] for i in indices] for indices in step]


class EvaluationBatches:
    """Pairs of a prompt's index and an example, at most `size` at a time.

    Prompts come one after another, so that few prompts share a batch, and each prompt's examples are sorted by length. The
    order changes no score.
    """

    def __init__(self, examples: Sequence[Example], prompts: Sequence[int], size: int) -> None:
        by_length = sorted(examples, key=lambda example: example.length)
        self.pairs = [(prompt, example) for prompt in prompts for example in by_length]
        self.size = size

    def __len__(self) -> int:
        return -(-len(self.pairs) // self.size)

    def __iter__(self) -> Iterator[list[tuple[int, Example]]]:
        for start in range(0, len(self.pairs), self.size):
            yield self.pairs[start : start + self.size]


class TaskData(L.LightningDataModule):
    """The examples of one task, in four sets.

    Attributes:
        train: prompts are trained on these.
        selection: evaluated during training to pick the best prompt and to stop early. The validation set by default;
            with `data.holdout` a part of the training set, stratified by label and the same for every seed.
        validation: always the official validation set; final scores are computed on it.
        test: for predictions only, without labels; empty unless `data.predict`.
        truncated: by split as it was read, how many examples had a field cut (`data.truncate`).
        turns: returns the turn of each run of the pack in training, None for a run that has stopped.

    Raises:
        UserError: at construction, for the first record that cannot be rendered or tokenised, or if `data.holdout`
            leaves too few examples of a label.
    """

    def __init__(
        self,
        task: TaskSettings,
        data: DataSettings,
        records: Records,
        tokenizer: Any,
        table_rows: int,
        context_length: int | None,
        batch_size: int,
        eval_batch_size: int,
    ) -> None:
        super().__init__()
        self.answers = max(1, len(task.verbalizers))
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.turns: Callable[[], Sequence[Turn | None]] = list
        self.truncated: dict[str, int] = {}

        def examples(split: str) -> list[Example]:
            prepared = prepare(
                task,
                records.splits[split],
                data.truncate,
                tokenizer,
                table_rows,
                context_length,
                labelled=split != "test",
            )
            self.truncated[split] = prepared.truncated
            return prepared.examples

        self.train, self.validation = examples("train"), examples("validation")
        self.test = examples("test") if data.predict else []
        self.selection = self.validation
        if data.holdout:
            self.train, self.selection = self._hold_out(data.holdout)

    def _hold_out(self, share: float) -> tuple[list[Example], list[Example]]:
        from sklearn.model_selection import train_test_split  # here, because it takes a third of a second

        labels = [example.label for example in self.train]
        try:
            kept, held_out = train_test_split(
                self.train, test_size=share, random_state=0, shuffle=True, stratify=labels
            )
        except ValueError as error:
            raise UserError(f"data.holdout={share}: the training set cannot be split: {error}") from error
        return kept, held_out

    def check_lengths(self, prompt_length: int, context_length: int | None) -> None:
        """Raise a `UserError` if any example does not fit the model's context with a prompt of this length."""
        check_lengths(
            [*self.train, *self.selection, *self.validation, *self.test], prompt_length, context_length
        )

    def new_order(self, seed: int) -> DataOrder:
        """The data order at the start of a run with this seed."""
        return DataOrder(seed, len(self.train), self.batch_size)

    def evaluation_batches(
        self, examples: Sequence[Example], prompts: Sequence[int] = (0,)
    ) -> EvaluationBatches:
        """All pairs of these prompts and examples, at most `eval_batch_size` sequences at a time.

        A pair counts as one sequence per answer.
        """
        return EvaluationBatches(examples, prompts, max(1, self.eval_batch_size // self.answers))

    def train_dataloader(self) -> PackSteps:
        """The steps of every run in `turns` up to the next evaluation of any of them."""
        return PackSteps(self.train, self.turns())

    def val_dataloader(self) -> EvaluationBatches:
        """Batches of `selection`, for every run in `turns`. Lightning asks for them before it is known who awaits one."""
        live = [index for index, turn in enumerate(self.turns()) if turn]
        return self.evaluation_batches(self.selection, live)
