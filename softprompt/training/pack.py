"""A pack: runs that share backbone, task and data, trained side by side from their present states to their results.

A pack has a number of places. When a run stops it leaves the pack, and a waiting run takes its place.
"""

from typing import Any

import torch
from rich.console import Console

from softprompt.data.sources import Records
from softprompt.errors import UserError
from softprompt.training.baselines import find_baselines
from softprompt.training.callbacks.checkpoint import SaveRuns
from softprompt.training.callbacks.peak_memory import PeakMemory
from softprompt.training.callbacks.progress import PackProgress
from softprompt.training.callbacks.report import ReportRuns
from softprompt.training.callbacks.track import TrackRuns
from softprompt.training.finishing import Finishing
from softprompt.training.loops import Loops
from softprompt.training.member import Member
from softprompt.training.optimizers import learning_rate
from softprompt.training.out_of_memory import is_out_of_memory
from softprompt.training.pack_size import choose_size
from softprompt.training.scorer import Scorer
from softprompt.training.shared import Shared
from softprompt.training.starting import evaluate_starts, state_of
from softprompt.training.trainer import is_distributed
from softprompt.training.trigger_search import TriggerSearch
from softprompt.training.tuning import PromptTuning
from softprompt.training.waiting import Claim, WaitingRuns


class Pack:
    """Places for runs of one kind, which share model and data."""

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
        settings = first.run.settings
        self.limits = settings.trainer
        if self.limits.threads is not None:
            torch.set_num_threads(self.limits.threads)
        self.waiting = waiting
        self.refill = refill
        self.folder = first.run.path.parent
        self.members: list[Member] = []
        self._joining: list[Member] = []
        self._claim: Claim | None = first
        self.progress = PackProgress(console)
        self.tracking = TrackRuns()
        saver, reporter = SaveRuns(self.limits.checkpoint_seconds), ReportRuns(waiting.report)
        callbacks = [saver, self.tracking, self.progress, reporter, PeakMemory()]
        self.loops = Loops(self.limits, callbacks)
        self.shared = Shared.load(settings, first.dtype, records, fingerprint, self.progress.say)
        self.scorer = Scorer(self.shared, self.loops, self.progress)
        self.finishing = Finishing(self.shared, self.scorer, waiting, self.progress.say)
        longest = waiting.longest_prompt(len(self.shared.instruction))
        self.size = size or min(
            at_most, choose_size(self.shared.method, self.shared.data, self.loops.device, longest)
        )
        if self.loops.dry:
            self.size = 1  # one batch of everything is one run's
        self.progress.shows_labels = self.size > 1
        self.baselines: dict[str, Any] = {}

    def prepare(self) -> None:
        """Fill the places, and compute what all runs are compared with.

        Nothing may be written before this. Other devices' processes start inside it, and must find the directories as this
        one did.
        """
        with self.loops.agreed_interruption():
            self._join()
            if self._joining:
                self.baselines = find_baselines(self.shared, self.scorer, self.folder)

    def train(self) -> None:
        """Train the runs, and waiting runs as places become free, until none is left that this pack can train.

        Raises:
            Exception: a run could not be trained. Those in training are still claimed.
        """
        with self.loops.agreed_interruption():
            try:
                while self._joining or self.members:
                    while self._joining:
                        self._begin(self._joining.pop(0))
                    evaluate_starts(self.members, self.shared, self.scorer, self.baselines)
                    self.tracking.send(self.members, self.shared.method)
                    self._retire()
                    if self.members:
                        self._fit()
                        self._retire()
                    self._join()
            finally:
                for member in self.members:
                    self.tracking.close(member.run)
            self.loops.wait_for_other_devices()

    def _join(self) -> None:
        """Claim waiting runs for the free places. Finished runs that lack predictions get them, and no place."""
        while len(self.members) + len(self._joining) < self.size:
            claim, self._claim = self._claim, None
            if claim is None and self.refill:
                claim = self.waiting.claim(self.shared.dtype)
            if claim is None:
                return
            try:
                if claim.run.done:
                    self.finishing.predict(claim.run)
                    self.waiting.finished(claim.run)
                else:
                    state = state_of(claim, self.shared, self.progress.say)
                    self._joining.append(Member(claim.run, state, claim.lock))
            except Exception as error:
                if is_out_of_memory(error) or is_distributed(self.limits):
                    raise
                self.waiting.fail(claim.run, error)

    def _begin(self, member: Member) -> None:
        """Give a run its place."""
        self.members.append(member)
        try:
            if not self.loops.dry:
                self.tracking.open(member, self._facts(member), self.baselines, self.progress.say)
            self.waiting.write(member.run, member.run.begin, member.state.initial)
        except UserError as error:
            if is_distributed(self.limits):
                raise
            self._leave(member, error)

    def _facts(self, member: Member) -> dict[str, Any]:
        """What loggers show of a run besides its settings."""
        method = self.shared.method
        return {
            "run": member.run.id,
            "rows": len(member.state.initial.matrix),
            "parameters": method.parameters(member.state.prompt),
            "lr": learning_rate(member.run.settings.optim, method),
            "dtype": self.shared.dtype,
            "backbone_hash": self.shared.backbone.embedding_hash,
            "hashes": self.shared.fingerprint,
        }

    def _fit(self) -> None:
        """Train until a run stops."""
        self.progress.print_header()
        self.progress.print_evaluations(self.members)
        members, settings = list(self.members), self.shared.settings
        self.shared.data.turns = lambda: [m.turn for m in members]
        kind = TriggerSearch if settings.method.name == "autoprompt" else PromptTuning
        module = kind(self.shared.method, members, settings.task)
        self.loops.train(module, self.shared.data)
        for i, member in enumerate(members):
            member.state.optimizer_state = module.optimizer_state(i)
        if all(member.state.live for member in members) and not self.loops.dry:
            # Stopped by something in trainer.extra, like max_time.
            for member in members:
                steps = member.state.order.total_steps
                self._leave(
                    member,
                    UserError(
                        f"{member.run.path}: not finished after {steps} steps; the same command goes on from there"
                    ),
                )

    def _retire(self) -> None:
        """Let the runs that have stopped leave, with their results."""
        for member in [member for member in self.members if member.state.failed]:
            self._leave(member, self.finishing.failure(member))
        if self.loops.dry:
            for member in [member for member in self.members if member.state.history]:
                self._leave(member)
            return
        stopped = [member for member in self.members if member.state.stopped]
        for member, tuned in zip(stopped, self.finishing.tuned_scores(stopped), strict=True):
            try:
                self.finishing.write(member, tuned, self.baselines)
            except UserError as error:
                if is_distributed(self.limits):
                    raise
                self._leave(member, error)
            else:
                self._leave(member)

    def _leave(self, member: Member, error: UserError | None = None) -> None:
        """Free a run's place."""
        self.members.remove(member)
        self.tracking.close(member.run)
        if error is None:
            self.waiting.finished(member.run)
        else:
            self.waiting.fail(member.run, error)
