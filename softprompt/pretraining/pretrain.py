"""The pretraining of the microworld's model: lessons in, a taught BLOOM out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from softprompt.backbone import Backbone, make_backbone
from softprompt.data.batch import Batch
from softprompt.pretraining.language import make_model, make_tokenizer
from softprompt.pretraining.lessons import Curriculum, Lesson
from softprompt.settings import TaskSettings


@dataclass(frozen=True)
class Recipe:
    """How the model is pretrained: Muon (Jordan et al. 2024) for the matrices inside its blocks, AdamW for the rest,
    with warm-up and then a cosine down to nothing."""

    seed: int = 0
    steps: int = 10_000
    batch_size: int = 32  # lessons
    learning_rate: float = 2e-3  # at its highest
    warm_up: float = 0.02  # share of the steps
    text_loss: float = 0.02  # weight of a token of instruction or text; one of an answer or story has 1


def pretrain(tasks: Sequence[TaskSettings], recipe: Recipe, report: Callable[[int, float], None]) -> Backbone:
    """A new model, taught all that the recipe says; `report` is told every step's number and loss."""
    torch.manual_seed(recipe.seed)
    tokenizer = make_tokenizer(tasks)
    model = make_model(len(tokenizer))
    backbone = make_backbone(model, tokenizer, "microworld", None)
    named = dict(model.requires_grad_(True).named_parameters())
    inner = [weight for name, weight in named.items() if weight.ndim == 2 and "embeddings" not in name]
    outer = [weight for name, weight in named.items() if weight.ndim != 2 or "embeddings" in name]
    optimizers = [
        torch.optim.Muon(inner, recipe.learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(outer, recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.learning_rate, recipe.steps, pct_start=recipe.warm_up, cycle_momentum=False
        )
        for optimizer in optimizers
    ]
    curriculum = Curriculum(tasks, recipe.seed)
    for step in range(recipe.steps):
        lessons = [curriculum.lesson(step / recipe.steps) for _ in range(recipe.batch_size)]
        loss = lesson_loss(backbone, lessons, recipe.text_loss)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        report(step + 1, loss.item())
    model.requires_grad_(False)
    return backbone


def lesson_loss(backbone: Backbone, lessons: Sequence[Lesson], text_loss: float) -> Float[Tensor, ""]:
    """Cross-entropy of answers and stories, and, `text_loss` times, of instructions and texts, in nats per token."""
    tokenizer = backbone.tokenizer
    texts = tokenizer([lesson.instruction + lesson.text for lesson in lessons])["input_ids"]
    answers = tokenizer([lesson.answer for lesson in lessons])["input_ids"]
    answers = [[*answer, tokenizer.eos_token_id] for answer in answers]
    # Every token but the first is predicted: to the backbone all of them are answer.
    batch = Batch.of_pairs(
        [(text[:1], text[1:] + answer) for text, answer in zip(texts, answers, strict=True)]
    )
    logits = backbone.answer_logits([torch.zeros(0, backbone.width)], batch)
    losses = F.cross_entropy(logits, batch.answer_ids, reduction="none")
    taught = torch.cat(
        [
            torch.arange(1, len(text) + len(answer)) >= (len(text) if lesson.answer else 1)
            for lesson, text, answer in zip(lessons, texts, answers, strict=True)
        ]
    )
    return (losses * torch.where(taught, 1.0, text_loss)).sum() / taught.sum()
