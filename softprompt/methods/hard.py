"""Prompts made of tokens: AutoPrompt (Shin et al. 2020) and PEZ (Wen et al. 2023)."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from softprompt.backbone import Backbone
from softprompt.errors import UserError
from softprompt.prompt import SoftPrompt

# Nothing changes until a row is nearer to another token, so PEZ needs larger steps than prompt tuning. On the microworld's CB
# and RTE, 10 to 60 times its default learning rate do equally well; 3 times takes two to three times the steps.
REACH = 15
CHUNK = 16384  # rows of the embedding table that are compared at a time


class HardMethod:
    """What stands in front are the embeddings of allowed tokens.

    With `project` (PEZ) the values are free rows, and each is replaced by the allowed token with the highest cosine; the
    gradient at the tokens moves the rows. Otherwise the values are the embeddings of tokens, which a search exchanges.

    Attributes:
        allowed: ids of tokens that may be used: all but special tokens, the tokens of the task's answers, and tokens that
            are blank.
    """

    def __init__(self, backbone: Backbone, answers: list[str], project: bool) -> None:
        self.view = backbone
        self.project = project
        self.allowed = allowed_tokens(backbone, answers)

    @property
    def scale(self) -> float:
        """See `Method`."""
        return (REACH if self.project else 1) * self.view.embedding_scale

    def start(self, initial: SoftPrompt) -> SoftPrompt:
        """See `Method`. A search starts from tokens, and replaces those that are not allowed by the nearest that are.

        Raises:
            UserError: a search has no tokens to start from.
        """
        if not self.project and not initial.initial_tokens:
            raise UserError(
                f"prompt.init={initial.init}: method=autoprompt starts from tokens; use prompt=text or prompt=vocab"
            )
        return replace(initial, matrix=self.view.embed(self.nearest(initial.matrix).tolist()))

    def values(self, start: SoftPrompt, generator: torch.Generator) -> Tensor:
        """See `Method`."""
        return start.matrix.clone()

    def parameters(self, values: Tensor) -> int:
        """See `Method`."""
        return values.numel() if self.project else len(values)

    def in_front(self, values: Tensor, start: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """See `Method`. Gradients pass the projection unchanged (Wen et al. 2023, algorithm 1)."""
        if not self.project:
            return values
        projected = self.view.embed(self.nearest(values).tolist()).to(values.device)
        return projected + (values - values.detach())  # the tokens' embeddings, without rounding

    @torch.no_grad()
    def nearest(self, rows: Float[Tensor, "n d"]) -> Int[Tensor, "n"]:
        """Ids of the allowed tokens with the highest cosine."""
        table = self.view.model.get_input_embeddings().weight  # [V, d]
        directions = F.normalize(rows.detach().to(table.device).float(), dim=1)
        allowed = self.allowed.to(table.device)
        cosines = [
            directions @ F.normalize(table[ids].float(), dim=1).T for ids in torch.split(allowed, CHUNK)
        ]  # [n, chunk] each
        return allowed[torch.cat(cosines, 1).argmax(1)].cpu()


def allowed_tokens(backbone: Backbone, answers: list[str]) -> Int[Tensor, "_"]:
    """Ids of the tokens that a discrete prompt may use, ascending."""
    tokenizer = backbone.tokenizer
    added = tokenizer.added_tokens_decoder
    refused = {*tokenizer.all_special_ids, *(token for token in added if added[token].special)}
    for answer in answers:
        refused |= {*backbone.tokens_of(answer), *backbone.tokens_of(f" {answer}")}
    size = min(len(tokenizer), backbone.table_rows)
    return torch.tensor(
        [token for token in range(size) if token not in refused and tokenizer.decode([token]).strip()]
    )
