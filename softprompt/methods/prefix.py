"""Prefix tuning (Li and Liang 2021): keys and values in front of the text are trained, in every layer."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.backbone import Backbone
from softprompt.data.batch import Batch
from softprompt.methods.flat import split_flat
from softprompt.prompt import SoftPrompt

SCALE = 0.02  # standard deviation of the network's first weights, as in GPT-2
PROBED = 16  # tokens of the vocabulary, evenly spaced


class PrefixBackbone(Backbone):
    """A backbone behind prefixes: what it takes as prompts are keys and values."""

    def __init__(self, inner: Backbone) -> None:
        super().__init__(inner.model, inner.tokenizer, inner.id, inner.revision)
        self._inner = inner

    def _answer_logits(self, prompts: Sequence[Float[Tensor, "_ D"]], batch: Batch) -> Float[Tensor, "A V"]:
        """See `Backbone.prefix_logits`. A prompt of 0 rows, of whatever width, means no prefix."""
        prefixes = [prompt if len(prompt) else prompt.new_zeros(0, self.prefix_width) for prompt in prompts]
        return self._inner.prefix_logits(prefixes, batch)

    def prefix_logits(self, prefixes: Sequence[Float[Tensor, "_ D"]], batch: Batch) -> Float[Tensor, "A V"]:
        """See `Backbone.prefix_logits`."""
        return self._inner.prefix_logits(prefixes, batch)


class PrefixMethod:
    """The values are the prefix, or, with `hidden`, what a small network makes the prefix from.

    The network (Li and Liang 2021, section 4.3) has an input for each row and two layers, and is dropped after training. Its
    output is added to the start. Its last layer starts at zero, so that training begins at the start.
    """

    def __init__(self, backbone: Backbone, hidden: int | None) -> None:
        """`hidden` is the width of the network's hidden layer, and of its inputs; None: no network.

        Raises:
            UserError: the model has no key-value cache.
        """
        self._inner = backbone
        self.view: Backbone = PrefixBackbone(backbone)
        self.hidden = hidden

    @cached_property
    def scale(self) -> float:
        """See `Method`: of the network's first weights, or of the keys and values of `PROBED` tokens."""
        if self.hidden is not None:
            return SCALE
        tokens = torch.linspace(0, self._inner.table_rows - 1, PROBED).long().tolist()
        return float(self._inner.keys_and_values(self._inner.embed(tokens)).std())

    def start(self, initial: SoftPrompt) -> SoftPrompt:
        """See `Method`. The rows of another prefix are taken as they are."""
        if initial.method == "prefix":
            return initial
        return replace(initial, matrix=self._inner.keys_and_values(initial.matrix), method="prefix")

    def values(self, start: SoftPrompt, generator: torch.Generator) -> Tensor:
        """See `Method`. With a network: its inputs, then the weights and biases of both layers, end to end."""
        if self.hidden is None:
            return start.matrix.clone()
        shapes = self._shapes(start.matrix)
        drawn = [torch.randn(*shape, generator=generator) * SCALE for shape in shapes[:2]]
        inputs = torch.randn(*shapes[0], generator=generator)
        zeros = [torch.zeros(*shape) for shape in shapes[2:]]
        return torch.cat([part.flatten() for part in (inputs, drawn[1], *zeros)])

    def parameters(self, values: Tensor) -> int:
        """See `Method`."""
        return values.numel()

    def in_front(self, values: Tensor, start: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:
        """See `Method`."""
        if self.hidden is None:
            return values
        inputs, first, first_bias, second, second_bias = split_flat(values, self._shapes(start))
        inner = torch.tanh(inputs @ first + first_bias)  # [n, hidden]
        return start.to(values.device) + inner @ second + second_bias  # [n, D]

    def _shapes(self, start: Float[Tensor, "n D"]) -> list[tuple[int, ...]]:
        """Of the inputs, and of weights and biases."""
        assert self.hidden is not None
        rows, width = start.shape
        return [
            (rows, self.hidden),
            (self.hidden, self.hidden),
            (self.hidden,),
            (self.hidden, width),
            (width,),
        ]
