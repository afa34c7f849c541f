"""AutoPrompt (Shin et al. 2020): a prompt of tokens, one of which is exchanged at each step if that lowers the loss.

The gradient of the loss times the embedding table says for every token how much the loss would change, to first order, if
it stood at a position (Ebrahimi et al. 2018). The best of them are tried on the step's batch, side by side as a pack.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from softprompt.data.batch import Batch
from softprompt.data.examples import Example
from softprompt.files import sha256
from softprompt.methods.hard import HardMethod
from softprompt.settings import AutoPromptSettings
from softprompt.training.tuning import PromptTuning


class TriggerSearch(PromptTuning):
    """Exchanges tokens in the prompts of a pack of R runs. A prompt's rows are always the embeddings of its tokens."""

    def _update(self, batches: list[list[Example] | None]) -> None:
        """Exchange a token of every stepping run."""
        for i in self.stepping:
            self._exchange_token(i, batches[i] or [])

    def _exchange_token(self, i: int, examples: Sequence[Example]) -> None:
        """Try the best candidates at one position of a run's prompt on its examples, and keep what has the lowest loss."""
        prompt, run = self.prompts[i], self.runs[i]
        settings = self.members[i].run.settings
        assert isinstance(settings.method, AutoPromptSettings) and prompt.grad is not None
        # Drawn from seed and step, so that a resumed run goes on as it would have.
        digest = sha256(f"{settings.task.name} {settings.seed} {run.order.total_steps}".encode())
        position = int(digest[:15], 16) % len(prompt)
        candidates = self._candidates(prompt.grad[position], settings.method.candidates)  # [k]
        # The gradient is that of all devices, but one may sort nearly equal slopes in another way than the others.
        tokens: list[int] = self.trainer.strategy.broadcast(candidates.tolist())
        rows = self.backbone.embed(tokens).to(prompt.device)  # [k, d]
        tried = [prompt.detach()]
        for row in rows:
            other = prompt.detach().clone()
            other[position] = row
            tried.append(other)
        losses = self._losses(tried, examples, settings.method.side_by_side)
        with torch.no_grad():
            prompt.copy_(tried[int(losses.argmin())])  # the first of equal ones: the prompt as it is

    def _candidates(self, gradient: Float[Tensor, "d"], k: int) -> Int[Tensor, "k"]:
        """The k allowed tokens that lower the loss most, to first order."""
        assert isinstance(self.method, HardMethod)
        table = self.backbone.model.get_input_embeddings().weight  # [V, d]
        allowed = self.method.allowed.to(table.device)
        slopes = (table @ gradient.to(table.device, table.dtype))[allowed].float()
        return allowed[slopes.topk(min(k, len(allowed)), largest=False).indices]

    @torch.no_grad()
    def _losses(
        self, prompts: Sequence[Float[Tensor, "n d"]], examples: Sequence[Example], side_by_side: int
    ) -> Float[Tensor, "P"]:
        """The loss of the examples' answers behind each of P prompts: nats, summed over tokens and devices."""
        local = self.local_share(list(examples))
        losses = torch.zeros(len(prompts), device=self.device)
        for first in range(0, len(prompts) if local else 0, side_by_side):
            group = prompts[first : first + side_by_side]
            pairs = [(example.text_ids, example.right_answer) for example in local]
            batch = Batch.of_pairs(pairs * len(group), [p for p in range(len(group)) for _ in pairs])
            logits = self.backbone.answer_logits(group, batch).float()  # [A, V]
            of_tokens = F.cross_entropy(logits, batch.answer_ids.to(self.device), reduction="none")  # [A]
            of_prompts = of_tokens.view(len(group), -1).sum(1)  # every prompt has the same answers
            losses[first : first + len(group)] = of_prompts
        reduced: Tensor = self.trainer.strategy.reduce(losses, reduce_op="sum")
        return reduced

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """None: tokens are exchanged, not moved."""
        return []
