"""Scores of prompts on a data set, accumulated over batches and devices by torchmetrics."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, SumMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from softprompt.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.files import sha256
from softprompt.free_text import normalised, token_f1, write_answers
from softprompt.scoring import AnswerScores, Scores, labels_of, score_answers
from softprompt.settings import TaskSettings
from softprompt.training.metrics import METRICS

T = TypeVar("T")


class ScoreMetrics(nn.Module):
    """Accumulates one prompt's answer scores into `Scores`."""

    def __init__(self, answers: int, extra: Sequence[str] = ()) -> None:
        """`answers` is the number of the task's answers, 0 for free text; `extra` are metrics that the task names."""
        super().__init__()
        self.n = SumMetric()
        self.loss_sum = SumMetric(nan_strategy="disable")  # keep NaN; torchmetrics drops it by default
        self.tokens = SumMetric()
        self.exact_match = MeanMetric()
        self.of_free_text = not answers
        if self.of_free_text:
            self.token_f1 = MeanMetric()
        else:
            self.invalid_prediction_rate = MeanMetric()
            self.rank_accuracy = MulticlassAccuracy(answers, average="micro")
            self.macro_f1 = MulticlassF1Score(answers, average="macro")
        self.extra: Mapping[str, Metric] = nn.ModuleDict({name: METRICS[name]() for name in extra})  # type: ignore[assignment]

    def update(self, examples: Sequence[Example], scores: AnswerScores) -> None:
        """Add a batch of labelled examples."""
        labels = labels_of(examples, scores.written.device)
        outcomes = scores.outcomes(labels)
        self.n.update(len(examples))
        self.loss_sum.update(outcomes.loss)
        self.tokens.update(sum(len(example.right_answer) for example in examples))
        self.exact_match.update(outcomes.exact_match.float())
        if self.of_free_text:
            right = [example.free_text.right for example in examples if example.free_text]
            shares = [token_f1(text, of_text) for text, of_text in zip(scores.texts, right, strict=True)]
            self.token_f1.update(torch.tensor(shares))
            return
        self.invalid_prediction_rate.update((~scores.written.any(1)).float())
        self.rank_accuracy.update(scores.most_likely, labels)
        self.macro_f1.update(scores.most_likely, labels)
        if self.extra:
            groups = torch.tensor([_number(example.group) for example in examples], device=labels.device)
            for metric in self.extra.values():
                metric.update(scores.most_likely, labels, groups)

    def compute(self) -> Scores:
        """The scores of all examples since the last reset, the same on every device."""
        extra = {"token_f1": self.token_f1} if self.of_free_text else self.extra
        return Scores(
            loss=(self.loss_sum.compute() / self.tokens.compute()).item(),
            exact_match=_share(self.exact_match),
            rank_accuracy=None if self.of_free_text else _share(self.rank_accuracy),
            macro_f1=None if self.of_free_text else _share(self.macro_f1),
            invalid_prediction_rate=None if self.of_free_text else _share(self.invalid_prediction_rate),
            n=round(self.n.compute().item()),
            extra={name: _share(metric) for name, metric in extra.items()},
        )

    def reset(self) -> None:
        """Forget all examples."""
        for metric in self.modules():
            if isinstance(metric, Metric):
                metric.reset()


def _share(metric: Metric) -> float:
    # Rounded, because a float32 mean turns 4/7 into 0.5714285969734192.
    return round(float(metric.compute()), 6)


def _number(group: str | None) -> int:
    """A number for a group, the same on every device."""
    return int(sha256((group or "").encode())[:15], 16)


def majority_share(examples: Sequence[Example]) -> float:
    """Share of the most common label: the score of always giving that answer. With free text, of the most common answer."""
    counts = Counter(
        label
        for example in examples
        for label in (set(map(normalised, example.free_text.right)) if example.free_text else [example.label])
    )
    return max(counts.values()) / len(examples)


class PromptEvaluation(L.LightningModule):
    """Scores prompts on the batches it is given. After `trainer.validate`, `scores` has one entry per prompt."""

    def __init__(
        self, backbone: Backbone, prompts: Sequence[Float[Tensor, "..."]], task: TaskSettings
    ) -> None:
        """`prompts` stand in front of the texts, or `in_front` makes what does of them. `task` is that of the examples."""
        super().__init__()
        self.backbone = backbone
        self.task = task
        self.prompts = nn.ParameterList(prompts)
        self.metrics: Sequence[ScoreMetrics] = nn.ModuleList(  # type: ignore[assignment]
            ScoreMetrics(len(task.verbalizers), task.metrics) for _ in prompts
        )
        self.scores: list[Scores | None] = [None] * len(prompts)

    def setup(self, stage: str) -> None:
        """Move the backbone to the device that the prompts will be on."""
        self.backbone.to(self.trainer.strategy.root_device)

    def local_share(self, items: list[T]) -> list[T]:
        """This process's part of a batch; all of it unless several devices share the work."""
        return items[self.trainer.global_rank :: self.trainer.world_size]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Examples are plain numbers; the backbone moves what it needs of them."""
        return batch

    def in_front(self, prompt: int) -> Float[Tensor, "n _"]:
        """What stands in front of the texts of a prompt, by its index."""
        matrix: Tensor = self.prompts[prompt]
        return matrix

    def is_evaluated(self, prompt: int) -> bool:
        """True if this prompt takes part in the evaluation."""
        return True

    def validation_step(self, pairs: list[tuple[int, Example]], batch_idx: int) -> None:
        """Score a batch of prompts' indices and examples."""
        evaluated = [
            (prompt, example) for prompt, example in self.local_share(pairs) if self.is_evaluated(prompt)
        ]
        if not evaluated:
            return
        scores = self._score(evaluated)
        for prompt in dict.fromkeys(prompt for prompt, _ in evaluated):
            rows = [row for row, (other, _) in enumerate(evaluated) if other == prompt]
            self.metrics[prompt].update([evaluated[row][1] for row in rows], scores.at(rows))

    def on_validation_epoch_end(self) -> None:
        """Compute the scores of every prompt that was evaluated."""
        for index, metrics in enumerate(self.metrics):
            if self.is_evaluated(index):
                self.scores[index] = metrics.compute()
                metrics.reset()

    def predict_step(self, pairs: list[tuple[int, Example]], batch_idx: int) -> list[list[float]] | list[str]:
        """For each prompt and example the probability of each of the task's answers, given that one of them is written.

        With free text, what is written.
        """
        if self.task.answers:
            examples = [example for _, example in pairs]
            in_front = [self.in_front(prompt) for prompt in range(len(self.prompts))]
            return write_answers(self.backbone, in_front, examples, [prompt for prompt, _ in pairs])
        return self._score(pairs).log_probability.softmax(1).tolist()

    def _score(self, pairs: list[tuple[int, Example]]) -> AnswerScores:
        """Scores of a batch of prompts' indices and examples. Only the prompts that occur run through the model."""
        present = sorted({prompt for prompt, _ in pairs})
        return score_answers(
            self.backbone,
            [self.in_front(prompt) for prompt in present],
            [example for _, example in pairs],
            [present.index(prompt) for prompt, _ in pairs],
        )
