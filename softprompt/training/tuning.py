"""Prompt tuning: a prompt in front of a frozen model, trained by the loss at the answer (Lester et al. 2021).

Several runs are trained side by side, as one pack in one batch. A run gets in a pack what it would get alone: its own
prompt, data order, loss, gradient clipping, early stopping and best prompt, all kept in its `RunState`. Adam and the
like update every prompt from its own gradient, so one optimiser over all prompts takes the same steps as one each.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from softprompt.backbone import Backbone
from softprompt.data.batch import Batch
from softprompt.data.examples import Example
from softprompt.settings import OptimSettings, TrainerSettings
from softprompt.training.evaluation import PromptEvaluation
from softprompt.training.optimizers import make_optimizer
from softprompt.training.run_state import RunState


class PromptTuning(PromptEvaluation):
    """Trains the prompts of a pack of R runs. The frozen backbone is in no state dict and in no optimiser."""

    def __init__(
        self,
        backbone: Backbone,
        runs: Sequence[RunState],
        names: Sequence[str],
        answers: int,
        optim: OptimSettings,
        limits: TrainerSettings,
    ) -> None:
        """`names` are the runs' names in Lightning's logs, `answers` is the number of the task's answers."""
        super().__init__(backbone, [run.prompt for run in runs], answers)
        self.runs = runs
        self.names = names
        self.optim = optim
        self.limits = limits
        self._stepping: list[int] = []  # the runs that take part in the present step
        self._clock = 0.0

    def training_step(self, batches: list[list[Example] | None], batch_idx: int) -> Tensor | None:
        """The sum of the live runs' losses. `batches` has each run's examples, or None for a run that takes no step."""
        self._stepping = [
            i
            for i, (run, examples) in enumerate(zip(self.runs, batches, strict=True))
            if examples and run.live and not run.reached_max_steps(self.limits)
        ]
        token_counts = torch.zeros(len(self.runs))  # [R]: answer tokens of each run, on all devices together
        pairs, prompt_of = [], []
        for i in self._stepping:
            examples = batches[i] or []
            token_counts[i] = sum(len(example.right_answer) for example in examples)
            local_examples = self.local_share(examples)
            pairs += [(example.text_ids, example.right_answer) for example in local_examples]
            prompt_of += [i] * len(local_examples)

        losses = torch.zeros(len(self.runs), device=self.device)  # [R]
        if pairs:
            batch = Batch.of_pairs(pairs, prompt_of)
            logits = self.backbone.answer_logits(list(self.prompts), batch)  # [A, V]
            answer_ids = batch.answer_ids.to(self.device)  # [A]
            token_losses = F.cross_entropy(logits.float(), answer_ids, reduction="none")  # [A]
            losses = losses.index_add(0, batch.prompt_of_token.to(self.device), token_losses)  # [A] -> [R]
        losses = losses / token_counts.clamp(min=1).to(self.device)  # mean over a run's answer tokens
        return self._sum_of_finite(losses, token_counts)

    def _sum_of_finite(self, losses: Float[Tensor, "R"], token_counts: Float[Tensor, "R"]) -> Tensor | None:
        """Record each run's loss and add them up. A run whose loss is not finite fails alone and takes no step."""
        known = self.trainer.strategy.reduce(losses.detach().clone(), reduce_op="sum").tolist()
        for i in self._stepping:
            run, tokens = self.runs[i], int(token_counts[i])
            if not math.isfinite(known[i]):
                run.failed = f"the training loss is {known[i]} at step {run.order.total_steps + 1}"
            run.loss_sum += known[i] * tokens
            run.token_count += tokens
        self._stepping = [i for i in self._stepping if self.runs[i].live]
        total = losses[self._stepping].sum()
        if self.trainer.world_size > 1:
            # DDP averages the devices' gradients, and waits for a gradient of every prompt.
            unused = [0.0 * prompt.sum() for prompt in self.prompts]
            return torch.stack([self.trainer.world_size * total, *unused]).sum()
        return total if self._stepping else None

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip each prompt's gradient by its own norm. A run that takes no step gets no gradient, so Adam skips it."""
        for i, prompt in enumerate(self.prompts):
            if i not in self._stepping:
                prompt.grad = None
            elif gradient_clip_val is not None:
                clip_grad_norm_([prompt], gradient_clip_val)

    def on_fit_start(self) -> None:
        """Start the clock that `RunState.seconds` is read from."""
        self._clock = time.monotonic()

    def on_train_batch_end(self, outputs: Any, batches: list[list[Example] | None], batch_idx: int) -> None:
        """Count the step of every run that took it. If no run has steps left, validation is the last thing to happen."""
        self._add_time()
        for i in self._stepping:
            self.runs[i].order.advance()
        if all(not run.live or run.reached_max_steps(self.limits) for run in self.runs):
            self.trainer.should_stop = True

    def on_validation_epoch_end(self) -> None:
        """Hand each live run its scores, log them, and end the fit if no run is left."""
        live = [i for i in range(len(self.runs)) if self.is_live(i)]
        super().on_validation_epoch_end()
        self._add_time()
        for i in live:
            scores = self.scores[i]
            assert scores is not None
            self.runs[i].observe(scores, self.limits)
            self._log_run(i)
        # Lightning's loggers take this as the x-axis; their own count of steps starts at 0 after a resume.
        self.log("step", float(max(run.order.total_steps for run in self.runs)), sync_dist=True)
        if not any(run.live for run in self.runs):
            self.trainer.should_stop = True

    def _log_run(self, i: int) -> None:
        """Log a run's newest row, as `val/loss` in a pack of one, and as `<run>/val/loss` in a larger one."""
        parent = f"{self.names[i]}/" if len(self.runs) > 1 else ""
        row = self.runs[i].history[-1]
        figures = {
            f"{parent}{'train/loss' if name == 'train_loss' else f'val/{name}'}": float(value)
            for name, value in row.items()
            if name not in ("epoch", "step", "n", "seconds")
        }
        self.log_dict(figures, batch_size=int(row["n"]), sync_dist=True)

    def is_live(self, prompt: int) -> bool:
        """A run that has stopped is not evaluated any more."""
        return self.runs[prompt].live

    def _add_time(self) -> None:
        now = time.monotonic()
        for run in self.runs:
            run.seconds += now - self._clock if run.live else 0.0
        self._clock = now

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser over all prompts. Resumed runs bring their optimiser state."""
        optimizer = make_optimizer(self.optim, list(self.prompts))
        for run in self.runs:
            if run.optimizer_state:
                optimizer.state[run.prompt] = {
                    name: value.to(run.prompt.device) if isinstance(value, Tensor) and value.ndim else value
                    for name, value in run.optimizer_state.items()
                }
        return optimizer
