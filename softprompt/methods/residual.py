"""Residual prompt tuning (Razdaibiedina et al. 2023): the rows are trained, and a small network that is added to them."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from softprompt.backbone import Backbone
from softprompt.methods.flat import split_flat
from softprompt.prompt import SoftPrompt


class ResidualMethod:
    """The values are rows P and a network N that is applied to each of them. What stands in front is P + N(P).

    The network (Razdaibiedina et al. 2023, section 3) is a linear layer to `hidden`, ReLU, a linear layer back, and a layer
    norm. It is dropped after training, so the result is a prompt like others. Here the gain of the layer norm starts at
    zero, so that training begins at the start.
    """

    def __init__(self, backbone: Backbone, hidden: int) -> None:
        """`hidden` is the width of the network's hidden layer."""
        self.view = backbone
        self.hidden = hidden

    @property
    def scale(self) -> float:
        """See `Method`."""
        return self.view.embedding_scale

    def start(self, initial: SoftPrompt) -> SoftPrompt:
        """See `Method`."""
        return initial

    def values(self, start: SoftPrompt, generator: torch.Generator) -> Tensor:
        """See `Method`: the rows, the weights of both layers, their biases, and gain and bias of the layer norm."""
        shapes = self._shapes(start.matrix)
        weights = [torch.randn(*shape, generator=generator) / shape[0] ** 0.5 for shape in shapes[1:3]]
        zeros = [torch.zeros(*shape) for shape in shapes[3:]]
        return torch.cat([part.flatten() for part in (start.matrix, *weights, *zeros)])

    def parameters(self, values: Tensor) -> int:
        """See `Method`."""
        return values.numel()

    def in_front(self, values: Tensor, start: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """See `Method`."""
        rows, down, up, down_bias, up_bias, gain, bias = split_flat(values, self._shapes(start))
        inner = torch.relu(rows @ down + down_bias)  # [n, d] -> [n, hidden]
        return rows + F.layer_norm(inner @ up + up_bias, up_bias.shape, gain, bias)

    def _shapes(self, start: Float[Tensor, "n d"]) -> list[tuple[int, ...]]:
        """Of the rows, the weights, the biases, and gain and bias of the layer norm."""
        n, d = start.shape
        return [(n, d), (d, self.hidden), (self.hidden, d), (self.hidden,), (d,), (d,), (d,)]
