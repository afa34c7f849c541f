"""Attention over an unpadded batch: a loop over sequences on a CPU, padded grids on a GPU.

A CPU is fastest with one sequence after another, each at its own length: nothing is padded and little is copied. A GPU
is fastest with one large product, so there the sequences are padded to grids. A model that is so narrow that the loop
costs more than padding uses grids on a CPU, too.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from softprompt.backbone.attention.bias import Rows

LOOP_WIDTH = 256  # hidden units from which on a CPU saves more by not padding than the loop costs


@runtime_checkable
class Attention(Protocol):
    """What both implementations offer. `scale` multiplies the product of query and key; T rows as in `Layout`.

    Grouped-query attention: keys and values may have fewer heads than queries.
    """

    def attend(self, query: Rows, key: Rows, value: Rows, scale: float) -> Float[Tensor, "T He"]:
        """Outputs of all rows, heads side by side."""

    def attend_predicting(self, query: Rows, key: Rows, value: Rows, scale: float) -> Float[Tensor, "A He"]:
        """Outputs of the rows that predict an answer token, heads side by side."""


def uses_grids(device: torch.device, width: int) -> bool:
    """True if grids are the faster implementation on this device, for this number of hidden units."""
    return device.type != "cpu" or width < LOOP_WIDTH
