"""Several trainable matrices in one flat tensor, as a run stores and trains them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def split_flat(values: Float[Tensor, "_"], shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """The parts of `values`, which stand end to end, as views of these shapes."""
    parts = torch.split(values, [torch.Size(shape).numel() for shape in shapes])
    return [part.view(*shape) for part, shape in zip(parts, shapes, strict=True)]
