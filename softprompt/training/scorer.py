"""Scores of prompts, and their answers to the test records, computed side by side for the runs of a pack."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from softprompt.backbone import Backbone
from softprompt.data.examples import Example
from softprompt.scoring import Scores
from softprompt.training.callbacks.progress import PackProgress
from softprompt.training.evaluation import PromptEvaluation
from softprompt.training.loops import Loops
from softprompt.training.predictions import prediction_lines
from softprompt.training.shared import Shared


class Scorer:
    """Runs evaluations outside of the training of a pack."""

    def __init__(self, shared: Shared, loops: Loops, progress: PackProgress) -> None:
        self._shared = shared
        self._loops = loops
        self._progress = progress

    def scores(
        self,
        what: str,
        backbone: Backbone,
        prompts: Sequence[Float[Tensor, "_ _"]],
        examples: Sequence[Example],
    ) -> list[Scores]:
        """Scores of what stands in front of a backbone.

        Args:
            what: is evaluated, for the progress bar.
        """
        self._progress.evaluated = what
        found: list[Scores] = []
        # A dry run sees one batch, in which every prompt should have examples.
        for group in [[prompt] for prompt in prompts] if self._loops.dry else [prompts]:
            module = PromptEvaluation(backbone, group, self._shared.settings.task)
            self._loops.evaluate(module, self._shared.data.evaluation_batches(examples, range(len(group))))
            found += [scores for scores in module.scores if scores is not None]
        self._progress.evaluated = ""
        return found

    def predictions(self, prompt: Float[Tensor, "_ _"]) -> list[str]:
        """A prompt's answers to the test records, as lines of `predictions.jsonl`.

        Raises:
            UserError: a record does not fit the model's context with this prompt.
        """
        shared = self._shared
        batches = shared.data.evaluation_batches(shared.data.test)
        shared.check_length(len(prompt))
        module = PromptEvaluation(shared.method.view, [prompt], shared.settings.task)
        predicted = self._loops.predict(module, batches)
        found = {
            example.where: of_example
            for batch, of_batch in zip(batches, predicted, strict=True)
            for (_, example), of_example in zip(batch, of_batch, strict=True)
        }
        return list(prediction_lines(shared.settings.task, shared.records.splits.get("test", []), found))
