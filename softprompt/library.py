"""Trained prompts in a notebook: load a run, predict and score records with it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from softprompt.backbone import Backbone, load_backbone, model_fingerprint
from softprompt.data.examples import Example, check_lengths
from softprompt.data.prepare import prepare
from softprompt.errors import UserError
from softprompt.free_text import write_answers
from softprompt.methods import view_of
from softprompt.prompt import SoftPrompt
from softprompt.runs import Run
from softprompt.scoring import GENERATED_AT_ONCE, AnswerScores, Scores, score_all
from softprompt.settings import TaskSettings, Truncate
from softprompt.tasks import Record, lift
from softprompt.training.evaluation import ScoreMetrics


@dataclass(frozen=True)
class TrainedPrompt:
    """A run's best prompt, the frozen model in front of which it was trained, its task, and which field is cut."""

    prompt: SoftPrompt
    backbone: Backbone
    task: TaskSettings
    truncate: Truncate | None = None

    def predict(self, records: Iterable[Mapping[str, Any]]) -> list[str]:
        """The most likely of the task's answers to each record; what is generated if its answers are free text.

        Args:
            records: one mapping of field names to values per record, as in the task's data. Labels are ignored.

        Raises:
            UserError: a record lacks a field of the task's template, or does not fit the model's context.
        """
        if self.task.answers:
            return self.written(records)
        of_records = self.probabilities(records)
        return [max(probabilities, key=probabilities.__getitem__) for probabilities in of_records]

    def probabilities(
        self, records: Iterable[Mapping[str, Any]], where: Sequence[str] | None = None
    ) -> list[dict[str, float]]:
        """The probability of each of the task's answers to each record, given that one of them is written.

        Args:
            records: as for `predict`.
            where: the records' places, for error messages.

        Raises:
            UserError: as `predict`, or the task's answers are free text.
        """
        if self.task.answers:
            raise UserError(
                f"task {self.task.name!r}: its answers are free text, which has no list of probabilities"
            )
        examples = self._examples(records, labelled=False, where=where)
        if not examples:
            return []
        shares = self._score(examples).log_probability.softmax(1).tolist()  # [E, C]
        return [dict(zip(self.task.verbalizers, of_record, strict=True)) for of_record in shares]

    def written(self, records: Iterable[Mapping[str, Any]], where: Sequence[str] | None = None) -> list[str]:
        """What greedy generation writes behind each record's text, for a task whose answers are free text.

        Args:
            records: as for `predict`.
            where: the records' places, for error messages.

        Raises:
            UserError: as `predict`, or the task has a list of answers.
        """
        if not self.task.answers:
            raise UserError(f"task {self.task.name!r}: its answers are a list, not free text; use predict")
        examples = self._examples(records, labelled=False, where=where)
        texts: list[str] = []
        for start in range(0, len(examples), GENERATED_AT_ONCE):
            chunk = examples[start : start + GENERATED_AT_ONCE]
            texts += write_answers(self.backbone, [self.prompt.matrix], chunk, [0] * len(chunk))
        return texts

    def score(self, records: Iterable[Mapping[str, Any]]) -> Scores:
        """Exact match, rank accuracy, F1 and loss on labelled records. Raises like `predict`, or if a label is missing."""
        examples = self._examples(records, labelled=True)
        if not examples:
            raise UserError("score: there are no records")
        metrics = ScoreMetrics(len(self.task.verbalizers), self.task.metrics)
        metrics.update(examples, self._score(examples))
        return metrics.compute()

    def _examples(
        self, records: Iterable[Mapping[str, Any]], labelled: bool, where: Sequence[str] | None = None
    ) -> list[Example]:
        lifted = []
        for i, record in enumerate(records):
            place = where[i] if where else f"record {i}"
            lifted.append(Record(lift(record, place), place))
        if not lifted:
            return []
        backbone = self.backbone
        examples = prepare(
            self.task,
            lifted,
            self.truncate,
            backbone.tokenizer,
            backbone.table_rows,
            backbone.context_length,
            labelled=labelled,
        ).examples
        check_lengths(examples, len(self.prompt.matrix), backbone.context_length)
        return examples

    def _score(self, examples: list[Example]) -> AnswerScores:
        return score_all(self.backbone, [self.prompt.matrix], examples)[0]


def load(run: str | Path, device: str | torch.device | None = None) -> TrainedPrompt:
    """Load a finished run's best prompt, its model in the dtype of the training, and its task.

    Args:
        run: the run's folder.
        device: where the model computes; by default a GPU if there is one.

    Raises:
        UserError: the folder holds no finished run, the model cannot be loaded, or its files have changed since.
    """
    trained = Run.at(Path(run))
    result = trained.result()
    model = trained.trained_model()
    if changed := trained.changed_since(model_fingerprint(model)):
        raise UserError(f"{trained.path}: {changed} has changed since this run was trained; restore it")
    backbone = load_backbone(model, getattr(torch, result["backbone"]["dtype"]))
    backbone.to(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))
    settings = trained.settings
    view = view_of(settings.method, backbone)
    return TrainedPrompt(trained.best_prompt(), view, settings.task, settings.data.truncate)
