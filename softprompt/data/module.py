"""The LightningDataModule: one task's examples, and the steps of a pack of runs over them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import lightning as L
from sklearn.model_selection import train_test_split

from softprompt.data.examples import Example, check_lengths, tokenise
from softprompt.data.order import DataOrder
from softprompt.data.sources import Records
from softprompt.errors import UserError
from softprompt.settings import DataSettings, TaskSettings
from softprompt.tasks import render


class PackSteps:
    """What is left of an epoch: at every step, each run's next examples.

    They are None once a run's epoch is over, and for a run that has none (order None: it trains no more).
    """

    def __init__(self, examples: Sequence[Example], orders: Sequence[DataOrder | None]) -> None:
        self.examples = examples
        self.orders = orders

    def __len__(self) -> int:
        return max(order.steps_per_epoch - order.step for order in self.orders if order)

    def __iter__(self) -> Iterator[list[list[Example] | None]]:
        for step in zip_longest(*(order.remaining() if order else () for order in self.orders)):
            yield [None if batch is None else [self.examples[i] for i in batch] for batch in step]


class EvaluationBatches:
    """Examples in batches of at most `size`, those of like length together: the order changes no score."""

    def __init__(self, examples: Sequence[Example], size: int) -> None:
        self.examples = sorted(examples, key=lambda example: example.length)
        self.size = size

    def __len__(self) -> int:
        return -(-len(self.examples) // self.size)

    def __iter__(self) -> Iterator[list[Example]]:
        for start in range(0, len(self.examples), self.size):
            yield self.examples[start : start + self.size]


class TaskData(L.LightningDataModule):
    """A task's records as examples.

    `train` is what prompts learn from. `selection` picks the best prompt: the official validation set, or
    with `data.holdout` a part of train. `validation` is always the official validation set. `test` is for
    prediction only. The held-out part is stratified and the same for every seed.

    Raises:
        UserError: at construction, for the first record that cannot be rendered or tokenised.
    """

    def __init__(
        self,
        task: TaskSettings,
        data: DataSettings,
        records: Records,
        tokenizer: Any,
        batch_size: int,
        eval_batch_size: int,
    ) -> None:
        super().__init__()
        self.answers = len(task.verbalizers)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.orders: Callable[[], Sequence[DataOrder | None]] = list  # of the runs of the pack in training

        def examples(split: str) -> list[Example]:
            rendered = [render(task, r, labelled=split != "test") for r in records.splits[split]]
            return tokenise(task, rendered, tokenizer)

        self.train, self.validation = examples("train"), examples("validation")
        self.test = examples("test") if data.predict else []
        self.selection = self.validation
        if data.holdout:
            self.train, self.selection = self._hold_out(data.holdout)

    def _hold_out(self, share: float) -> tuple[list[Example], list[Example]]:
        labels = [example.label for example in self.train]
        try:
            kept, held_out = train_test_split(
                self.train, test_size=share, random_state=0, shuffle=True, stratify=labels
            )
        except ValueError as error:
            raise UserError(f"data.holdout={share}: train cannot be split so: {error}") from error
        return kept, held_out

    def check_lengths(self, prompt_length: int, context_length: int | None) -> None:
        """Raise a `UserError` if any example is too long for the model's context behind such a prompt."""
        check_lengths(
            [*self.train, *self.selection, *self.validation, *self.test], prompt_length, context_length
        )

    def new_order(self, seed: int) -> DataOrder:
        """The data order of a run with this seed, at its beginning."""
        return DataOrder(seed, len(self.train), self.batch_size)

    def evaluation_batches(self, examples: Sequence[Example]) -> EvaluationBatches:
        """Batches of at most `eval_batch_size` sequences, of which an example makes one per answer."""
        return EvaluationBatches(examples, max(1, self.eval_batch_size // self.answers))

    def train_dataloader(self) -> PackSteps:
        """The rest of the present epoch of every run in `orders`."""
        return PackSteps(self.train, self.orders())

    def val_dataloader(self) -> EvaluationBatches:
        """The examples that pick the best prompt."""
        return self.evaluation_batches(self.selection)
