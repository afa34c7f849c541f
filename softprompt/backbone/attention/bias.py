"""What both attention implementations share: the additive bias, and repeated heads."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Rows = Float[Tensor, "_ _ _"]  # [T, H, e]; keys and values may have fewer heads
Bias = Float[Tensor, "_ _ _"]  # [H, Q, K]


def attention_bias(
    slopes: Float[Tensor, "H"],
    query_positions: Int[Tensor, "*N Q"],
    key_positions: Int[Tensor, "*N K"],
    visible: Bool[Tensor, "*N Q K"],
) -> Float[Tensor, "*N H Q K"]:
    """ALiBi (Press et al. 2022, section 3) for visible keys, minus infinity for the others.

    Models that encode positions otherwise pass one slope of 0. Hugging Face adds slope · key position, and this adds
    slope · (key position - query position): softmax does not see the difference, but in bfloat16 the distance to a near
    key is exact where a late position is not.
    """
    distance = (key_positions[..., None, :] - query_positions[..., :, None])[..., None, :, :]  # [N, 1, Q, K]
    return (slopes[:, None, None] * distance).masked_fill(~visible[..., None, :, :], float("-inf"))


def repeat_heads(rows: Rows, heads: int) -> Float[Tensor, "_ H e"]:
    """Repeats keys or values for grouped-query attention, where several query heads share one of theirs."""
    return rows if rows.shape[1] == heads else rows.repeat_interleave(heads // rows.shape[1], 1)
