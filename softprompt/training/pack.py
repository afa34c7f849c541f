"""A pack: runs that share backbone, task and data, trained side by side from their present states to their results.

A pack has a number of places. When a run stops it leaves the pack, and a waiting run takes its place.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from torch import Tensor

from softprompt import interruption
from softprompt.backbone import Backbone, load_backbone
from softprompt.data.examples import Example
from softprompt.data.module import TaskData
from softprompt.data.sources import Records
from softprompt.errors import UserError
from softprompt.files import json_sha256
from softprompt.initialisers import initial_prompt, seeded
from softprompt.methods import make_method
from softprompt.methods.hard import HardMethod
from softprompt.runs import Row, Run, task_identity
from softprompt.scoring import Scores
from softprompt.training.baselines import check_finite, store_baselines, stored_baselines
from softprompt.training.callbacks.checkpoint import SaveRuns
from softprompt.training.callbacks.memory import PeakMemory
from softprompt.training.callbacks.progress import PackProgress, summary
from softprompt.training.callbacks.report import ReportRuns
from softprompt.training.callbacks.track import TrackRuns
from softprompt.training.evaluation import PromptEvaluation, majority_share
from softprompt.training.member import Member
from softprompt.training.memory import choose_size, is_out_of_memory
from softprompt.training.optimizers import learning_rate
from softprompt.training.predictions import prediction_lines
from softprompt.training.result import make_result
from softprompt.training.run_state import RunState
from softprompt.training.trainer import is_distributed, is_dry, make_trainer
from softprompt.training.trigger_search import TriggerSearch
from softprompt.training.tuning import PromptTuning
from softprompt.training.waiting import Claim, WaitingRuns


class Pack:
    """Places for runs of one backbone, task and data set, and what these runs share."""

    def __init__(
        self,
        first: Claim,
        waiting: WaitingRuns,
        records: Records,
        fingerprint: dict[str, str],
        console: Console,
        size: int | None,
        at_most: int,
        refill: bool,
    ) -> None:
        """Loads the model and the data.

        Args:
            first: the run that gets the first place.
            waiting: where the other runs come from, and where runs are returned to.
            fingerprint: hashes of data and model, by file name.
            size: the number of places; None: as many as pay on this device, but not more than `at_most`.
            refill: take other runs, too, and more of them as places become free.
        """
        self.waiting = waiting
        self.fingerprint = fingerprint
        self.first = first.run
        settings = first.run.settings
        self.task, self.limits = settings.task, settings.trainer
        self.test = records.splits.get("test", [])
        self.test_hash = records.test_hash(settings.task) if settings.data.predict else ""
        if self.limits.threads is not None:
            torch.set_num_threads(self.limits.threads)
        self.members: list[Member] = []
        self._claim: Claim | None = first
        self.progress = PackProgress(console)
        self.tracking = TrackRuns()
        saver, reporter = SaveRuns(self.limits.checkpoint_seconds), ReportRuns(waiting.report)
        self._callbacks = [saver, self.tracking, self.progress, reporter, PeakMemory()]
        self.trainer = make_trainer(self.limits, self._callbacks)
        self.dry = is_dry(self.limits)
        self.refill = refill
        self.dtype = first.dtype
        dtype = getattr(torch, first.dtype)
        self.progress.say(f"{settings.model.id}, frozen, in {self.dtype}")
        self.model = settings.model
        self.backbone = load_backbone(settings.model, dtype)
        if self.backbone.bos_id is not None:
            token = self.backbone.tokenizer.bos_token
            self.progress.say(
                f"in front of every prompt: {token}, the beginning of a sequence (model.bos={settings.model.bos})"
            )
        if self.backbone.notice:
            self.progress.say(self.backbone.notice)
        self.data = TaskData(
            settings.task,
            settings.data,
            records,
            self.backbone.tokenizer,
            self.backbone.table_rows,
            self.backbone.context_length,
            self.limits.batch_size,
            self.limits.eval_batch_size,
        )
        self.truncate = settings.data.truncate
        if self.truncate and (cut := sum(self.data.truncated.values())):
            count = sum(map(len, records.splits.values()))
            self.progress.say(
                f"data.truncate: cut the field {self.truncate.field!r} of {cut} of {count} records"
            )
        self.method = make_method(settings.method, self.backbone, settings.task)
        instruction = settings.task.instruction
        self.instruction = self.backbone.embed_text(instruction)
        if not len(self.instruction):
            raise UserError(f"task.instruction={instruction!r}: the tokenizer makes no token of it")
        self.data.check_lengths(len(self.instruction), self.backbone.context_length)
        device, longest = self.trainer.strategy.root_device, waiting.longest_prompt(len(self.instruction))
        self.size = size or min(at_most, choose_size(self.backbone, self.data, device, longest))
        if self.dry:
            self.size = 1  # one batch of everything is one run's
        self.progress.shows_labels = self.size > 1
        self.baselines: dict[str, Any] = {}
        self._joining: list[Member] = []

    def prepare(self) -> None:
        """Fill the places, and compute what all runs are compared with.

        Nothing may be written before this. Other devices' processes start inside it, and must find the directories as this
        one did.
        """
        with self._agreed_interruption():
            self._join()
            if self._joining:
                self.baselines = self._baselines()

    def train(self) -> None:
        """Train the runs, and waiting runs as places become free, until none is left that this pack can train.

        Raises:
            Exception: a run could not be trained. Those in training are still claimed.
        """
        with self._agreed_interruption():
            try:
                while self._joining or self.members:
                    while self._joining:
                        self._begin(self._joining.pop(0))
                    self._evaluate_starts()
                    self.tracking.send(self.members, self.method)
                    self._retire()
                    if self.members:
                        self._fit()
                        self._retire()
                    self._join()
            finally:
                for member in self.members:
                    self.tracking.close(member.run)
            # Lightning kills the first process if another one ends with an error, so all end at the same time.
            self.trainer.strategy.barrier()

    def _agreed_interruption(self) -> AbstractContextManager[None]:
        """With several devices a signal may end the training only where they agree on it, in `SaveRuns`."""
        return interruption.deferred() if is_distributed(self.limits) else nullcontext()

    def _join(self) -> None:
        """Claim waiting runs for the free places. Finished runs that lack predictions get them, and no place."""
        while len(self.members) + len(self._joining) < self.size:
            claim, self._claim = self._claim, None
            if claim is None and self.refill:
                claim = self.waiting.claim(self.dtype)
            if claim is None:
                return
            try:
                if claim.run.done:
                    self._predict(claim.run)
                    self.waiting.finished(claim.run)
                else:
                    self._joining.append(Member(claim.run, self._state(claim), claim.lock))
            except Exception as error:
                if is_out_of_memory(error) or is_distributed(self.limits):
                    raise
                self.waiting.fail(claim.run, error)

    def _begin(self, member: Member) -> None:
        """Give a run its place."""
        self.members.append(member)
        try:
            if not self.dry:
                self.tracking.open(member, self._facts(member), self.baselines, self.progress.say)
            self.waiting.write(member.run, member.run.begin, member.state.initial)
        except UserError as error:
            if is_distributed(self.limits):
                raise
            self._leave(member, error)

    def _facts(self, member: Member) -> dict[str, Any]:
        """What loggers show of a run besides its settings."""
        return {
            "run": member.run.id,
            "rows": len(member.state.initial.matrix),
            "parameters": self.method.parameters(member.state.prompt),
            "lr": learning_rate(member.run.settings.optim, self.method),
            "dtype": self.dtype,
            "backbone_hash": self.backbone.embedding_hash,
            "hashes": self.fingerprint,
        }

    def _state(self, claim: Claim) -> RunState:
        """A run's state: as an earlier process left it, or new."""
        settings, path = claim.run.settings, claim.run.path
        if claim.state is None:
            initial = initial_prompt(settings.prompt, self.backbone, settings.task, settings.seed)
            start = self.method.start(initial)
            values = self.method.values(start, seeded(settings.task.name, settings.seed))
            state = RunState.start(start, values, self.data.new_order(settings.seed), self.dtype)
            step = "" if settings.optim.lr else f"; optim.lr={learning_rate(settings.optim, self.method)}"
            self.progress.say(f"{path}: {len(start.matrix)} rows from {settings.prompt.init}{step}")
        else:
            state = claim.state
        self.data.check_lengths(len(state.initial.matrix), self.backbone.context_length)
        return state

    def _predict(self, run: Run) -> None:
        """Write a finished run's answers to the test records."""
        batches = self.data.evaluation_batches(self.data.test)
        prompt = run.best_prompt().matrix
        self.data.check_lengths(len(prompt), self.backbone.context_length)
        module = PromptEvaluation(self.method.view, [prompt], self.task)
        with interruption.deferred():
            predicted = self.trainer.predict(module, batches) or []
        found = {
            example.where: of_example
            for batch, of_batch in zip(batches, predicted, strict=True)
            for (_, example), of_example in zip(batch, of_batch, strict=True)
        }
        lines = list(prediction_lines(self.task, self.test, found))
        self.waiting.write(run, run.save_predictions, lines, self.test_hash)
        self.progress.say(f"{run.predictions}: {len(lines)} records answered")

    def _baselines(self) -> dict[str, Any]:
        """Scores without tuning, on the official validation set. The runs of a sweep share the file."""
        # What model.bos comes to is in the fingerprint.
        model = {key: value for key, value in asdict(self.model).items() if key != "bos"}
        content = [model, self.dtype, task_identity(self.task), self.fingerprint]
        if self.truncate:
            content.append(asdict(self.truncate))
        digest = json_sha256(content)[:8]
        path = self.first.path.parent / f"baselines-{digest}.json"
        # Several processes compute them together, because one may find a file that the others did not find yet.
        stored = None if is_distributed(self.limits) else stored_baselines(path, digest)
        if stored is not None:
            return stored
        prompts = [torch.empty(0, self.backbone.width), self.instruction]
        no_prompt, instruction = self._scores(
            "no prompt and the instruction", self.backbone, prompts, self.data.validation
        )
        check_finite(no_prompt, self.backbone)
        baselines = {
            "majority": majority_share(self.data.validation),
            "no_prompt": no_prompt.row,
            "instruction": instruction.row,
        }
        if not self.dry:
            rank_zero_only(store_baselines)(path, digest, baselines)
        return baselines

    def _evaluate_starts(self) -> None:
        """Evaluate runs whose next event is an evaluation.

        That is the first row of every new run's learning curve, before any step, and for a run that was interrupted at
        the end of an epoch, the evaluation that it did not get.
        """
        on_validation = self.data.selection is self.data.validation
        unknown: list[tuple[Member, Tensor]] = []  # with what stands in front
        for member in self.members:
            state = member.state
            if not state.live or state.steps_to_evaluation(member.limits) > 0:
                continue
            in_front = self.method.in_front(state.prompt.detach(), state.initial.matrix)
            if on_validation and torch.equal(in_front, self.instruction):
                state.observe(Scores.of_row(self.baselines["instruction"]), in_front, member.limits)
            else:
                unknown.append((member, in_front))
        if unknown:
            starts = [in_front for _, in_front in unknown]
            scores = self._scores("the start", self.method.view, starts, self.data.selection)
            for (member, in_front), of_start in zip(unknown, scores, strict=True):
                member.state.observe(of_start, in_front, member.limits)

    def _fit(self) -> None:
        """Train until a run stops."""
        if not is_distributed(self.limits):
            # A new one for each fit, because a time limit counts from its making. With several devices it would start the
            # other devices' processes again.
            self.trainer = make_trainer(self.limits, self._callbacks)
        self.progress.print_header()
        self.progress.print_evaluations(self.members)
        members = list(self.members)
        self.data.turns = lambda: [m.turn for m in members]
        kind = TriggerSearch if self.first.settings.method.name == "autoprompt" else PromptTuning
        module = kind(self.method, members, self.task)
        with interruption.deferred():
            self.trainer.fit(module, datamodule=self.data)
        for i, member in enumerate(members):
            member.state.optimizer_state = module.optimizer_state(i)
        if all(member.state.live for member in members) and not self.dry:
            # Stopped by something in trainer.extra, like max_time.
            for member in members:
                steps = member.state.order.total_steps
                self._leave(
                    member,
                    UserError(
                        f"{member.run.path}: not finished after {steps} steps; the same command goes on from there"
                    ),
                )

    def _scores(
        self,
        what: str,
        backbone: Backbone,
        prompts: Sequence[Float[Tensor, "_ _"]],
        examples: Sequence[Example],
    ) -> list[Scores]:
        """Scores of what stands in front of a backbone, evaluated side by side."""
        self.progress.evaluated = what
        found: list[Scores] = []
        # A dry run sees one batch, in which every prompt should have examples.
        for group in [[prompt] for prompt in prompts] if self.dry else [prompts]:
            module = PromptEvaluation(backbone, group, self.task)
            batches = self.data.evaluation_batches(examples, range(len(group)))
            with interruption.deferred():
                self.trainer.validate(module, batches, verbose=False)
            found += [scores for scores in module.scores if scores is not None]
        self.progress.evaluated = ""
        return found

    def _retire(self) -> None:
        """Let the runs that have stopped leave: score their best prompts on the official validation set, write results."""
        for member in [member for member in self.members if member.state.failed]:
            reason = f"{member.run.path}: {member.state.failed}; the run failed. {self._advice(member.run)}"
            self._leave(member, UserError(reason))
        if self.dry:
            for member in [member for member in self.members if member.state.history]:
                self._leave(member)
            return
        stopped = [member for member in self.members if member.state.stopped]
        if self.data.selection is self.data.validation:
            tuned = [member.state.best_scores for member in stopped]
        elif stopped:
            prompts = [member.state.best_prompt for member in stopped]
            scored = self._scores("the best prompt", self.method.view, prompts, self.data.validation)
            tuned = [scores.row for scores in scored]
        else:
            tuned = []
        for member, scores in zip(stopped, tuned, strict=True):
            run, state = member.run, member.state
            try:
                result = make_result(
                    run, self.fingerprint, state, scores, self.baselines, self.data, self.method
                )
                if isinstance(self.method, HardMethod):
                    result["text"] = self._as_text(self.method, state.best_prompt, scores)
                    self.progress.say(f"{run.path}: the prompt is {result['text']['text']!r}")
                self.waiting.write(run, state.save_outputs, run)
                self.waiting.write(run, run.finish, result)
                self.progress.say(f"{run.path}: {summary(result)}")
                if run.settings.data.predict:
                    self._predict(run)
            except UserError as error:
                if is_distributed(self.limits):
                    raise
                self._leave(member, error)
            else:
                self._leave(member)

    def _as_text(self, method: HardMethod, prompt: Float[Tensor, "n d"], scores: Row) -> dict[str, Any]:
        """A prompt of tokens as a text, and the text's exact match; None if the text is too long for the model.

        The tokenizer may cut the text into other tokens.
        """
        tokens: list[int] = method.nearest(prompt).tolist()
        text = str(self.backbone.tokenizer.decode(tokens))
        read = self.backbone.tokens_of(text)
        exact_match: float | None = scores["exact_match"]
        if read != tokens:
            try:
                self.data.check_lengths(len(read), self.backbone.context_length)
                rows = self.backbone.embed(read)
                (own,) = self._scores("the text", self.backbone, [rows], self.data.validation)
                exact_match = own.exact_match
            except UserError:
                exact_match = None
        return {"text": text, "tokens": tokens, "same_tokens": read == tokens, "exact_match": exact_match}

    def _leave(self, member: Member, error: UserError | None = None) -> None:
        """Free a run's place."""
        self.members.remove(member)
        self.tracking.close(member.run)
        if error is None:
            self.waiting.finished(member.run)
        else:
            self.waiting.fail(member.run, error)

    def _advice(self, run: Run) -> str:
        """What to do about a loss that is not finite."""
        if weight := self.backbone.non_finite_weight():
            return f"The model's weight {weight} has values that are not finite: check the model's files"
        return f"Lower optim.lr={learning_rate(run.settings.optim, self.method)} or set trainer.gradient_clip_val"
