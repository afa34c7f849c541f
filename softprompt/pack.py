"""Train a pack: runs that share backbone, task and data, side by side, from what was asked to what was learned.

A single run is a pack of one. Runs that are done are skipped, runs that were begun are resumed.
"""

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from torch import Tensor

from softprompt.backbone import choose_dtype, load_backbone, model_fingerprint
from softprompt.data.examples import Example
from softprompt.data.module import TaskData
from softprompt.data.sources import Records, read_records
from softprompt.errors import UserError, first_line
from softprompt.evaluation import PromptEvaluation, Scores, majority_share
from softprompt.files import read_json, sha256, write_atomically
from softprompt.progress import HEADER, PackProgress, say, summary
from softprompt.prompt import initial_prompt
from softprompt.result import make_result
from softprompt.run import Run
from softprompt.saving import SaveRuns
from softprompt.settings import PromptSettings, Settings, TrainerSettings
from softprompt.tuning import PromptTuning, RunState


def train_pack(pack: Sequence[Settings], console: Console) -> list[Run]:
    """Train the runs that `pack` asks for; each leaves a finished directory.

    The settings of a pack differ in `seed` and `prompt` alone.

    Raises:
        UserError: something asked for cannot be done, or a run's loss ceased to be a number.
        ValueError: the settings differ in more.
    """
    first = pack[0]
    if any(replace(settings, seed=first.seed, prompt=first.prompt) != first for settings in pack):
        raise ValueError("the runs of a pack may differ in seed and prompt alone")
    records = read_records(first.data, first.task)
    fingerprint = {**records.fingerprint, **model_fingerprint(first.model)}
    runs = [Run(settings, fingerprint) for settings in pack]
    for run in runs:
        if run.done:
            rank_zero_only(say)(console, f"{run.path} is done ({summary(run.result())}): nothing to do")
    unfinished = [run for run in runs if not run.done]
    if unfinished:
        Pack(unfinished, records, console).train()
    unanswered = [run for run in runs if first.data.predict and not run.predictions.exists()]
    if unanswered:
        Pack(unanswered, records, console).predict()
    return runs


class Pack:
    """Runs of one backbone, task and data set, and what they need."""

    def __init__(self, runs: Sequence[Run], records: Records, console: Console) -> None:
        self.runs = runs
        self.settings = runs[0].settings
        options = self.settings.trainer
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self.resumed = {run.id: run.resume() for run in runs}
        # A run keeps the dtype it was begun with, also where `auto` would now choose another.
        begun = next((state.dtype for state in self.resumed.values() if state), self.settings.model.dtype)
        dtype = choose_dtype(begun, options.accelerator)
        self.dtype = str(dtype).removeprefix("torch.")
        self.progress = PackProgress(console)
        self.progress.say(f"{self.settings.model.id}, frozen, in {self.dtype}")
        self.backbone = load_backbone(self.settings.model, dtype)
        self.data = TaskData(
            self.settings.task,
            self.settings.data,
            records,
            self.backbone.tokenizer,
            options.batch_size,
            options.eval_batch_size,
        )
        self.instruction = self._instruction()
        self.saver = SaveRuns(runs, self.progress, options.checkpoint_seconds)
        self.trainer = make_trainer(options, [self.saver, self.progress])

    def train(self) -> None:
        """From wherever each run stands to its result."""
        states = [self._state(run) for run in self.runs]
        longest = max(len(self.instruction), *(len(state.prompt) for state in states))
        self.data.check_lengths(longest, self.backbone.context_length)
        try:
            self.saver.open_trackers()
            baselines = self._baselines()
            self._evaluate_starts(states, baselines)
            self.saver.track(states)
            if any(state.live for state in states):
                self._fit(states)
            self._finish(states, baselines)
        finally:
            self.saver.close_trackers()

    def predict(self) -> None:
        """Write each finished run's likeliest answers to the test records, a JSON object a line, in order."""
        batches = self.data.evaluation_batches(self.data.test)
        answers = list(self.settings.task.verbalizers)
        for run in self.runs:
            prompt = run.best_prompt().matrix
            self.data.check_lengths(len(prompt), self.backbone.context_length)
            module = PromptEvaluation(self.backbone, [prompt], self.data.answers)
            predicted = self.trainer.predict(module, batches) or []
            choice = {
                example.where: answers[index]
                for batch, (indices,) in zip(batches, predicted, strict=True)
                for example, index in zip(batch, indices, strict=True)
            }
            lines = [json.dumps({"record": e.where, "answer": choice[e.where]}) for e in self.data.test]
            rank_zero_only(write_atomically)(run.predictions, "\n".join(lines) + "\n")
            self.progress.say(f"{run.predictions}: {len(lines)} records answered")

    def _fit(self, states: Sequence[RunState]) -> None:
        self.progress.say(HEADER)
        self.progress.report(states, [run.label for run in self.runs])
        self.data.orders = lambda: [state.order if state.live else None for state in states]
        module = PromptTuning(
            self.backbone, states, self.data.answers, self.settings.optim, self.settings.trainer
        )
        self.trainer.fit(module, datamodule=self.data)

    def _instruction(self) -> Float[Tensor, "n d"]:
        """The task's hand-written instruction, untuned."""
        text = PromptSettings(init="text")
        return initial_prompt(
            text, self.backbone, self.settings.task.name, self.settings.task.instruction, 0
        ).matrix

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
            rank_zero_only(run.begin)(initial)
            self.progress.say(f"{run.path}: {initial.matrix.shape[0]} rows from {settings.prompt.init}")
            return RunState.start(initial.matrix, self.data.new_order(settings.seed), self.dtype)
        self.progress.say(f"{run.path}: resumed at step {state.order.total_steps}")
        return state

    def _scores(
        self, what: str, prompts: Sequence[Float[Tensor, "_ d"]], examples: Sequence[Example]
    ) -> list[Scores]:
        module = PromptEvaluation(self.backbone, prompts, self.data.answers)
        self.progress.what = what
        self.trainer.validate(module, self.data.evaluation_batches(examples), verbose=False)
        self.progress.what = ""
        return [scores for scores in module.scores if scores is not None]

    def _baselines(self) -> dict[str, Any]:
        """What no tuning gives on the official validation set; the runs of a sweep share the file."""
        task, run = self.settings.task, self.runs[0]
        asked = [asdict(self.settings.model), self.dtype, asdict(task), run.fingerprint]
        digest = sha256(json.dumps(asked, sort_keys=True).encode())[:8]
        path = run.path.parent / f"baselines-{digest}.json"
        if not path.exists():
            nothing = torch.empty(0, self.backbone.width)
            no_prompt, instruction = self._scores(
                "no prompt and the instruction", [nothing, self.instruction], self.data.report
            )
            baselines = {
                "majority": majority_share(self.data.report),
                "no_prompt": asdict(no_prompt),
                "instruction": asdict(instruction),
            }
            rank_zero_only(write_atomically)(path, json.dumps(baselines, indent=2) + "\n")
            return baselines
        return read_json(path)

    def _evaluate_starts(self, states: Sequence[RunState], baselines: dict[str, Any]) -> None:
        """The first row of every new run's learning curve: its prompt before any step."""
        new = [state for state in states if not state.history]
        on_report = self.data.selection is self.data.report
        known = [on_report and torch.equal(state.prompt.detach(), self.instruction) for state in new]
        unknown = [state for state, is_known in zip(new, known, strict=True) if not is_known]
        for state, is_known in zip(new, known, strict=True):
            if is_known:
                state.observe(Scores(**baselines["instruction"]), self.settings.trainer)
        if unknown:
            starts = [state.prompt.detach() for state in unknown]
            for state, scores in zip(
                unknown, self._scores("the start", starts, self.data.selection), strict=True
            ):
                state.observe(scores, self.settings.trainer)

    def _finish(self, states: Sequence[RunState], baselines: dict[str, Any]) -> None:
        """Report every run's best prompt on the official validation set, and write its result.

        Raises:
            UserError: a run failed; the others have their results all the same.
        """
        good = [(run, state) for run, state in zip(self.runs, states, strict=True) if not state.failed]
        if self.data.selection is self.data.report:
            tuned = [state.best_scores for _, state in good]
        else:
            prompts = [state.best_prompt for _, state in good]
            tuned = [asdict(s) for s in self._scores("the best prompt", prompts, self.data.report)]
        for (run, state), scores in zip(good, tuned, strict=True):
            result = make_result(run, state, scores, baselines, self.data, self.backbone)
            rank_zero_only(run.finish)(result)
            self.progress.say(f"{run.path}: {summary(result)}")
        failed = [
            f"{run.path}: {state.failed}"
            for run, state in zip(self.runs, states, strict=True)
            if state.failed
        ]
        if failed:
            step = f"Lower optim.lr={self.settings.optim.lr} or set trainer.gradient_clip"
            raise UserError(f"{'; '.join(failed)}; the run failed. {step}")


def make_trainer(options: TrainerSettings, callbacks: list[Callback]) -> L.Trainer:
    """A Lightning trainer that leaves files, early stopping and screen to the runs."""
    silence_lightning()
    try:
        return L.Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            strategy=options.strategy,
            deterministic=options.deterministic,
            max_epochs=-1,  # every run has its own end
            reload_dataloaders_every_n_epochs=1,  # every epoch has its own order
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, ValueError) as error:
        raise UserError(f"trainer: {first_line(error)}") from error


def silence_lightning() -> None:
    """Lightning's advertisements, and its advice about data loaders that do not exist here."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
