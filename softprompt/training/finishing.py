"""How a run of a pack ends: scores of its best prompt, its result, its answers to the test records, or why it failed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from softprompt.errors import UserError
from softprompt.methods.hard import HardMethod
from softprompt.runs import Row, Run
from softprompt.training.callbacks.progress import summary
from softprompt.training.member import Member
from softprompt.training.optimizers import learning_rate
from softprompt.training.result import make_result
from softprompt.training.scorer import Scorer
from softprompt.training.shared import Shared
from softprompt.training.waiting import WaitingRuns


class Finishing:
    """Writes the results of a pack's runs."""

    def __init__(
        self, shared: Shared, scorer: Scorer, waiting: WaitingRuns, say: Callable[[str], None]
    ) -> None:
        self._shared = shared
        self._scorer = scorer
        self._waiting = waiting
        self._say = say

    def tuned_scores(self, members: Sequence[Member]) -> list[Row]:
        """Scores of the best prompts on the official validation set."""
        shared = self._shared
        if shared.selects_on_validation:
            return [member.state.best_scores for member in members]
        if not members:
            return []
        prompts = [member.state.best_prompt for member in members]
        scored = self._scorer.scores("the best prompt", shared.method.view, prompts, shared.data.validation)
        return [scores.row for scores in scored]

    def write(self, member: Member, tuned: Row, baselines: Mapping[str, Any]) -> None:
        """Write the files of a run that has stopped, `result.json` last, and then its predictions if they are wanted.

        Args:
            tuned: its entry of `tuned_scores`.
            baselines: the scores without tuning.

        Raises:
            UserError: its lock was lost, or a test record does not fit the model's context.
        """
        run, state, shared = member.run, member.state, self._shared
        result = make_result(
            run, shared.fingerprint, state, tuned, dict(baselines), shared.data, shared.method
        )
        if isinstance(shared.method, HardMethod):
            result["text"] = self._as_text(shared.method, state.best_prompt, tuned)
            self._say(f"{run.path}: the prompt is {result['text']['text']!r}")
        self._waiting.write(run, state.save_outputs, run)
        self._waiting.write(run, run.finish, result)
        self._say(f"{run.path}: {summary(result)}")
        if run.settings.data.predict:
            self.predict(run)

    def predict(self, run: Run) -> None:
        """Write a finished run's answers to the test records. Raises like `write`."""
        lines = self._scorer.predictions(run.best_prompt().matrix)
        test_hash = self._shared.records.test_hash(run.settings.task)
        self._waiting.write(run, run.save_predictions, lines, test_hash)
        self._say(f"{run.predictions}: {len(lines)} records answered")

    def failure(self, member: Member) -> UserError:
        """Why a run failed whose loss is not finite, and what to do about it."""
        run, shared = member.run, self._shared
        if weight := shared.backbone.non_finite_weight():
            advice = f"The model's weight {weight} has values that are not finite: check the model's files"
        else:
            lr = learning_rate(run.settings.optim, shared.method)
            advice = f"Lower optim.lr={lr} or set trainer.gradient_clip_val"
        return UserError(f"{run.path}: {member.state.failed}; the run failed. {advice}")

    def _as_text(self, method: HardMethod, prompt: Float[Tensor, "n d"], scores: Row) -> dict[str, Any]:
        """A prompt of tokens as a text, and the text's exact match; None if the text is too long for the model.

        The tokenizer may cut the text into other tokens.
        """
        backbone = self._shared.backbone
        tokens: list[int] = method.nearest(prompt).tolist()
        text = str(backbone.tokenizer.decode(tokens))
        read = backbone.tokens_of(text)
        exact_match: float | None = scores["exact_match"]
        if read != tokens:
            try:
                self._shared.check_length(len(read))
                rows = backbone.embed(read)
                (own,) = self._scorer.scores("the text", backbone, [rows], self._shared.data.validation)
                exact_match = own.exact_match
            except UserError:
                exact_match = None
        return {"text": text, "tokens": tokens, "same_tokens": read == tokens, "exact_match": exact_match}
