"""Sends the curves of a pack's runs to the loggers that they ask for, one for each run."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from softprompt.methods import Method
from softprompt.runs import Row, Run
from softprompt.training.member import Member
from softprompt.training.trackers import Tracker, open_tracker
from softprompt.training.tuning import PromptTuning

NAMES = {"train_loss": "train/mean_loss", "epoch": "epoch", "seconds": "seconds"}
NOT_SENT = ("step", "n")
COMPARED = ("exact_match", "rank_accuracy", "loss")  # scores of a baseline that are drawn as lines


class TrackRuns(Callback):
    """Logs every run's steps and evaluations. Lightning has one set of loggers per Trainer; here every run has its own.

    Every `logger.every` steps: the loss of the run's batch, the learning rate, the norm of the gradient before clipping, and
    the distance of the prompt from its start. At every evaluation: the scores, beside the baselines', and, on Weights &
    Biases, the nearest tokens of the prompt's rows.
    """

    def __init__(self) -> None:
        self._trackers: dict[str, Tracker] = {}
        self._baselines: dict[str, float] = {}
        self._sent: dict[str, int] = {}  # evaluations, by run

    @rank_zero_only
    def open(
        self,
        member: Member,
        facts: Mapping[str, Any],
        baselines: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        """Start a run's tracker, if it asks for one.

        Args:
            member: the run.
            facts: what is known of it besides its settings.
            baselines: the scores without tuning, as in result.json.
            say: is called with a line for the user.

        Raises:
            UserError: the logger cannot be started.
        """
        tracker = open_tracker(member.run, facts, say)
        if tracker is not None:
            self._trackers[member.run.id], self._sent[member.run.id] = tracker, 0
            self._baselines = baseline_lines(baselines)

    @rank_zero_only
    def send(self, members: Sequence[Member], method: Method) -> None:
        """Send the evaluations that are new."""
        for member in members:
            if (tracker := self._trackers.get(member.run.id)) is None:
                continue
            history, sent = member.state.history, self._sent[member.run.id]
            for row in history[sent:]:
                tracker.log({**evaluation_values(row), **self._baselines}, int(row["step"]))
            if len(history) > sent and history[-1]["step"] == member.state.order.total_steps:
                self._send_neighbours(member, tracker, method)
            self._sent[member.run.id] = len(history)

    @rank_zero_only
    def close(self, run: Run) -> None:
        """Send the result and end the run's tracker; without a result it is marked as failed."""
        if tracker := self._trackers.pop(run.id, None):
            tracker.finish(run)

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Send the steps of the runs whose turn it is."""
        assert isinstance(module, PromptTuning)
        for i in module.stepping if self._trackers else ():
            member = module.members[i]
            step = member.state.order.total_steps + 1  # the module counts this step after the callbacks
            tracker = self._trackers.get(member.run.id)
            if tracker is None or step % member.run.settings.logger.every:
                continue
            values = {
                "train/loss": module.step_losses[i],
                "train/gradient_norm": float(module.gradient_norms[i]),
                "prompt/distance_from_start": _distance(module.in_front(i), member.state.initial.matrix),
            }
            if trainer.optimizers:  # a search has none
                values["train/lr"] = _learning_rate(trainer.optimizers, member.state.prompt)
            tracker.log(values, step)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Send the new row of every learning curve."""
        if isinstance(module, PromptTuning):
            self.send(module.members, module.method)

    def _send_neighbours(self, member: Member, tracker: Tracker, method: Method) -> None:
        backbone, state = method.view, member.state
        in_front = method.in_front(state.prompt, state.initial.matrix)
        k = member.run.settings.logger.neighbours
        if k is None or in_front.shape[1] != backbone.width:  # a prefix is in no space of tokens
            return
        from softprompt.analysis.neighbours import nearest_tokens  # here, because it imports pandas

        rows = in_front.detach().cpu()
        ids, cosines = nearest_tokens(rows, backbone.embedding_chunks(), k)  # [n, k] each
        start = member.state.initial.initial_tokens
        columns = ["row", "started as", *(f"nearest {rank + 1}" for rank in range(ids.shape[1])), "cosine 1"]
        lines = [
            [
                row,
                backbone.token_text(start[row]) if start else "",
                *(backbone.token_text(token) for token in of_row),
                round(float(cosines[row, 0]), 4),
            ]
            for row, of_row in enumerate(ids.tolist())
        ]
        tracker.log_table("neighbours", columns, lines, member.state.order.total_steps)


def evaluation_values(row: Row) -> dict[str, float]:
    """A row of a learning curve under the names that loggers show, without what is not a number."""
    return {
        NAMES.get(name, f"val/{name}"): float(value)
        for name, value in row.items()
        if name not in NOT_SENT and value is not None and math.isfinite(value)
    }


def baseline_lines(baselines: Mapping[str, Any]) -> dict[str, float]:
    """The scores without tuning under the names that loggers show. Logged at every evaluation, they are level lines."""
    lines = {"baseline/majority/exact_match": float(baselines["majority"])}
    for baseline in ("no_prompt", "instruction"):
        for name in COMPARED:
            if (value := baselines[baseline][name]) is not None:
                lines[f"baseline/{baseline}/{name}"] = float(value)
    return lines


def _learning_rate(optimizers: Sequence[torch.optim.Optimizer], prompt: Float[Tensor, "n d"]) -> float:
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    return float(next(group["lr"] for group in groups if any(other is prompt for other in group["params"])))


def _distance(prompt: Float[Tensor, "n d"], start: Float[Tensor, "n d"]) -> float:
    """Frobenius norm of the difference."""
    return float((prompt.detach() - start.to(prompt.device)).norm())
