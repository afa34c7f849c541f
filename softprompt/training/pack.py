"""Train a pack: runs that share backbone, task and data, side by side, from their settings to their results.

A single run is a pack of one. Runs that are done are skipped, runs that were begun are resumed.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from torch import Tensor

from softprompt.backbone import choose_dtype, load_backbone, model_fingerprint
from softprompt.console import say
from softprompt.data.examples import Example
from softprompt.data.module import TaskData
from softprompt.data.sources import Records, read_records
from softprompt.errors import UserError
from softprompt.files import read_json, sha256, write_atomically
from softprompt.initialisers import initial_prompt
from softprompt.renamed import current_baselines
from softprompt.runs import Run
from softprompt.scoring import Scores
from softprompt.settings import Settings
from softprompt.training.callbacks.checkpoint import SaveRuns
from softprompt.training.callbacks.progress import HEADER, PackProgress, summary
from softprompt.training.callbacks.wandb import WandbRuns
from softprompt.training.evaluation import PromptEvaluation, majority_share
from softprompt.training.optimizers import check_optimizer
from softprompt.training.result import make_result
from softprompt.training.run_state import RunState
from softprompt.training.trainer import make_trainer
from softprompt.training.tuning import PromptTuning


def train_pack(pack: Sequence[Settings], console: Console) -> list[Run]:
    """Train the runs with these settings; each leaves a finished directory.

    The settings of a pack differ in `seed` and `prompt` only.

    Raises:
        UserError: the settings cannot be carried out, or a run's loss is not finite.
        ValueError: the settings differ in more.
    """
    first = pack[0]
    if any(replace(settings, seed=first.seed, prompt=first.prompt) != first for settings in pack):
        raise ValueError("the runs of a pack may differ in seed and prompt alone")
    check_optimizer(first.optim)
    records = read_records(first.data, first.task)
    fingerprint = {**records.fingerprint, **model_fingerprint(first.model)}
    runs = [Run.of(settings, fingerprint) for settings in pack]
    for run in runs:
        if run.done:
            rank_zero_only(say)(console, f"{run.path} is done ({summary(run.result())}): nothing to do")
    unfinished = [run for run in runs if not run.done]
    if unfinished:
        Pack(unfinished, records, fingerprint, console).train()
    unanswered = [run for run in runs if first.data.predict and run.done and not run.predictions.exists()]
    if unanswered:
        Pack(unanswered, records, fingerprint, console).predict()
    return runs


class Pack:
    """Runs of one backbone, task and data set, with what they share."""

    def __init__(
        self, runs: Sequence[Run], records: Records, fingerprint: dict[str, str], console: Console
    ) -> None:
        """`fingerprint`: hashes of data and model, by file name."""
        self.runs = runs
        self.fingerprint = fingerprint
        self.settings = runs[0].settings
        self.limits = self.settings.trainer
        if self.limits.threads is not None:
            torch.set_num_threads(self.limits.threads)
        self.progress = PackProgress(console)
        self.saver = SaveRuns(runs, self.limits.checkpoint_seconds)
        self.wandb = WandbRuns(runs)
        self.trainer = make_trainer(self.limits, [self.saver, self.wandb, self.progress])
        # Lightning's fast_dev_run takes one batch of everything: its scores are of no use, so nothing is written.
        self.dry = bool(getattr(self.trainer, "fast_dev_run", False))

        self.resumed = {run.id: RunState.resume(run) for run in runs}
        # A run keeps the dtype it was begun with, even on a machine where `auto` means another.
        begun = next((state.dtype for state in self.resumed.values() if state), self.settings.model.dtype)
        dtype = choose_dtype(begun, self.limits.accelerator)
        self.dtype = str(dtype).removeprefix("torch.")
        self.progress.say(f"{self.settings.model.id}, frozen, in {self.dtype}")
        self.backbone = load_backbone(self.settings.model, dtype)
        self.data = TaskData(
            self.settings.task,
            self.settings.data,
            records,
            self.backbone.tokenizer,
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
        try:
            if not self.dry:
                self.wandb.open()
            baselines = self._baselines()
            self._evaluate_starts(states, baselines)
            self.wandb.send(states)
            if any(state.live for state in states):
                self._fit(states)
            if not self.dry:
                self._finish(states, baselines)
        finally:
            self.wandb.close()

    def predict(self) -> None:
        """Write each finished run's most likely answers to the test records, one JSON object per line, in order."""
        batches = self.data.evaluation_batches(self.data.test)
        answers = list(self.settings.task.verbalizers)
        for run in self.runs:
            prompt = run.best_prompt().matrix
            self.data.check_lengths(len(prompt), self.backbone.context_length)
            module = PromptEvaluation(self.backbone, [prompt], self.data.answers)
            predicted = self.trainer.predict(module, batches) or []
            answer_of = {
                example.where: answers[index]
                for batch, (indices,) in zip(batches, predicted, strict=True)
                for example, index in zip(batch, indices, strict=True)
            }
            lines = [json.dumps({"record": e.where, "answer": answer_of[e.where]}) for e in self.data.test]
            rank_zero_only(write_atomically)(run.predictions, "\n".join(lines) + "\n")
            self.progress.say(f"{run.predictions}: {len(lines)} records answered")

    def _state(self, run: Run) -> RunState:
        """A run's state: as an earlier process left it, or new."""
        settings = run.settings
        if (state := self.resumed[run.id]) is None:
            initial = initial_prompt(
                settings.prompt,
                self.backbone,
                settings.task.name,
                settings.task.instruction,
                settings.seed,
            )
            if not self.dry:
                rank_zero_only(run.begin)(initial)
            self.progress.say(f"{run.path}: {initial.matrix.shape[0]} rows from {settings.prompt.init}")
            return RunState.start(initial.matrix, self.data.new_order(settings.seed), self.dtype)
        self.progress.say(f"{run.path}: resumed at step {state.order.total_steps}")
        return state

    def _baselines(self) -> dict[str, Any]:
        """Scores without tuning, on the official validation set. The runs of a sweep share the file."""
        task = self.settings.task
        content = [asdict(self.settings.model), self.dtype, asdict(task), self.fingerprint]
        digest = sha256(json.dumps(content, sort_keys=True).encode())[:8]
        path = self.runs[0].path.parent / f"baselines-{digest}.json"
        if path.exists():
            return current_baselines(read_json(path))
        empty = torch.empty(0, self.backbone.width)
        no_prompt, instruction = self._scores(
            "no prompt and the instruction", [empty, self.instruction], self.data.validation
        )
        baselines = {
            "majority": majority_share(self.data.validation),
            "no_prompt": asdict(no_prompt),
            "instruction": asdict(instruction),
        }
        if not self.dry:
            rank_zero_only(write_atomically)(path, json.dumps(baselines, indent=2) + "\n")
        return baselines

    def _evaluate_starts(self, states: Sequence[RunState], baselines: dict[str, Any]) -> None:
        """The first row of every new run's learning curve: its prompt before any step."""
        on_validation = self.data.selection is self.data.validation
        unknown = []
        for state in (state for state in states if not state.history):
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
        self.trainer.fit(module, datamodule=self.data)

    def _scores(
        self, what: str, prompts: Sequence[Float[Tensor, "_ d"]], examples: Sequence[Example]
    ) -> list[Scores]:
        module = PromptEvaluation(self.backbone, prompts, self.data.answers)
        self.progress.evaluated = what
        self.trainer.validate(module, self.data.evaluation_batches(examples), verbose=False)
        self.progress.evaluated = ""
        return [scores for scores in module.scores if scores is not None]

    def _finish(self, states: Sequence[RunState], baselines: dict[str, Any]) -> None:
        """Score every run's best prompt on the official validation set, and write its result.

        Raises:
            UserError: a run failed; the others have their results all the same.
        """
        pairs = list(zip(self.runs, states, strict=True))
        stopped = [(run, state) for run, state in pairs if state.stopped and not state.failed]
        if self.data.selection is self.data.validation:
            tuned = [state.best_scores for _, state in stopped]
        else:
            prompts = [state.best_prompt for _, state in stopped]
            tuned = [asdict(s) for s in self._scores("the best prompt", prompts, self.data.validation)]
        for (run, state), scores in zip(stopped, tuned, strict=True):
            result = make_result(run, self.fingerprint, state, scores, baselines, self.data, self.backbone)
            rank_zero_only(run.finish)(result)
            self.progress.say(f"{run.path}: {summary(result)}")
        for run, state in pairs:
            if state.live:  # the Trainer was stopped by something in trainer.extra, like max_time
                self.progress.say(
                    f"{run.path}: not finished after {state.order.total_steps} steps; the same command goes on from there"
                )
        failures = [f"{run.path}: {state.failed}" for run, state in pairs if state.failed]
        if failures:
            advice = f"Lower optim.lr={self.settings.optim.lr} or set trainer.gradient_clip_val"
            raise UserError(f"{'; '.join(failures)}; the run failed. {advice}")
