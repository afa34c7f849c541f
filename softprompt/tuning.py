"""Prompt tuning: a prompt in front of a frozen model, and the loss at the answer (Lester et al. 2021).

Several runs that share backbone and task are trained side by side, in one process and one batch. What a run
gets in such a pack is what it would have got alone: it has its own prompt, data order, loss, gradient clip,
early stopping and best prompt, kept in one `RunState`; Adam is element-wise, so one optimiser over all
prompts takes the steps that one optimiser each would take.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from softprompt.backbone import Backbone
from softprompt.data.batch import Batch
from softprompt.data.examples import Example
from softprompt.data.order import DataOrder
from softprompt.evaluation import PromptEvaluation, Scores
from softprompt.settings import SGD, Adafactor, Adam, AdamW, OptimSettings, TrainerSettings

Row = dict[str, int | float]  # an evaluation: a column's name and its value


@dataclass
class RunState:
    """One run in training: all that changes while it learns, and all that a resume needs."""

    prompt: nn.Parameter  # Float[n d], float32
    order: DataOrder
    best_prompt: Float[Tensor, "n d"]
    best_step: int = 0
    best_loss: float = math.inf
    evaluations_since_best: int = 0
    history: list[Row] = field(default_factory=list)  # a row per evaluation
    loss_sum: float = 0.0  # over the answer tokens trained on since the last evaluation
    token_count: int = 0
    seconds: float = 0.0
    stopped: str | None = None  # why, once it is
    failed: str | None = None  # why, if it did
    optimizer_state: dict[str, Any] = field(default_factory=dict)  # as resumed; the optimiser takes it over
    dtype: str = "float32"  # what the frozen weights are kept in, from the run's first step to its last

    @staticmethod
    def start(matrix: Float[Tensor, "n d"], order: DataOrder, dtype: str = "float32") -> "RunState":
        """A run at its beginning."""
        return RunState(nn.Parameter(matrix.clone()), order, matrix.clone(), dtype=dtype)

    @property
    def live(self) -> bool:
        """Still training."""
        return self.stopped is None and self.failed is None

    def observe(self, scores: Scores, trainer: TrainerSettings) -> None:
        """Take in an evaluation: keep the best prompt, and stop when patience or time is over."""
        train_loss = self.loss_sum / self.token_count if self.token_count else math.nan
        row = {"epoch": self.order.epoch, "step": self.order.total_steps, "train_loss": train_loss}
        self.history.append({**row, **asdict(scores), "seconds": round(self.seconds, 1)})
        self.loss_sum, self.token_count = 0.0, 0
        if not math.isfinite(scores.loss):
            self.failed = f"the validation loss is {scores.loss} after {self.order.total_steps} steps"
        elif scores.loss < self.best_loss:
            self.best_loss, self.best_step = scores.loss, self.order.total_steps
            self.best_prompt = self.prompt.detach().cpu().clone()
            self.evaluations_since_best = 0
        else:
            self.evaluations_since_best += 1
        if self.evaluations_since_best >= trainer.patience:
            self.stopped = "early"
        elif self.order.epoch >= trainer.max_epochs:
            self.stopped = "max_epochs"
        elif self.reached_max_steps(trainer):
            self.stopped = "max_steps"

    def awaits_evaluation(self, trainer: TrainerSettings) -> bool:
        """Whether the next thing to happen is an evaluation, not a step."""
        evaluated = bool(self.history) and self.history[-1]["step"] == self.order.total_steps
        return not evaluated and (self.order.step == 0 or self.reached_max_steps(trainer))

    def reached_max_steps(self, trainer: TrainerSettings) -> bool:
        """Whether the run has taken all the steps it was given."""
        return trainer.max_steps is not None and self.order.total_steps >= trainer.max_steps

    def state_dict(self, optimizer_state: dict[str, Any]) -> dict[str, Any]:
        """Tensors and plain values that `resume` restores the run from."""
        state = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            **state,
            "prompt": self.prompt.detach().cpu(),
            "order": asdict(self.order),
            "optimizer_state": {
                name: value.cpu() if isinstance(value, Tensor) else value
                for name, value in optimizer_state.items()
            },
        }

    @staticmethod
    def resume(state: dict[str, Any]) -> "RunState":
        """The run as `state_dict` saw it."""
        return RunState(
            **{**state, "prompt": nn.Parameter(state["prompt"]), "order": DataOrder(**state["order"])}
        )

    @property
    def best_scores(self) -> Row:
        """The row of `history` that the best prompt was measured in."""
        return next(row for row in self.history if row["step"] == self.best_step)


class PromptTuning(PromptEvaluation):
    """Trains the prompts of a pack of runs. The frozen backbone is in no state dict and no optimiser."""

    def __init__(
        self,
        backbone: Backbone,
        runs: Sequence[RunState],
        answers: int,
        optim: OptimSettings,
        settings: TrainerSettings,
    ) -> None:
        super().__init__(backbone, [run.prompt for run in runs], answers)
        self.runs = runs
        self.optim = optim
        self.settings = settings
        self._stepping: list[int] = []  # the runs that take the present step
        self._clock = 0.0

    def on_fit_start(self) -> None:
        """Start the clock."""
        self._clock = time.monotonic()

    def _book_time(self) -> None:
        now = time.monotonic()
        for run in self.runs:
            run.seconds += now - self._clock if run.live else 0.0
        self._clock = now

    def is_live(self, index: int) -> bool:
        """A run that has stopped leaves the batch."""
        return self.runs[index].live

    def training_step(self, per_run: list[list[Example] | None], batch_idx: int) -> Tensor | None:
        """One step of every live run: the sum of the runs' own mean losses over their answer tokens."""
        self._stepping = [
            i
            for i, (run, examples) in enumerate(zip(self.runs, per_run, strict=True))
            if examples and run.live and not run.reached_max_steps(self.settings)
        ]
        total_tokens = torch.zeros(len(self.runs))
        pairs, prompt_of = [], []
        for i in self._stepping:
            examples = per_run[i] or []
            total_tokens[i] = sum(len(example.right_answer) for example in examples)
            own = self.own_share(examples)
            pairs += [(example.text_ids, example.right_answer) for example in own]
            prompt_of += [i] * len(own)
        losses = torch.zeros(len(self.runs), device=self.device)
        if pairs:
            batch = Batch.pack(pairs, prompt_of)
            logits = self.backbone.answer_logits(list(self.prompts), batch)
            token_losses = F.cross_entropy(logits.float(), batch.answer_ids.to(self.device), reduction="none")
            run_of_token = batch.prompt_of[batch.text_of[batch.answer_of_token]].to(self.device)
            losses = losses.index_add(0, run_of_token, token_losses)
        losses = losses / total_tokens.clamp(min=1).to(self.device)
        return self._sum_of_finite(losses, total_tokens)

    def _sum_of_finite(self, losses: Float[Tensor, "R"], total_tokens: Float[Tensor, "R"]) -> Tensor | None:
        """Book each run's loss; a run whose loss is not a number fails alone and takes no step."""
        known = self.trainer.strategy.reduce(losses.detach().clone(), reduce_op="sum").tolist()
        for i in self._stepping:
            run, tokens = self.runs[i], int(total_tokens[i])
            if not math.isfinite(known[i]):
                run.failed = f"the training loss is {known[i]} at step {run.order.total_steps + 1}"
            run.loss_sum += known[i] * tokens
            run.token_count += tokens
        self._stepping = [i for i in self._stepping if self.runs[i].live]
        total = losses[self._stepping].sum()
        if self.trainer.world_size > 1:
            # The devices' gradients are averaged, and every prompt must take part in the exchange.
            return torch.stack(
                [self.trainer.world_size * total, *(0.0 * p.sum() for p in self.prompts)]
            ).sum()
        return total if self._stepping else None

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip each prompt's gradient by its own norm; a prompt without one is left alone by the optimiser."""
        for i, prompt in enumerate(self.prompts):
            if i not in self._stepping:
                prompt.grad = None
            elif self.settings.gradient_clip is not None:
                clip_grad_norm_([prompt], self.settings.gradient_clip)

    def on_train_batch_end(self, outputs: Any, per_run: list[list[Example] | None], batch_idx: int) -> None:
        """Count the step of every run that took it."""
        self._book_time()
        for i in self._stepping:
            self.runs[i].order.advance()
        if all(not run.live or run.reached_max_steps(self.settings) for run in self.runs):
            self.trainer.should_stop = True  # Lightning evaluates once more before it stops

    def on_validation_epoch_end(self) -> None:
        """Hand each live run its scores; stop when no run is left."""
        live = [i for i in range(len(self.runs)) if self.is_live(i)]
        super().on_validation_epoch_end()
        self._book_time()
        for i in live:
            scores = self.scores[i]
            assert scores is not None
            self.runs[i].observe(scores, self.settings)
        if not any(run.live for run in self.runs):
            self.trainer.should_stop = True

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser over all prompts; runs that were resumed bring their moments along."""
        optimizer = make_optimizer(self.optim, list(self.prompts))
        for run in self.runs:
            if run.optimizer_state:
                optimizer.state[run.prompt] = {
                    name: value.to(run.prompt.device) if isinstance(value, Tensor) and value.ndim else value
                    for name, value in run.optimizer_state.items()
                }
        return optimizer


def make_optimizer(optim: OptimSettings, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser that `conf/optim` names."""
    match optim:
        case Adam():
            first, second = optim.betas
            return torch.optim.Adam(parameters, lr=optim.lr, betas=(first, second), eps=optim.eps)
        case AdamW():
            first, second = optim.betas
            return torch.optim.AdamW(
                parameters,
                lr=optim.lr,
                betas=(first, second),
                eps=optim.eps,
                weight_decay=optim.weight_decay,
            )
        case Adafactor():
            return torch.optim.Adafactor(parameters, lr=optim.lr, weight_decay=optim.weight_decay)
        case SGD():
            return torch.optim.SGD(
                parameters, lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay
            )
