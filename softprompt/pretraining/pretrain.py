"""Trains the microworld's model, a small BLOOM, on lessons."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from softprompt.backbone import Backbone, make_backbone
from softprompt.data.batch import Batch
from softprompt.pretraining.instructions import TAUGHT
from softprompt.pretraining.language import make_model, make_tokenizer, vocabulary_words
from softprompt.pretraining.lessons import Curriculum, Lesson
from softprompt.settings import TaskSettings


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of the pretraining.

    The matrices inside the blocks are trained with Muon (Jordan et al. 2024), all other weights with AdamW. The
    learning rate warms up and then decays to about zero by a cosine schedule.
    """

    seed: int = 0
    steps: int = 14_000
    batch_size: int = 32  # lessons per step
    learning_rate: float = 2e-3  # the maximum
    warm_up: float = 0.02  # share of the steps
    text_loss: float = (
        0.02  # loss weight of a token of an instruction or text; tokens of answers and stories weigh 1
    )


def pretrain(
    tasks: Sequence[TaskSettings], recipe: Recipe, on_step: Callable[[int, float], None]
) -> Backbone:
    """Train a new model from scratch. The result is reproducible for a fixed machine and number of threads.

    Args:
        tasks: all tasks, whose words make up the vocabulary. Lessons are about those in `TAUGHT`.
        recipe: hyperparameters.
        on_step: called after each step with its number, from 1, and its loss.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = make_tokenizer(tasks)
    model = make_model(len(tokenizer))
    backbone = make_backbone(model, tokenizer, "microworld", None)
    weights = dict(model.requires_grad_(True).named_parameters())
    matrices = [weight for name, weight in weights.items() if weight.ndim == 2 and "embeddings" not in name]
    others = [weight for name, weight in weights.items() if weight.ndim != 2 or "embeddings" in name]
    optimizers = [
        torch.optim.Muon(matrices, recipe.learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.learning_rate, recipe.steps, pct_start=recipe.warm_up, cycle_momentum=False
        )
        for optimizer in optimizers
    ]
    main_tasks = [task for task in tasks if task.folder in TAUGHT]
    curriculum = Curriculum(main_tasks, recipe.seed, vocabulary_words(tokenizer))
    for step in range(recipe.steps):
        lessons = [curriculum.lesson(step / recipe.steps) for _ in range(recipe.batch_size)]
        loss = lesson_loss(backbone, lessons, recipe.text_loss)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        on_step(step + 1, loss.item())
    model.requires_grad_(False)
    return backbone


def lesson_loss(backbone: Backbone, lessons: Sequence[Lesson], text_loss: float) -> Float[Tensor, ""]:
    """Weighted cross-entropy of a batch of lessons.

    Args:
        backbone: the model in training.
        lessons: B lessons.
        text_loss: weight of the tokens of instructions and texts; the tokens of answers and stories have weight 1.

    Returns:
        The weighted sum over all tokens, in nats, divided by the number of answer and story tokens.
    """
    tokenizer = backbone.tokenizer
    texts = tokenizer([lesson.instruction + lesson.text for lesson in lessons])["input_ids"]
    answers = tokenizer([lesson.answer for lesson in lessons])["input_ids"]
    answers = [[*answer, tokenizer.eos_token_id] for answer in answers]
    # Every token but a lesson's first is predicted, so all of them are passed to the backbone as answer tokens.
    batch = Batch.of_pairs(
        [(text[:1], text[1:] + answer) for text, answer in zip(texts, answers, strict=True)]
    )
    logits = backbone.answer_logits([torch.zeros(0, backbone.width)], batch)  # [A, V], without a prompt
    losses = F.cross_entropy(logits, batch.answer_ids, reduction="none")  # [A]
    is_target = torch.cat(  # [A]: True for tokens of answers and stories
        [
            torch.arange(1, len(text) + len(answer)) >= (len(text) if lesson.answer else 1)
            for lesson, text, answer in zip(lessons, texts, answers, strict=True)
        ]
    )
    return (losses * torch.where(is_target, 1.0, text_loss)).sum() / is_target.sum()
