"""Elicitation: the model is asked to repeat a text, and a prompt's rows stand in its place.

After InSPEcT (Ramati et al. 2024) and Patchscopes (Ghandeharioun et al. 2024). Here the rows are input embeddings, so no
hidden state is patched.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

FURTHER_TOKENS = 8  # that the model may write beyond one per row

Matrix = Float[Tensor, "_ d"]


def in_place_of_text(
    before: Float[Tensor, "_ d"], prompts: Sequence[Matrix], after: Float[Tensor, "_ d"]
) -> list[Matrix]:
    """The instruction with each prompt's rows in the place of the text.

    Args:
        before: embeddings of the instruction up to the text.
        prompts: prompts, which may differ in their number of rows.
        after: embeddings of what follows the text.
    """
    return [torch.cat([before, prompt, after]) for prompt in prompts]


def token_counts(prompts: Sequence[Matrix]) -> list[int]:
    """How many tokens the model may write for each prompt: one per row, and `FURTHER_TOKENS`."""
    return [len(prompt) + FURTHER_TOKENS for prompt in prompts]
