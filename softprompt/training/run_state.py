"""One run in training: what changes while it learns, when it stops, and what a resume needs."""

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from softprompt.data.order import DataOrder
from softprompt.errors import UserError
from softprompt.prompt import SoftPrompt
from softprompt.runs import Row, Run
from softprompt.runs.checkpoint import load_checkpoint, save_checkpoint
from softprompt.scoring import Scores
from softprompt.settings import TrainerSettings
from softprompt.version import __version__


@dataclass
class RunState:
    """What a run trains, its place in the data, its best prompt and its learning curve. All of the run's files follow from it."""

    initial: SoftPrompt  # the prompt before training
    prompt: (
        nn.Parameter
    )  # the trainable values, float32: of prompt tuning the prompt itself (`Method.values`)
    order: DataOrder
    best_prompt: Float[Tensor, "n _"]  # what stood in front of the texts (`Method.in_front`)
    best_step: int = 0
    best_loss: float = math.inf
    loss_to_beat: float = math.inf  # the loss that the next evaluation must be below by `min_delta`
    evaluations_without_improvement: int = 0  # since the loss last fell by `min_delta`
    history: list[Row] = field(default_factory=list)  # a row per evaluation
    loss_sum: float = 0.0  # nats, over the answer tokens trained on since the last evaluation
    token_count: int = 0  # those tokens
    seconds: float = 0.0
    stopped: str | None = None  # the reason, once it has ended
    failed: str | None = None  # the reason, if it failed
    optimizer_state: dict[str, Any] = field(
        default_factory=dict
    )  # from a checkpoint or the fit before, for the next optimiser
    dtype: str = "float32"  # of the frozen weights, from the run's first step to its last
    peak_memory: int = 0  # the most bytes in a measured step, beyond the frozen weights (`PeakMemory`)
    measured_steps: int = 0  # how many steps were measured

    @staticmethod
    def start(initial: SoftPrompt, values: Tensor, order: DataOrder, dtype: str = "float32") -> "RunState":
        """A run before its first step, with what it trains."""
        return RunState(initial, nn.Parameter(values), order, initial.matrix.clone(), dtype=dtype)

    @property
    def live(self) -> bool:
        """True while the run trains."""
        return self.stopped is None and self.failed is None

    @property
    def best_scores(self) -> Row:
        """The row of `history` with the best prompt's scores."""
        return next(row for row in self.history if row["step"] == self.best_step)

    def observe(self, scores: Scores, prompt: Float[Tensor, "n _"], limits: TrainerSettings) -> None:
        """Take in an evaluation: keep the best prompt, and stop if patience, epochs or steps are used up.

        Early evaluations, within an epoch, do not count for patience.

        Args:
            scores: those of the prompt.
            prompt: what stands in front of the texts now.
        """
        train_loss = self.loss_sum / self.token_count if self.token_count else math.nan
        row: Row = {"epoch": self.order.epoch, "step": self.order.total_steps, "train_loss": train_loss}
        self.history.append({**row, **scores.row, "seconds": round(self.seconds, 1)})
        self.loss_sum, self.token_count = 0.0, 0
        if not math.isfinite(scores.loss):
            self.failed = f"the validation loss is {scores.loss} after {self.order.total_steps} steps"
        elif scores.loss < self.best_loss:
            self.best_loss, self.best_step = scores.loss, self.order.total_steps
            self.best_prompt = prompt.detach().cpu().clone()
        if self.order.step > 0 and not self.reached_max_steps(limits):
            return
        if scores.loss < self.loss_to_beat - limits.min_delta:
            self.loss_to_beat, self.evaluations_without_improvement = scores.loss, 0
        else:
            self.evaluations_without_improvement += 1
        if self.evaluations_without_improvement >= limits.patience:
            self.stopped = "early"
        elif self.order.epoch >= limits.max_epochs:
            self.stopped = "max_epochs"
        elif self.reached_max_steps(limits):
            self.stopped = "max_steps"

    def steps_to_evaluation(self, limits: TrainerSettings) -> int:
        """Steps until the run's next evaluation; 0 if it is the run's next event.

        A run is evaluated before its first step, after every epoch and at `max_steps`; with `early_evaluations` also after
        1, 2, 4, 8, ... steps of the first epoch.
        """
        order = self.order
        early = limits.early_evaluations and order.epoch == 0
        due = order.step == 0 or self.reached_max_steps(limits) or (early and order.step.bit_count() == 1)
        evaluated = bool(self.history) and self.history[-1]["step"] == order.total_steps
        if due and not evaluated:
            return 0
        steps = order.steps_per_epoch - order.step
        if early:
            steps = min(steps, 2 ** order.step.bit_length() - order.step)  # to the next power of 2
        if limits.max_steps is not None:
            steps = min(steps, limits.max_steps - order.total_steps)
        return steps

    def reached_max_steps(self, limits: TrainerSettings) -> bool:
        """True if the run has taken `max_steps` steps."""
        return limits.max_steps is not None and self.order.total_steps >= limits.max_steps

    def state_dict(self, optimizer_state: dict[str, Any]) -> dict[str, Any]:
        """Tensors and plain values from which `from_state_dict` restores the run."""
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "initial": {**asdict(self.initial), "matrix": self.initial.matrix.detach().cpu()},
            "prompt": self.prompt.detach().cpu(),
            "order": asdict(self.order),
            "optimizer_state": {
                name: value.cpu() if isinstance(value, Tensor) else value
                for name, value in optimizer_state.items()
            },
        }

    @staticmethod
    def from_state_dict(state: dict[str, Any]) -> "RunState":
        """The run that `state_dict` was made from."""
        restored: dict[str, Any] = {
            "initial": SoftPrompt(**state["initial"]),
            "prompt": nn.Parameter(state["prompt"]),
            "order": DataOrder(**state["order"]),
        }
        return RunState(**{**state, **restored})

    def save(self, run: Run, optimizer_state: dict[str, Any]) -> None:
        """Write best prompt, learning curve and, last, the checkpoint into the run's directory.

        A prompt with values that are not finite is not saved: the run fails at its next step, and its last checkpoint
        should be the one before.
        """
        if torch.isfinite(self.prompt).all():
            self.save_outputs(run)
            save_checkpoint(run, self.state_dict(optimizer_state))

    def save_outputs(self, run: Run) -> None:
        """Write best prompt and learning curve into the run's directory."""
        run.save_best(replace(self.initial, matrix=self.best_prompt, step=self.best_step))
        run.save_history(self.history)

    @staticmethod
    def resume(run: Run) -> "tuple[RunState, list[str]] | None":
        """The state in which an earlier process left the run, and notes for the user; None if there was none.

        Raises:
            UserError: no checkpoint can be used.
        """
        if (checkpoint := load_checkpoint(run)) is None:
            return None
        state = checkpoint.state
        try:
            if "initial" not in state:  # version 0.2
                initial = run.initial_prompt()
                state["initial"] = {**asdict(initial), "matrix": initial.matrix}
                state["loss_to_beat"] = state["best_loss"]
                state["evaluations_without_improvement"] = state.pop("evaluations_since_best")
            return RunState.from_state_dict(state), checkpoint.notes
        except (TypeError, KeyError) as error:
            raise UserError(
                f"{run.path}: its checkpoint has other fields than those of softprompt {__version__} ({error}); use the "
                "version that wrote it, or delete the checkpoints to train the run anew"
            ) from error
