"""Trained prompts in a notebook: load a run, predict and score records with it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from softprompt.backbone import Backbone, choose_dtype, load_backbone
from softprompt.data.examples import Example, check_lengths, tokenise
from softprompt.errors import UserError
from softprompt.parsing import parse_settings
from softprompt.prompt import SoftPrompt
from softprompt.renamed import current_config
from softprompt.scoring import AnswerScores, Scores, score_all
from softprompt.settings import TaskSettings
from softprompt.tasks import Record, lift, render
from softprompt.training.evaluation import ScoreMetrics


@dataclass(frozen=True)
class TrainedPrompt:
    """A run's best prompt, the frozen model in front of which it was trained, and its task."""

    prompt: SoftPrompt
    backbone: Backbone
    task: TaskSettings

    def predict(self, records: Iterable[Mapping[str, Any]]) -> list[str]:
        """The most likely of the task's answers to each record.

        Args:
            records: the fields of a record each, as in the task's data; labels are not looked at.

        Raises:
            UserError: a record lacks a field of the task's template, or does not fit the model's context.
        """
        examples = self._examples(records, labelled=False)
        answers = list(self.task.verbalizers)
        return [answers[i] for i in self._score(examples).most_likely.tolist()] if examples else []

    def score(self, records: Iterable[Mapping[str, Any]]) -> Scores:
        """Exact match, rank accuracy, F1 and loss on labelled records. Raises like `predict`, or if a label is missing."""
        examples = self._examples(records, labelled=True)
        if not examples:
            raise UserError("score: there are no records")
        metrics = ScoreMetrics(len(self.task.verbalizers))
        metrics.update(examples, self._score(examples))
        return metrics.compute()

    def _examples(self, records: Iterable[Mapping[str, Any]], labelled: bool) -> list[Example]:
        rendered = [
            render(self.task, Record(lift(record), f"record {i}"), labelled=labelled)
            for i, record in enumerate(records)
        ]
        examples = tokenise(self.task, rendered, self.backbone.tokenizer) if rendered else []
        check_lengths(examples, len(self.prompt.matrix), self.backbone.context_length)
        return examples

    def _score(self, examples: list[Example]) -> AnswerScores:
        return score_all(self.backbone, [self.prompt.matrix], examples)[0]


def load(run: str | Path, device: str | torch.device | None = None) -> TrainedPrompt:
    """Load a run's best prompt, its model and its task.

    Args:
        run: a run's folder, which holds config.yaml and prompt.safetensors.
        device: where the model computes; by default a GPU if there is one.

    Raises:
        UserError: the folder holds no run, or the model cannot be loaded.
    """
    config = Path(run) / "config.yaml"
    try:
        settings = parse_settings(current_config(yaml.safe_load(config.read_text(encoding="utf-8"))))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{config}: cannot be read ({error})".replace("\n", " ")) from error
    prompt = SoftPrompt.load(Path(run) / "prompt.safetensors")
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    backbone = load_backbone(settings.model, choose_dtype(settings.model.dtype, chosen.type))
    backbone.to(chosen)
    return TrainedPrompt(prompt, backbone, settings.task)
