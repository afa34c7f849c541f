"""Prompt tuning (Lester et al. 2021): the rows in front of the text are trained."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.backbone import Backbone
from softprompt.prompt import SoftPrompt


@dataclass(frozen=True)
class SoftMethod:
    """The values are the prompt."""

    view: Backbone

    @property
    def scale(self) -> float:
        """See `Method`."""
        return self.view.embedding_scale

    def start(self, initial: SoftPrompt) -> SoftPrompt:
        """See `Method`."""
        return initial

    def values(self, start: SoftPrompt, generator: torch.Generator) -> Tensor:
        """See `Method`."""
        return start.matrix.clone()

    def parameters(self, values: Tensor) -> int:
        """See `Method`."""
        return values.numel()

    def in_front(self, values: Tensor, start: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """See `Method`."""
        return values
