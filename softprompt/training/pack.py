"""A pack: runs that share backbone, task and data, trained side by side from their present states to their results."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from torch import Tensor

from softprompt import interruption
from softprompt.backbone import choose_dtype, load_backbone
from softprompt.data.examples import Example
from softprompt.data.module import TaskData
from softprompt.data.sources import Records
from softprompt.errors import UserError
from softprompt.files import json_sha256
from softprompt.initialisers import initial_prompt
from softprompt.runs import Run, RunLock
from softprompt.scoring import Scores
from softprompt.training.baselines import check_finite, store_baselines, stored_baselines
from softprompt.training.callbacks.checkpoint import SaveRuns
from softprompt.training.callbacks.progress import HEADER, PackProgress, summary
from softprompt.training.callbacks.wandb import WandbRuns
from softprompt.training.evaluation import PromptEvaluation, majority_share
from softprompt.training.result import make_result
from softprompt.training.run_state import RunState
from softprompt.training.trainer import (
    is_distributed,
    is_dry,
    is_first_process,
    make_trainer,
)
from softprompt.training.tuning import PromptTuning


class Pack:
    """Runs of one backbone, task and data set, with what they share."""

    def __init__(
        self,
        runs: Sequence[Run],
        records: Records,
        fingerprint: dict[str, str],
        console: Console,
        locks: Mapping[str, RunLock],
    ) -> None:
        """`fingerprint`: hashes of data and model, by file name. `locks`: by run id."""
        self.runs = runs
        self.fingerprint = fingerprint
        self.test_hash = records.test_hash(runs[0].settings.task) if runs[0].settings.data.predict else ""
        self.settings = runs[0].settings
        self.limits = self.settings.trainer
        self.locks = locks
        if self.limits.threads is not None:
            torch.set_num_threads(self.limits.threads)
        self.progress = PackProgress(console)
        self.saver = SaveRuns(runs, self.limits.checkpoint_seconds, locks)
        self.wandb = WandbRuns(runs)
        self.trainer = make_trainer(self.limits, [self.saver, self.wandb, self.progress])
        self.dry = is_dry(self.limits)

        self.resumed: dict[str, RunState] = {}
        for run in runs:
            if found := RunState.resume(run):
                self.resumed[run.id], notes = found
                for note in notes:
                    self.progress.say(note)
        # A run keeps the dtype it was begun with, even on a machine where `auto` means another.
        begun = next((state.dtype for state in self.resumed.values()), self.settings.model.dtype)
        dtype = choose_dtype(begun, self.limits.accelerator)
        self.dtype = str(dtype).removeprefix("torch.")
        self.progress.say(f"{self.settings.model.id}, frozen, in {self.dtype}")
        self.backbone = load_backbone(self.settings.model, dtype)
        self.data = TaskData(
            self.settings.task,
            self.settings.data,
            records,
            self.backbone.tokenizer,
            self.backbone.table_rows,
            self.limits.batch_size,
            self.limits.eval_batch_size,
        )
        instruction = self.settings.task.instruction
        self.instruction = self.backbone.embed_text(instruction)
        if not len(self.instruction):
            raise UserError(f"task.instruction={instruction!r}: the tokenizer makes no token of it")

    def train(self) -> None:
        """Train every run from its present state to its result."""
        states = [self._state(run) for run in self.runs]
        longest = max(len(self.instruction), *(len(state.prompt) for state in states))
        self.data.check_lengths(longest, self.backbone.context_length)
        # With several devices a signal may end the training only where they agree on it, in `SaveRuns`.
        with interruption.deferred() if is_distributed(self.limits) else nullcontext():
            failures: list[str] = []
            try:
                if not self.dry:
                    self.wandb.open(self.progress.say)
                # Nothing may be written before this. Other devices' processes start inside it, and must find the
                # directories as this one did.
                baselines = self._baselines()
                for run, state in zip(self.runs, states, strict=True):
                    self._write(run, run.begin, state.initial)
                self._evaluate_waiting(states, baselines)
                self.wandb.send(states)
                if any(state.live for state in states):
                    self._fit(states)
                failures = self._finish(states, baselines)
            finally:
                self.wandb.close()
            # Lightning kills the first process if another one ends with an error, so all end at the same time.
            self.trainer.strategy.barrier()
        if failures:
            raise UserError("; ".join(failures))

    def predict(self) -> None:
        """Write each finished run's most likely answers to the test records, one JSON object per line, in order."""
        batches = self.data.evaluation_batches(self.data.test)
        answers = list(self.settings.task.verbalizers)
        for run in self.runs:
            prompt = run.best_prompt().matrix
            self.data.check_lengths(len(prompt), self.backbone.context_length)
            module = PromptEvaluation(self.backbone, [prompt], self.data.answers)
            with interruption.deferred():
                predicted = self.trainer.predict(module, batches) or []
            answer_of = {
                example.where: answers[index]
                for batch, (indices,) in zip(batches, predicted, strict=True)
                for example, index in zip(batch, indices, strict=True)
            }
            lines = [json.dumps({"record": e.where, "answer": answer_of[e.where]}) for e in self.data.test]
            self._write(run, run.save_predictions, lines, self.test_hash)
            self.progress.say(f"{run.predictions}: {len(lines)} records answered")

    def _state(self, run: Run) -> RunState:
        """A run's state: as an earlier process left it, or new."""
        settings = run.settings
        if (state := self.resumed.get(run.id)) is None:
            initial = initial_prompt(
                settings.prompt,
                self.backbone,
                settings.task.name,
                settings.task.instruction,
                settings.seed,
            )
            self.progress.say(f"{run.path}: {initial.matrix.shape[0]} rows from {settings.prompt.init}")
            return RunState.start(initial, self.data.new_order(settings.seed), self.dtype)
        self.progress.say(f"{run.path}: resumed at step {state.order.total_steps}")
        return state

    def _baselines(self) -> dict[str, Any]:
        """Scores without tuning, on the official validation set. The runs of a sweep share the file."""
        task = self.settings.task
        digest = json_sha256([asdict(self.settings.model), self.dtype, asdict(task), self.fingerprint])[:8]
        path = self.runs[0].path.parent / f"baselines-{digest}.json"
        # Several processes compute them together, because one may find a file that the others did not find yet.
        stored = None if is_distributed(self.limits) else stored_baselines(path, digest)
        if stored is not None:
            return stored
        prompts = [torch.empty(0, self.backbone.width), self.instruction]
        no_prompt, instruction = self._scores("no prompt and the instruction", prompts, self.data.validation)
        check_finite(no_prompt, self.backbone)
        baselines = {
            "majority": majority_share(self.data.validation),
            "no_prompt": asdict(no_prompt),
            "instruction": asdict(instruction),
        }
        if not self.dry:
            rank_zero_only(store_baselines)(path, digest, baselines)
        return baselines

    def _evaluate_waiting(self, states: Sequence[RunState], baselines: dict[str, Any]) -> None:
        """Evaluate runs whose next event is an evaluation.

        That is the first row of every new run's learning curve, before any step, and for a run that was interrupted at
        the end of an epoch, the evaluation that it did not get.
        """
        on_validation = self.data.selection is self.data.validation
        unknown = []
        for state in (state for state in states if state.live and state.awaits_evaluation(self.limits)):
            if on_validation and torch.equal(state.prompt.detach(), self.instruction):
                state.observe(Scores(**baselines["instruction"]), self.limits)
            else:
                unknown.append(state)
        if unknown:
            starts = [state.prompt.detach() for state in unknown]
            scores = self._scores("the start", starts, self.data.selection)
            for state, start_scores in zip(unknown, scores, strict=True):
                state.observe(start_scores, self.limits)

    def _fit(self, states: Sequence[RunState]) -> None:
        self.progress.say(HEADER)
        labels = [run.label for run in self.runs]
        self.progress.print_evaluations(states, labels)
        self.data.orders = lambda: [state.order if state.live else None for state in states]
        module = PromptTuning(
            self.backbone, states, labels, self.data.answers, self.settings.optim, self.limits
        )
        with interruption.deferred():
            self.trainer.fit(module, datamodule=self.data)

    def _scores(
        self, what: str, prompts: Sequence[Float[Tensor, "_ d"]], examples: Sequence[Example]
    ) -> list[Scores]:
        module = PromptEvaluation(self.backbone, prompts, self.data.answers)
        self.progress.evaluated = what
        with interruption.deferred():
            self.trainer.validate(module, self.data.evaluation_batches(examples), verbose=False)
        self.progress.evaluated = ""
        return [scores for scores in module.scores if scores is not None]

    def _finish(self, states: Sequence[RunState], baselines: dict[str, Any]) -> list[str]:
        """Score every run's best prompt on the official validation set, and write its result.

        Returns:
            One line per run that failed or is not finished. The others have their results all the same.
        """
        pairs = list(zip(self.runs, states, strict=True))
        failures = [
            f"{run.path}: {state.failed}; the run failed. {self._advice()}"
            for run, state in pairs
            if state.failed
        ]
        if self.dry:
            return failures
        stopped = [(run, state) for run, state in pairs if state.stopped and not state.failed]
        if self.data.selection is self.data.validation:
            tuned = [state.best_scores for _, state in stopped]
        else:
            prompts = [state.best_prompt for _, state in stopped]
            tuned = [asdict(s) for s in self._scores("the best prompt", prompts, self.data.validation)]
        for (run, state), scores in zip(stopped, tuned, strict=True):
            result = make_result(run, self.fingerprint, state, scores, baselines, self.data, self.backbone)
            self._write(run, state.save_outputs, run)
            self._write(run, run.finish, result)
            self.progress.say(f"{run.path}: {summary(result)}")
        # The Trainer was stopped by something in trainer.extra, like max_time.
        unfinished = [
            f"{run.path}: not finished after {state.order.total_steps} steps; the same command goes on from there"
            for run, state in pairs
            if state.live
        ]
        return [*failures, *unfinished]

    def _write(self, run: Run, write: Callable[..., None], *arguments: object) -> None:
        """Write into a run's directory: in the first process, and if the run's lock is still held."""
        if not self.dry and is_first_process():
            self.locks[run.id].check()
            write(*arguments)

    def _advice(self) -> str:
        """What to do about a loss that is not finite."""
        if weight := self.backbone.non_finite_weight():
            return f"The model's weight {weight} has values that are not finite: check the model's files"
        return f"Lower optim.lr={self.settings.optim.lr} or set trainer.gradient_clip_val"
