"""How well prompts answer: teacher-forced scores over a task's answers, without a generation loop.

Every answer that the task knows is put behind every text. Greedy generation writes exactly an answer when
the argmax is right at each of its positions, end-of-sequence included, given the positions before it; so one
forward tells what the model would write, and how likely it finds each answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, Metric, SumMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from softprompt.backbone import Backbone
from softprompt.data.batch import Batch
from softprompt.data.examples import Example


@dataclass(frozen=True)
class Scores:
    """Scores of one prompt on one set of n examples; all but `loss` are shares between 0 and 1.

    loss: cross-entropy of the right answers, in nats per answer token.
    exact_match: the model writes the right answer and ends there.
    rank_accuracy: the right answer is the likeliest of the task's answers (log-probabilities summed over an
        answer's tokens, end-of-sequence included).
    macro_f1: F1 of the likeliest answers, averaged over the answers that occur (as SuperGLUE scores CB).
    outside: what the model writes is none of the task's answers.
    """

    loss: float
    exact_match: float
    rank_accuracy: float
    macro_f1: float
    outside: float
    n: int


@dataclass(frozen=True)
class AnswerScores:
    """E examples against the K answers of their task."""

    log_probability: Float[Tensor, "E K"]  # nats, summed over the tokens of an answer
    written: Bool[Tensor, "E K"]  # greedy generation would write exactly this answer


@torch.no_grad()
def score_answers(
    backbone: Backbone,
    prompts: Sequence[Float[Tensor, "_ d"]],
    examples: Sequence[Example],
    prompt_of: Sequence[int] | None = None,
) -> AnswerScores:
    """Every answer behind every text, and in front of each example the prompt that `prompt_of` names (the first).

    All examples have equally many answers, K.
    """
    batch = Batch.branch([(example.text_ids, example.answers) for example in examples], prompt_of)
    logits = backbone.answer_logits(prompts, batch)
    targets = batch.answer_ids.to(logits.device)
    answer = batch.answer_of_token.to(logits.device)
    token_log_probability = -F.cross_entropy(logits.float(), targets, reduction="none")
    wrong = (logits.argmax(-1) != targets).float()
    zeros = torch.zeros(len(batch.answer_lengths), device=logits.device)
    shape = (len(examples), -1)
    return AnswerScores(
        zeros.index_add(0, answer, token_log_probability).view(shape),
        zeros.index_add(0, answer, wrong).view(shape) == 0,
    )


def score_all(
    backbone: Backbone,
    prompts: Sequence[Float[Tensor, "_ d"]],
    examples: Sequence[Example],
    answers: int = 256,
) -> list[AnswerScores]:
    """`score_answers` of every prompt on a whole data set, prompts side by side and texts of like length together,
    at most so many answers at a time."""
    by_length = sorted(range(len(examples)), key=lambda index: examples[index].length)
    pairs = [(which, index) for index in by_length for which in range(len(prompts))]
    size = max(1, answers // len(examples[0].answers))
    parts = []
    for start in range(0, len(pairs), size):
        which, chosen = zip(*pairs[start : start + size], strict=True)
        parts.append(score_answers(backbone, prompts, [examples[index] for index in chosen], which))
    log_probability = torch.cat([part.log_probability for part in parts]).cpu()
    written = torch.cat([part.written for part in parts]).cpu()
    place = torch.tensor(by_length).argsort() * len(prompts)
    return [
        AnswerScores(log_probability[place + which], written[place + which]) for which in range(len(prompts))
    ]


class ScoreKeeper(nn.Module):
    """Accumulates answer scores into `Scores`, across batches and across devices."""

    def __init__(self, answers: int) -> None:
        super().__init__()
        self.n = SumMetric()
        # What is no number must show, and not be left out as torchmetrics would by default.
        self.loss_sum = SumMetric(nan_strategy="disable")
        self.tokens = SumMetric()
        self.exact_match = MeanMetric()
        self.outside = MeanMetric()
        self.rank_accuracy = MulticlassAccuracy(answers, average="micro")
        self.macro_f1 = MulticlassF1Score(answers, average="macro")

    def update(self, examples: Sequence[Example], scores: AnswerScores) -> None:
        """Add a batch of labelled examples."""
        device = scores.written.device
        labels = torch.tensor([example.label for example in examples], device=device)
        rows = torch.arange(len(examples), device=device)
        self.n.update(len(examples))
        self.loss_sum.update(-scores.log_probability[rows, labels])
        self.tokens.update(sum(len(example.right_answer) for example in examples))
        self.exact_match.update(scores.written[rows, labels].float())
        self.outside.update((~scores.written.any(1)).float())
        likeliest = scores.log_probability.argmax(1)
        self.rank_accuracy.update(likeliest, labels)
        self.macro_f1.update(likeliest, labels)

    def compute(self) -> Scores:
        """The scores of all examples since the last reset; on every device the same."""
        return Scores(
            loss=(self.loss_sum.compute() / self.tokens.compute()).item(),
            # float32 sums of whole numbers: 4/7 should not read 0.5714285969734192
            exact_match=round(self.exact_match.compute().item(), 6),
            rank_accuracy=round(self.rank_accuracy.compute().item(), 6),
            macro_f1=round(self.macro_f1.compute().item(), 6),
            outside=round(self.outside.compute().item(), 6),
            n=round(self.n.compute().item()),
        )

    def reset(self) -> None:
        """Forget all examples."""
        for metric in self.children():
            if isinstance(metric, Metric):
                metric.reset()


def majority_share(examples: Iterable[Example]) -> float:
    """Share of the commonest label: what always giving one answer would score."""
    labels = [example.label for example in examples]
    return max(labels.count(label) for label in set(labels)) / len(labels)


class PromptEvaluation(L.LightningModule):
    """Scores prompts on the batches it is given; after `trainer.validate`, `scores` has one entry each."""

    def __init__(self, backbone: Backbone, prompts: Sequence[Float[Tensor, "_ d"]], answers: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.prompts = nn.ParameterList(prompts)
        self.keepers: Sequence[ScoreKeeper] = nn.ModuleList(ScoreKeeper(answers) for _ in prompts)  # type: ignore[assignment]
        self.scores: list[Scores | None] = [None] * len(prompts)

    def setup(self, stage: str) -> None:
        """Bring the backbone to where the prompts will be."""
        self.backbone.to(self.trainer.strategy.root_device)

    def own_share(self, examples: list[Example]) -> list[Example]:
        """This process's part of a batch; all of it unless several devices share the work."""
        return examples[self.trainer.global_rank :: self.trainer.world_size]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Examples are plain numbers; what a device needs of them is moved by the backbone."""
        return batch

    def is_live(self, index: int) -> bool:
        """Whether this prompt is still of interest."""
        return True

    def validation_step(self, examples: list[Example], batch_idx: int) -> None:
        """Score every live prompt on a batch."""
        if not (own := self.own_share(examples)):
            return
        for index, (prompt, keeper) in enumerate(zip(self.prompts, self.keepers, strict=True)):
            if self.is_live(index):
                keeper.update(own, score_answers(self.backbone, [prompt], own))

    def on_validation_epoch_end(self) -> None:
        """Turn what was accumulated into scores."""
        for index, keeper in enumerate(self.keepers):
            if self.is_live(index):
                self.scores[index] = keeper.compute()
                keeper.reset()

    def predict_step(self, examples: list[Example], batch_idx: int) -> list[list[int]]:
        """For each prompt, the likeliest answer to each example (an index into the task's verbalizers)."""
        return [
            score_answers(self.backbone, [prompt], examples).log_probability.argmax(1).tolist()
            for prompt in self.prompts
        ]
