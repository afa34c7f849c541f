"""Prompt tuning: a prompt in front of a frozen model, trained by the loss at the answer (Lester et al. 2021).

Several runs are trained side by side, as one pack in one batch. A run gets in a pack what it would get alone: its own
prompt, data order, loss, optimiser settings, gradient clipping, early stopping and best prompt. Adam and the like update
every prompt from its own gradient, so one optimiser over the prompts with equal settings takes the same steps as one each.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from softprompt.data.batch import Batch, copy_together
from softprompt.data.examples import Example
from softprompt.methods import Method
from softprompt.settings import TaskSettings
from softprompt.training.evaluation import PromptEvaluation
from softprompt.training.member import Member
from softprompt.training.optimizers import learning_rate, make_optimizers


class PromptTuning(PromptEvaluation):
    """Trains the prompts of a pack of R runs. The frozen backbone is in no state dict and in no optimiser."""

    def __init__(self, method: Method, members: Sequence[Member], task: TaskSettings) -> None:
        """`method` and `task` are those of the members."""
        super().__init__(method.view, [member.state.prompt for member in members], task)
        self.method = method
        self.automatic_optimization = False  # Lightning's own loop has one optimiser
        self.members = members
        self.runs = [member.state for member in members]
        # Of the present step: the runs that take part, and each run's loss and norm of the gradient before clipping.
        self.stepping: list[int] = []
        self.step_losses: list[float] = []
        self.gradient_norms: dict[int, Tensor] = {}
        self._clock = 0.0

    def training_step(self, batches: list[list[Example] | None], batch_idx: int) -> None:
        """A step of every run that has one. `batches` has each run's examples, or None for a run that takes no step."""
        loss = self._loss(batches)
        self.zero_grad()
        if loss is not None:
            self.manual_backward(loss)
        self._clip_gradients()
        self._update(batches)

    def _update(self, batches: list[list[Example] | None]) -> None:
        """Change the prompts of the stepping runs, whose gradients are there."""
        optimizers = self.optimizers()
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            optimizer.step()

    def _loss(self, batches: list[list[Example] | None]) -> Tensor | None:
        """The sum of the runs' losses; None if no run takes a step."""
        self.stepping = [
            i
            for i, (run, examples) in enumerate(zip(self.runs, batches, strict=True))
            if examples and run.live
        ]
        token_counts = [0] * len(self.runs)  # answer tokens of each run, on all devices together
        pairs, prompt_of = [], []
        for i in self.stepping:
            examples = batches[i] or []
            token_counts[i] = sum(len(example.right_answer) for example in examples)
            local_examples = self.local_share(examples)
            pairs += [(example.text_ids, example.right_answer) for example in local_examples]
            prompt_of += [i] * len(local_examples)

        losses = torch.zeros(len(self.runs), device=self.device)  # [R]
        if pairs:
            batch = Batch.of_pairs(pairs, prompt_of)
            in_front = [self.in_front(i) for i in range(len(self.runs))]
            logits = self.backbone.answer_logits(in_front, batch)  # [A, V]
            on_device = copy_together(
                {
                    "answers": batch.answer_ids.numpy(),  # [A]
                    "runs": batch.prompt_of_token.numpy(),  # [A]
                    "counts": np.array(token_counts).clip(min=1),  # [R]
                },
                self.device,
            )
            token_losses = F.cross_entropy(logits.float(), on_device["answers"], reduction="none")  # [A]
            losses = losses.index_add(0, on_device["runs"], token_losses)  # [A] -> [R]
            losses = losses / on_device["counts"]  # mean over a run's answer tokens
        return self._sum_of_finite(losses, token_counts)

    def _sum_of_finite(self, losses: Float[Tensor, "R"], token_counts: list[int]) -> Tensor | None:
        """Record each run's loss and add them up. A run whose loss is not finite fails alone and takes no step."""
        known = self.trainer.strategy.reduce(losses.detach().clone(), reduce_op="sum").tolist()
        self.step_losses = known
        for i in self.stepping:
            run, tokens = self.runs[i], token_counts[i]
            if not math.isfinite(known[i]):
                run.failed = f"the training loss is {known[i]} at step {run.order.total_steps + 1}"
            run.loss_sum += known[i] * tokens
            run.token_count += tokens
        if all(self.runs[i].live for i in self.stepping):
            total = losses.sum()  # those that take no step are 0
        else:
            self.stepping = [i for i in self.stepping if self.runs[i].live]
            total = losses[self.stepping].sum()
        if self.trainer.world_size > 1:
            # DDP averages the devices' gradients, and waits for a gradient of every prompt.
            unused = [0.0 * prompt.sum() for prompt in self.prompts]
            return torch.stack([self.trainer.world_size * total, *unused]).sum()
        return total if self.stepping else None

    def _clip_gradients(self) -> None:
        """Clip each prompt's gradient by its own norm. A run that takes no step gets no gradient, so Adam skips it."""
        for i, (prompt, member) in enumerate(zip(self.prompts, self.members, strict=True)):
            if i not in self.stepping or prompt.grad is None:
                prompt.grad = None
                continue
            self.gradient_norms[i] = get_total_norm([prompt.grad])
            if (limit := member.limits.gradient_clip_val) is not None:
                clip_grads_with_norm_([prompt], limit, self.gradient_norms[i])

    def on_fit_start(self) -> None:
        """Start the clock that `RunState.seconds` is read from."""
        self._clock = time.monotonic()

    def on_train_batch_end(self, outputs: Any, batches: list[list[Example] | None], batch_idx: int) -> None:
        """Count the step of every run that took it. The fit ends when all have failed."""
        self._add_time()
        for i in self.stepping:
            self.runs[i].order.advance()
        if not any(run.live for run in self.runs):
            self.trainer.should_stop = True

    def on_validation_epoch_end(self) -> None:
        """Hand each run its scores. The fit ends when a run has stopped; another one takes its place."""
        evaluated = [i for i in range(len(self.runs)) if self.is_evaluated(i)]
        super().on_validation_epoch_end()
        self._add_time()
        for i in evaluated:
            scores = self.scores[i]
            assert scores is not None
            self.runs[i].observe(scores, self.in_front(i), self.members[i].limits)
        if not all(run.live for run in self.runs):
            self.trainer.should_stop = True

    def in_front(self, prompt: int) -> Float[Tensor, "n _"]:
        """What a run's trainable values come to."""
        return self.method.in_front(self.prompts[prompt], self.runs[prompt].initial.matrix)

    def is_evaluated(self, prompt: int) -> bool:
        """True for a run that awaits an evaluation."""
        turn = self.members[prompt].turn
        return turn is not None and turn.steps == 0

    def _add_time(self) -> None:
        now = time.monotonic()
        for run in self.runs:
            run.seconds += now - self._clock if run.live else 0.0
        self._clock = now

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """An optimiser for each setting that runs have in common. Resumed runs bring their optimiser state."""
        settings = [member.run.settings.optim for member in self.members]
        optimizers = make_optimizers(
            [replace(own, lr=learning_rate(own, self.method)) for own in settings], list(self.prompts)
        )
        for run, optimizer in zip(self.runs, optimizers, strict=True):
            if run.optimizer_state:
                optimizer.state[run.prompt] = {
                    name: value.to(run.prompt.device) if isinstance(value, Tensor) and value.ndim else value
                    for name, value in run.optimizer_state.items()
                }
        return list(dict.fromkeys(optimizers))

    def optimizer_state(self, i: int) -> dict[str, Any]:
        """What the optimiser knows of a run's prompt."""
        prompt = self.runs[i].prompt
        return next((dict(o.state[prompt]) for o in self.trainer.optimizers if prompt in o.state), {})
